//! Answers by a figure: phase by phase where it has one a phase, with the factor against the
//! baseline.

use temblor_event::{Figure, PhaseRole, Unit};

use super::{NOT_OBSERVED, Sources};
use crate::human::{count, duration, figure as shown, times};
use crate::load::is_of_load;
use crate::recovery::First;
use crate::sentences::why_unobserved;
use crate::sides::services as between;

pub(super) fn answer(from: &Sources<'_>, figure: Figure) -> Vec<String> {
    if is_of_load(figure) {
        return vec![by_phase(from, figure)];
    }
    let value = from.figures.observed(figure, None).filter(|value| value.is_finite());
    let Some(value) = value else {
        let why = why_unobserved(figure, from.ledger);
        let kernel = if figure == Figure::Detection { by_kernel(from) } else { None };
        let mut found = vec![format!("{figure}: {NOT_OBSERVED}: {why}")];
        found.extend(kernel);
        return found;
    };
    let value = shown(value, figure.unit());
    let after_healing = format!("{value} after healing");
    match figure {
        Figure::LedgerLost => {
            let of = from.ledger.map(|ledger| count(ledger.acknowledged)).unwrap_or_default();
            vec![format!("{value} of {of} acknowledged orders lost")]
        }
        Figure::LedgerDuplicated => {
            vec![format!("orders in the database more than once: {value}")]
        }
        Figure::LedgerUnexpected => {
            vec![format!("orders in the database, refused or never sent: {value}")]
        }
        Figure::Detection => detection(from, &value),
        Figure::RecoveryFirst => {
            let what = match from.recovery.first {
                Some(First::Connection(state)) => {
                    format!("first connection that works, {}", between(&state.conn))
                }
                Some(First::Check(check)) => format!("check \"{}\" says yes again", check.check),
                None => "first sign that it works again".to_owned(),
            };
            vec![format!("{what}: {after_healing}")]
        }
        Figure::RecoveryFull => {
            let hold = duration(crate::log::seconds(from.log.started.steady_hold_ns));
            vec![format!("steady again, and so for {hold}: {after_healing}")]
        }
        Figure::RecoveryServices => vec![format!("all services well again: {after_healing}")],
        Figure::ServiceRestarts => {
            let each = from.services.stories.iter().filter(|story| story.restarts > 0);
            let each: Vec<String> =
                each.map(|s| format!("{} {}", s.service, count(s.restarts))).collect();
            let of =
                if each.is_empty() { String::new() } else { format!(" ({})", each.join(", ")) };
            vec![format!("restarts of services: {value}{of}")]
        }
        Figure::ServiceOutage => {
            let longest = from.services.stories.iter().find(|story| {
                let lengths = story.outages.iter().filter_map(|outage| outage.length_seconds);
                lengths.reduce(f64::max) == from.services.outage_seconds
            });
            let whose = longest.map(|s| format!(", that of {}", s.service)).unwrap_or_default();
            vec![format!("longest outage of a service: {value}{whose}")]
        }
        // Those of the load are told by phase.
        _ => vec![format!("{figure}: {value}")],
    }
}

fn detection(from: &Sources<'_>, value: &str) -> Vec<String> {
    let sign = from.application.map(|sign| format!(": {} ({})", sign.what, sign.source));
    let mut found = vec![format!(
        "noticed by the application {value} after injection{}",
        sign.unwrap_or_default()
    )];
    found.extend(by_kernel(from));
    found
}

fn by_kernel(from: &Sources<'_>) -> Option<String> {
    let sign = from.kernel?;
    let after = duration(from.log.since_injection(sign.t_ns));
    Some(format!(
        "first sign in the kernel {after} after injection: {} ({})",
        sign.what, sign.source
    ))
}

/// `p99: 12 ms in baseline → 118 ms in fault (×9.8) → 14 ms in recovery (×1.2)`.
fn by_phase(from: &Sources<'_>, figure: Figure) -> String {
    let name = figure.name().trim_start_matches("load.");
    let load = from.figures.load;
    let baseline = load.baseline.as_ref().and_then(|load| load.figure(figure));
    let phases: Vec<String> = from
        .windows
        .iter()
        .zip(&load.by_window)
        .map(|(window, load)| {
            let value = load.as_ref().and_then(|load| load.figure(figure));
            let Some(value) = value.filter(|value| value.is_finite()) else {
                return format!("{NOT_OBSERVED} in {}", window.name);
            };
            // A share of 0 to 1 is its own comparison.
            let base = baseline.filter(|base| {
                *base > 0.0 && figure.unit() != Unit::Ratio && window.role != PhaseRole::Baseline
            });
            let factor = base.map(|base| format!(" ({})", times(value / base))).unwrap_or_default();
            format!("{} in {}{factor}", shown(value, figure.unit()), window.name)
        })
        .collect();
    if phases.is_empty() {
        return format!("{name}: {NOT_OBSERVED}, no phase was begun");
    }
    format!("{name}: {}", phases.join(" → "))
}
