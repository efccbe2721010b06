//! What a count of samples says of what it is a sample of.
//!
//! A share is held in the exact interval of Clopper and Pearson (Biometrika 26, 1934), a rate in
//! that of Garwood (Biometrika 28, 1936): neither is ever too narrow, however few the samples are.
//! A difference is put together from the intervals of its two sides, as Newcombe (Statistics in
//! Medicine 17, 1998, method 10) and Zou and Donner (Statistics in Medicine 27, 2008) do.
//!
//! All take each sample to be drawn by itself. Samples of a program that does one thing for
//! seconds on end are not, and differ by more than is told here.

use serde::Serialize;
use statrs::function::beta::beta_reg;
use statrs::function::erf::erfc_inv;
use statrs::function::gamma::gamma_lr;

/// Two bounds, of which the true figure is between.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Interval {
    /// It is hardly less than this.
    pub low: f64,
    /// It is hardly more than this.
    pub high: f64,
}

impl Interval {
    /// The same in another unit.
    pub(crate) fn scaled(self, factor: f64) -> Self {
        Self { low: self.low * factor, high: self.high * factor }
    }

    /// Whether a figure is in it.
    #[must_use]
    pub fn has(&self, figure: f64) -> bool {
        self.low <= figure && figure <= self.high
    }
}

/// Halvings of what is searched: the bounds are exact to about the last digit of a share.
const HALVINGS: usize = 40;

/// The share that is undercut with a chance of `miss` where so many were of it, and so many were not.
/// Neither need be whole: it is a quantile of the beta distribution.
pub(crate) fn share_low(count: f64, others: f64, miss: f64) -> f64 {
    if count <= 0.0 {
        return 0.0;
    }
    root(0.0, count / (count + others), |share| beta_reg(count, others, share) - miss)
}

/// The share that is exceeded with a chance of `miss`.
pub(crate) fn share_high(count: f64, others: f64, miss: f64) -> f64 {
    if others <= 0.0 {
        return 1.0;
    }
    let mean = count / (count + others);
    root(mean, 1.0, |share| beta_reg(count, others, share) - (1.0 - miss))
}

/// From so many on the cube root of the gamma distribution is normal as far as anybody can tell (Wilson
/// and Hilferty, 1931), and its own function takes long.
const MANY: f64 = 1e5;

/// The mean that is undercut with a chance of `miss` where so many came in some time: a quantile of the
/// gamma distribution.
pub(crate) fn mean_low(count: f64, miss: f64) -> f64 {
    if count <= 0.0 {
        return 0.0;
    }
    if count >= MANY {
        return mean_of_many(count, -1.0, miss);
    }
    root(0.0, count, |mean| if mean > 0.0 { gamma_lr(count, mean) - miss } else { -miss })
}

/// The mean that is exceeded with a chance of `miss`.
pub(crate) fn mean_high(count: f64, miss: f64) -> f64 {
    if count >= MANY {
        return mean_of_many(count, 1.0, miss);
    }
    // A bound that is wide enough for any chance that is asked for here.
    let most = count + 40.0 + 12.0 * count.sqrt();
    root(count, most, |mean| gamma_lr(count, mean) - (1.0 - miss))
}

fn mean_of_many(count: f64, sign: f64, miss: f64) -> f64 {
    let ninth = 1.0 / (9.0 * count);
    count * (1.0 - ninth + sign * exceeded(miss) * ninth.sqrt()).powi(3)
}

/// How many standard errors are exceeded with this chance.
pub(crate) fn exceeded(chance: f64) -> f64 {
    std::f64::consts::SQRT_2 * erfc_inv(2.0 * chance)
}

/// Where a function that grows crosses zero.
fn root(mut low: f64, mut high: f64, of: impl Fn(f64) -> f64) -> f64 {
    for _ in 0..HALVINGS {
        let middle = f64::midpoint(low, high);
        if of(middle) < 0.0 { low = middle } else { high = middle }
    }
    f64::midpoint(low, high)
}

/// One side of a difference: its figure and what it is between.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Side {
    pub(crate) figure: f64,
    pub(crate) within: Interval,
}

/// What the second has more than the first.
pub(crate) fn difference(base: Side, new: Side) -> Interval {
    let by = new.figure - base.figure;
    let below = (new.figure - new.within.low).hypot(base.within.high - base.figure);
    let above = (new.within.high - new.figure).hypot(base.figure - base.within.low);
    Interval { low: by - below, high: by + above }
}

