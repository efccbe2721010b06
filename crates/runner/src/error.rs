//! Why a run could not be carried out. The kinds are those of the exit codes.

use std::path::PathBuf;

/// Why a run could not begin, or could not be recorded.
#[derive(Debug, thiserror::Error)]
pub enum RunnerError {
    /// The experiment asks for something that is not there or is refused: exit 2.
    #[error("{0}")]
    Input(String),
    /// The machine lacks something: exit 6.
    #[error("{what}; {how}")]
    Missing {
        /// What is missing, as a sentence without a full stop.
        what: String,
        /// How to get it.
        how: String,
    },
    /// Everything went well, and what was looked for was not there to be seen: exit 3.
    #[error("{0}")]
    Nothing(String),
    /// Another run is under way on this machine.
    #[error("another run is under way (it holds {}); wait for it or end it", .0.display())]
    Busy(PathBuf),
    /// Anything else; nothing of ours is left in place.
    #[error("{what}")]
    Failed {
        /// What was being done.
        what: String,
        /// Why it failed.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl RunnerError {
    /// Wraps whatever went wrong while `what` was being done.
    pub(crate) fn failed(
        what: impl Into<String>,
    ) -> impl FnOnce(Box<dyn std::error::Error + Send + Sync>) -> Self {
        let what = what.into();
        move |source| Self::Failed { what, source }
    }
}
