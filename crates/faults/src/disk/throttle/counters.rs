//! What a cgroup's counters say has passed.

use std::fs;
use std::io;
use std::path::PathBuf;

use temblor_event::clock::now_ns;

use super::Limit;
use super::group::{Limited, Version};
use crate::disk::BlockDevice;
use crate::{Error, Result};

/// The kernel's throttling works in slices of a tenth of a second: over less than this, a rate
/// says more about where the slices fell than about the limit.
const SPAN_NS_MIN: u64 = 800_000_000;
/// Which share of a limit must be used for a span to count as one that used it up.
const USED_UP: f64 = 0.9;

/// Totals since the cgroup was made, or what was added to them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Passed {
    pub(super) read_bytes: u64,
    pub(super) write_bytes: u64,
    pub(super) reads: u64,
    pub(super) writes: u64,
}

impl Passed {
    /// Bytes and operations.
    pub(super) fn direction(&self, read: bool) -> (u64, u64) {
        if read { (self.read_bytes, self.reads) } else { (self.write_bytes, self.writes) }
    }

    fn of(&self, limit: Limit) -> u64 {
        match limit {
            Limit::ReadBytes => self.read_bytes,
            Limit::WriteBytes => self.write_bytes,
            Limit::ReadOperations => self.reads,
            Limit::WriteOperations => self.writes,
        }
    }

    fn since(&self, before: &Self) -> Self {
        Self {
            read_bytes: self.read_bytes.saturating_sub(before.read_bytes),
            write_bytes: self.write_bytes.saturating_sub(before.write_bytes),
            reads: self.reads.saturating_sub(before.reads),
            writes: self.writes.saturating_sub(before.writes),
        }
    }
}

/// The counters of one cgroup for one device.
#[derive(Debug, Clone)]
pub(super) struct Counters {
    dir: PathBuf,
    version: Version,
    device: BlockDevice,
}

impl Counters {
    pub(super) fn new(limited: &Limited, device: BlockDevice) -> Self {
        Self { dir: limited.dir.clone(), version: limited.version, device }
    }

    pub(super) fn read(&self) -> Result<Passed> {
        let file = |name: &str| {
            let path = self.dir.join(name);
            match fs::read_to_string(&path) {
                Ok(text) => Ok(text),
                Err(e) if e.kind() == io::ErrorKind::NotFound => Err(Error::system(
                    format!("read {}: the target's cgroup is gone", path.display()),
                    e,
                )),
                Err(e) => Err(Error::system(format!("read {}", path.display()), e)),
            }
        };
        let device = self.device.to_string();
        Ok(match self.version {
            Version::Two => io_stat(&file("io.stat")?, &device),
            Version::One => blkio(
                &file("blkio.throttle.io_service_bytes")?,
                &file("blkio.throttle.io_serviced")?,
                &device,
            ),
        })
    }
}

/// `8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0`. A device without a line had no I/O.
fn io_stat(text: &str, device: &str) -> Passed {
    let mut passed = Passed::default();
    let lines = text.lines().filter_map(|line| line.split_once(' '));
    for (_, words) in lines.filter(|(of, _)| *of == device) {
        for (key, value) in words.split(' ').filter_map(|word| word.split_once('=')) {
            let place = match key {
                "rbytes" => &mut passed.read_bytes,
                "wbytes" => &mut passed.write_bytes,
                "rios" => &mut passed.reads,
                "wios" => &mut passed.writes,
                _ => continue,
            };
            *place = value.parse().unwrap_or(0);
        }
    }
    passed
}

/// Lines such as `8:0 Write 4096`, in one file for bytes and one for operations.
fn blkio(bytes: &str, operations: &str, device: &str) -> Passed {
    let of = |text: &str, direction: &str| {
        let mut lines = text.lines().map(|line| line.split(' ').collect::<Vec<_>>());
        lines
            .find(|words| words.len() == 3 && words[0] == device && words[1] == direction)
            .and_then(|words| words[2].parse().ok())
            .unwrap_or(0)
    };
    Passed {
        read_bytes: of(bytes, "Read"),
        write_bytes: of(bytes, "Write"),
        reads: of(operations, "Read"),
        writes: of(operations, "Write"),
    }
}

/// A total over spans.
#[derive(Debug, Clone, Copy, Default)]
struct Spans {
    amount: u64,
    ns: u64,
    count: u64,
}

