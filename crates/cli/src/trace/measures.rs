//! Figures that probes count by window: a second in words, and sums of all seconds.

use std::collections::{BTreeMap, BTreeSet};

use temblor_event::{Distribution, Meaning, Measure, MeasureUnit, ProbeWindow, Reading, meaning};
use temblor_judge::human;

use super::account::Page;
use super::words::{length, seconds};

/// Figures of one probe and target that are counted each for itself.
const COUNTED_MAX: usize = 1_000;
/// Rows of one probe and target; the rest are counted.
const ROWS_MAX: usize = 40;

/// A second of one target's, in words. None: nothing happened in it.
pub(super) fn words(window: &ProbeWindow) -> Option<String> {
    let told = window.measures.iter().map(|one| match meaning(&window.probe, &one.name) {
        Some(of) => {
            let name = of.named(&one.labels);
            format!("{name} {}", reading(of.unit, &one.reading, window.window_ns))
        }
        None => format!("{} {:?}", one.name, one.reading),
    });
    let told: Vec<String> = told.collect();
    (!told.is_empty()).then(|| told.join("; "))
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

    /// What a probe counted of a target, a row for each figure, its histogram with it.
    pub(super) fn told(&self, page: &mut Page, probe: &str, target: &str) {
        let key = (probe.to_owned(), target.to_owned());
        let Some(sum) = self.sums.get(&key).filter(|sum| !sum.measures.is_empty()) else {
            page.row(probe, "nothing happened");
            return;
        };
        let mut measures: Vec<_> = sum.measures.iter().collect();
        measures.sort_by(|a, b| (&a.name, &a.labels).cmp(&(&b.name, &b.labels)));
        for one in measures.iter().take(ROWS_MAX) {
            let Some(of) = meaning(probe, &one.name) else { continue };
            let name = format!("{probe}, {}", of.named(&one.labels));
            page.text(&format!("  {name}"));
            page.row("", &summed(of, &one.reading, sum.window_ns));
            if let (MeasureUnit::Nanoseconds, Reading::Distribution(values)) =
                (of.unit, &one.reading)
            {
                page.drawing("", &values.buckets, super::account::NANOSECONDS);
            }
        }
        let more = measures.len().saturating_sub(ROWS_MAX);
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
