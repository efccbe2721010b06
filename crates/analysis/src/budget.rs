//! What something may take at most, and whether it does.

use std::str::FromStr;

use regex::{Regex, RegexBuilder};
use temblor_profile::Profile;

use crate::against::FALSE_ALARM;
use crate::counts::Uncounted;
use crate::error::Error;
use crate::finding::Figure;
use crate::rules::Rules;
use crate::tally::{Tally, Walked, Weight};

/// What something may take at most: `serialization<=15%`, `own:allocation<=5%`,
/// `function:^encoding/json<=10%`.
#[derive(Debug, Clone)]
pub struct Budget {
    text: String,
    of: Of,
    /// Only what it takes by itself, without what it calls.
    is_own: bool,
    share_max: f64,
}

#[derive(Debug, Clone)]
enum Of {
    Category(String),
    Function(Regex),
}

/// What stands before a pattern of functions' names.
const FUNCTION: &str = "function:";
/// What stands before what is meant without what it calls.
const OWN: &str = "own:";
/// Of a pattern's compiled form.
const PATTERN_BYTES_MAX: usize = 1 << 20;

impl FromStr for Budget {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = |why: &str| Error::Budget { budget: text.to_owned(), why: why.to_owned() };
        let (of, limit) = text
            .rsplit_once("<=")
            .ok_or_else(|| wrong("write WHAT<=SHARE%, such as serialization<=15%"))?;
        let percent: f64 = limit
            .trim()
            .strip_suffix('%')
            .and_then(|number| number.trim().parse().ok())
            .ok_or_else(|| wrong("the share is a number with a % behind it"))?;
        if !(0.0..=100.0).contains(&percent) {
            return Err(wrong("a share is between 0% and 100%"));
        }
        let of = of.trim();
        let (of, is_own) = of.strip_prefix(OWN).map_or((of, false), |of| (of, true));
        let of = match of.strip_prefix(FUNCTION) {
            None if of.is_empty() => return Err(wrong("it does not say of what")),
            None => Of::Category(of.to_owned()),
            Some("") => return Err(wrong("it does not say of which functions")),
            Some(pattern) => {
                let pattern = RegexBuilder::new(pattern).size_limit(PATTERN_BYTES_MAX).build();
                Of::Function(pattern.map_err(|error| {
                    // The library draws its message on several lines; the last one says it.
                    let error = error.to_string();
                    let why = error.lines().last().unwrap_or_default();
                    wrong(&format!("its pattern is no regular expression ({why})"))
                })?)
            }
        };
        Ok(Self { text: text.to_owned(), of, is_own, share_max: percent / 100.0 })
    }
}

/// Whether a budget was kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// It surely takes more.
    Over,
    /// It surely takes no more.
    Within,
    /// The limit is among what it may be: that is not taken for more.
    Open,
    /// There are too few samples to say anything.
    TooFew,
}

/// What came of a budget.
#[derive(Debug, Clone, PartialEq)]
pub struct Holding {
    /// The budget, as it was given.
    pub budget: String,
    /// What may be taken at most.
    pub share_max: f64,
    /// What is taken. With a chance of 98 % all of a profile's budgets have figures within.
    pub figure: Figure,
    /// Why the samples are not counted, where they are not: then the figure is taken as it is.
    pub uncounted: Option<Uncounted>,
    /// How many functions of the profile are meant, where the budget names functions.
    pub functions: Option<usize>,
    /// Whether it was kept.
    pub held: Held,
}

/// Whether budgets were kept, in their order.
///
/// # Errors
///
/// Where a budget names a category that there is not; and as [`analyze`](crate::analyze).
pub fn hold(
    profile: &Profile,
    kind: Option<&str>,
    budgets: &[Budget],
    rules: &Rules,
) -> Result<Vec<Holding>, Error> {
    let tally = Tally::of(profile, kind, rules)?;
    let miss = FALSE_ALARM / budgets.len().max(1) as f64;
    budgets.iter().map(|budget| hold_one(&tally, budget, miss, rules)).collect()
}

fn hold_one(tally: &Tally, budget: &Budget, miss: f64, rules: &Rules) -> Result<Holding, Error> {
    let (weight, functions) = match &budget.of {
        Of::Category(id) => {
            let known = || rules.categories().iter().map(|category| category.id.clone()).collect();
            let at = rules.categories().iter().position(|category| category.id == *id);
            let at =
                at.ok_or_else(|| Error::UnknownCategory { named: id.clone(), known: known() })?;
            let weights = tally.categories[at];
            (if budget.is_own { weights.own } else { weights.with_calls }, None)
        }
        Of::Function(pattern) => {
            let is_meant: Vec<bool> =
                tally.functions.iter().map(|one| pattern.is_match(&one.name)).collect();
            let count = is_meant.iter().filter(|is_meant| **is_meant).count();
            (weight_of(tally, &is_meant, budget.is_own), Some(count))
        }
    };
    let drawn = tally.uncounted.is_none().then_some(weight.drawn);
    let figure = Figure {
        value: weight.value,
        samples: drawn.map(|drawn| drawn.samples),
        share: weight.value as f64 / tally.whole.value as f64,
        within: drawn.map(|drawn| drawn.share_in_this(tally.whole.drawn, miss)),
    };
    let limit = budget.share_max;
    let held = match figure.within {
        Some(_) if tally.whole.drawn.sampled().is_too_few() => Held::TooFew,
        Some(within) if within.low > limit => Held::Over,
        Some(within) if within.high > limit => Held::Open,
        None if figure.share > limit => Held::Over,
        _ => Held::Within,
    };
    let (budget, uncounted) = (budget.text.clone(), tally.uncounted);
    Ok(Holding { budget, share_max: limit, figure, uncounted, functions, held })
}

/// What stacks weigh that have one of these functions, or end in one.
fn weight_of(tally: &Tally, is_meant: &[bool], is_own: bool) -> Weight {
    let mut sum = Weight::default();
    let is_of = |stack: &&Walked| {
        let mut path = stack.path.iter().map(|(place, _)| is_meant[*place as usize]);
        if is_own { path.next_back().unwrap_or(false) } else { path.any(|is_meant| is_meant) }
    };
    for stack in tally.stacks.iter().filter(is_of) {
        sum.add(stack.weight);
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_budget_is_said() {
        for (text, why) in [
            ("serialization", "write WHAT<=SHARE%"),
            ("serialization<15%", "write WHAT<=SHARE%"),
            ("serialization<=15", "a number with a %"),
            ("serialization<=x%", "a number with a %"),
            ("serialization<=-1%", "between 0% and 100%"),
            ("serialization<=NaN%", "between 0% and 100%"),
            ("<=5%", "does not say of what"),
            ("own:<=5%", "does not say of what"),
            ("function:<=5%", "does not say of which functions"),
            ("function:(<=5%", "no regular expression (error: unclosed group)"),
        ] {
            let told = text.parse::<Budget>().unwrap_err().to_string();
            assert!(told.contains(why), "{text}: {told}");
        }
        for text in ["serialization<=15%", "own:gc <= 0.5 %", "function:a<=b<=100%"] {
            text.parse::<Budget>().unwrap();
        }
    }
}
