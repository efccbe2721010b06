//! What the kernel aggregated of each target, phase by phase, and what of it changed most.
//!
//! A window belongs to the phase in which its middle lies. Latencies of a phase's windows are put
//! together bucket by bucket, so that a percentile of the phase is one of all its samples.

use std::collections::BTreeMap;

use temblor_event::{PhaseRole, SchedWindow};

use crate::log::{At, Log, seconds};
use crate::phases::Window;
use crate::result::{FigureUnit, KernelFigure};

/// A figure that at least doubled, or was halved, has changed.
const FACTOR: f64 = 2.0;

/// Below this a change is nothing that anybody would feel.
fn floor(unit: FigureUnit) -> f64 {
    match unit {
        FigureUnit::Seconds => 0.001,
        FigureUnit::Processors => 0.05,
        FigureUnit::PerSecond => 50.0,
        FigureUnit::Share => 0.01,
    }
}

fn per_second(sum: &SchedWindow, count: u64) -> Option<f64> {
    #[expect(clippy::cast_precision_loss, reason = "counts of one run")]
    let count = count as f64;
    (sum.window_ns > 0).then(|| count / seconds(sum.window_ns))
}

fn waited(sum: &SchedWindow, ns: u64) -> Option<f64> {
    (sum.wait.samples > 0).then(|| seconds(ns))
}

/// A figure's name, unit and source, and how it is read from a phase.
type Reading = (&'static str, FigureUnit, &'static str, fn(&SchedWindow) -> Option<f64>);

const SWITCH: &str = "tp_btf/sched_switch";
const WAKEUP: &str = "tp_btf/sched_wakeup, tp_btf/sched_switch";
const CPU_STAT: &str = "cpu.stat of the target's cgroup";

const READINGS: [Reading; 8] = [
    ("run-queue wait, median", FigureUnit::Seconds, WAKEUP, |s| waited(s, s.wait.p50_ns)),
    ("run-queue wait, 99th percentile", FigureUnit::Seconds, WAKEUP, |s| waited(s, s.wait.p99_ns)),
    ("run-queue wait, greatest", FigureUnit::Seconds, WAKEUP, |s| waited(s, s.wait.max_ns)),
    ("time on a processor", FigureUnit::Processors, SWITCH, |s| {
        per_second(s, s.on_cpu_ns).map(|n| n / 1e9)
    }),
    ("switches while it waited for something", FigureUnit::PerSecond, SWITCH, |s| {
        per_second(s, s.voluntary)
    }),
    ("switches while it could have gone on", FigureUnit::PerSecond, SWITCH, |s| {
        per_second(s, s.involuntary)
    }),
    ("periods in which its quota was used up", FigureUnit::Share, CPU_STAT, |s| {
        let throttled = s.throttled.filter(|throttled| throttled.periods > 0)?;
        #[expect(clippy::cast_precision_loss, reason = "counts of one run")]
        let share = throttled.periods_throttled as f64 / throttled.periods as f64;
        Some(share)
    }),
    ("time held back by its quota, a second", FigureUnit::Seconds, CPU_STAT, |s| {
        s.throttled.and_then(|throttled| per_second(s, throttled.ns)).map(|ns| ns / 1e9)
    }),
];

/// Every figure of every target; those that changed come first, the greatest change at the top.
pub(crate) fn figures(log: &Log<'_>, windows: &[Window<'_>]) -> Vec<KernelFigure> {
    let mut by_target: BTreeMap<&str, BTreeMap<&str, SchedWindow>> = BTreeMap::new();
    for told in &log.scheds {
        let Some(phase) = phase_of(told, windows) else { continue };
        let phases = by_target.entry(&told.service).or_default();
        let sum = phases.entry(phase.name);
        sum.and_modify(|sum| sum.merge(told.get())).or_insert_with(|| told.get().clone());
    }
    let mut figures: Vec<KernelFigure> = Vec::new();
    for (service, phases) in &by_target {
        for (figure, unit, source, read) in READINGS {
            let by_phase: BTreeMap<String, f64> = phases
                .iter()
                .filter_map(|(phase, sched)| Some(((*phase).to_owned(), read(sched)?)))
                .collect();
            if by_phase.values().any(|value| *value > 0.0) {
                let (factor, changed) = change(&by_phase, windows, unit);
                figures.push(KernelFigure {
                    service: (*service).to_owned(),
                    figure: figure.to_owned(),
                    unit,
                    phases: by_phase,
                    factor,
                    changed,
                    source: source.to_owned(),
                });
            }
        }
    }
    // What came out of nothing has no factor, and changed more than anything that has one.
    let weight = |of: &KernelFigure| of.factor.map_or(f64::INFINITY, |factor| factor.ln().abs());
    figures.sort_by(|a, b| {
        b.changed.cmp(&a.changed).then(if a.changed {
            weight(b).total_cmp(&weight(a))
        } else {
            std::cmp::Ordering::Equal
        })
    });
    figures
}

fn phase_of<'a, 'w>(
    told: &At<'_, SchedWindow>,
    windows: &'w [Window<'a>],
) -> Option<&'w Window<'a>> {
    let middle_ns = told.t_ns.saturating_sub(told.window_ns / 2);
    windows.iter().find(|window| window.contains(middle_ns))
}

/// By how much the phase with a fault that differs most differs from the baseline, and whether
/// that is a change.
fn change(
    by_phase: &BTreeMap<String, f64>,
    windows: &[Window<'_>],
    unit: FigureUnit,
) -> (Option<f64>, bool) {
    let of = |role: PhaseRole| {
        let phases = windows.iter().filter(move |window| window.role == role);
        phases.filter_map(|window| by_phase.get(window.name).copied())
    };
    let Some(before) = of(PhaseRole::Baseline).reduce(f64::max) else { return (None, false) };
    let differs = |value: &f64| (value - before).abs();
    let Some(during) = of(PhaseRole::Fault).max_by(|a, b| differs(a).total_cmp(&differs(b))) else {
        return (None, false);
    };
    let factor = (before > 0.0).then(|| during / before);
    let is_great = factor.is_none_or(|factor| !(1.0 / FACTOR..FACTOR).contains(&factor));
    // A factor of nothing at all cannot be written.
    let factor = factor.filter(|factor| *factor > 0.0);
    (factor, is_great && differs(&during) >= floor(unit))
}
