//! What the kernel says of processor time.

use serde::{Deserialize, Serialize};

/// How a target's threads came to the processors over a window, aggregated in the kernel. The
/// event's time is the window's end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchedWindow {
    /// Whose threads.
    pub service: String,
    /// The window's length, nanoseconds.
    pub window_ns: u64,
    /// Time on a processor, all threads together, nanoseconds.
    pub on_cpu_ns: u64,
    /// Switches away from a thread that waited for something.
    pub voluntary: u64,
    /// Switches away from a thread that could have gone on.
    pub involuntary: u64,
    /// From when a thread could run to when it did.
    pub wait: Latency,
    /// How the target's cgroup was held back by its own quota, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub throttled: Option<Throttled>,
}

/// Latencies over a window: bounds of buckets at most a sixteenth wide.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Latency {
    /// How many.
    pub samples: u64,
    /// All of them together, nanoseconds.
    pub sum_ns: u64,
    /// Median, nanoseconds: the upper bound of its bucket.
    pub p50_ns: u64,
    /// 99th percentile, nanoseconds: the upper bound of its bucket.
    pub p99_ns: u64,
    /// The greatest, nanoseconds.
    pub max_ns: u64,
}

/// What a cgroup's `cpu.stat` counted over a window.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Throttled {
    /// Periods of the quota in which something ran.
    pub periods: u64,
    /// Those of them in which the quota was used up.
    pub periods_throttled: u64,
    /// How long the group was held back, nanoseconds; all processors together.
    pub ns: u64,
}
