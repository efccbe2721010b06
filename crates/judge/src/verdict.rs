//! The verdict and its reasons.
//!
//! In this order, the first that applies:
//! - leak: something of ours was left behind, a fault was not verified to be gone, or a run that
//!   came to its end left one in place;
//! - aborted: cut short, or the log ends before the run's last event;
//! - invalid: the run proves nothing. A fault without effect, or a fault phase into which no
//!   fault went; no requests, a load account that does not balance, or more than 1 % of the
//!   planned requests never sent; no steady state in the baseline;
//! - fail: something expected was not observed;
//! - pass.
//!
//! The reasons give all of this, the weightiest first: one sentence for each cause of the
//! verdict and of every lesser one, then doses that were seen to be off, processes that ended
//! though no fault was about to end them, cross-checks that disagree, then what held. A dose that
//! is off changes no verdict: the system met a fault, only not quite the one that was asked for.

use temblor_event::PhaseRole;

use crate::doses::dose_sentence;
use crate::faults::label;
use crate::human::{count, counted, number, percent};
use crate::log::{Log, as_f64};
use crate::result::{
    CrossCheck, ExpectationResult, FaultResult, LedgerResult, LoadAccount, Verdict,
};
use crate::sentences::{sentence, weight};
use crate::services::ended_unasked;

/// Reasons of one kind, so that a run with thousands of causes stays readable.
const REASONS_MAX: usize = 20;

/// Above this share of requests that were never sent, in per cent, it was another load than the
/// one that was asked for.
const UNSENT_PERCENT_MAX: u64 = 1;

/// What the verdict is made of.
#[derive(Debug)]
pub(crate) struct Findings<'a> {
    pub(crate) log: &'a Log<'a>,
    pub(crate) faults: &'a [FaultResult],
    pub(crate) account: Option<&'a LoadAccount>,
    pub(crate) ledger: Option<&'a LedgerResult>,
    pub(crate) steady_state: &'a [ExpectationResult],
    pub(crate) expectations: &'a [ExpectationResult],
    pub(crate) cross_checks: &'a [CrossCheck],
}

pub(crate) fn verdict(of: &Findings<'_>) -> (Verdict, Vec<String>) {
    let causes = [
        (Verdict::Leak, leaks(of)),
        (Verdict::Aborted, aborts(of)),
        (Verdict::Invalid, proves_nothing(of)),
        (Verdict::Fail, expectations(of, false)),
    ];
    let verdict = causes.iter().find(|(_, reasons)| !reasons.is_empty());
    let verdict = verdict.map_or(Verdict::Pass, |(verdict, _)| *verdict);
    let mut reasons = Vec::new();
    for (_, causes) in causes {
        extend_bounded(&mut reasons, causes);
    }
    extend_bounded(&mut reasons, doses_off(of));
    extend_bounded(&mut reasons, processes_ended(of));
    extend_bounded(&mut reasons, disagreements(of));
    extend_bounded(&mut reasons, expectations(of, true));
    extend_bounded(&mut reasons, effects(of));
    if reasons.is_empty() {
        reasons.push("the run came to its end, and nothing was expected of it".to_owned());
    }
    (verdict, reasons)
}

fn extend_bounded(reasons: &mut Vec<String>, more: Vec<String>) {
    let left_out = more.len().saturating_sub(REASONS_MAX);
    reasons.extend(more.into_iter().take(REASONS_MAX));
    if left_out > 0 {
        reasons.push(format!("and {left_out} more of this kind"));
    }
}

/// Not a verdict by itself. It explains counters that began anew. What a fault was about to end is
/// told in the timeline and in the services' story only.
fn processes_ended(of: &Findings<'_>) -> Vec<String> {
    ended_unasked(of.log, of.faults)
        .into_iter()
        .map(|(service, pid)| {
            format!(
                "the process {pid} of {service} ended during the run, which no fault was to do; \
                 counters that it kept are gone"
            )
        })
        .collect()
}

fn doses_off(of: &Findings<'_>) -> Vec<String> {
    let doses = of.faults.iter().flat_map(|fault| {
        let off = fault.effect.doses.iter().filter(|dose| dose.holds() == Some(false));
        off.map(move |dose| (fault, dose))
    });
    doses
        .map(|(fault, dose)| format!("{}: {}", label(fault, of.faults), dose_sentence(dose)))
        .collect()
}

