//! What the samples of something weigh, and what that says of what they are samples of.
//!
//! Where all weigh the same, as those of processor time, intervals are those of their counts. Where
//! they do not, as those of memory, a figure rests on as many samples of equal weight as could vary as
//! much: none weighs more than the heaviest, so a sum varies by no more than that times the sum. For a
//! share that is Korn and Graubard's (Survey Methodology 24, 1998) way to use Clopper and Pearson's
//! interval, for a rate Fay and Feuer's (Statistics in Medicine 16, 1997) to use Garwood's, each with
//! this larger variance: with the one that was seen, a few heavy samples that came by chance would be
//! taken for a change several times too often. The plain ones are exact; these are not proven to be
//! wide enough, and have been in all that was drawn of them (`tests/noise.rs`).
//!
//! Whatever was sampled for certain, as a large block of memory is, leaves nothing to chance in what one
//! profile says of the time that it was taken in. Another profile of the same program may still have
//! more or fewer of it: there it counts like all others.

use crate::SAMPLES_MIN;
use crate::interval::{self, Interval};

/// How many samples figures rest on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sampled {
    /// Those that were taken.
    pub count: u64,
    /// How many of equal weight would tell as much of the whole: the effective sample size (Kish,
    /// Survey Sampling, 1965). Those that were sampled for certain tell all there is.
    pub effective: u64,
}

impl Sampled {
    /// Whether nothing can be said.
    #[must_use]
    pub fn is_too_few(self) -> bool {
        self.effective < SAMPLES_MIN
    }
}

/// How many there are; and where they do not weigh the same what they are worth.
impl std::fmt::Display for Sampled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} sample{}", self.count, if self.count == 1 { "" } else { "s" })?;
        if self.effective == self.count {
            return Ok(());
        }
        write!(f, " (as good as {} of equal weight)", self.effective)
    }
}

/// The samples of something.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Drawn {
    pub(crate) samples: u64,
    /// What they weigh together, in a unit that is the same in all profiles of a kind.
    sum: f64,
    /// What the heaviest weighs.
    pub(crate) most: f64,
    /// The variance of the sum by the sampling alone (Horvitz and Thompson, 1952): the sum of the squares
    /// of the weights, of each as much as the chance is that it had not been sampled.
    variance: f64,
    /// Of the heaviest by that measure.
    most_open: f64,
}

impl Drawn {
    /// So many that all weigh the same, of a great many more.
    pub(crate) fn alike(samples: u64) -> Self {
        let sum = samples as f64;
        Self { samples, sum, most: 1.0, variance: sum, most_open: 1.0 }
    }

    /// So many that weigh so much together, and about the same each; each was sampled with this chance.
    pub(crate) fn weighing(samples: u64, together: u64, chance: f64) -> Self {
        let sum = together as f64;
        let most = sum / samples.max(1) as f64;
        let most_open = most * (1.0 - chance).max(0.0);
        Self { samples, sum, most, variance: sum * most_open, most_open }
    }

    pub(crate) fn add(&mut self, more: Self) {
        self.samples = self.samples.saturating_add(more.samples);
        self.sum += more.sum;
        self.most = self.most.max(more.most);
        self.variance += more.variance;
        self.most_open = self.most_open.max(more.most_open);
    }

    pub(crate) fn sampled(self) -> Sampled {
        // Without any variance nothing is left open, however few there are.
        let effective = self.sum * self.sum / self.variance;
        let effective = (effective.round() as u64).min(self.samples);
        Sampled { count: self.samples, effective }
    }

    /// How many there would be if all weighed as much as the heaviest.
    pub(crate) fn of_heaviest(self, most: f64) -> f64 {
        self.sum / most
    }

    /// The share that they have of a whole that they are part of.
    pub(crate) fn share_of(self, whole: Self) -> f64 {
        self.sum / whole.sum
    }

    /// What that share is between in the time of the profile. Each bound is missed with a chance of
    /// about `miss`, or less.
    pub(crate) fn share_in_this(self, whole: Self, miss: f64) -> Interval {
        let most = if self.samples > 0 { self.most_open } else { whole.most_open };
        self.share_if(whole, (most, whole.most_open), miss)
    }

    /// What it is between in any such time, if no sample of these weighs more than `most`, and none of
    /// the whole more than its heaviest.
    pub(crate) fn share_in_any(self, whole: Self, most: f64, miss: f64) -> Interval {
        self.share_if(whole, (most, whole.most), miss)
    }

    fn share_if(self, whole: Self, (most, most_of_others): (f64, f64), miss: f64) -> Interval {
        let others = (whole.sum - self.sum).max(0.0);
        // As in the plain ones, the sample that would have been next is of the others in the lower
        // bound, and in the upper one it is of these.
        let low = alike((self.sum, most), (others + most_of_others, most_of_others));
        let high = alike((self.sum + most, most), (others, most_of_others));
        let share = self.share_of(whole);
        Interval {
            low: low.map_or(share, |(count, others)| interval::share_low(count, others, miss)),
            high: high.map_or(share, |(count, others)| interval::share_high(count, others, miss)),
        }
    }

    /// What the sum is between in any such time, in units of which the whole has `of_whole`. Each bound
    /// is missed with a chance of about `miss`, or less, if no sample weighs more than `most`.
    pub(crate) fn sum_in_any(self, whole: Self, of_whole: f64, most: f64, miss: f64) -> Interval {
        let count = self.of_heaviest(most);
        let (low, high) = (interval::mean_low(count, miss), interval::mean_high(count + 1.0, miss));
        Interval { low, high }.scaled(most * of_whole / whole.sum)
    }

