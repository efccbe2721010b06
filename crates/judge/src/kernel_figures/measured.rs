//! Figures that probes count by window, each by its entry in the table of their meanings.

use std::collections::{BTreeMap, BTreeSet};

use temblor_event::{Meaning, Measure, MeasureKind, MeasureUnit, ProbeWindow, Reading, meaning};

use super::{Observed, phase_of};
use crate::log::{Log, as_f64, seconds};
use crate::phases::Window;
use crate::result::{FigureUnit, KernelFigure};

/// A change in how many samples a second a distribution has is worth telling from here on.
const SAMPLES_NOTABLE: f64 = 50.0;

/// A name and its labels: what tells one figure of a probe's from another.
type Key = (String, BTreeMap<String, String>);

pub(super) fn figures(log: &Log<'_>, windows: &[Window<'_>]) -> Vec<KernelFigure> {
    let mut by_target: BTreeMap<(&str, &str), BTreeMap<&str, ProbeWindow>> = BTreeMap::new();
    for told in &log.windows {
        let Some(phase) = phase_of(told, told.window_ns, windows) else { continue };
        let phases = by_target.entry((&told.probe, &told.service)).or_default();
        let sum = phases.entry(phase.name);
        sum.and_modify(|sum| sum.merge(told.get())).or_insert_with(|| told.get().clone());
    }
    let mut figures = Vec::new();
    for ((probe, service), phases) in &by_target {
        let measures = phases.values().flat_map(|window| &window.measures);
        let keys: BTreeSet<Key> =
            measures.map(|one| (one.name.clone(), one.labels.clone())).collect();
        for key in &keys {
            let Some(meaning) = meaning(probe, &key.0) else { continue };
            let source = source(log, meaning);
            for (figure, unit, phases) in values(meaning, key, phases) {
                let observed = Observed {
                    probe: (*probe).to_owned(),
                    service: (*service).to_owned(),
                    figure,
                    unit,
                    phases,
                    notable: notable(meaning, unit),
                    source: source.clone(),
                };
                figures.extend(observed.compare(windows));
            }
        }
    }
    figures
}

/// From which difference on a change of one of the meaning's figures can be felt.
fn notable(meaning: &Meaning, unit: FigureUnit) -> f64 {
    let is_samples = meaning.kind == MeasureKind::Distribution && unit == FigureUnit::PerSecond;
    if is_samples && meaning.notable.is_finite() { SAMPLES_NOTABLE } else { meaning.notable }
}

/// The hook that this run's probe used for it.
fn source(log: &Log<'_>, meaning: &Meaning) -> String {
    let statuses = log.probe_status.iter().filter(|status| status.probe == meaning.probe);
    let hook = statuses.flat_map(|status| &status.hooks).find(|hook| hook.sees == meaning.sees);
    hook.map_or_else(|| format!("probe {}", meaning.probe), |hook| hook.hook.clone())
}

type Values = (String, FigureUnit, BTreeMap<String, f64>);

/// What there is to say of a figure, each with its value in every phase that was watched.
fn values(meaning: &Meaning, key: &Key, phases: &BTreeMap<&str, ProbeWindow>) -> Vec<Values> {
    let of = |window: &ProbeWindow| -> Option<Reading> {
        let same = |one: &&Measure| one.name == key.0 && one.labels == key.1;
        window.measures.iter().find(same).map(|one| one.reading.clone())
    };
    let by_phase = |value: &dyn Fn(&ProbeWindow, Option<Reading>) -> Option<f64>| {
        let told = |(phase, window): (&&str, &ProbeWindow)| {
            Some(((*phase).to_owned(), value(window, of(window))?))
        };
        phases.iter().filter_map(told).collect::<BTreeMap<_, _>>()
    };
    // What did not come in a phase that was watched came 0 times.
    let rate = by_phase(&|window, reading| {
        let sum = match reading {
            None => 0.0,
            Some(Reading::Count(sum)) => in_base(meaning.unit, sum),
            Some(Reading::Distribution(values)) => as_f64(values.samples()),
            Some(Reading::Level(_)) => return None,
        };
        (window.window_ns > 0).then(|| sum / seconds(window.window_ns))
    });
    let name = meaning.named(&key.1);
    let has = |kind: fn(&Reading) -> bool| phases.values().filter_map(of).any(|one| kind(&one));
    if has(|one| matches!(one, Reading::Distribution(_))) {
        let rank = |hundredths| {
            by_phase(&|_, reading| match reading {
                Some(Reading::Distribution(values)) => {
                    Some(in_base(meaning.unit, values.percentile(hundredths)))
                }
                _ => None,
            })
        };
        let unit = base(meaning.unit);
        return vec![
            (format!("{name}, median"), unit, rank(50)),
            (format!("{name}, 99th percentile"), unit, rank(99)),
            (format!("{name}, greatest"), unit, rank(100)),
            (format!("{name}, how many"), FigureUnit::PerSecond, rate),
        ];
    }
    if has(|one| matches!(one, Reading::Level(_))) {
        let greatest = by_phase(&|_, reading| match reading {
            None => Some(0.0),
            Some(Reading::Level(level)) => Some(in_base(meaning.unit, level)),
            Some(_) => None,
        });
        return vec![(format!("{name}, greatest"), base(meaning.unit), greatest)];
    }
    let unit = match meaning.unit {
        MeasureUnit::Nanoseconds | MeasureUnit::Microseconds => FigureUnit::Seconds,
        MeasureUnit::Bytes => FigureUnit::BytesPerSecond,
        MeasureUnit::Events => FigureUnit::PerSecond,
    };
    let name = match meaning.unit {
        MeasureUnit::Nanoseconds | MeasureUnit::Microseconds => format!("{name}, a second"),
        _ => name,
    };
    vec![(name, unit, rate)]
}

fn base(unit: MeasureUnit) -> FigureUnit {
    match unit {
        MeasureUnit::Nanoseconds | MeasureUnit::Microseconds => FigureUnit::Seconds,
        MeasureUnit::Bytes => FigureUnit::Bytes,
        MeasureUnit::Events => FigureUnit::Number,
    }
}

fn in_base(unit: MeasureUnit, value: u64) -> f64 {
    match unit {
        MeasureUnit::Nanoseconds => seconds(value),
        MeasureUnit::Microseconds => seconds(value.saturating_mul(1_000)),
        MeasureUnit::Bytes | MeasureUnit::Events => as_f64(value),
    }
}