fn leaks(of: &Findings<'_>) -> Vec<String> {
    let mut reasons: Vec<String> =
        of.log.left_behind.iter().map(|left| format!("left behind: {}", left.what)).collect();
    for fault in of.faults {
        if fault.reverted_seconds.is_none() {
            // A run that was killed could not say more; that the kernel or the guardian undid
            // the fault is not in its log.
            if !of.log.ended.is_empty() {
                let fault = label(fault, of.faults);
                reasons.push(format!("{fault} was put in place and never undone"));
            }
        } else if !fault.verified_gone {
            let fault = label(fault, of.faults);
            reasons.push(format!("{fault} was undone, but is not verified to be gone"));
        }
    }
    reasons
}

fn aborts(of: &Findings<'_>) -> Vec<String> {
    let aborted = of.log.aborted.iter();
    let mut reasons: Vec<String> = aborted.map(|a| format!("aborted: {}", a.why)).collect();
    if of.log.ended.is_empty() && reasons.is_empty() {
        reasons.push("the log ends early: the run did not come to its end".to_owned());
    }
    reasons
}

fn proves_nothing(of: &Findings<'_>) -> Vec<String> {
    let mut reasons = Vec::new();
    let planned = of.log.started.phases.iter().filter(|phase| phase.role == PhaseRole::Fault);
    if of.faults.is_empty() {
        reasons.extend(planned.take(1).map(|phase| {
            format!("no fault was put in place, though the phase {} is one of fault", phase.name)
        }));
    }
    for fault in of.faults.iter().filter(|fault| fault.effect.count == 0) {
        let measure = if fault.effect.measure.is_empty() {
            "its effect was never read".to_owned()
        } else {
            let by = &fault.effect.source;
            let by = if by.is_empty() { String::new() } else { format!(" (counted by {by})") };
            format!("0 {}{by}", fault.effect.measure)
        };
        reasons.push(format!("{} had no effect: {measure}", label(fault, of.faults)));
    }
    reasons.extend(load_not_delivered(of));
    for condition in of.steady_state.iter().filter(|condition| !condition.held) {
        let figure = sentence(condition, "in the baseline", of.ledger);
        reasons.push(format!("there was no steady state to begin with: {figure}"));
    }
    reasons
}

fn load_not_delivered(of: &Findings<'_>) -> Vec<String> {
    let mut reasons = Vec::new();
    let Some(account) = of.account else {
        if of.log.started.load.is_some() {
            reasons.push("the load was planned, and gave no closing account".to_owned());
        }
        return reasons;
    };
    if account.planned == 0 {
        reasons.push("the load sent no requests".to_owned());
    }
    if !account.balanced {
        reasons.push(format!(
            "the load's account does not balance: {} planned, {} ok, {} failed, {} unsure, {} unsent, \
             and its seconds do not all add up to the same",
            count(account.planned),
            count(account.ok),
            count(account.failed),
            count(account.unsure),
            count(account.unsent)
        ));
    }
    if unsent_too_many(account) {
        reasons.push(format!(
            "the load was not delivered: {} of {} planned requests were never sent ({})",
            count(account.unsent),
            count(account.planned),
            percent(as_f64(account.unsent) / as_f64(account.planned.max(1)))
        ));
    }
    reasons
}

fn unsent_too_many(account: &LoadAccount) -> bool {
    u128::from(account.unsent) * 100 > u128::from(account.planned) * u128::from(UNSENT_PERCENT_MAX)
}

impl LoadAccount {
    /// Whether the load that was planned is the load that was sent. If not, the run is invalid.
    #[must_use]
    pub fn delivered(&self) -> bool {
        self.planned > 0 && self.balanced && !unsent_too_many(self)
    }
}

fn expectations(of: &Findings<'_>, held: bool) -> Vec<String> {
    let mut chosen: Vec<&ExpectationResult> =
        of.expectations.iter().filter(|expectation| expectation.held == held).collect();
    chosen.sort_by_key(|expectation| weight(expectation.condition.figure));
    chosen.into_iter().map(|e| sentence(e, "over the whole run", of.ledger)).collect()
}

fn disagreements(of: &Findings<'_>) -> Vec<String> {
    of.cross_checks
        .iter()
        .filter(|check| !check.agrees)
        .map(|check| {
            format!(
                "two sources disagree on {}: {} ({}), {} ({})",
                check.what,
                number(check.ours),
                check.our_source,
                number(check.theirs),
                check.their_source
            )
        })
        .collect()
}

fn effects(of: &Findings<'_>) -> Vec<String> {
    of.faults
        .iter()
        .filter(|fault| fault.effect.count > 0)
        .map(|f| {
            let name = label(f, of.faults);
            format!("{name}: {}", counted(f.effect.count, &f.effect.measure))
        })
        .collect()
}
