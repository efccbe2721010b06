//! What the samples of something weigh, and what that says of what they are samples of.
//!
//! Where all weigh the same, as those of processor time, intervals are those of their counts. Where
//! they do not, as those of memory, a figure rests on as many samples of equal weight as could vary as
//! much: none weighs more than the heaviest, so a sum varies by no more than that times the sum. For a
//! share that is Korn and Graubard's (Survey Methodology 24, 1998) way to use Clopper and Pearson's
//! interval, for a rate Fay and Feuer's (Statistics in Medicine 16, 1997) to use Garwood's, each with
//! this larger variance: with the one that was seen, a few heavy samples that came by chance would be
//! taken for a change several times too often.

use crate::SAMPLES_MIN;
use crate::interval::{self, Interval};

/// How many samples figures rest on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sampled {
    /// Those that were taken.
    pub count: u64,
    /// How many of equal weight would tell as much of the whole: the effective sample size (Kish,
    /// Survey Sampling, 1965).
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
        write!(f, "{} samples", self.count)?;
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
    /// What they weigh together, in a unit that is the same in all of a profile.
    sum: f64,
    /// The sum of the squares of what each weighs.
    squares: f64,
    /// What the heaviest weighs.
    most: f64,
}

impl Drawn {
    /// So many that all weigh the same.
    pub(crate) fn alike(samples: u64) -> Self {
        Self { samples, sum: samples as f64, squares: samples as f64, most: 1.0 }
    }

    /// So many that weigh so much together, and about the same each.
    pub(crate) fn weighing(samples: u64, together: u64) -> Self {
        let sum = together as f64;
        let most = sum / samples.max(1) as f64;
        Self { samples, sum, squares: sum * most, most }
    }

    pub(crate) fn add(&mut self, more: Self) {
        self.samples = self.samples.saturating_add(more.samples);
        self.sum += more.sum;
        self.squares += more.squares;
        self.most = self.most.max(more.most);
    }

    pub(crate) fn sampled(self) -> Sampled {
        Sampled { count: self.samples, effective: self.effective().round() as u64 }
    }

    fn effective(self) -> f64 {
        if self.squares > 0.0 { self.sum * self.sum / self.squares } else { 0.0 }
    }

    /// The share that they have of a whole that they are part of.
    pub(crate) fn share_of(self, whole: Self) -> f64 {
        self.sum / whole.sum
    }

    /// What that share is between. Each bound is missed with a chance of at most `miss`, if no sample
    /// of these weighs more than `most`, and none of the whole more than its heaviest.
    pub(crate) fn share_within(self, whole: Self, most: f64, miss: f64) -> Interval {
        let others = (whole.sum - self.sum).max(0.0);
        // As in the plain ones, the sample that would have been next is of the others in the lower
        // bound, and in the upper one it is of these.
        let (count, of_others) = alike((self.sum, most), (others + whole.most, whole.most));
        let low = interval::share_low(count, of_others, miss);
        let (count, of_others) = alike((self.sum + most, most), (others, whole.most));
        Interval { low, high: interval::share_high(count, of_others, miss) }
    }

    /// What the sum would be between if it were drawn again and again, in units of which the whole has
    /// `of_whole`. Each bound is missed with a chance of at most `miss`, if no sample weighs more than
    /// `most`.
    pub(crate) fn sum_within(self, whole: Self, of_whole: f64, most: f64, miss: f64) -> Interval {
        let count = self.sum / most;
        let (low, high) = (interval::mean_low(count, miss), interval::mean_high(count + 1.0, miss));
        Interval { low, high }.scaled(most * of_whole / whole.sum)
    }

    /// What the heaviest of them weighs; of none what one of the whole does that is not light.
    pub(crate) fn most_of(self, whole: Self) -> f64 {
        if self.samples > 0 { self.most } else { whole.squares / whole.sum }
    }
}

/// How many samples of equal weight would have a share of all that varies as much, and how many would
/// be others, where these and the others weigh so much together and so much at most each.
fn alike(these: (f64, f64), others: (f64, f64)) -> (f64, f64) {
    let whole = these.0 + others.0;
    let (share, rest) = (these.0 / whole, others.0 / whole);
    // A share of a sum that varies itself.
    let variance =
        (rest * rest * these.0 * these.1 + share * share * others.0 * others.1) / whole / whole;
    if variance > 0.0 {
        let count = share * rest / variance;
        (share * count, rest * count)
    } else {
        (these.0 / these.1, others.0 / others.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(one: Interval, other: Interval) -> bool {
        (one.low - other.low).abs() < 1e-9 && (one.high - other.high).abs() < 1e-9
    }

    #[test]
    fn what_weighs_the_same_is_as_good_as_its_count() {
        for (count, of) in [(0_u32, 50_u32), (1, 50), (24, 100), (50, 50)] {
            let plain = interval::share(f64::from(count), f64::from(of), 0.025);
            let (count, of) = (u64::from(count), u64::from(of));
            let (part, whole) = (Drawn::alike(count), Drawn::alike(of));
            let told = part.share_within(whole, 1.0, 0.025);
            assert!(close(told, plain), "{count} of {of}: {told:?} {plain:?}");
            // In another unit.
            let heavy = (Drawn::weighing(count, count * 7), Drawn::weighing(of, of * 7));
            assert!(close(heavy.0.share_within(heavy.1, 7.0, 0.025), plain), "{count} of {of}");
            assert_eq!(heavy.1.sampled(), Sampled { count: of, effective: of });
            let sum = |drawn: Drawn, whole, most| drawn.sum_within(whole, 1.0, most, 0.025);
            let sums = (sum(part, whole, 1.0), sum(heavy.0, heavy.1, 7.0));
            assert!(close(sums.0, sums.1), "{sums:?}");
        }
    }

    #[test]
    fn one_heavy_sample_is_one() {
        let mut whole = Drawn::weighing(1000, 1000);
        let heavy = Drawn::weighing(1, 1000);
        whole.add(heavy);
        let within = heavy.share_within(whole, heavy.most_of(whole), 0.025);
        assert!(within.low < 0.05 && within.high > 0.8, "{within:?}");
        assert_eq!(whole.sampled(), Sampled { count: 1001, effective: 4 });
        assert!(whole.sampled().is_too_few());
        let told = whole.sampled().to_string();
        assert_eq!(told, "1001 samples (as good as 4 of equal weight)");
        assert_eq!(Drawn::alike(120).sampled().to_string(), "120 samples");
        // A light one among them is known as well as one of a thousand, unless it may be as heavy.
        let light = Drawn::weighing(1, 1);
        assert!(light.share_within(whole, 1.0, 0.025).high < 0.004);
        assert!(light.share_within(whole, 1000.0, 0.025).high > 0.4);
        assert!(light.sum_within(whole, 2000.0, 1.0, 0.025).high < 6.0);
        assert!(light.sum_within(whole, 2000.0, 1000.0, 0.025).high > 3000.0);
    }
}
