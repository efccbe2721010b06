//! What is collected.

use temblor_probes::stacks::What;
use temblor_profile::ValueType;

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
        }
    }
}

impl Wanted {
    /// What the profile counts. The last one is what is meant where none is named.
    pub(crate) fn types(self) -> Vec<ValueType> {
        let (samples, unit) = match self {
            Self::Cpu { .. } => ("samples", Some(("cpu", "nanoseconds"))),
            Self::OffCpu => ("waits", Some(("waiting", "nanoseconds"))),
            Self::Lock => ("waits", Some(("lock", "nanoseconds"))),
            Self::Threads => ("threads", None),
        };
        let amount = unit.map(|(kind, unit)| ValueType::new(kind, unit));
        [ValueType::new(samples, "count")].into_iter().chain(amount).collect()
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
        }
    }
}
