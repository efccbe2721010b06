//! Why a fault of memory, as asked for, is not made.

use crate::{Error, Refusal};

/// Why a fault of memory, as asked for, is not made.
#[derive(Debug, thiserror::Error)]
pub enum MemoryRefusal {
    /// So little that nothing could run.
    #[error("{given} bytes are less than the {least} bytes (4 MiB) that this fault takes at least")]
    TooLittle {
        /// What was asked.
        given: u64,
        /// What it takes.
        least: u64,
    },
    /// A limit that is none.
    #[error(
        "a limit of {given} bytes takes nothing from {service}: it is limited to {before} bytes \
         already"
    )]
    NotLower {
        /// The target.
        service: String,
        /// What was asked.
        given: u64,
        /// What it is limited to.
        before: u64,
    },
    /// Version 1 of cgroups refuses a limit below what is in use and cannot be reclaimed.
    #[error(
        "{service} uses {usage} bytes that the kernel cannot take away from it, and cgroups of \
         version 1 refuse a lower limit ({given}): ask for more than that, and it is killed when \
         it needs more"
    )]
    BelowUse {
        /// The target.
        service: String,
        /// What was asked.
        given: u64,
        /// What it uses.
        usage: u64,
    },
    /// It would take memory from others.
    #[error(
        "taking up to {growth} bytes beside {service} would leave less than a tenth of the memory \
         to everybody else ({left} bytes may be taken): lower the size, or give the target a \
         memory limit"
    )]
    Everybodys {
        /// The target.
        service: String,
        /// By how much its group would grow.
        growth: u64,
        /// By how much it may.
        left: u64,
    },
    /// Without a limit the machine's memory would be used up first.
    #[error(
        "{service} has no memory limit of its own, so that taking memory until somebody is killed \
         would take the whole machine's: give it a limit (memory.limit), or name a size"
    )]
    NoLimit {
        /// The target.
        service: String,
    },
    /// The group waits instead of killing.
    #[error(
        "{service} waits for memory instead of being killed (oom_kill_disable in its cgroup): \
         nobody would be killed"
    )]
    KillsNobody {
        /// The target.
        service: String,
    },
    /// A level that is none.
    #[error("a level of {given} is not between 0 and 1")]
    Level {
        /// What was asked.
        given: f64,
    },
}

impl From<MemoryRefusal> for Error {
    fn from(refusal: MemoryRefusal) -> Self {
        Refusal::from(refusal).into()
    }
}
