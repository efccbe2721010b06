//! What changed between two profiles of one program, and what of it can be told from noise.
//!
//! Where both say for how long they were collected, what is compared is how much came in a second;
//! else it is shares of the whole. Either way a change is told as a share of what the base took in
//! all, so that +5 % of one function and +5 % of everything cost the same.

use rustc_hash::FxHashMap;
use temblor_profile::Profile;

use crate::counts::Uncounted;
use crate::drawn::{Drawn, Sampled};
use crate::error::Error;
use crate::interval::{Interval, Side, difference};
use crate::rules::Rules;
use crate::tally::{Tally, Weights};

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Basis {
    /// How much came in a second. Only under the same load this compares like with like.
    Rates,
    /// Shares of the whole. What grows makes everything else smaller.
    Shares,
}

/// How profiles are compared.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ChangesOptions {
    /// The type of value; the profiles' own choice where none is named.
    pub kind: Option<String>,
    /// None: rates where both have a duration, else shares.
    pub basis: Option<Basis>,
}

/// What a change is one of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// Everything.
    Whole,
    /// A category, by what people read.
    Category {
        /// Its id; `other` for what no rule knows.
        id: String,
        /// As people read it.
        name: String,
    },
    /// A function.
    Function(String),
}

/// What of something is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    /// What it takes by itself; of a category, what belongs to it.
    Own,
    /// What it takes with all that it calls.
    WithCalls,
}

/// What can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// It surely grew.
    More,
    /// It surely shrank.
    Less,
    /// No change that can be told from noise.
    Noise,
    /// Nothing rests on a count of samples.
    Uncounted,
}

/// What changed of one thing.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// Of what.
    pub subject: Subject,
    /// What of it.
    pub measure: Measure,
    /// What it was: a share, or so much a second in the profile's unit.
    pub base: f64,
    /// What it is.
    pub new: f64,
    /// By how much it grew, as a share of what the base took in all.
    pub growth: f64,
    /// What the growth is between. With a chance of 95 % this is true of all changes together.
    pub within: Option<Interval>,
    /// What can be told of it.
    pub told: Told,
}

/// What changed between two profiles.
#[derive(Debug, Clone, PartialEq)]
pub struct Changes {
    /// What was compared.
    pub basis: Basis,
    /// What is counted.
    pub kind: String,
    /// In which unit.
    pub unit: String,
    /// Which samples each has, where that is known.
    pub samples: Option<(Sampled, Sampled)>,
    /// Why that is not known, where it is not.
    pub uncounted: Option<Uncounted>,
    /// How many comparisons were made, for which the intervals are wide enough.
    pub comparisons: usize,
    /// The whole first where it was compared, then categories, then functions, each by size.
    pub list: Vec<Change>,
}

impl Changes {
    /// Whether there are too few samples to say anything.
    #[must_use]
    pub fn is_too_small(&self) -> bool {
        self.samples.is_some_and(|(base, new)| base.is_too_few() || new.is_too_few())
    }
}

/// The chance that any of the intervals of a comparison is missed on one of its sides.
const MISS: f64 = 0.025;
/// Functions with fewer samples in both profiles together are not compared: with fewer no change
/// could be told from noise, and every comparison makes the intervals of all others wider.
const TOGETHER_MIN: u64 = 16;
/// Of what is not counted so many functions are compared, the heaviest.
const UNCOUNTED_MAX: usize = 200;

/// What the new profile has more than the base, and less.
///
/// # Errors
///
/// Where they count different things, one is empty or a difference, or rates were asked for and one
/// does not say for how long it was collected.
pub fn changes(
    base: &Profile,
    new: &Profile,
    options: &ChangesOptions,
    rules: &Rules,
) -> Result<Changes, Error> {
    let compared = Compared::of(base, new, options, rules)?;
    let miss = MISS / compared.pairs.len().max(1) as f64;
    let mut list: Vec<Change> = compared
        .pairs
        .iter()
        .map(|pair| {
            let within = compared.within(pair, miss);
            let told = match within {
                None => Told::Uncounted,
                _ if compared.is_too_small() => Told::Noise,
                Some(within) if within.low > 0.0 => Told::More,
                Some(within) if within.high < 0.0 => Told::Less,
                Some(_) => Told::Noise,
            };
            compared.change(pair, within, told)
        })
        .collect();
    let group = |subject: &Subject| match subject {
        Subject::Whole => 0,
        Subject::Category { .. } => 1,
        Subject::Function(_) => 2,
    };
    list.sort_by(|one, other| {
        let by_size = other.growth.abs().total_cmp(&one.growth.abs());
        group(&one.subject).cmp(&group(&other.subject)).then(by_size)
    });
    Ok(Changes {
        basis: compared.basis,
        kind: compared.base.kind.clone(),
        unit: compared.base.unit.clone(),
        samples: compared.samples(),
        uncounted: compared.uncounted(),
        comparisons: compared.pairs.len(),
        list,
    })
}

