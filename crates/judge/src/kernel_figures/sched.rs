//! Processor time: figures that come from several of a window's counts.

use std::collections::BTreeMap;

use temblor_event::SchedWindow;

use super::{Observed, phase_of};
use crate::log::{Log, as_f64, seconds};
use crate::phases::Window;
use crate::result::{FigureUnit, KernelFigure};

/// Below this a change is nothing that anybody would feel.
fn notable(unit: FigureUnit) -> f64 {
    match unit {
        FigureUnit::Seconds => 0.001,
        FigureUnit::Processors => 0.05,
        FigureUnit::Share => 0.01,
        _ => 50.0,
    }
}

fn per_second(sum: &SchedWindow, count: u64) -> Option<f64> {
    (sum.window_ns > 0).then(|| as_f64(count) / seconds(sum.window_ns))
}

fn waited(sum: &SchedWindow, ns: u64) -> Option<f64> {
    (sum.wait.samples > 0).then(|| seconds(ns))
}

/// A figure's name, unit and source, and how it is read from a phase.
type Reading = (&'static str, FigureUnit, &'static str, fn(&SchedWindow) -> Option<f64>);

const SWITCH: &str = "tp_btf/sched_switch";
const WAKEUP: &str = "tp_btf/sched_wakeup, tp_btf/sched_switch";
const CPU_STAT: &str = "cpu.stat of the target's cgroup";

const READINGS: [Reading; 9] = [
    ("run-queue wait, median", FigureUnit::Seconds, WAKEUP, |s| waited(s, s.wait.p50_ns)),
    ("run-queue wait, 99th percentile", FigureUnit::Seconds, WAKEUP, |s| waited(s, s.wait.p99_ns)),
    ("run-queue wait, greatest", FigureUnit::Seconds, WAKEUP, |s| {
        (s.wait.samples > 0 || s.waiting_max_ns > 0).then(|| seconds(s.longest_wait_ns()))
    }),
    ("time spent waiting for a processor, a second", FigureUnit::Seconds, WAKEUP, |s| {
        s.waited_ns.and_then(|waited_ns| per_second(s, waited_ns)).map(|ns| ns / 1e9)
    }),
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
        Some(as_f64(throttled.periods_throttled) / as_f64(throttled.periods))
    }),
    ("time held back by its quota, a second", FigureUnit::Seconds, CPU_STAT, |s| {
        s.throttled.and_then(|throttled| per_second(s, throttled.ns)).map(|ns| ns / 1e9)
    }),
];

pub(super) fn figures(log: &Log<'_>, windows: &[Window<'_>]) -> Vec<KernelFigure> {
    let mut by_target: BTreeMap<&str, BTreeMap<&str, SchedWindow>> = BTreeMap::new();
    for told in &log.scheds {
        let Some(phase) = phase_of(told, told.window_ns, windows) else { continue };
        let phases = by_target.entry(&told.service).or_default();
        let sum = phases.entry(phase.name);
        sum.and_modify(|sum| sum.merge(told.get())).or_insert_with(|| told.get().clone());
    }
    let observed = by_target.iter().flat_map(|(service, phases)| {
        READINGS.iter().map(|(figure, unit, source, read)| Observed {
            probe: "sched".to_owned(),
            service: (*service).to_owned(),
            figure: (*figure).to_owned(),
            unit: *unit,
            phases: phases
                .iter()
                .filter_map(|(phase, sched)| Some(((*phase).to_owned(), read(sched)?)))
                .collect(),
            notable: notable(*unit),
            source: (*source).to_owned(),
        })
    });
    observed.filter_map(|one| one.compare(windows)).collect()
}