/// The interval of Clopper and Pearson. Each bound is missed with a chance of at most `miss`.
#[cfg(test)]
pub(crate) fn plain_share(count: f64, of: f64, miss: f64) -> Interval {
    Interval {
        low: share_low(count, of - count + 1.0, miss),
        high: share_high(count + 1.0, of - count, miss),
    }
}

#[cfg(test)]
mod tests {
    use super::plain_share as share;
    use super::*;

    fn close(told: f64, expected: f64) -> bool {
        (told - expected).abs() < 5e-5 * expected.abs().max(1.0)
    }

    /// The chance of `count` or more of `of`, added up term by term.
    fn as_many_or_more(count: u64, of: u64, share: f64) -> f64 {
        let chance = |k: u64| {
            let ways: f64 = (0..k).map(|i| ((of - i) as f64 / (k - i) as f64).ln()).sum();
            (ways + k as f64 * share.ln() + (of - k) as f64 * (-share).ln_1p()).exp()
        };
        (count..=of).map(chance).sum()
    }

    #[test]
    fn shares_are_where_their_definition_puts_them() {
        for (count, of) in [(1, 10), (3, 24), (10, 100), (50, 100), (99, 100), (700, 2000)] {
            for miss in [0.025, 0.005, 1e-5] {
                let Interval { low, high } = share(count as f64, of as f64, miss);
                assert!(close(as_many_or_more(count, of, low) / miss, 1.0), "{count}/{of} {low}");
                let fewer = 1.0 - as_many_or_more(count + 1, of, high);
                assert!(close(fewer / miss, 1.0), "{count}/{of} {high}: {fewer}");
            }
        }
        // The table in every textbook: 10 of 100.
        let Interval { low, high } = share(10.0, 100.0, 0.025);
        assert!(close(low, 0.049_005) && close(high, 0.176_223), "{low} {high}");
        assert_eq!(share(0.0, 30.0, 0.025).low, 0.0);
        assert_eq!(share(30.0, 30.0, 0.025).high, 1.0);
        assert!(close(share(0.0, 30.0, 0.025).high, 1.0 - 0.025_f64.powf(1.0 / 30.0)));
    }

    #[test]
    fn means_are_where_the_tables_have_them() {
        for (count, low, high) in [
            (0.0, 0.0, 3.6889),
            (1.0, 0.0253, 5.5716),
            (10.0, 4.7954, 18.3904),
            (100.0, 81.3640, 121.6272),
        ] {
            let told = (mean_low(count, 0.025), mean_high(count + 1.0, 0.025));
            assert!(
                (told.0 - low).abs() < 1e-3 && (told.1 - high).abs() < 1e-3,
                "{count} {told:?}"
            );
        }
        // From one way to the other there is no step.
        for miss in [0.025, 1e-6] {
            let steps = (
                mean_low(MANY, miss) - mean_low(MANY - 1e-3, miss),
                mean_high(MANY, miss) - mean_high(MANY - 1e-3, miss),
            );
            assert!(steps.0.abs() < 0.05 && steps.1.abs() < 0.05, "{miss}: {steps:?}");
        }
        // Large counts are close to what the normal distribution says.
        let far = (mean_high(1e6 + 1.0, 1e-6) - 1e6) / 1e3;
        assert!((4.74..4.78).contains(&far), "{far}");
        let far = (1e6 - mean_low(1e6, 1e-6)) / 1e3;
        assert!((4.73..4.78).contains(&far), "{far}");
    }

    #[test]
    fn a_difference_is_as_wide_as_both_of_its_sides() {
        let side = |count, of| Side { figure: count / of, within: share(count, of, 0.025) };
        let Interval { low, high } = difference(side(56.0, 70.0), side(48.0, 80.0));
        // Newcombe's own example is 56 of 70 against 48 of 80, with Wilson's intervals: 0.0524 to
        // 0.3339. Exact ones are a little wider.
        assert!(
            (-0.345..-0.333).contains(&low) && (-0.0524..-0.035).contains(&high),
            "{low} {high}"
        );
        assert!(difference(side(500.0, 1000.0), side(500.0, 1000.0)).has(0.0));
    }
}