/// Two figures of the same thing.
pub(crate) struct Pair {
    pub(crate) subject: Subject,
    pub(crate) measure: Measure,
    base: crate::tally::Weight,
    new: crate::tally::Weight,
}

/// Two profiles side by side.
pub(crate) struct Compared {
    pub(crate) basis: Basis,
    pub(crate) base: Tally,
    pub(crate) new: Tally,
    pub(crate) pairs: Vec<Pair>,
}

impl Compared {
    pub(crate) fn of(
        base: &Profile,
        new: &Profile,
        options: &ChangesOptions,
        rules: &Rules,
    ) -> Result<Self, Error> {
        let kind = options.kind.as_deref();
        let (base, new) = (Tally::of(base, kind, rules)?, Tally::of(new, kind, rules)?);
        if (&base.kind, &base.unit) != (&new.kind, &new.unit) {
            let words = |of: &Tally| format!("{}/{}", of.kind, of.unit);
            return Err(Error::Unlike { base: words(&base), new: words(&new) });
        }
        let timeless = match (base.duration_ns > 0, new.duration_ns > 0) {
            (false, _) => Some("the base"),
            (_, false) => Some("the new profile"),
            _ => None,
        };
        // Counts of samples that were taken at different rates are no rates of anything.
        let is_alike = base.unit != "count" || base.period == new.period;
        // What is in use at one moment did not come in a time.
        let is_alike = is_alike && !base.kind.starts_with("inuse_");
        let basis = match (options.basis, timeless) {
            (Some(Basis::Rates), Some(which)) => return Err(Error::NoDuration { which }),
            (Some(basis), _) => basis,
            (None, _) if !is_alike => Basis::Shares,
            (None, Some(_)) => Basis::Shares,
            (None, None) => Basis::Rates,
        };
        let mut compared = Self { basis, base, new, pairs: Vec::new() };
        compared.pair_up(rules);
        Ok(compared)
    }

    fn pair_up(&mut self, rules: &Rules) {
        let (base, new) = (&self.base, &self.new);
        let mut pairs = Vec::new();
        if self.basis == Basis::Rates {
            let (subject, measure) = (Subject::Whole, Measure::Own);
            pairs.push(Pair { subject, measure, base: base.whole, new: new.whole });
        }
        let both = base.categories.iter().zip(&new.categories);
        for (category, (base, new)) in rules.categories().iter().zip(both) {
            let (id, name) = (category.id.clone(), category.name.clone());
            self.add(&mut pairs, &Subject::Category { id, name }, base, new);
        }
        let other = |of: &Tally| Weights { own: of.other, ..Weights::default() };
        let (id, name) = ("other".to_owned(), "Other".to_owned());
        self.add(&mut pairs, &Subject::Category { id, name }, &other(base), &other(new));

        let by_name: FxHashMap<&str, &Weights> =
            new.functions.iter().map(|one| (one.name.as_str(), &one.weights)).collect();
        let nothing = Weights::default();
        let mut seen: rustc_hash::FxHashSet<&str> = rustc_hash::FxHashSet::default();
        let mut functions = Vec::new();
        for function in &base.functions {
            seen.insert(&function.name);
            let new = by_name.get(function.name.as_str()).copied().unwrap_or(&nothing);
            let subject = Subject::Function(function.name.clone());
            self.add(&mut functions, &subject, &function.weights, new);
        }
        for function in new.functions.iter().filter(|one| !seen.contains(one.name.as_str())) {
            let subject = Subject::Function(function.name.clone());
            self.add(&mut functions, &subject, &nothing, &function.weights);
        }
        if self.uncounted().is_some() {
            functions.sort_by_key(|pair| {
                std::cmp::Reverse(pair.base.value.saturating_add(pair.new.value))
            });
            functions.truncate(UNCOUNTED_MAX);
        }
        pairs.extend(functions);
        self.pairs = pairs;
    }

