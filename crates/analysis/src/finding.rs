//! What of a profile is worth a word, and the stacks that prove it.

use rustc_hash::FxHashMap;
use temblor_profile::Profile;

use crate::counts::Uncounted;
use crate::drawn::Sampled;
use crate::error::Error;
use crate::interval::Interval;
use crate::rules::{Category, Rank, Rules};
use crate::tally::{FunctionPlace, Tally, Walked, Weight};

/// The chance with which one bound of an interval is missed: 95 % are between both.
const MISS: f64 = 0.025;
/// Stacks that are given as proof.
const STACKS_MAX: usize = 3;
/// Functions that are told of what no rule knows.
const UNKNOWN_MAX: usize = 5;

/// What something weighs, and what that rests on.
#[derive(Debug, Clone, PartialEq)]
pub struct Figure {
    /// In the profile's unit.
    pub value: i64,
    /// How many samples it is made of, where that is known.
    pub samples: Option<u64>,
    /// Of the whole.
    pub share: f64,
    /// What the share is between, with a chance of 95 %, where samples are counted.
    pub within: Option<Interval>,
}

/// What a category has of the profile.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The category's id; `other` for what no rule knows.
    pub category: String,
    /// As people read it.
    pub name: String,
    /// What belongs to it, and to no other category.
    pub own: Figure,
    /// What has it anywhere in its stack.
    pub with_calls: Figure,
}

/// A way through the program, by its heaviest stack.
#[derive(Debug, Clone, PartialEq)]
pub struct Stack {
    /// Who calls, what is called of the category first, and where it ends.
    pub steps: Vec<String>,
    /// All stacks that go this way.
    pub figure: Figure,
    /// The heaviest of them, the thread's root first.
    pub frames: Vec<String>,
}

/// Something worth a word.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// The category's id.
    pub category: String,
    /// As people read it.
    pub name: String,
    /// What was found: with all that it calls for a purpose, else by itself.
    pub figure: Figure,
    /// Whether it is with all that it calls.
    pub with_calls: bool,
    /// From which share on it is a finding.
    pub from_share: f64,
    /// What to do about it.
    pub advice: String,
    /// The heaviest ways there.
    pub stacks: Vec<Stack>,
}

/// What a profile means.
#[derive(Debug, Clone, PartialEq)]
pub struct Analysis {
    /// What is counted.
    pub kind: String,
    /// In which unit.
    pub unit: String,
    /// All of it.
    pub total: i64,
    /// Of which samples, where that is known.
    pub samples: Option<Sampled>,
    /// Why that is not known, where it is not.
    pub uncounted: Option<Uncounted>,
    /// For how long it was collected; 0 where that is not known.
    pub duration_ns: i64,
    /// The heaviest category first, what no rule knows last; those without weight are left out.
    pub rows: Vec<Row>,
    /// The functions that weigh most by themselves among what no rule knows.
    pub unknown: Vec<(String, Figure)>,
    /// The heaviest first; none where there are too few samples.
    pub findings: Vec<Finding>,
}

impl Analysis {
    /// Whether there are too few samples to say anything.
    #[must_use]
    pub fn is_too_small(&self) -> bool {
        self.samples.is_some_and(Sampled::is_too_few)
    }
}

/// What one of a profile's types means; without a name it is the profile's own choice.
///
/// # Errors
///
/// Where the profile has no such type, is empty, or is a difference.
pub fn analyze(profile: &Profile, kind: Option<&str>, rules: &Rules) -> Result<Analysis, Error> {
    let tally = Tally::of(profile, kind, rules)?;
    let figure = |weight| figure(&tally, weight);
    let mut rows: Vec<Row> = rules
        .categories()
        .iter()
        .zip(&tally.categories)
        .filter(|(_, weights)| weights.with_calls.value > 0)
        .map(|(category, weights)| Row {
            category: category.id.clone(),
            name: category.name.clone(),
            own: figure(weights.own),
            with_calls: figure(weights.with_calls),
        })
        .collect();
    rows.sort_by_key(|row| {
        (std::cmp::Reverse((row.own.value, row.with_calls.value)), row.name.clone())
    });
    if tally.other.value > 0 {
        let other = figure(tally.other);
        let (category, name) = ("other".to_owned(), "Other".to_owned());
        rows.push(Row { category, name, own: other.clone(), with_calls: other });
    }
    let samples = tally.uncounted.is_none().then(|| tally.whole.drawn.sampled());
    let mut analysis = Analysis {
        kind: tally.kind.clone(),
        unit: tally.unit.clone(),
        total: tally.whole.value,
        samples,
        uncounted: tally.uncounted,
        duration_ns: tally.duration_ns,
        rows,
        unknown: unknown(&tally),
        findings: Vec::new(),
    };
    if !analysis.is_too_small() {
        let categories = (0..).zip(rules.categories());
        analysis.findings =
            categories.filter_map(|(at, category)| find(&tally, at, category)).collect();
        analysis.findings.sort_by_key(|one| std::cmp::Reverse(one.figure.value));
    }
    Ok(analysis)
}

