//! How sure a mean of a few differences is.

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

const RESAMPLES: usize = 10_000;
const SEED: u64 = 1;

/// A mean, and between what the true one lies with 95 %: percentiles of the means of samples drawn
/// from the sample (Efron's bootstrap).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Interval {
    pub(crate) mean: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

pub(crate) fn of(values: &[f64]) -> Interval {
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let mut random = StdRng::seed_from_u64(SEED);
    let mut means: Vec<f64> = (0..RESAMPLES)
        .map(|_| {
            let drawn: Vec<f64> =
                values.iter().map(|_| values[random.random_range(0..values.len())]).collect();
            mean(&drawn)
        })
        .collect();
    means.sort_by(f64::total_cmp);
    let rank = |share: f64| means[(RESAMPLES as f64 * share) as usize];
    Interval { mean: mean(values), low: rank(0.025), high: rank(0.975) }
}
