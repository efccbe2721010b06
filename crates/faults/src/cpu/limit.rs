//! A group's limit of processor time, as the two versions of cgroups write it.

use std::fs;
use std::path::{Path, PathBuf};

/// The control file of version 2: `max 100000`, or quota and period in microseconds.
pub(super) const V2: &str = "cpu.max";
/// The control files of version 1, in microseconds; a quota of -1 is none.
pub(super) const V1_QUOTA: &str = "cpu.cfs_quota_us";
pub(super) const V1_PERIOD: &str = "cpu.cfs_period_us";
/// How much of an unused quota may be saved up; it must not be more than the quota.
pub(super) const V2_BURST: &str = "cpu.max.burst";
pub(super) const V1_BURST: &str = "cpu.cfs_burst_us";

/// The kernel's bounds.
const QUOTA_MIN_US: u64 = 1_000;
const PERIOD_MAX_US: u64 = 1_000_000;
/// The least that can be given, in processors.
pub(super) const CPUS_MIN: f64 = 0.001;

/// How much processor time there is in each period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limit {
    /// None: as much as the machine has.
    pub(super) quota_us: Option<u64>,
    pub(super) period_us: u64,
}

impl Limit {
    /// Reads the limit of a group; none where it has no such files (the root of version 2).
    pub(super) fn of(dir: &Path) -> Option<Self> {
        let read = |name: &str| fs::read_to_string(dir.join(name)).ok();
        read(V2)
            .and_then(|text| Self::parse_v2(&text))
            .or_else(|| Self::parse_v1(&read(V1_QUOTA)?, &read(V1_PERIOD)?))
    }

    fn parse_v2(text: &str) -> Option<Self> {
        let (quota, period) = text.trim().split_once(' ')?;
        let quota_us = match quota {
            "max" => None,
            number => Some(number.parse().ok()?),
        };
        Some(Self { quota_us, period_us: period.parse().ok()? })
    }

    fn parse_v1(quota: &str, period: &str) -> Option<Self> {
        let quota_us: i64 = quota.trim().parse().ok()?;
        Some(Self {
            quota_us: u64::try_from(quota_us).ok(),
            period_us: period.trim().parse().ok()?,
        })
    }

    /// How many processors that is.
    #[expect(clippy::cast_precision_loss, reason = "microseconds in a second")]
    pub(super) fn cpus(self) -> Option<f64> {
        self.quota_us.map(|quota_us| quota_us as f64 / self.period_us.max(1) as f64)
    }

    /// The limit that gives this many processors, with the period kept where the kernel takes a
    /// quota that short: a shorter period throttles more evenly, and that is the target's owner's
    /// choice.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "microseconds, checked to be more than 0 and within the machine's processors"
    )]
    pub(super) fn to(self, cpus: f64) -> Self {
        let quota_us = |period_us: u64| (cpus * period_us as f64).round() as u64;
        let period_us =
            if quota_us(self.period_us) >= QUOTA_MIN_US { self.period_us } else { PERIOD_MAX_US };
        Self { quota_us: Some(quota_us(period_us).max(QUOTA_MIN_US)), period_us }
    }

    /// The files to write, in their order, each with what it will read back.
    pub(super) fn files(self, dir: &Path) -> Vec<(PathBuf, String)> {
        let Some(quota_us) = self.quota_us else { return Vec::new() };
        if dir.join(V2).is_file() {
            return vec![(dir.join(V2), format!("{quota_us} {}", self.period_us))];
        }
        // A longer period first makes the old quota smaller, never the sum of both larger.
        vec![
            (dir.join(V1_PERIOD), self.period_us.to_string()),
            (dir.join(V1_QUOTA), quota_us.to_string()),
        ]
    }
}

/// How many processors the groups from this one to the root leave, at most `cpus`.
pub(super) fn available(dir: &Path, cpus: f64) -> f64 {
    dir.ancestors().filter_map(|dir| Limit::of(dir)?.cpus()).fold(cpus, f64::min)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_are_read() {
        for (text, expected) in [
            ("max 100000\n", Some((None, 100_000))),
            ("20000 50000\n", Some((Some(20_000), 50_000))),
            ("max\n", None),
            ("", None),
        ] {
            let expected = expected.map(|(quota_us, period_us)| Limit { quota_us, period_us });
            assert_eq!(Limit::parse_v2(text), expected, "{text}");
        }
        let v1 = |quota| Limit::parse_v1(quota, "100000\n").unwrap();
        assert_eq!(v1("-1\n").quota_us, None);
        assert_eq!(v1("150000\n").cpus(), Some(1.5));
        assert_eq!(Limit::parse_v1("x", "1"), None);
    }

    #[test]
    fn a_quota_too_short_for_its_period_gets_a_longer_one() {
        let of = |period_us, cpus| {
            let limit = Limit { quota_us: None, period_us }.to(cpus);
            (limit.quota_us.unwrap(), limit.period_us)
        };
        assert_eq!(of(100_000, 0.1), (10_000, 100_000));
        assert_eq!(of(100_000, 1.9999), (199_990, 100_000));
        assert_eq!(of(100_000, 0.01), (1_000, 100_000));
        assert_eq!(of(100_000, 0.005), (5_000, 1_000_000));
        assert_eq!(of(10_000, 0.05), (50_000, 1_000_000));
        assert_eq!(of(1_000_000, CPUS_MIN), (1_000, 1_000_000));
    }

    #[test]
    fn the_narrowest_group_above_decides_what_is_available() {
        let dir = tempfile::tempdir().unwrap();
        let below = dir.path().join("a/b");
        fs::create_dir_all(&below).unwrap();
        let cpus = f64::from(8);
        let is = |expected: f64| (available(&below, cpus) - expected).abs() < 1e-9;
        assert!(is(8.0));
        fs::write(below.join(V2), "max 100000").unwrap();
        fs::write(dir.path().join("a").join(V2), "50000 100000").unwrap();
        assert!(is(0.5));
        fs::write(below.join(V2), "20000 100000").unwrap();
        assert!(is(0.2));
        let limit = Limit { quota_us: Some(7), period_us: 9 };
        assert_eq!(limit.files(&below), [(below.join(V2), "7 9".to_owned())]);
        let v1 = [(V1_PERIOD, "9"), (V1_QUOTA, "7")];
        let v1 = v1.map(|(name, value)| (dir.path().join(name), value.to_owned()));
        assert_eq!(limit.files(dir.path()), v1);
    }
}