/// Readings of one device's counters while a limit is in place.
pub(super) struct Series {
    counters: Counters,
    first: Passed,
    now: Passed,
    /// The reading that the current span began with.
    mark: (u64, Passed),
    used_up: Vec<(Limit, Spans)>,
}

impl Series {
    pub(super) fn new(counters: Counters, first: Passed, at_ns: u64) -> Self {
        Self { counters, first, now: first, mark: (at_ns, first), used_up: Vec::new() }
    }

    pub(super) fn device(&self) -> BlockDevice {
        self.counters.device
    }

    pub(super) fn read(&mut self, limits: &[(Limit, u64)]) -> Result<()> {
        let now = self.counters.read()?;
        self.add(limits, now, now_ns());
        Ok(())
    }

    fn add(&mut self, limits: &[(Limit, u64)], now: Passed, at_ns: u64) {
        self.now = now;
        let ns = at_ns.saturating_sub(self.mark.0);
        if ns < SPAN_NS_MIN {
            return;
        }
        let passed = now.since(&self.mark.1);
        self.mark = (at_ns, now);
        for (limit, asked) in limits {
            let amount = passed.of(*limit);
            if rate(amount, ns) < USED_UP * rate(*asked, 1_000_000_000) {
                continue;
            }
            if !self.used_up.iter().any(|(of, _)| of == limit) {
                self.used_up.push((*limit, Spans::default()));
            }
            for (_, spans) in self.used_up.iter_mut().filter(|(of, _)| of == limit) {
                spans.amount += amount;
                spans.ns += ns;
                spans.count += 1;
            }
        }
    }

    /// What has passed since the limit is in place.
    pub(super) fn passed(&self) -> Passed {
        self.now.since(&self.first)
    }

    /// The rate over the spans that used a limit up, and their number.
    pub(super) fn rate(&self, limit: Limit) -> (Option<f64>, u64) {
        let spans = self.used_up.iter().find(|(of, _)| *of == limit).map(|(_, spans)| *spans);
        let spans = spans.unwrap_or_default();
        ((spans.count > 0).then(|| rate(spans.amount, spans.ns)), spans.count)
    }
}

/// A second's worth.
#[expect(clippy::cast_precision_loss, reason = "amounts are far below 2^52")]
fn rate(amount: u64, ns: u64) -> f64 {
    amount as f64 * 1e9 / ns.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_counters_are_read_for_one_device() {
        let want = Passed { read_bytes: 1, write_bytes: 2, reads: 3, writes: 4 };
        let stat =
            "8:16 rbytes=9 wbytes=9 rios=9 wios=9\n8:1 rbytes=1 wbytes=2 rios=3 wios=4 dios=5";
        assert_eq!(io_stat(stat, "8:1"), want);
        assert_eq!(io_stat(stat, "8:0"), Passed::default());
        let bytes = "8:16 Read 9\n8:1 Read 1\n8:1 Write 2\n8:1 Total 3\nTotal 12";
        let operations = "8:1 Read 3\n8:1 Write 4\n8:1 Sync 7\nTotal 7";
        assert_eq!(blkio(bytes, operations, "8:1"), want);
        assert_eq!(blkio("Total 0", "Total 0", "8:1"), Passed::default());
    }

    #[test]
    fn only_spans_that_use_a_limit_up_make_its_rate() {
        let counters = Counters {
            dir: "/".into(),
            version: Version::Two,
            device: BlockDevice { major: 8, minor: 0 },
        };
        let limits = [(Limit::WriteBytes, 1000), (Limit::WriteOperations, 10)];
        let start = Passed { write_bytes: 50_000, ..Passed::default() };
        let mut series = Series::new(counters, start, 0);
        let mut total = start;
        // Idle, used up, too short to tell (and so a part of the next), used up.
        for (at_ms, bytes) in [(1_000, 100), (2_000, 990), (2_100, 500), (3_100, 610), (4_000, 10)]
        {
            total.write_bytes += bytes;
            total.writes += 1;
            series.add(&limits, total, at_ms * 1_000_000);
        }
        assert_eq!(series.passed(), Passed { write_bytes: 2_210, writes: 5, ..Passed::default() });
        assert_eq!(series.rate(Limit::WriteBytes), (Some(1000.0), 2));
        assert_eq!(series.rate(Limit::WriteOperations), (None, 0));
    }
}
