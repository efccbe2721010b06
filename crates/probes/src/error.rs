//! What can go wrong with a probe.

use std::io;

use temblor_host::State;

/// What can go wrong with a probe.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The machine lacks something that the probe cannot do without: the user's to provide.
    #[error("{what}; {how}")]
    Missing {
        /// What is missing.
        what: String,
        /// How to get it.
        how: String,
    },
    /// The kernel refused a step for a reason that we do not know.
    #[error("the kernel refused to {doing}{said}")]
    Kernel {
        /// The step: `load the programs of the tcp probe`.
        doing: String,
        /// The verifier's reason in parentheses, where it gave one.
        said: String,
        /// What it said.
        #[source]
        source: libbpf_rs::Error,
    },
    /// A system call outside of BPF failed.
    #[error("could not {doing}")]
    System {
        /// The step.
        doing: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The probe's thread ended by a panic: our bug.
    #[error("the thread of the {probe} probe panicked")]
    Panicked {
        /// The probe.
        probe: String,
    },
    /// The program and its kernel half do not belong together: our bug.
    #[error("the kernel half of the {probe} probe has no {part}")]
    Incomplete {
        /// The probe.
        probe: &'static str,
        /// A map or a program.
        part: &'static str,
    },
}

impl Error {
    /// Wraps what libbpf said, and recognises the causes that a user can do something about.
    pub(crate) fn kernel(doing: impl Into<String>, source: libbpf_rs::Error) -> Self {
        let doing = doing.into();
        if source.kind() == libbpf_rs::ErrorKind::PermissionDenied {
            return refused(doing, source);
        }
        Self::Kernel { doing, said: said(), source }
    }
}

/// EPERM has three likely causes, and two of them have a name.
fn refused(doing: String, source: libbpf_rs::Error) -> Error {
    if !rustix::process::geteuid().is_root() {
        return Error::Missing {
            what: format!("without root the kernel refuses to {doing}"),
            how: "run as root (sudo), or with the capabilities CAP_BPF, CAP_PERFMON, \
                  CAP_NET_ADMIN and CAP_SYS_ADMIN"
                .into(),
        };
    }
    let lockdown = std::fs::read_to_string("/sys/kernel/security/lockdown").unwrap_or_default();
    if lockdown.contains("[confidentiality]") {
        return Error::Missing {
            what: format!("kernel lockdown forbids it to {doing}"),
            how: "boot with lockdown=integrity or without lockdown".into(),
        };
    }
    Error::Kernel { doing, said: said(), source }
}

fn said() -> String {
    crate::kernel::take_verdict().map(|reason| format!(" ({reason})")).unwrap_or_default()
}

/// An error as `doctor` puts it.
pub(crate) fn missing(error: &Error) -> State {
    match error {
        Error::Missing { what, how } => {
            State::Missing { why: what.clone(), how_to_get: how.clone() }
        }
        other => State::Missing {
            why: chain(other),
            how_to_get: "run with TEMBLOR_LOG=libbpf=debug for the kernel's own words".into(),
        },
    }
}

/// The error with its causes, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
