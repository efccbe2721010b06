//! Expectations as sentences with their figures.

use temblor_event::{Condition, Figure, Op};

use crate::human::{beside, count, figure};
use crate::load::is_of_load;
use crate::result::{ExpectationResult, LedgerResult};

/// `0 of 15,998 acknowledged orders lost`, `steady again 4.2 s after healing (expected <= 10s)`.
/// `default_window` says which window is meant where the expectation names no phase.
pub(crate) fn sentence(
    of: &ExpectationResult,
    default_window: &str,
    ledger: Option<&LedgerResult>,
) -> String {
    let condition = &of.condition;
    let expected = expected(condition);
    let during = match &of.during {
        Some(phase) => format!("in the phase {phase}"),
        None => default_window.to_owned(),
    };
    let Some(value) = of.observed else {
        let why = why_unobserved(condition.figure, ledger);
        let figure = condition.figure;
        return if is_of_load(figure) {
            format!("{figure} {during} was not observed: {why} (expected {expected})")
        } else {
            format!("{figure} was not observed: {why} (expected {expected})")
        };
    };
    let unit = condition.figure.unit();
    // A figure that failed its bound is never rounded onto it.
    let shown = if of.held { figure(value, unit) } else { beside(value, condition.bound, unit) };
    let orders = if value == 1.0 { "order" } else { "orders" };
    match condition.figure {
        Figure::LedgerLost => {
            let of = ledger.map(|ledger| count(ledger.acknowledged)).unwrap_or_default();
            let sentence = format!("{shown} of {of} acknowledged orders lost");
            if value == 0.0 { sentence } else { format!("{sentence} (expected {expected})") }
        }
        Figure::LedgerDuplicated => {
            format!("{shown} {orders} in the database more than once (expected {expected})")
        }
        Figure::LedgerUnexpected => {
            format!("{shown} {orders} in the database, refused or never sent (expected {expected})")
        }
        Figure::Detection => {
            format!("noticed by the application {shown} after injection (expected {expected})")
        }
        Figure::RecoveryFirst => {
            format!("a connection works again {shown} after healing (expected {expected})")
        }
        Figure::RecoveryFull => {
            format!("steady again {shown} after healing (expected {expected})")
        }
        Figure::RecoveryServices => {
            format!("all services well again {shown} after healing (expected {expected})")
        }
        Figure::ServiceRestarts => {
            let starts = if value == 1.0 { "restart" } else { "restarts" };
            format!("{shown} {starts} of services (expected {expected})")
        }
        Figure::ServiceOutage => {
            format!("the longest outage of a service was {shown} (expected {expected})")
        }
        Figure::LoadSuccess => {
            format!("{shown} of the requests accepted {during} (expected {expected})")
        }
        Figure::LoadErrors => {
            format!("{shown} of the requests not accepted {during} (expected {expected})")
        }
        Figure::LoadThroughput => {
            format!("{shown} accepted {during} (expected {expected})")
        }
        Figure::LoadP50 | Figure::LoadP90 | Figure::LoadP99 | Figure::LoadMax => {
            let name = condition.figure.name().trim_start_matches("load.");
            format!("latency {name} {shown} {during} (expected {expected})")
        }
    }
}

/// The weight of a figure among sentences: what was lost comes before how fast it was.
pub(crate) fn weight(figure: Figure) -> u8 {
    match figure {
        Figure::LedgerLost => 0,
        Figure::LedgerDuplicated => 1,
        Figure::LedgerUnexpected => 2,
        Figure::RecoveryFull => 3,
        Figure::RecoveryServices | Figure::ServiceOutage => 4,
        Figure::RecoveryFirst => 5,
        Figure::Detection => 6,
        _ => 7,
    }
}

pub(crate) fn expected(condition: &Condition) -> String {
    if !condition.text.trim().is_empty() {
        return condition.text.trim().to_owned();
    }
    let op = match condition.op {
        Op::Ge => ">=",
        Op::Gt => ">",
        Op::Le => "<=",
        Op::Lt => "<",
        Op::Eq => "==",
    };
    format!("{op} {}", figure(condition.bound, condition.figure.unit()))
}

pub(crate) fn why_unobserved(figure: Figure, ledger: Option<&LedgerResult>) -> String {
    let why = match figure {
        Figure::LedgerLost | Figure::LedgerDuplicated | Figure::LedgerUnexpected => {
            return ledger
                .and_then(|ledger| ledger.error.clone())
                .unwrap_or_else(|| "no orders were recorded and no database was read".to_owned());
        }
        Figure::Detection => "the application gave no sign",
        Figure::RecoveryFirst => "no connection was seen to work after healing",
        Figure::RecoveryFull => "the system was not steady again before the run ended",
        Figure::RecoveryServices => "a service was not well again, or nobody watched the services",
        Figure::ServiceRestarts => "nobody watched the services",
        Figure::ServiceOutage => "an outage was not over, or nobody watched the services",
        Figure::LoadSuccess | Figure::LoadErrors | Figure::LoadThroughput => "there was no load",
        Figure::LoadP50 | Figure::LoadP90 | Figure::LoadP99 | Figure::LoadMax => {
            "no latencies of acknowledged requests can be read"
        }
    };
    why.to_owned()
}
