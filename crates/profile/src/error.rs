//! What can be wrong with what was given.

/// Why something is no profile, or cannot be shown as asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// It is not what the format says.
    #[error("not a valid pprof profile: {what}")]
    Malformed {
        /// What was found.
        what: String,
    },
    /// The protocol buffers' own reading failed.
    #[error("not a valid pprof profile")]
    Decode(#[from] prost::DecodeError),
    /// The compressed file is damaged or ends too early.
    #[error("cannot be decompressed")]
    Compressed(#[source] std::io::Error),
    /// More than is held in memory.
    #[error("{what} are more than the {limit} that are read at most")]
    TooLarge {
        /// Of what there is too much.
        what: &'static str,
        /// How many are read.
        limit: usize,
    },
    /// Folded stacks: a line that is none.
    #[error("line {line} is no folded stack (frames with semicolons, a space, a count): {text:?}")]
    Folded {
        /// From 1 on.
        line: usize,
        /// Its beginning.
        text: String,
    },
    /// The output of `perf script` could not be read.
    #[error("cannot be read as the output of perf script")]
    PerfScript(#[source] std::io::Error),
    /// No type was given.
    #[error("the profile says nothing of what its values are")]
    NoTypes,
    /// A type that the profile has not.
    #[error("the profile has no values of type {named:?}; it has {}", known.join(", "))]
    UnknownType {
        /// The one that was asked for.
        named: String,
        /// Those that there are.
        known: Vec<String>,
    },
    /// Profiles of different things.
    #[error("the profiles count different things: {left} and {right}")]
    Unlike {
        /// The first one's types.
        left: String,
        /// The other's.
        right: String,
    },
    /// An expression in the profile that is none.
    #[error("the profile's {which} is no regular expression")]
    Expression {
        /// Which of them.
        which: &'static str,
        /// What is wrong with it.
        #[source]
        source: Box<regex::Error>,
    },
    /// Nothing to show.
    #[error("the profile is empty: it has no samples{}", remedy.map(|remedy| format!(" ({remedy})")).unwrap_or_default())]
    Empty {
        /// Why it may be, and what to do.
        remedy: Option<&'static str>,
    },
    /// It is not known of any sample when it was taken.
    #[error("no sample says when it was taken; temblor profile cpu --timeline writes that down")]
    Untimed,
    /// The file stopped giving.
    #[error("cannot be read to its end")]
    Read(#[source] std::io::Error),
    /// The drawing failed.
    #[error("cannot be drawn")]
    Draw(#[source] std::io::Error),
}
