//! What the target's processes are told the time is, against our own clock.

use std::collections::BTreeMap;

use temblor_event::DoseSeen;

/// What a program of the process's would be told the time is, between two looks at our own clock.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reading {
    pub(super) told_ns: i128,
    pub(super) before_ns: i128,
    pub(super) after_ns: i128,
}

/// The readings of each process, since the offset was last changed.
#[derive(Debug, Default)]
pub(super) struct Readings {
    by_process: BTreeMap<u32, Vec<Seen>>,
    /// All readings that were off by more than half of what was asked, at any level.
    moved: u64,
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    offset_ns: i128,
    /// How long the reading took: by so much it may be wrong.
    took_ns: i128,
}

/// More are not kept: the median moves no further.
const KEPT_MAX: usize = 1000;

impl Readings {
    /// Takes one down.
    pub(super) fn add(&mut self, pid: u32, reading: Reading, asked_ns: i64) {
        let middle_ns = i128::midpoint(reading.before_ns, reading.after_ns);
        let seen = Seen {
            offset_ns: reading.told_ns - middle_ns,
            took_ns: reading.after_ns - reading.before_ns,
        };
        let is_moved = asked_ns != 0 && seen.offset_ns.abs() * 2 > i128::from(asked_ns).abs();
        self.moved += u64::from(is_moved);
        let kept = self.by_process.entry(pid).or_default();
        if kept.len() < KEPT_MAX {
            kept.push(seen);
        }
    }

    /// Another offset is in place from now on.
    pub(super) fn begin_again(&mut self) {
        self.by_process.clear();
    }

    /// How many readings were of a moved clock.
    pub(super) fn moved(&self) -> u64 {
        self.moved
    }

    /// What was asked of each process, and what it was told.
    pub(super) fn doses(&self, asked_ns: i64, source: &str) -> Vec<DoseSeen> {
        let dose = |(pid, seen): (&u32, &Vec<Seen>)| {
            let mut sorted = seen.clone();
            sorted.sort_unstable_by_key(|one| one.offset_ns);
            let middle = sorted.get(sorted.len() / 2);
            DoseSeen {
                what: format!("offset of the wall clock of process {pid}"),
                unit: "ms".into(),
                asked: ms(i128::from(asked_ns)),
                observed: middle.map(|one| ms(one.offset_ns)),
                within: 1.0 + middle.map_or(0.0, |one| ms(one.took_ns)),
                samples: seen.len() as u64,
                source: source.to_owned(),
            }
        };
        self.by_process.iter().map(dose).collect()
    }
}

#[expect(clippy::cast_precision_loss, reason = "ten years are known to the microsecond")]
fn ms(ns: i128) -> f64 {
    ns as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_stands_for_all_and_only_moved_ones_count() {
        let mut readings = Readings::default();
        let hour_ns = 3_600_000_000_000_i64;
        for off_ns in [3_000, 1_000, 2_000, -i128::from(hour_ns)] {
            let reading = Reading {
                told_ns: i128::from(hour_ns) + 50_000 + off_ns,
                before_ns: 0,
                after_ns: 100_000,
            };
            readings.add(7, reading, hour_ns);
        }
        assert_eq!(readings.moved(), 3);
        let dose = &readings.doses(hour_ns, "a test")[0];
        assert_eq!(dose.samples, 4);
        assert_eq!(dose.observed, Some(3_600_000.002));
        assert_eq!(dose.within, 1.1);
        assert_eq!(dose.holds(), Some(true));
        readings.begin_again();
        assert_eq!((readings.doses(0, "").len(), readings.moved()), (0, 3));
    }
}
