//! Why there is no profile.

use std::time::Duration;

/// Why there is no profile.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The sampler could not be attached or read.
    #[error(transparent)]
    Sampler(#[from] temblor_probes::Error),
    /// The processes of the machine cannot be looked at.
    #[error("could not look at the processes")]
    Processes(#[source] std::io::Error),
    /// Nothing was seen.
    #[error("no samples in {seconds:.1} s: {why}", seconds = .took.as_secs_f64())]
    NoSamples {
        /// How long it was looked.
        took: Duration,
        /// Why, and what to do.
        why: &'static str,
    },
}
