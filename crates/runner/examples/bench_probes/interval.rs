//! How sure the middle of a few differences is.

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

const RESAMPLES: usize = 10_000;
const SEED: u64 = 1;

/// A median, and between what the true one lies with 95 %: percentiles of the medians of samples drawn
/// from the sample (Efron's bootstrap). Not a mean: on a machine that is shared a few slices meet
/// what others do, and say nothing of what is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Interval {
    pub(crate) median: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

pub(crate) fn of(values: &[f64]) -> Interval {
    let mut random = StdRng::seed_from_u64(SEED);
    let mut medians: Vec<f64> = (0..RESAMPLES)
        .map(|_| {
            let drawn: Vec<f64> =
                values.iter().map(|_| values[random.random_range(0..values.len())]).collect();
            median(drawn)
        })
        .collect();
    medians.sort_by(f64::total_cmp);
    let rank = |share: f64| medians[(RESAMPLES as f64 * share) as usize];
    Interval { median: median(values.to_vec()), low: rank(0.025), high: rank(0.975) }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let half = values.len() / 2;
    if values.len().is_multiple_of(2) {
        f64::midpoint(values[half - 1], values[half])
    } else {
        values[half]
    }
}
