//! What is collected.

use temblor_probes::stacks::What;
use temblor_profile::ValueType;

const SECOND_NS: u64 = 1_000_000_000;

/// What a profile is to be of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// Where processor time goes.
    Cpu {
        /// How often a second each processor is looked at. A number that is no divisor of what
        /// programs do periodically.
        rate_hz: u32,
    },
    /// Where threads wait: from when they leave their processor, because they cannot go on, until
    /// they have one again.
    OffCpu,
    /// Where threads wait for locks (futexes).
    Lock,
    /// Every thread's state and stack, once.
    Threads,
    /// What is allocated while it is collected, and what of that is still in use.
    Heap {
        /// One byte of so many is sampled.
        every_bytes: u64,
    },
}

/// How it is collected.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What.
    pub wanted: Wanted,
    /// Of all processes, whether a target's or not.
    pub everybody: bool,
    /// Waits are told apart by who ended them, with the stack of the one that did. Of no other kind.
    pub wakers: bool,
    /// Samples are told apart by when they were taken. Of processor time only.
    pub timeline: bool,
}

impl Settings {
    /// Of the targets alone, with nothing special.
    #[must_use]
    pub fn of(wanted: Wanted) -> Self {
        Self { wanted, everybody: false, wakers: false, timeline: false }
    }

    /// What the kernel half is to do.
    pub(crate) fn what(&self) -> What {
        let with_wakers = self.wakers;
        match self.wanted {
            Wanted::Cpu { rate_hz } => What::OnCpu { rate_hz },
            Wanted::OffCpu => What::OffCpu { only_locks: false, with_wakers },
            Wanted::Lock => What::OffCpu { only_locks: true, with_wakers },
            Wanted::Threads => What::Threads,
            Wanted::Heap { every_bytes } => What::Allocations { every_bytes },
        }
    }
}

/// What one sample of processor time stands for.
pub(crate) fn period_ns(rate_hz: u32) -> u64 {
    SECOND_NS / u64::from(rate_hz.max(1))
}

impl Wanted {
    /// What lies between two samples, and what it is counted in. None: they are not taken at intervals.
    pub(crate) fn period(self) -> Option<(u64, ValueType)> {
        match self {
            Self::Cpu { rate_hz } => {
                Some((period_ns(rate_hz), ValueType::new("cpu", "nanoseconds")))
            }
            // As Go's.
            Self::Heap { every_bytes } => Some((every_bytes, ValueType::new("space", "bytes"))),
            Self::OffCpu | Self::Lock | Self::Threads => None,
        }
    }

    /// What the profile counts. The last one is what is meant where none is named.
    pub(crate) fn types(self) -> Vec<ValueType> {
        let types: &[(&str, &str)] = match self {
            Self::Cpu { .. } => &[("samples", "count"), ("cpu", "nanoseconds")],
            Self::OffCpu => &[("waits", "count"), ("waiting", "nanoseconds")],
            Self::Lock => &[("waits", "count"), ("lock", "nanoseconds")],
            Self::Threads => &[("threads", "count")],
            // As Go's.
            Self::Heap { .. } => &[
                ("alloc_objects", "count"),
                ("alloc_space", "bytes"),
                ("inuse_objects", "count"),
                ("inuse_space", "bytes"),
            ],
        };
        types.iter().map(|(kind, unit)| ValueType::new(*kind, *unit)).collect()
    }

    /// Why nothing may have been seen of processes that are there, and what to do.
    pub(crate) fn remedy(self) -> &'static str {
        match self {
            Self::Cpu { .. } => {
                "nothing of it was on a processor; put load on it, or collect for longer"
            }
            Self::OffCpu => "none of its threads waited",
            Self::Lock => {
                "none of its threads waited for a lock (futex); put load on it that comes in \
                 parallel, or collect for longer"
            }
            Self::Threads => "it has no threads with a program of their own",
            Self::Heap { .. } => {
                "it allocated nothing, or too little to be sampled, with malloc and its kin; put \
                 load on it, collect for longer, or sample more (Go has an allocator of its own, of \
                 which `temblor profile fetch heap` tells)"
            }
        }
    }
}
