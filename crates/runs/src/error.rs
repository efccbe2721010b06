use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// Why a run directory could not be written or read.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RunError {
    /// The operating system refused.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried: `create`, `write`.
        action: &'static str,
        /// To what.
        path: PathBuf,
        /// Why not.
        source: Arc<io::Error>,
    },
    /// The directory named for a new run has something in it.
    #[error("{} is not empty: a run wants a directory of its own, name another one", .0.display())]
    NotEmpty(PathBuf),
    /// Every name for a run of this second is taken.
    #[error("{} has {tries} runs of this name and second already: try again", parent.display())]
    NoFreeName {
        /// Where the run was to go.
        parent: PathBuf,
        /// Names tried.
        tries: u32,
    },
    /// A file name that leads out of the run directory, or names nothing.
    #[error("{0:?} is no name of a file inside a run directory")]
    BadFileName(String),
    /// An event cannot be written as JSON.
    #[error("cannot write an event as JSON")]
    Encode(#[source] Arc<serde_json::Error>),
    /// An event is longer than a line may be.
    #[error("an event of {bytes} bytes is too long for a line (at most {bytes_max}): split it")]
    EventTooLong {
        /// Its length.
        bytes: usize,
        /// The bound.
        bytes_max: usize,
    },
    /// Something was appended after the log had been finished.
    #[error("the event log {} is finished: nothing more can be appended", .0.display())]
    Finished(PathBuf),
    /// What was compressed does not read back as what was written.
    #[error(
        "{} does not read back as what was written; the plain log was kept, check the disk",
        .0.display()
    )]
    CompressedDiffers(PathBuf),
    /// No such directory.
    #[error("there is no run at {}: it is no directory", .0.display())]
    Missing(PathBuf),
    /// A directory, but not of a run.
    #[error(
        "{} is no run: it has neither events.ndjson nor events.ndjson.zst; \
         name a directory that `temblor run` wrote",
        .0.display()
    )]
    NoRun(PathBuf),
    /// The log has no event.
    #[error("{} has no events: the run ended before it began", .0.display())]
    Empty(PathBuf),
    /// The first line is not the event that every run begins with.
    #[error("{} does not begin with a `run.started` event: it is no event log of a run", .0.display())]
    NoStart(PathBuf),
    /// Written by a program that knows more kinds of events.
    #[error(
        "{} was written by temblor {temblor} in version {schema} of the event vocabulary, and this \
         program reads up to version {supported}: use temblor {temblor} or later",
        path.display()
    )]
    Newer {
        /// The log.
        path: PathBuf,
        /// Version of the vocabulary it was written in.
        schema: u64,
        /// The highest that is understood here.
        supported: u32,
        /// Version of the program that wrote it.
        temblor: String,
    },
    /// A line is no event.
    #[error("line {line} of {} is no event", path.display())]
    Line {
        /// The log.
        path: PathBuf,
        /// Counts from 1.
        line: u64,
        /// What is wrong with it.
        source: Arc<serde_json::Error>,
    },
    /// A line never ends.
    #[error("line {line} of {} is longer than {bytes_max} bytes: the log is damaged", path.display())]
    LineTooLong {
        /// The log.
        path: PathBuf,
        /// Counts from 1.
        line: u64,
        /// The bound.
        bytes_max: usize,
    },
    /// More events than are held in memory at once.
    #[error("{} has more than {events_max} events: too many to be judged at once", path.display())]
    TooManyEvents {
        /// The log.
        path: PathBuf,
        /// The bound.
        events_max: usize,
    },
}

impl RunError {
    pub(crate) fn io(action: &'static str, path: impl Into<PathBuf>, source: io::Error) -> Self {
        Self::Io { action, path: path.into(), source: Arc::new(source) }
    }
}
