//! What the kernel aggregated of each target, phase by phase, and what of it changed most.
//!
//! A window belongs to the phase in which its middle lies. Distributions of a phase's windows are
//! put together bucket by bucket, so that a percentile of the phase is one of all its samples.

mod measured;
mod sched;

use std::collections::BTreeMap;

use temblor_event::PhaseRole;

use crate::log::{At, Log};
use crate::phases::Window;
use crate::result::{FigureUnit, KernelFigure};

/// A figure that at least doubled, or was halved, has changed.
const FACTOR: f64 = 2.0;

/// Every figure of every target; those that changed come first, the greatest change at the top.
pub(crate) fn figures(log: &Log<'_>, windows: &[Window<'_>]) -> Vec<KernelFigure> {
    let mut figures = sched::figures(log, windows);
    figures.extend(measured::figures(log, windows));
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

/// A figure before it is compared.
struct Observed {
    probe: String,
    service: String,
    figure: String,
    unit: FigureUnit,
    phases: BTreeMap<String, f64>,
    /// From this difference on a change can be felt.
    notable: f64,
    source: String,
}

impl Observed {
    /// None: it was nothing throughout.
    fn compare(self, windows: &[Window<'_>]) -> Option<KernelFigure> {
        if self.phases.values().all(|value| *value <= 0.0) {
            return None;
        }
        let (factor, changed) = change(&self.phases, windows, self.notable);
        Some(KernelFigure {
            probe: self.probe,
            service: self.service,
            figure: self.figure,
            unit: self.unit,
            phases: self.phases,
            factor,
            changed,
            source: self.source,
        })
    }
}

/// The phase of what was told at the end of a window of this length.
pub(crate) fn phase_of<'a, 'w, T>(
    told: &At<'_, T>,
    window_ns: u64,
    windows: &'w [Window<'a>],
) -> Option<&'w Window<'a>> {
    let middle_ns = told.t_ns.saturating_sub(window_ns / 2);
    windows.iter().find(|window| window.contains(middle_ns))
}

/// By how much the phase with a fault that differs most differs from the baseline, and whether
/// that is a change.
fn change(
    by_phase: &BTreeMap<String, f64>,
    windows: &[Window<'_>],
    notable: f64,
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
    (factor, is_great && differs(&during) >= notable)
}