fn figure(tally: &Tally, weight: Weight) -> Figure {
    let drawn = tally.uncounted.is_none().then_some(weight.drawn);
    Figure {
        value: weight.value,
        samples: drawn.map(|drawn| drawn.samples),
        share: weight.value as f64 / tally.whole.value as f64,
        within: drawn.map(|drawn| drawn.share_in_this(tally.whole.drawn, MISS)),
    }
}

/// A category, where it is surely worth a word.
fn find(tally: &Tally, at: u8, category: &Category) -> Option<Finding> {
    let with_calls = category.rank == Rank::Purpose;
    let weights = tally.categories[usize::from(at)];
    let figure = figure(tally, if with_calls { weights.with_calls } else { weights.own });
    let from_share = category.finding_from_percent / 100.0;
    // What is not a sample is as it is.
    let surely = figure.within.map_or(figure.share, |within| within.low);
    (surely > from_share).then(|| Finding {
        category: category.id.clone(),
        name: category.name.clone(),
        stacks: ways(tally, |stack| {
            let is_of =
                if with_calls { stack.has & (1 << at) != 0 } else { stack.category == Some(at) };
            is_of.then_some(at)
        }),
        figure,
        with_calls,
        from_share,
        advice: category.advice.clone(),
    })
}

/// The heaviest ways to what belongs to a category.
fn ways(tally: &Tally, of: impl Fn(&Walked) -> Option<u8>) -> Vec<Stack> {
    struct Way<'of> {
        weight: Weight,
        heaviest: &'of Walked,
    }
    let mut ways: FxHashMap<[Option<FunctionPlace>; 3], Way<'_>> = FxHashMap::default();
    for stack in &tally.stacks {
        let Some(at) = of(stack) else { continue };
        let way = ways
            .entry(way(stack, at))
            .or_insert(Way { weight: Weight::default(), heaviest: stack });
        way.weight.add(stack.weight);
        if stack.weight.value > way.heaviest.weight.value {
            way.heaviest = stack;
        }
    }
    let mut ways: Vec<_> = ways.into_iter().collect();
    // Among equals the order of the names, which is the same every time.
    let name = |place: FunctionPlace| tally.functions[place as usize].name.clone();
    ways.sort_by_cached_key(|(steps, way)| {
        let names: Vec<_> = steps.iter().flatten().map(|place| name(*place)).collect();
        (std::cmp::Reverse(way.weight.value), names)
    });
    ways.truncate(STACKS_MAX);
    ways.into_iter()
        .map(|(steps, way)| Stack {
            steps: steps.into_iter().flatten().map(name).collect(),
            figure: figure(tally, way.weight),
            frames: way.heaviest.path.iter().map(|(place, _)| name(*place)).collect(),
        })
        .collect()
}

/// Who calls the first function of a category, that function, and the leaf.
fn way(stack: &Walked, category: u8) -> [Option<FunctionPlace>; 3] {
    let path = &stack.path;
    let first = path.iter().position(|(_, of)| *of == Some(category)).unwrap_or(0);
    let caller = first.checked_sub(1).map(|at| path[at].0);
    let leaf = path.last().map(|(place, _)| *place);
    let called = path.get(first).map(|(place, _)| *place);
    [caller, called, leaf.filter(|leaf| called != Some(*leaf))]
}

/// The functions that weigh most by themselves in stacks that no rule knows.
fn unknown(tally: &Tally) -> Vec<(String, Figure)> {
    let mut functions: FxHashMap<FunctionPlace, Weight> = FxHashMap::default();
    for stack in tally.stacks.iter().filter(|stack| stack.category.is_none()) {
        let Some((leaf, _)) = stack.path.last() else { continue };
        functions.entry(*leaf).or_default().add(stack.weight);
    }
    let name = |place: FunctionPlace| tally.functions[place as usize].name.clone();
    let mut functions: Vec<_> =
        functions.into_iter().map(|(place, weight)| (name(place), weight)).collect();
    functions.sort_by(|one, other| other.1.value.cmp(&one.1.value).then(one.0.cmp(&other.0)));
    functions.truncate(UNKNOWN_MAX);
    functions.into_iter().map(|(name, weight)| (name, figure(tally, weight))).collect()
}
