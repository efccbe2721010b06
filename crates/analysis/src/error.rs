//! What can be wrong with what was given.

/// Why nothing can be said of a profile, or of a budget.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The profile itself is not as it should be, or has no such type.
    #[error(transparent)]
    Profile(#[from] temblor_profile::Error),
    /// There is nothing in it.
    #[error("the profile is empty: it has no samples{}", remedy.map(|remedy| format!(" ({remedy})")).unwrap_or_default())]
    Empty {
        /// Why it may be, and what to do.
        remedy: Option<&'static str>,
    },
    /// It has less than nothing of something.
    #[error(
        "the profile is a difference, with negative values: give the two that it was made from"
    )]
    Difference,
    /// Profiles of different things.
    #[error("the profiles count different things: {base} in the base and {new} in the new one")]
    Unlike {
        /// What the base counts.
        base: String,
        /// What the other counts.
        new: String,
    },
    /// A budget that says nothing.
    #[error("{budget:?} is no budget: {why}")]
    Budget {
        /// As it was given.
        budget: String,
        /// What is wrong with it.
        why: String,
    },
    /// A budget of something that there is not.
    #[error("{named:?} is no category; there are {}; functions are function:PATTERN", known.join(", "))]
    UnknownCategory {
        /// The one that was asked for.
        named: String,
        /// Those that there are.
        known: Vec<String>,
    },
    /// Rates were asked for, which take time.
    #[error("{which} does not say for how long it was collected: compare shares")]
    NoDuration {
        /// Which of the two.
        which: &'static str,
    },
}
