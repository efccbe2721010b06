//! What the kernel counts of a group that is held to a quota.

use std::fs;
use std::path::{Path, PathBuf};

use temblor_event::clock::now_ns;

/// A window counts as throttled when that share of its periods was.
const THROTTLED_SHARE: f64 = 0.9;
/// A window shorter than this many periods says too little.
const WINDOW_PERIODS: f64 = 4.0;
/// How many periods must have been seen before a figure is given: at each end of a stretch there
/// is one that is seen in part.
const SEEN_PERIODS: f64 = 20.0;

/// The counters of `cpu.stat`, and the processor time used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counters {
    pub(super) t_ns: u64,
    /// Periods in which the group had something to run.
    pub(super) periods: u64,
    /// Those of them in which it used up its quota and had to wait.
    pub(super) throttled: u64,
    /// How long its run queues waited, summed over processors.
    pub(super) throttled_ns: u64,
    /// Processor time used, where it is counted.
    pub(super) usage_ns: Option<u64>,
}

impl Counters {
    /// Reads `cpu.stat`, and the file with the usage where that is another one (version 1).
    pub(super) fn read(dir: &Path, usage: Option<&PathBuf>) -> std::io::Result<Self> {
        let mut counters = Self::parse(&fs::read_to_string(dir.join("cpu.stat"))?);
        counters.t_ns = now_ns();
        if let Some(usage) = usage {
            counters.usage_ns = fs::read_to_string(usage)?.trim().parse().ok();
        }
        Ok(counters)
    }

    fn parse(text: &str) -> Self {
        let mut found = Self::default();
        for (name, value) in text.lines().filter_map(|line| line.split_once(' ')) {
            let Ok(value) = value.trim().parse::<u64>() else { continue };
            match name {
                "nr_periods" => found.periods = value,
                "nr_throttled" => found.throttled = value,
                "throttled_time" => found.throttled_ns = value,
                "throttled_usec" => found.throttled_ns = value * 1_000,
                "usage_usec" => found.usage_ns = Some(value * 1_000),
                _ => {}
            }
        }
        found
    }
}

/// The processor time used while a group was throttled all the time.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Used {
    wall_ns: u64,
    usage_ns: u64,
    windows: u64,
}

impl Used {
    /// Adds the time between two readings, if the group was throttled all the while.
    #[expect(clippy::cast_precision_loss, reason = "counts of periods in a window")]
    pub(super) fn add(&mut self, from: &Counters, to: &Counters, period_us: u64) {
        let (Some(usage_before), Some(usage_after)) = (from.usage_ns, to.usage_ns) else { return };
        let wall_ns = to.t_ns.saturating_sub(from.t_ns);
        let due = wall_ns as f64 / (period_us.max(1) * 1_000) as f64;
        let throttled = to.throttled.saturating_sub(from.throttled) as f64;
        // Periods in which it had nothing to run are not counted by the kernel.
        if due >= WINDOW_PERIODS && throttled >= due.floor() * THROTTLED_SHARE {
            self.wall_ns += wall_ns;
            self.usage_ns += usage_after.saturating_sub(usage_before);
            self.windows += 1;
        }
    }

    /// How many processors were used, once enough has been seen.
    #[expect(clippy::cast_precision_loss, reason = "a ratio of times")]
    pub(super) fn cpus(&self, period_us: u64) -> Option<f64> {
        let enough_ns = SEEN_PERIODS * (period_us * 1_000) as f64;
        (self.wall_ns > 0 && self.wall_ns as f64 >= enough_ns)
            .then(|| self.usage_ns as f64 / self.wall_ns as f64)
    }

    pub(super) fn windows(&self) -> u64 {
        self.windows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_are_read() {
        let v1 = "nr_periods 12\nnr_throttled 9\nthrottled_time 5000\nnr_bursts 0\n";
        let v2 = "usage_usec 70\nuser_usec 60\nnr_periods 12\nnr_throttled 9\nthrottled_usec 5\n";
        let expected =
            Counters { periods: 12, throttled: 9, throttled_ns: 5000, ..Default::default() };
        assert_eq!(Counters::parse(v1), expected);
        assert_eq!(Counters::parse(v2), Counters { usage_ns: Some(70_000), ..expected });
        assert_eq!(Counters::parse(""), Counters::default());
    }

    #[test]
    fn only_time_that_was_throttled_throughout_counts() {
        let at = |s: u64, throttled, usage_ms: u64| Counters {
            t_ns: s * 1_000_000_000,
            periods: s * 10,
            throttled,
            throttled_ns: 0,
            usage_ns: Some(usage_ms * 1_000_000),
        };
        let mut used = Used::default();
        used.add(&at(0, 0, 0), &at(1, 4, 50), 100_000);
        assert_eq!((used.windows(), used.cpus(100_000)), (0, None), "half idle");
        used.add(&at(1, 4, 50), &at(2, 14, 150), 100_000);
        assert_eq!(used.cpus(100_000), None, "too little seen");
        used.add(&at(2, 14, 150), &at(3, 23, 250), 100_000);
        assert_eq!((used.windows(), used.cpus(100_000)), (2, Some(0.1)));
        let uncounted = Counters { usage_ns: None, ..at(4, 33, 0) };
        used.add(&at(3, 23, 250), &uncounted, 100_000);
        assert_eq!(used.windows(), 2);
    }
}
