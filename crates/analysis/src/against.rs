//! Whether a program takes more than it did, held against a base.
//!
//! A test of this kind runs in every build of somebody's program, so it must hardly ever cry wolf:
//! the chance that it does, with all of its comparisons together and a program that is the same, is
//! at most 1 %. That is Bonferroni's correction (Dunn, JASA 56, 1961); half of the chance is kept for
//! the whole, which one looks for first, so that it does not pay for the number of functions.

use temblor_profile::Profile;

use crate::change::{Basis, Change, ChangesOptions, Compared, Pair, Subject, Told};
use crate::counts::Uncounted;
use crate::drawn::Sampled;
use crate::error::Error;
use crate::interval::exceeded;
use crate::rules::Rules;

/// The chance of an alarm where nothing changed, all comparisons together.
pub(crate) const FALSE_ALARM: f64 = 0.01;
/// With what chance something is missed that is said to be seen.
const MISSED: f64 = 0.05;
/// The share of a function for which it is said what would be seen.
const TENTH: f64 = 0.1;

/// How a profile is held against a base.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct AgainstOptions {
    /// How the two are compared.
    pub compared: ChangesOptions,
    /// How much more anything may take, as a share of what the base took in all.
    pub allowed: f64,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Against {
    /// What was compared.
    pub basis: Basis,
    /// In which unit.
    pub unit: String,
    /// How much more was allowed.
    pub allowed: f64,
    /// Which samples each has, where that is known.
    pub samples: Option<(Sampled, Sampled)>,
    /// Why that is not known: then nothing can be said.
    pub uncounted: Option<Uncounted>,
    /// Whether there are too few samples to say anything.
    pub is_too_small: bool,
    /// How many comparisons were made.
    pub comparisons: usize,
    /// What surely takes more than is allowed, the largest first.
    pub over: Vec<Change>,
    /// The growth, over what is allowed, that would have been seen with a chance of 95 %: of the
    /// whole where rates are compared, else of a function that has a tenth of it.
    pub seen_from: Option<f64>,
}

impl Against {
    /// Whether anything can be said.
    #[must_use]
    pub fn says_something(&self) -> bool {
        !self.is_too_small && self.uncounted.is_none()
    }
}

/// Whether anything in the new profile surely takes more than in the base, and more than is allowed.
///
/// # Errors
///
/// As [`changes`](crate::changes).
pub fn against(
    base: &Profile,
    new: &Profile,
    options: &AgainstOptions,
    rules: &Rules,
) -> Result<Against, Error> {
    let compared = Compared::of(base, new, &options.compared, rules)?;
    let chance = Chance::of(&compared);
    let mut held = Against {
        basis: compared.basis,
        unit: compared.base.unit.clone(),
        allowed: options.allowed,
        samples: compared.samples(),
        uncounted: compared.uncounted(),
        is_too_small: compared.is_too_small(),
        comparisons: compared.pairs.len(),
        over: Vec::new(),
        seen_from: compared.of_heaviest().map(|counts| seen_from(compared.basis, counts, &chance)),
    };
    if !held.says_something() {
        return Ok(held);
    }
    for pair in &compared.pairs {
        // Its interval begins below, whatever it rests on.
        if compared.growth(pair) <= options.allowed {
            continue;
        }
        let within = compared.within(pair, chance.of_pair(pair));
        if within.is_some_and(|within| within.low > options.allowed) {
            held.over.push(compared.change(pair, within, Told::More));
        }
    }
    held.over.sort_by(|one, other| other.growth.total_cmp(&one.growth));
    Ok(held)
}

/// How the chance of a false alarm is shared out.
struct Chance {
    whole: f64,
    others: f64,
}

impl Chance {
    fn of(compared: &Compared) -> Self {
        let comparisons = compared.pairs.len();
        match compared.basis {
            Basis::Shares => Self { whole: 0.0, others: FALSE_ALARM / comparisons.max(1) as f64 },
            Basis::Rates => Self {
                whole: FALSE_ALARM / 2.0,
                others: FALSE_ALARM / 2.0 / (comparisons - 1).max(1) as f64,
            },
        }
    }

    fn of_pair(&self, pair: &Pair) -> f64 {
        if pair.subject == Subject::Whole { self.whole } else { self.others }
    }
}

/// By the normal distribution, which is close enough for what is said before anything is measured.
fn seen_from(basis: Basis, (base, new): (f64, f64), chance: &Chance) -> f64 {
    let together = (1.0 / base + 1.0 / new).sqrt();
    match basis {
        Basis::Rates => (exceeded(chance.whole) + exceeded(MISSED)) * together,
        Basis::Shares => {
            // What a function takes more makes the whole larger as well.
            let spread = (TENTH * (1.0 - TENTH)).sqrt() / (1.0 - TENTH);
            (exceeded(chance.others) + exceeded(MISSED)) * spread * together
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_the_tables() {
        for (chance, expected) in [(0.025, 1.959_964), (0.05, 1.644_854), (0.000_1, 3.719_016)] {
            assert!((exceeded(chance) - expected).abs() < 1e-5, "{chance}: {}", exceeded(chance));
        }
    }
}
