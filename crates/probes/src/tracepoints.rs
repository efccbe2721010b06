//! The tracepoints that a probe uses: which of them this kernel has, and how that is told.

use temblor_event::Hook;
use temblor_host::{Capability, State};

use crate::Error;
use crate::error::missing;
use crate::kernel::KernelTypes;

/// A tracepoint and the program for it.
#[derive(Debug)]
pub(crate) struct Tracepoint {
    pub(crate) name: &'static str,
    /// As the kernel half calls it.
    pub(crate) program: &'static str,
    /// What is learnt there, in words: `retransmissions`.
    pub(crate) sees: &'static str,
    /// Without it there would be no point in the probe.
    pub(crate) essential: bool,
}

impl Tracepoint {
    fn missing(&self) -> String {
        format!("this kernel has no tracepoint {}", self.name)
    }

    fn hook(&self) -> String {
        format!("tp_btf/{}", self.name)
    }
}

/// A probe's tracepoints, sorted by whether the running kernel has them.
#[derive(Debug)]
pub(crate) struct Tracepoints {
    all: &'static [Tracepoint],
    absent: Vec<&'static Tracepoint>,
}

impl Tracepoints {
    pub(crate) fn look(types: &KernelTypes, all: &'static [Tracepoint]) -> Self {
        let is_absent =
            |tracepoint: &&Tracepoint| types.tracepoint_arguments(tracepoint.name).is_none();
        Self { all, absent: all.iter().filter(is_absent).collect() }
    }

    /// An error that names the tracepoint, if one is missing without which nothing is seen.
    pub(crate) fn require_essential(&self) -> Result<(), Error> {
        match self.absent.iter().find(|tracepoint| tracepoint.essential) {
            None => Ok(()),
            Some(tracepoint) => {
                Err(Error::Missing { what: tracepoint.missing(), how: HOW_TO_GET.into() })
            }
        }
    }

    /// Whether a program has what it needs. One that is for no tracepoint has.
    pub(crate) fn wants(&self, program: &str) -> bool {
        self.absent.iter().all(|tracepoint| tracepoint.program != program)
    }

    pub(crate) fn hooks(&self) -> Vec<Hook> {
        let hook = |tracepoint: &Tracepoint| Hook {
            sees: tracepoint.sees.into(),
            hook: tracepoint.hook(),
        };
        self.all.iter().filter(|one| self.wants(one.program)).map(hook).collect()
    }

    /// What stays unseen, with the reason.
    pub(crate) fn unseen(&self) -> Vec<String> {
        let told = |one: &&Tracepoint| format!("{}: {}", one.sees, one.missing());
        self.absent.iter().map(told).collect()
    }

    /// A row for each, for `doctor`.
    pub(crate) fn capabilities(&self, of: &'static str) -> Vec<Capability> {
        let state = |tracepoint: &Tracepoint| {
            if self.wants(tracepoint.program) {
                State::Available { via: tracepoint.hook() }
            } else if tracepoint.essential {
                State::Missing { why: tracepoint.missing(), how_to_get: HOW_TO_GET.into() }
            } else {
                State::Fallback {
                    via: "the other hooks".into(),
                    lacks: format!("{}: {}", tracepoint.sees, tracepoint.missing()),
                }
            }
        };
        self.all.iter().map(|one| Capability { name: one.sees, of, state: state(one) }).collect()
    }
}

const HOW_TO_GET: &str = "boot Linux 5.10 or later with CONFIG_TRACEPOINTS=y";

/// The row of `doctor` where the kernel's own types cannot be read, without which nothing is known.
pub(crate) fn unknown(of: &'static str, error: &Error) -> Vec<Capability> {
    vec![Capability { name: "tracepoints", of, state: missing(error) }]
}

/// The row of `doctor` that says whether the kernel took the programs.
pub(crate) fn loading(of: &'static str, tried: Result<(), Error>) -> Capability {
    let state = match tried {
        Ok(()) => State::Available { via: "the verifier took the programs".into() },
        Err(error) => missing(&error),
    };
    Capability { name: "loading", of, state }
}
