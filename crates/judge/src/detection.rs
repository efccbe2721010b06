//! When the fault was noticed: by the kernel, and by the application.
//!
//! The application notices at the earliest, from injection on, of
//! - a check that says no, and that had passed every time it had answered before the injection (the
//!   time is that of the question, or if that was asked before the injection, of the answer);
//! - an order planned after the injection that was refused or got no answer (the time is that of
//!   the outcome), if not a single order planned in the baseline had gone wrong before the
//!   injection;
//! - the end of a second of load, begun after the injection, that does not meet a steady-state
//!   condition on `load.*` and with which more in a row do not than ever in the baseline: where
//!   requests go wrong, or are late, now and then, one more says nothing.
//!
//! The kernel notices at the first retransmission, reset, failed connect or close with an error,
//! from injection on, on a connection that a fault is about ([`crate::sides`]). Of a fault that was
//! over as soon as it was done, the signs begin with the change itself, before the event that says
//! it had been made; they count as noticed at once.

use std::collections::BTreeSet;

use temblor_event::{CheckResult, Condition, Outcome, PhaseRole, TcpState};

use crate::expectations::load_conditions;
use crate::human::beside;
use crate::load::Load;
use crate::log::{At, Log, SECOND_NS};
use crate::phases::Window;
use crate::sentences::expected;
use crate::sides::{Sides, addresses, services};
use crate::steady::meets;
use crate::tcp_names::{ended, kind_name};

/// Something was seen.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sign {
    pub(crate) t_ns: u64,
    pub(crate) what: String,
    pub(crate) source: String,
}

/// The first sign that the application gave. None: no fault, or no sign.
pub(crate) fn application(log: &Log<'_>, windows: &[Window<'_>], load: &Load) -> Option<Sign> {
    log.injected.first()?;
    [first_failed_check(log), first_failed_load(log, windows, load)]
        .into_iter()
        .flatten()
        .min_by_key(|sign| sign.t_ns)
}

/// The first sign that the kernel gave. None: no fault, or no sign.
pub(crate) fn kernel(log: &Log<'_>, sides: &Sides) -> Option<Sign> {
    log.injected.first()?;
    let after = |t_ns: u64| t_ns >= log.signs_from_ns;
    let retransmission = log
        .retransmits
        .iter()
        .find(|segment| after(segment.t_ns) && sides.concern(&segment.conn))
        .map(|segment| Sign {
            t_ns: segment.t_ns,
            what: format!(
                "{} sends a segment again ({})",
                with_addresses(&segment.conn),
                kind_name(segment.kind)
            ),
            source: log.hook("retrans"),
        });
    let reset =
        log.resets.iter().find(|reset| after(reset.t_ns) && sides.concern(&reset.conn)).map(
            |reset| Sign {
                t_ns: reset.t_ns,
                what: format!(
                    "{}: reset {}",
                    with_addresses(&reset.conn),
                    if reset.sent { "sent" } else { "received" }
                ),
                source: log.hook(if reset.sent { "resets sent" } else { "resets received" }),
            },
        );
    let failure = log
        .states
        .iter()
        .find(|state| {
            let failed_attempt = state.from == TcpState::SynSent;
            after(state.t_ns)
                && state.to == TcpState::Close
                && (failed_attempt || state.errno != 0)
                && sides.concern(&state.conn)
        })
        .map(|state| Sign {
            t_ns: state.t_ns,
            what: if state.from == TcpState::SynSent {
                format!(
                    "{}: connect {}",
                    services(&state.conn),
                    ended(state.errno, state.connect_ns)
                )
            } else {
                format!("{}: {}", with_addresses(&state.conn), ended(state.errno, None))
            },
            source: log.hook("state"),
        });
    [retransmission, reset, failure].into_iter().flatten().min_by_key(|sign| sign.t_ns)
}

fn with_addresses(connection: &temblor_event::Connection) -> String {
    format!("{} ({})", services(connection), addresses(connection))
}

/// When a check's answer was known.
pub(crate) fn answered_ns(check: &CheckResult, asked_ns: u64) -> u64 {
    asked_ns.saturating_add(check.took_ns)
}

