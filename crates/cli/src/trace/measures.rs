//! Figures that probes count by window: a second in words, and sums of all seconds.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use temblor_event::{
    Distribution, MEANINGS, Meaning, Measure, MeasureUnit, ProbeWindow, Reading, meaning,
};
use temblor_judge::human;

use super::account::Page;
use super::words::{length, seconds};

/// Figures of one probe and target that are counted each for itself.
const COUNTED_MAX: usize = 1_000;
/// Rows of one probe and target, and those of them that are of one figure; the rest are counted.
const ROWS_MAX: usize = 40;
const ROWS_OF_FIGURE_MAX: usize = 10;
/// As many of a second's, which are one line.
const WORDS_MAX: usize = 16;
const WORDS_OF_FIGURE_MAX: usize = 4;

/// A second of one target's, in words. None: nothing happened in it.
pub(super) fn words(window: &ProbeWindow) -> Option<String> {
    let (first, more) = first(window, WORDS_MAX, WORDS_OF_FIGURE_MAX);
    let told = first.into_iter().map(|one| match meaning(&window.probe, &one.name) {
        Some(of) => {
            let name = of.named(&one.labels);
            format!("{name} {}", reading(of.unit, &one.reading, window.window_ns))
        }
        None => format!("{} {:?}", one.name, one.reading),
    });
    let mut told: Vec<String> = told.collect();
    if more > 0 {
        told.push(human::counted(more as u64, "further figures"));
    }
    (!told.is_empty()).then(|| told.join("; "))
}

/// The figures to tell, in the order of the table of meanings and of each the greatest first, so
/// that what there is no room for is what matters least; and how many those are.
fn first(window: &ProbeWindow, max: usize, of_figure_max: usize) -> (Vec<&Measure>, usize) {
    let place = |one: &Measure| {
        let is_same = |of: &Meaning| of.probe == window.probe && of.name == one.name;
        MEANINGS.iter().position(is_same).unwrap_or(usize::MAX)
    };
    let mut sorted: Vec<_> = window.measures.iter().map(|one| (place(one), one)).collect();
    sorted.sort_by_cached_key(|(place, one)| {
        (*place, one.name.clone(), Reverse(amount_of(&one.reading)), one.labels.clone())
    });
    let mut of_figure = BTreeMap::<&str, usize>::new();
    let mut told = Vec::new();
    for (_, one) in sorted {
        let of_figure = of_figure.entry(&one.name).or_default();
        *of_figure += 1;
        if *of_figure <= of_figure_max && told.len() < max {
            told.push(one);
        }
    }
    let more = window.measures.len() - told.len();
    (told, more)
}

fn amount_of(reading: &Reading) -> u64 {
    match reading {
        Reading::Count(amount) | Reading::Level(amount) => *amount,
        Reading::Distribution(values) => values.sum,
    }
}

pub(super) fn reading(unit: MeasureUnit, reading: &Reading, window_ns: u64) -> String {
    match reading {
        Reading::Count(sum) => amount(unit, *sum),
        Reading::Level(level) => format!("at most {}", amount(unit, *level)),
        Reading::Distribution(values) => {
            let rate = human::rate(count(values.samples()) / seconds(window_ns.max(1)));
            format!("{}, {rate}", percentiles(unit, values))
        }
    }
}

fn percentiles(unit: MeasureUnit, values: &Distribution) -> String {
    let of_rank = |hundredths| amount(unit, values.percentile(hundredths));
    format!("p50 {} p99 {} max {}", of_rank(50), of_rank(99), amount(unit, values.max))
}

pub(super) fn amount(unit: MeasureUnit, value: u64) -> String {
    match unit {
        MeasureUnit::Nanoseconds => length(value),
        MeasureUnit::Microseconds => length(value.saturating_mul(1_000)),
        MeasureUnit::Bytes => human::bytes(value),
        MeasureUnit::Events => human::count(value),
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "amounts that a person reads are not negative"
)]
fn bytes(amount: f64) -> String {
    human::bytes(amount as u64)
}

