//! Phases: the windows that every figure is given for.
//!
//! A phase lasts from its mark of beginning up to, and not including, its mark of end. A phase
//! without an end, as a cut-off run leaves it, lasts until the last event. What happens between
//! phases, or after the last one, belongs to none.

use std::collections::BTreeMap;

use temblor_event::{PhaseMark, PhaseRole};

use crate::load::Load;
use crate::log::Log;
use crate::result::{CheckFigures, GaugeFigures, PhaseResult};

/// When a phase was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Window<'a> {
    pub(crate) name: &'a str,
    pub(crate) role: PhaseRole,
    pub(crate) start_ns: u64,
    pub(crate) end_ns: u64,
}

impl Window<'_> {
    pub(crate) fn contains(&self, t_ns: u64) -> bool {
        self.start_ns <= t_ns && t_ns < self.end_ns
    }
}

/// The phases that began, in order.
pub(crate) fn windows<'a>(log: &Log<'a>) -> Vec<Window<'a>> {
    let mut windows: Vec<Window<'a>> = Vec::new();
    let mut open: Vec<bool> = Vec::new();
    for mark in &log.marks {
        let PhaseMark { phase, role, starts } = mark.get();
        if *starts {
            let window =
                Window { name: phase, role: *role, start_ns: mark.t_ns, end_ns: log.last_ns };
            windows.push(window);
            open.push(true);
        } else if let Some(i) =
            (0..windows.len()).rev().find(|&i| open[i] && windows[i].name == *phase)
        {
            windows[i].end_ns = mark.t_ns;
            open[i] = false;
        }
    }
    windows
}

/// Each phase with its figures.
pub(crate) fn results(log: &Log<'_>, windows: &[Window<'_>], load: &Load) -> Vec<PhaseResult> {
    windows
        .iter()
        .zip(&load.by_window)
        .map(|(window, load)| PhaseResult {
            name: window.name.to_owned(),
            role: window.role,
            start: log.wall_time(window.start_ns),
            end: log.wall_time(window.end_ns),
            start_seconds: log.t_seconds(window.start_ns),
            end_seconds: log.t_seconds(window.end_ns),
            load: load.clone(),
            gauges: gauges(log, window),
            checks: checks(log, window),
            retransmitted_segments: retransmitted_segments(log, window),
        })
        .collect()
}

/// A reading that is no finite number says nothing and is left out.
fn gauges(log: &Log<'_>, window: &Window<'_>) -> BTreeMap<String, GaugeFigures> {
    let mut all: BTreeMap<String, GaugeFigures> = BTreeMap::new();
    for gauge in &log.gauges {
        let value = gauge.value;
        if !value.is_finite() || !window.contains(gauge.t_ns) {
            continue;
        }
        all.entry(gauge.gauge.clone())
            .and_modify(|figures| {
                figures.readings += 1;
                figures.min = figures.min.min(value);
                figures.max = figures.max.max(value);
                figures.last = value;
            })
            .or_insert(GaugeFigures { readings: 1, min: value, max: value, last: value });
    }
    all
}

fn checks(log: &Log<'_>, window: &Window<'_>) -> BTreeMap<String, CheckFigures> {
    let mut all: BTreeMap<String, CheckFigures> = BTreeMap::new();
    for check in log.checks.iter().filter(|check| window.contains(check.t_ns)) {
        let figures =
            all.entry(check.check.clone()).or_insert(CheckFigures { asked: 0, passed: 0 });
        figures.asked += 1;
        figures.passed += u64::from(check.ok);
    }
    all
}

/// None: nobody watched.
fn retransmitted_segments(log: &Log<'_>, window: &Window<'_>) -> Option<u64> {
    if log.probe_status.is_empty() && log.retransmits.is_empty() {
        return None;
    }
    let within = log.retransmits.iter().filter(|segment| window.contains(segment.t_ns));
    Some(within.map(|segment| u64::from(segment.segments)).sum())
}
