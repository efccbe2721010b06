//! What the kernel says of processor time.

use serde::{Deserialize, Serialize};

use crate::Buckets;

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
    /// How long threads could have run and did not, all of them together, nanoseconds: `wait`'s sum
    /// has whole waits in the window that they end in, this has of each what lies in the window,
    /// whether it has ended or not. None: a log of before this was told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waited_ns: Option<u64>,
    /// The longest of the waits that had not ended by the window's end, so far, nanoseconds. 0:
    /// nobody waited.
    #[serde(default)]
    pub waiting_max_ns: u64,
    /// How the target's cgroup was held back by its own quota, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub throttled: Option<Throttled>,
}

impl SchedWindow {
    /// The longest wait that the window has seen, so far as it had come by its end, nanoseconds.
    #[must_use]
    pub fn longest_wait_ns(&self) -> u64 {
        self.wait.max_ns.max(self.waiting_max_ns)
    }

    /// Adds another window of the same target's, so that this one is both together.
    pub fn merge(&mut self, other: &Self) {
        self.window_ns = self.window_ns.saturating_add(other.window_ns);
        self.on_cpu_ns = self.on_cpu_ns.saturating_add(other.on_cpu_ns);
        self.voluntary = self.voluntary.saturating_add(other.voluntary);
        self.involuntary = self.involuntary.saturating_add(other.involuntary);
        self.wait.merge(&other.wait);
        if let Some(more) = other.waited_ns {
            let sum = self.waited_ns.get_or_insert_default();
            *sum = sum.saturating_add(more);
        }
        self.waiting_max_ns = self.waiting_max_ns.max(other.waiting_max_ns);
        if let Some(more) = other.throttled {
            let sum = self.throttled.get_or_insert_default();
            sum.periods = sum.periods.saturating_add(more.periods);
            sum.periods_throttled = sum.periods_throttled.saturating_add(more.periods_throttled);
            sum.ns = sum.ns.saturating_add(more.ns);
        }
    }
}

/// Latencies over a window: bounds of buckets at most a sixteenth wide.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
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
    /// How many of which length, nanoseconds; empty where that was not kept.
    #[serde(default, skip_serializing_if = "Buckets::is_empty")]
    pub buckets: Buckets,
}

impl Latency {
    /// The latencies that a histogram counts. `sum_ns` and `max_ns` are exact, as it is not.
    #[must_use]
    pub fn of(buckets: Buckets, sum_ns: u64, max_ns: u64) -> Self {
        let mut latency =
            Self { samples: buckets.samples(), sum_ns, max_ns, buckets, ..Self::default() };
        (latency.p50_ns, latency.p99_ns) = (latency.percentile(50), latency.percentile(99));
        // A sample that lands while the reader turns the page is counted in one window and its
        // maximum in the next.
        latency.max_ns = max_ns.max(latency.p99_ns);
        latency
    }

    /// The upper bound of the bucket in which the sample of this rank lies, never more than the
    /// greatest sample, nanoseconds; 0 where it was not kept which bucket has how many.
    #[must_use]
    pub fn percentile(&self, hundredths: u64) -> u64 {
        self.buckets.percentile_up_to(self.max_ns, hundredths)
    }

    /// Adds another window's. Where one of the two does not say which bucket has how many, the
    /// percentiles are the greater of both, which they cannot exceed.
    pub fn merge(&mut self, other: &Self) {
        let known = |of: &Self| of.buckets.samples() == of.samples;
        let known = known(self) && known(other);
        self.samples = self.samples.saturating_add(other.samples);
        self.sum_ns = self.sum_ns.saturating_add(other.sum_ns);
        self.max_ns = self.max_ns.max(other.max_ns);
        if known {
            self.buckets.merge(&other.buckets);
            (self.p50_ns, self.p99_ns) = (self.percentile(50), self.percentile(99));
        } else {
            self.buckets = Buckets::default();
            self.p50_ns = self.p50_ns.max(other.p50_ns);
            self.p99_ns = self.p99_ns.max(other.p99_ns);
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn latency(counts: &[(u16, u64)], max_ns: u64) -> Latency {
        Latency::of(counts.to_vec().into(), 1_000, max_ns)
    }

    #[test]
    fn merged_windows_have_the_percentiles_of_all_their_samples() {
        let (calm, busy) = (latency(&[(3, 99), (9, 1)], 9), latency(&[(12, 100)], 12));
        assert_eq!((calm.p50_ns, calm.p99_ns, calm.max_ns), (3, 3, 9));
        let mut both = calm.clone();
        both.merge(&busy);
        assert_eq!((both.samples, both.sum_ns, both.max_ns), (200, 2_000, 12));
        assert_eq!((both.p50_ns, both.p99_ns), (9, 12));
        let mut nothing = Latency::default();
        nothing.merge(&calm);
        assert_eq!(nothing, calm);
    }

    #[test]
    fn what_kept_no_buckets_bounds_the_percentiles() {
        let without = Latency { buckets: Buckets::default(), ..latency(&[(12, 100)], 12) };
        let mut both = latency(&[(3, 100)], 3);
        both.merge(&without);
        assert_eq!((both.samples, both.p50_ns, both.p99_ns), (200, 12, 12));
        assert!(both.buckets.is_empty(), "half of them would pass for all");
        let json = serde_json::to_string(&without).unwrap();
        assert!(!json.contains("buckets"), "{json}");
        assert_eq!(serde_json::from_str::<Latency>(&json).unwrap(), without);
    }
}
