//! What the figures of [`crate::ProbeWindow`] mean: one table for all who show them.

use std::collections::BTreeMap;

/// A figure that a probe counts by window.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Meaning {
    /// The probe whose it is.
    pub probe: &'static str,
    /// Its name in the log: `io_latency`.
    pub name: &'static str,
    /// In a report's words, without its labels: `time of I/O`.
    pub words: &'static str,
    /// In what it is counted.
    pub unit: MeasureUnit,
    /// How it is counted.
    pub kind: MeasureKind,
    /// Its labels, in the order in which they are read aloud.
    pub labels: &'static [&'static str],
    /// What the probe's hook for it sees, as its status has it ([`crate::Hook::sees`]).
    pub sees: &'static str,
    /// From this difference on a change can be felt, in the unit's SI base: seconds, bytes, or
    /// events; of a count, per second. Infinity: it never says that anything is wrong.
    pub notable: f64,
}

/// In what a figure is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MeasureUnit {
    /// Nanoseconds.
    Nanoseconds,
    /// Microseconds: as the kernel itself measures round trips.
    Microseconds,
    /// Bytes.
    Bytes,
    /// Whatever the figure's words say.
    Events,
}

/// How a figure is counted; [`crate::Reading`] has the values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MeasureKind {
    /// It only grows.
    Count,
    /// It goes up and down.
    Level,
    /// Many values.
    Distribution,
}

impl Meaning {
    /// With what tells it from others of its kind: `time of I/O (vda, write)`.
    #[must_use]
    pub fn named(&self, labels: &BTreeMap<String, String>) -> String {
        let told = self.of(labels);
        if told.is_empty() { self.words.to_owned() } else { format!("{} ({told})", self.words) }
    }

    /// What tells it from others of its kind: `vda, write`; nothing where there are no others.
    #[must_use]
    pub fn of(&self, labels: &BTreeMap<String, String>) -> String {
        let told = self.labels.iter().filter_map(|label| Some(labels.get(*label)?.as_str()));
        told.collect::<Vec<_>>().join(", ")
    }
}