    fn add(&self, pairs: &mut Vec<Pair>, subject: &Subject, base: &Weights, new: &Weights) {
        let of = |measure, base: crate::tally::Weight, new: crate::tally::Weight| {
            let is_enough = match self.uncounted() {
                None => base.drawn.samples.saturating_add(new.drawn.samples) >= TOGETHER_MIN,
                Some(_) => base.value.saturating_add(new.value) > 0,
            };
            is_enough.then(|| Pair { subject: subject.clone(), measure, base, new })
        };
        pairs.extend(of(Measure::Own, base.own, new.own));
        // What calls nothing that is counted has both figures alike.
        let is_alike = base.own == base.with_calls && new.own == new.with_calls;
        if !is_alike {
            pairs.extend(of(Measure::WithCalls, base.with_calls, new.with_calls));
        }
    }

    pub(crate) fn uncounted(&self) -> Option<Uncounted> {
        self.base.uncounted.or(self.new.uncounted)
    }

    pub(crate) fn samples(&self) -> Option<(Sampled, Sampled)> {
        let both = || (self.base.whole.drawn.sampled(), self.new.whole.drawn.sampled());
        self.uncounted().is_none().then(both)
    }

    /// How many samples each of the two would have if all weighed as much as the heaviest of both, which
    /// is what intervals rest on.
    pub(crate) fn of_heaviest(&self) -> Option<(f64, f64)> {
        let (base, new) = (self.base.whole.drawn, self.new.whole.drawn);
        let most = base.most.max(new.most);
        self.uncounted().is_none().then(|| (base.of_heaviest(most), new.of_heaviest(most)))
    }

    pub(crate) fn is_too_small(&self) -> bool {
        self.samples().is_some_and(|(base, new)| base.is_too_few() || new.is_too_few())
    }

    /// What the growth of something is between: each bound is missed with a chance of `miss`.
    pub(crate) fn within(&self, pair: &Pair, miss: f64) -> Option<Interval> {
        self.uncounted().is_none().then(|| {
            // What was seen in one of them can be in the other as well.
            let most = pair.base.drawn.most_of(self.base.whole.drawn);
            let most = most.max(pair.new.drawn.most_of(self.new.whole.drawn));
            let base = self.side(pair.base.drawn, &self.base, most, miss);
            let new = self.side(pair.new.drawn, &self.new, most, miss);
            let of_one = match self.basis {
                Basis::Shares => 1.0,
                Basis::Rates => 1.0 / self.whole_of_base(),
            };
            difference(base, new).scaled(of_one)
        })
    }

    fn side(&self, drawn: Drawn, of: &Tally, most: f64, miss: f64) -> Side {
        let whole = of.whole.drawn;
        match self.basis {
            Basis::Shares => Side {
                figure: drawn.share_of(whole),
                within: drawn.share_in_any(whole, most, miss),
            },
            Basis::Rates => {
                let rate = self.figure(of.whole.value, of);
                Side {
                    figure: drawn.share_of(whole) * rate,
                    within: drawn.sum_in_any(whole, rate, most, miss),
                }
            }
        }
    }

    /// What a figure is in what is compared.
    fn figure(&self, value: i64, of: &Tally) -> f64 {
        match self.basis {
            Basis::Shares => value as f64 / of.whole.value as f64,
            Basis::Rates => value as f64 / seconds(of),
        }
    }

    fn whole_of_base(&self) -> f64 {
        self.figure(self.base.whole.value, &self.base)
    }

    pub(crate) fn growth(&self, pair: &Pair) -> f64 {
        let (base, new) =
            (self.figure(pair.base.value, &self.base), self.figure(pair.new.value, &self.new));
        (new - base) / self.whole_of_base()
    }

    pub(crate) fn change(&self, pair: &Pair, within: Option<Interval>, told: Told) -> Change {
        Change {
            subject: pair.subject.clone(),
            measure: pair.measure,
            base: self.figure(pair.base.value, &self.base),
            new: self.figure(pair.new.value, &self.new),
            growth: self.growth(pair),
            within,
            told,
        }
    }
}

fn seconds(of: &Tally) -> f64 {
    of.duration_ns as f64 / 1e9
}