    /// What the heaviest of them weighs; of none, what the heaviest of all does.
    pub(crate) fn most_of(self, whole: Self) -> f64 {
        if self.samples > 0 { self.most } else { whole.most }
    }
}

/// How many samples of equal weight would have a share of all that varies as much, and how many would
/// be others, where these and the others weigh so much together and so much at most each. None: nothing
/// varies.
fn alike(these: (f64, f64), others: (f64, f64)) -> Option<(f64, f64)> {
    let whole = these.0 + others.0;
    let (share, rest) = (these.0 / whole, others.0 / whole);
    // A share of a sum that varies itself.
    let variance =
        (rest * rest * these.0 * these.1 + share * share * others.0 * others.1) / whole / whole;
    if variance > 0.0 {
        let count = share * rest / variance;
        return Some((share * count, rest * count));
    }
    let is_open = these.1 > 0.0 && others.1 > 0.0;
    is_open.then(|| (these.0 / these.1, others.0 / others.1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interval::plain_share;

    fn close(one: Interval, other: Interval) -> bool {
        (one.low - other.low).abs() < 1e-9 && (one.high - other.high).abs() < 1e-9
    }

    #[test]
    fn what_weighs_the_same_is_as_good_as_its_count() {
        for (count, of) in [(0_u32, 50_u32), (1, 50), (24, 100), (50, 50)] {
            let plain = plain_share(f64::from(count), f64::from(of), 0.025);
            let (count, of) = (u64::from(count), u64::from(of));
            let (part, whole) = (Drawn::alike(count), Drawn::alike(of));
            let told = part.share_in_this(whole, 0.025);
            assert!(close(told, plain), "{count} of {of}: {told:?} {plain:?}");
            assert!(close(part.share_in_any(whole, 1.0, 0.025), plain), "{count} of {of}");
            // In another unit.
            let heavy = (Drawn::weighing(count, count * 7, 0.0), Drawn::weighing(of, of * 7, 0.0));
            assert!(close(heavy.0.share_in_any(heavy.1, 7.0, 0.025), plain), "{count} of {of}");
            assert_eq!(heavy.1.sampled(), Sampled { count: of, effective: of });
            let sum = |drawn: Drawn, whole, most| drawn.sum_in_any(whole, 1.0, most, 0.025);
            let sums = (sum(part, whole, 1.0), sum(heavy.0, heavy.1, 7.0));
            assert!(close(sums.0, sums.1), "{sums:?}");
        }
    }

    #[test]
    fn counts_that_a_fraction_does_not_hold_have_an_interval() {
        for (count, of) in [(u64::MAX - 1, u64::MAX), (i64::MAX as u64, i64::MAX as u64 + 13)] {
            let (part, whole) = (Drawn::alike(count), Drawn::alike(of));
            let Interval { low, high } = part.share_in_this(whole, 0.025);
            assert!((0.99..=1.0).contains(&low) && (low..=1.0).contains(&high), "{low} {high}");
            let Interval { low, high } = part.sum_in_any(whole, 1.0, 1.0, 0.025);
            assert!((0.99..=1.0).contains(&low) && (1.0..1.01).contains(&high), "{low} {high}");
        }
    }

    #[test]
    fn one_heavy_sample_is_one() {
        let mut whole = Drawn::weighing(1000, 1000, 0.0);
        let heavy = Drawn::weighing(1, 1000, 0.0);
        whole.add(heavy);
        let within = heavy.share_in_this(whole, 0.025);
        assert!(within.low < 0.05 && within.high > 0.8, "{within:?}");
        assert_eq!(whole.sampled(), Sampled { count: 1001, effective: 4 });
        assert!(whole.sampled().is_too_few());
        let told = whole.sampled().to_string();
        assert_eq!(told, "1001 samples (as good as 4 of equal weight)");
        assert_eq!(Drawn::alike(120).sampled().to_string(), "120 samples");
        assert_eq!(Drawn::alike(1).sampled().to_string(), "1 sample");
        // A light one among them is known as well as one of a thousand, unless it may be as heavy.
        let light = Drawn::weighing(1, 1, 0.0);
        assert!(light.share_in_any(whole, 1.0, 0.025).high < 0.004);
        assert!(light.share_in_any(whole, 1000.0, 0.025).high > 0.4);
        assert!(light.sum_in_any(whole, 2000.0, 1.0, 0.025).high < 6.0);
        assert!(light.sum_in_any(whole, 2000.0, 1000.0, 0.025).high > 3000.0);
    }

    #[test]
    fn what_was_sampled_for_certain_leaves_nothing_open_in_its_own_time() {
        let large = Drawn::weighing(1, 500, 1.0);
        let small = Drawn::weighing(400, 400, 0.0);
        let mut whole = large;
        whole.add(small);
        assert_eq!(whole.sampled(), Sampled { count: 401, effective: 401 });
        let within = large.share_in_this(whole, 0.025);
        assert!(within.low > 0.5 && within.high < 0.6, "{within:?}");
        // Another time there may be none of it, or several.
        let within = large.share_in_any(whole, 500.0, 0.025);
        assert!(within.low < 0.1 && within.high > 0.8, "{within:?}");
        // Nothing was left to chance at all.
        let (part, whole) = (Drawn::weighing(3, 300, 1.0), Drawn::weighing(4, 400, 1.0));
        assert_eq!(part.share_in_this(whole, 0.025), Interval { low: 0.75, high: 0.75 });
        assert_eq!(whole.sampled(), Sampled { count: 4, effective: 4 });
    }
}
