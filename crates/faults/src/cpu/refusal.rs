//! Why a fault of the processor, as asked for, is not made.

use crate::{Error, Refusal};

/// Why a fault of the processor, as asked for, is not made.
#[derive(Debug, thiserror::Error)]
pub enum CpuRefusal {
    /// A share that is none.
    #[error(
        "a share of {given} of the processor time of {service} is not between 0 (more than that) \
         and 1: write 0.1 or 10% for a tenth"
    )]
    Share {
        /// The target.
        service: String,
        /// What was asked.
        given: f64,
    },
    /// More processors than there are, or none.
    #[error(
        "{given} processors are not what {service} can be held to: it must be more than 0 and at \
         most the {available} that it may use now"
    )]
    Cpus {
        /// The target.
        service: String,
        /// What was asked.
        given: f64,
        /// What it may use.
        available: f64,
    },
    /// Less than the kernel can give.
    #[error(
        "{cpus} of a processor for {service} is less than the kernel can give: 0.001 (1 ms in \
         every second)"
    )]
    TooLittle {
        /// The target.
        service: String,
        /// How much that would be, in processors.
        cpus: f64,
    },
    /// A level that is none.
    #[error("a level of {given} is not between 0 and 1")]
    Level {
        /// What was asked.
        given: f64,
    },
    /// No workers, or too many.
    #[error("{given} workers are not between 1 and {max}")]
    Workers {
        /// What was asked.
        given: u32,
        /// How many there may be.
        max: u32,
    },
    /// A load that is none.
    #[error("a load of {given} for each worker is not between 0 (more than that) and 1")]
    Load {
        /// What was asked.
        given: f64,
    },
}

impl From<CpuRefusal> for Error {
    fn from(refusal: CpuRefusal) -> Self {
        Refusal::from(refusal).into()
    }
}
