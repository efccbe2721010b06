//! What can go wrong, for whom.

use std::fmt::Write;
use std::io;
use std::path::PathBuf;

use crate::spec::SpecError;

/// This crate's results.
pub type Result<T> = std::result::Result<T, Error>;

/// What can go wrong with a lab.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The machine lacks something.
    #[error("the lab needs {what}; {how}")]
    Missing {
        /// What.
        what: String,
        /// How to get it.
        how: String,
    },
    /// The lab's file is wrong.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// An option is wrong.
    #[error("{0}")]
    Option(String),
    /// The address range is in use.
    #[error("the range {range} is taken: {by}; choose another one with --network CIDR")]
    RangeTaken {
        /// The range that was asked for, or all that were tried.
        range: String,
        /// What has it.
        by: String,
    },
    /// Something else has a name that the lab would use.
    #[error("{0}")]
    NameTaken(String),
    /// Another command is at work on the same lab.
    #[error("another `temblor lab` command is still at work on {}; try again when it has ended", .0.display())]
    Busy(PathBuf),
    /// A service did not become healthy.
    #[error("{} did not start: {reason}{}", .service.as_deref().unwrap_or("the lab"), tail(.log))]
    StartFailed {
        /// Which one, when it was one.
        service: Option<String>,
        /// Why, as far as can be told.
        reason: String,
        /// The last lines of its log.
        log: Vec<String>,
    },
    /// Something of the lab's is still there.
    #[error("the lab left behind: {}", .0.join("; "))]
    LeftBehind(Vec<String>),
    /// There is no such service, or it cannot be had now.
    #[error("{0}")]
    Service(String),
    /// The system refused something.
    #[error("cannot {doing}")]
    Io {
        /// What was attempted, to what.
        doing: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The kernel refused a change of the lab's network.
    #[error("cannot {doing}")]
    Network {
        /// What was attempted, to what.
        doing: String,
        /// What the kernel said.
        #[source]
        source: rtnetlink::Error,
    },
}

/// Whose problem an error is: for exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The user's input: an option, a file, a range.
    Input,
    /// The machine's: something named is missing.
    Machine,
    /// Something of ours is still there.
    LeftBehind,
    /// Any other failure.
    Other,
}

impl Error {
    /// Whose problem it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Spec(_)
            | Self::Option(_)
            | Self::RangeTaken { .. }
            | Self::NameTaken(_)
            | Self::Service(_) => Kind::Input,
            Self::Missing { .. } => Kind::Machine,
            Self::LeftBehind(_) => Kind::LeftBehind,
            Self::Busy(_) | Self::StartFailed { .. } | Self::Io { .. } | Self::Network { .. } => {
                Kind::Other
            }
        }
    }
}

/// Says what was attempted when a call failed.
pub(crate) trait Doing<T> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T> Doing<T> for io::Result<T> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|source| Error::Io { doing: what(), source })
    }
}

impl<T> Doing<T> for rustix::io::Result<T> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|errno| Error::Io { doing: what(), source: errno.into() })
    }
}

impl<T> Doing<T> for std::result::Result<T, rtnetlink::Error> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|source| Error::Network { doing: what(), source })
    }
}

/// An error with everything that caused it, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        // Writing to a string cannot fail.
        let _ = write!(text, ": {cause}");
        source = cause.source();
    }
    text
}

fn tail(log: &[String]) -> String {
    if log.is_empty() {
        return String::new();
    }
    format!("; the last lines of its log:\n    {}", log.join("\n    "))
}