/// Every figure that a probe counts by window, of each probe what says most first.
pub const MEANINGS: &[Meaning] = &[
    Meaning {
        probe: "block",
        name: "io_latency",
        words: "time of I/O",
        unit: MeasureUnit::Nanoseconds,
        kind: MeasureKind::Distribution,
        labels: &["device", "operation"],
        sees: "I/O",
        notable: 0.001,
    },
    Meaning {
        probe: "block",
        name: "io_wait",
        words: "wait of I/O for the device",
        unit: MeasureUnit::Nanoseconds,
        kind: MeasureKind::Distribution,
        labels: &["device", "operation"],
        sees: "requests that a driver gets",
        notable: 0.001,
    },
    Meaning {
        probe: "block",
        name: "io_errors",
        words: "failed I/O",
        unit: MeasureUnit::Events,
        kind: MeasureKind::Count,
        labels: &["device", "operation"],
        sees: "I/O",
        notable: 0.01,
    },
    Meaning {
        probe: "block",
        name: "io_size",
        words: "size of I/O",
        unit: MeasureUnit::Bytes,
        kind: MeasureKind::Distribution,
        labels: &["device", "operation"],
        sees: "I/O",
        notable: 4096.0,
    },
    Meaning {
        probe: "block",
        name: "io_under_way",
        words: "requests under way",
        unit: MeasureUnit::Events,
        kind: MeasureKind::Level,
        labels: &["device"],
        sees: "I/O",
        notable: 4.0,
    },
    Meaning {
        probe: "block",
        name: "sync_latency",
        words: "time of file syncs",
        unit: MeasureUnit::Nanoseconds,
        kind: MeasureKind::Distribution,
        labels: &["call"],
        sees: "file syncs",
        notable: 0.001,
    },
    Meaning {
        probe: "block",
        name: "sync_errors",
        words: "failed file syncs",
        unit: MeasureUnit::Events,
        kind: MeasureKind::Count,
        labels: &["call"],
        sees: "file syncs",
        notable: 0.01,
    },
    Meaning {
        probe: "edges",
        name: "turn_latency",
        words: "turn",
        unit: MeasureUnit::Nanoseconds,
        kind: MeasureKind::Distribution,
        labels: &["role", "peer"],
        sees: "turns and bytes",
        notable: 0.001,
    },
    Meaning {
        probe: "edges",
        name: "bytes_sent",
        words: "bytes sent",
        unit: MeasureUnit::Bytes,
        kind: MeasureKind::Count,
        labels: &["role", "peer"],
        sees: "turns and bytes",
        notable: 65536.0,
    },
    Meaning {
        probe: "edges",
        name: "bytes_received",
        words: "bytes received",
        unit: MeasureUnit::Bytes,
        kind: MeasureKind::Count,
        labels: &["role", "peer"],
        sees: "turns and bytes",
        notable: 65536.0,
    },
    Meaning {
        probe: "edges",
        name: "connections_opened",
        words: "connections opened",
        unit: MeasureUnit::Events,
        kind: MeasureKind::Count,
        labels: &["role", "peer"],
        sees: "connections",
        notable: 1.0,
    },
    Meaning {
        probe: "edges",
        name: "connections_open",
        words: "open connections",
        unit: MeasureUnit::Events,
        kind: MeasureKind::Level,
        labels: &["role", "peer"],
        sees: "connections",
        notable: 1.0,
    },
    Meaning {
        probe: "edges",
        name: "request_latency",
        words: "request",
        unit: MeasureUnit::Nanoseconds,
        kind: MeasureKind::Distribution,
        labels: &["role", "peer", "protocol", "kind"],
        sees: "requests",
        notable: 0.001,
    },
    Meaning {
        probe: "edges",
        name: "request_errors",
        words: "failed requests",
        unit: MeasureUnit::Events,
        kind: MeasureKind::Count,
        labels: &["role", "peer", "protocol", "kind", "error"],
        sees: "requests",
        notable: 1.0,
    },
    Meaning {
        probe: "memory",
        name: "page_faults",
        words: "page faults",
        unit: MeasureUnit::Events,
        kind: MeasureKind::Count,
        labels: &["kind"],
        sees: "page faults",
        notable: 100.0,
    },
    Meaning {
        probe: "memory",
        name: "resident",
        words: "resident memory",
        unit: MeasureUnit::Bytes,
        kind: MeasureKind::Level,
        labels: &["kind"],
        sees: "resident memory",
        notable: 8_388_608.0,
    },
    Meaning {
        probe: "memory",
        name: "resident_growth",
        words: "growth of resident memory",
        unit: MeasureUnit::Bytes,
        kind: MeasureKind::Count,
        labels: &["kind"],
        sees: "resident memory",
        notable: 1_048_576.0,
    },
    Meaning {
        probe: "memory",
        name: "swapped",
        words: "memory swapped out",
        unit: MeasureUnit::Bytes,
        kind: MeasureKind::Level,
        labels: &[],
        sees: "resident memory",
        notable: 1_048_576.0,
    },
    Meaning {
        probe: "memory",
        name: "reclaim_stall",
        words: "time spent looking for memory",
        unit: MeasureUnit::Nanoseconds,
        kind: MeasureKind::Distribution,
        labels: &["kind"],
        sees: "reclaim",
        notable: 0.001,
    },
    Meaning {
        probe: "memory",
        name: "reclaimed",
        words: "memory that it had to free first",
        unit: MeasureUnit::Bytes,
        kind: MeasureKind::Count,
        labels: &["kind"],
        sees: "reclaim",
        notable: 1_048_576.0,
    },
    Meaning {
        probe: "memory",
        name: "oom_kills",
        words: "kills for want of memory",
        unit: MeasureUnit::Events,
        kind: MeasureKind::Count,
        labels: &["cause"],
        sees: "kills for want of memory",
        notable: 0.01,
    },
    Meaning {
        probe: "memory",
        name: "cgroup_memory",
        words: "memory of its cgroup",
        unit: MeasureUnit::Bytes,
        kind: MeasureKind::Level,
        labels: &[],
        sees: "memory of the target's cgroup",
        notable: 8_388_608.0,
    },
    Meaning {
        probe: "memory",
        name: "cgroup_memory_events",
        words: "its cgroup's memory events",
        unit: MeasureUnit::Events,
        kind: MeasureKind::Count,
        labels: &["event"],
        sees: "memory of the target's cgroup",
        notable: 0.01,
    },
    Meaning {
        probe: "syscall",
        name: "errors",
        words: "system calls that failed",
        unit: MeasureUnit::Events,
        kind: MeasureKind::Count,
        labels: &["call", "errno"],
        sees: "system calls",
        notable: 1.0,
    },
    Meaning {
        probe: "syscall",
        name: "slow_calls",
        words: "slow system calls, 1 ms and more",
        unit: MeasureUnit::Nanoseconds,
        kind: MeasureKind::Distribution,
        labels: &["call"],
        sees: "system calls",
        notable: 0.001,
    },
    Meaning {
        probe: "syscall",
        name: "call_time",
        words: "time in system calls",
        unit: MeasureUnit::Nanoseconds,
        kind: MeasureKind::Count,
        labels: &["call"],
        sees: "system calls",
        notable: 0.05,
    },
    Meaning {
        probe: "syscall",
        name: "calls",
        words: "system calls",
        unit: MeasureUnit::Events,
        kind: MeasureKind::Count,
        labels: &["call"],
        sees: "system calls",
        notable: 1000.0,
    },
    Meaning {
        probe: "syscall",
        name: "expected_errors",
        words: "system calls to be tried again",
        unit: MeasureUnit::Events,
        kind: MeasureKind::Count,
        labels: &["call", "errno"],
        sees: "system calls",
        notable: f64::INFINITY,
    },
    Meaning {
        probe: "syscall",
        name: "long_waits",
        words: "waits of 1 ms and more",
        unit: MeasureUnit::Nanoseconds,
        kind: MeasureKind::Distribution,
        labels: &["call"],
        sees: "system calls",
        notable: f64::INFINITY,
    },
    Meaning {
        probe: "syscall",
        name: "wait_time",
        words: "time waited in system calls",
        unit: MeasureUnit::Nanoseconds,
        kind: MeasureKind::Count,
        labels: &["call"],
        sees: "system calls",
        notable: f64::INFINITY,
    },
];

/// Every figure that there is: those counted by window, and those that events of their own kinds
/// are counted as ([`crate::measured`]).
pub fn all_meanings() -> impl Iterator<Item = &'static Meaning> {
    MEANINGS.iter().chain(crate::measured::OF_EVENTS)
}

/// What a figure means. None: a newer probe's.
#[must_use]
pub fn meaning(probe: &str, name: &str) -> Option<&'static Meaning> {
    all_meanings().find(|meaning| meaning.probe == probe && meaning.name == name)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_figure_has_one_meaning_and_a_name_that_any_system_takes() {
        let mut names = BTreeSet::new();
        for meaning in all_meanings() {
            assert!(names.insert((meaning.probe, meaning.name)), "{} twice", meaning.name);
            for name in [&[meaning.probe, meaning.name], meaning.labels].concat() {
                let is_safe = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
                assert!(!name.is_empty() && name.chars().all(is_safe), "{name}");
                assert!(!name.starts_with(|c: char| c.is_ascii_digit()), "{name}");
            }
            assert!(meaning.notable > 0.0, "{}: any change would be told", meaning.name);
        }
    }
}