#[expect(clippy::cast_precision_loss, reason = "counts that a person reads")]
fn count(n: u64) -> f64 {
    n as f64
}

/// Sums of the windows so far, by probe and target; bounded however long it goes on.
#[derive(Debug, Default)]
pub(super) struct Measures {
    sums: BTreeMap<(String, String), ProbeWindow>,
    /// Figures that there was no room for.
    left_out: BTreeSet<(String, String)>,
}

impl Measures {
    pub(super) fn add(&mut self, window: &ProbeWindow) {
        let key = (window.probe.clone(), window.service.clone());
        let empty = || ProbeWindow::new(&window.probe, &window.service, 0);
        let sum = self.sums.entry(key.clone()).or_insert_with(empty);
        if sum.measures.len() + window.measures.len() <= COUNTED_MAX {
            sum.merge(window);
            return;
        }
        // Those that are known go on; a new one would have no bound.
        let mut known = window.clone();
        let is_known = |one: &Measure| {
            sum.measures.iter().any(|of| of.name == one.name && of.labels == one.labels)
        };
        known.measures.retain(is_known);
        if known.measures.len() < window.measures.len() {
            self.left_out.insert(key);
        }
        sum.merge(&known);
    }

    /// Figures that are no target's but, for one, the whole machine's: of which probe and whose.
    pub(super) fn others(&self, targets: &[String]) -> impl Iterator<Item = (&str, &str)> {
        let all = self.sums.keys().map(|(probe, service)| (probe.as_str(), service.as_str()));
        all.filter(|(_, service)| targets.iter().all(|target| target != service))
    }

    /// What a probe counted of a target: each figure with a row for each of what it is told apart
    /// by, the histogram with it.
    pub(super) fn told(&self, page: &mut Page, probe: &str, target: &str) {
        let key = (probe.to_owned(), target.to_owned());
        let Some(sum) = self.sums.get(&key).filter(|sum| !sum.measures.is_empty()) else {
            page.row(probe, "nothing happened");
            return;
        };
        let (first, more) = first(sum, ROWS_MAX, ROWS_OF_FIGURE_MAX);
        for of_figure in first.chunk_by(|one, next| one.name == next.name) {
            let Some(of) = of_figure.first().and_then(|one| meaning(probe, &one.name)) else {
                continue;
            };
            page.text(&format!("  {probe}, {}", of.words));
            let width = of_figure.iter().map(|one| of.of(&one.labels).chars().count()).max();
            for one in of_figure {
                let figures = summed(of, &one.reading, sum.window_ns);
                page.cell(&of.of(&one.labels), width.unwrap_or(0), &figures);
                if let (MeasureUnit::Nanoseconds, Reading::Distribution(values)) =
                    (of.unit, &one.reading)
                    // A single one is drawn in no more than it is said in.
                    && values.samples() > 1
                {
                    page.drawing("", &values.buckets, super::account::NANOSECONDS);
                }
            }
        }
        if more > 0 {
            page.row("", &human::counted(more as u64, "further figures"));
        }
        if self.left_out.contains(&key) {
            page.row("", &format!("figures beyond {COUNTED_MAX} were not added up"));
        }
    }
}

fn summed(of: &Meaning, reading: &Reading, window_ns: u64) -> String {
    match reading {
        Reading::Count(sum) => {
            let rate = count(*sum) / seconds(window_ns.max(1));
            let rate = match of.unit {
                MeasureUnit::Events => human::rate(rate),
                MeasureUnit::Nanoseconds => format!("{} a second", human::duration(rate / 1e9)),
                MeasureUnit::Microseconds => format!("{} a second", human::duration(rate / 1e6)),
                MeasureUnit::Bytes => format!("{}/s", bytes(rate)),
            };
            format!("{}, {rate}", amount(of.unit, *sum))
        }
        Reading::Level(level) => format!("at most {}", amount(of.unit, *level)),
        Reading::Distribution(values) => {
            let (samples, sum) = (human::count(values.samples()), amount(of.unit, values.sum));
            format!("{}, {samples} in all, {sum} together", percentiles(of.unit, values))
        }
    }
}
