//! The buckets of a histogram as Prometheus has it: few, and the same for each series of a metric.
//!
//! Each is made of whole buckets of ours, so that no count is a guess. Times lie between powers of
//! two. A time is measured in whole nanoseconds (or microseconds), what is left of one dropped: all
//! that is recorded as at most 2^k - 1 is less than 2^k, which is the bound that is shown. Sizes and
//! counts are exact, and those that are a power of two are the commonest: there the bound is the
//! last value of the bucket that begins with the power, so that 4096 counts as at most 4351 and not
//! as at most 8192.

use std::ops::RangeInclusive;
use std::sync::LazyLock;

use temblor_event::{Buckets, MeasureUnit};

/// A bucket's upper end.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Bound {
    /// The greatest value that is counted, in the figure's own unit.
    pub(crate) last: u64,
    /// As it is shown, in Prometheus' unit.
    pub(crate) shown: f64,
}

/// From a microsecond to half a minute.
static NANOSECONDS: LazyLock<Vec<Bound>> = LazyLock::new(|| times(10..=35, 1e9));
static MICROSECONDS: LazyLock<Vec<Bound>> = LazyLock::new(|| times(2..=25, 1e6));
/// From 64 bytes to a gibibyte.
static BYTES: LazyLock<Vec<Bound>> = LazyLock::new(|| sizes(6..=30));
static EVENTS: LazyLock<Vec<Bound>> = LazyLock::new(|| sizes(0..=20));

/// The upper ends of a unit's buckets, rising; what is greater than the last is counted without one.
pub(crate) fn of(unit: MeasureUnit) -> &'static [Bound] {
    match unit {
        MeasureUnit::Nanoseconds => &NANOSECONDS,
        MeasureUnit::Microseconds => &MICROSECONDS,
        MeasureUnit::Bytes => &BYTES,
        MeasureUnit::Events => &EVENTS,
    }
}

fn times(exponents: RangeInclusive<u32>, a_second: f64) -> Vec<Bound> {
    let bound = |power: u64| Bound { last: power - 1, shown: as_f64(power) / a_second };
    exponents.map(|exponent| bound(1 << exponent)).collect()
}

fn sizes(exponents: RangeInclusive<u32>) -> Vec<Bound> {
    let last = |power: u64| Buckets::upper_bound(Buckets::bucket_of(power));
    let bound = |last: u64| Bound { last, shown: as_f64(last) };
    exponents.map(|exponent| bound(last(1 << exponent))).collect()
}

#[expect(clippy::cast_precision_loss, reason = "Prometheus has no other numbers")]
pub(crate) fn as_f64(value: u64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNITS: [MeasureUnit; 4] = [
        MeasureUnit::Nanoseconds,
        MeasureUnit::Microseconds,
        MeasureUnit::Bytes,
        MeasureUnit::Events,
    ];

    #[test]
    fn each_bucket_is_made_of_whole_ones_of_ours() {
        for unit in UNITS {
            let bounds = of(unit);
            assert!(bounds.is_sorted_by(|a, b| a.last < b.last && a.shown < b.shown), "{unit:?}");
            for bound in bounds {
                let bucket = Buckets::bucket_of(bound.last);
                assert_eq!(Buckets::upper_bound(bucket), bound.last, "{unit:?}: {bound:?}");
            }
        }
    }

    #[test]
    fn bounds_are_shown_in_seconds_and_bytes() {
        let shown = |unit, at: usize| of(unit)[at].shown.to_string();
        assert_eq!(shown(MeasureUnit::Nanoseconds, 0), "0.000001024");
        assert_eq!(shown(MeasureUnit::Microseconds, 8), "0.001024");
        assert_eq!(shown(MeasureUnit::Bytes, 6), "4351");
        assert_eq!(shown(MeasureUnit::Events, 0), "1");
    }
}