fn first_failed_check(log: &Log<'_>) -> Option<Sign> {
    let is_before = |check: &At<'_, CheckResult>| answered_ns(check.get(), check.t_ns) < log.t0_ns;
    let before = || log.checks.iter().filter(|check| is_before(check));
    let asked: BTreeSet<&str> = before().map(|check| check.get().check.as_str()).collect();
    let failed: BTreeSet<&str> =
        before().filter(|check| !check.ok).map(|check| check.get().check.as_str()).collect();
    let told_ns = |check: &At<'_, CheckResult>| {
        if check.t_ns >= log.t0_ns { check.t_ns } else { answered_ns(check.get(), check.t_ns) }
    };
    let sign = log
        .checks
        .iter()
        .filter(|check| {
            let name = check.check.as_str();
            !is_before(check) && !check.ok && asked.contains(name) && !failed.contains(name)
        })
        .min_by_key(|check| told_ns(check))?;
    Some(Sign {
        t_ns: told_ns(sign),
        what: check_says(sign.ok, &sign.seen),
        source: check_source(&sign.check),
    })
}

/// A check's answer as the timeline puts it.
pub(crate) fn check_says(ok: bool, seen: &str) -> String {
    let answer = if ok { "says yes" } else { "says no" };
    if seen.is_empty() { answer.to_owned() } else { format!("{answer}: {seen}") }
}

/// A check as a source.
pub(crate) fn check_source(check: &str) -> String {
    format!("check \"{check}\"")
}

fn first_failed_load(log: &Log<'_>, windows: &[Window<'_>], load: &Load) -> Option<Sign> {
    let in_baseline =
        |t_ns| windows.iter().any(|w| w.role == PhaseRole::Baseline && w.contains(t_ns));
    // What was under way when the fault came, and went wrong then, is no habit of the baseline's.
    let mut known =
        log.orders.iter().filter(|o| o.t_ns < log.t0_ns && in_baseline(o.planned_ns)).peekable();
    let clean = if known.peek().is_some() {
        known.all(|order| order.outcome == Outcome::Ok)
    } else {
        load.baseline.as_ref().is_some_and(|b| b.planned > 0 && b.ok == b.planned)
    };
    let failed = clean.then(|| first_failed_order(log)).flatten();
    let bad = first_bad_second(log, windows, load);
    [failed, bad].into_iter().flatten().min_by_key(|sign| sign.t_ns)
}

fn first_failed_order(log: &Log<'_>) -> Option<Sign> {
    let order = log.orders.iter().find(|order| {
        order.planned_ns >= log.t0_ns
            && order.t_ns >= log.t0_ns
            && matches!(order.outcome, Outcome::Fail | Outcome::Unsure)
    })?;
    let how = match order.outcome {
        Outcome::Unsure => "got no answer",
        _ => "was refused",
    };
    let status = order.status.map(|status| format!(", status {status}")).unwrap_or_default();
    let error = order.error.as_ref().map(|error| format!(": {error}")).unwrap_or_default();
    Some(Sign {
        t_ns: order.t_ns,
        what: format!("order {} {how}{status}{error}", order.key),
        source: "load".to_owned(),
    })
}

/// The end of the first second that makes a longer row of bad ones than there was in the baseline.
fn first_bad_second(log: &Log<'_>, windows: &[Window<'_>], load: &Load) -> Option<Sign> {
    let conditions: Vec<Condition> = load_conditions(&log.started.steady_state);
    let missed = |figures| conditions.iter().find(|one| !meets(figures, &[(*one).clone()]));
    let in_baseline = |start_ns: u64| {
        let end_ns = start_ns.saturating_add(SECOND_NS);
        end_ns <= log.t0_ns
            && windows.iter().any(|w| w.role == PhaseRole::Baseline && w.contains(start_ns))
    };
    let (mut habit, mut row) = (0, 0);
    for (start_ns, figures) in &load.seconds {
        // A second in which not all was sent tells of the load, not of the application.
        let missed = missed(figures).filter(|_| figures.unsent == 0);
        row = if missed.is_some() { row + 1 } else { 0 };
        if in_baseline(*start_ns) {
            habit = habit.max(row);
        }
        if *start_ns < log.t0_ns {
            continue;
        }
        let Some(missed) = missed.filter(|_| row > habit) else { continue };
        let unit = missed.figure.unit();
        let shown = figures.figure(missed.figure).map(|v| beside(v, missed.bound, unit));
        return Some(Sign {
            t_ns: start_ns.saturating_add(SECOND_NS),
            what: format!(
                "a second of load is not steady: {} {} (expected {})",
                missed.figure,
                shown.as_deref().unwrap_or("none"),
                expected(missed)
            ),
            source: "load".to_owned(),
        });
    }
    None
}
