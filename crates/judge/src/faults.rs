//! Faults: the dose that was asked, the effect that somebody else counted.

use temblor_event::{Effect, FaultInjected, FaultReverted};

use crate::log::{At, Log, seconds_between};
use crate::result::{DoseLevel, FaultResult};
use crate::sides::Sides;

/// Each fault that was put in place, in order.
pub(crate) fn results(log: &Log<'_>, sides: &Sides) -> Vec<FaultResult> {
    log.injected
        .iter()
        .enumerate()
        .map(|(index, fault)| {
            let reverted = reverted(log, fault);
            FaultResult {
                name: fault.name.clone(),
                dose: fault.dose.clone(),
                mechanism: fault.mechanism.clone(),
                undone_by: fault.undone_by.clone(),
                effect: effect(log, fault),
                injected_seconds: log.t_seconds(fault.t_ns),
                reverted_seconds: reverted.map(|r| log.t_seconds(r.t_ns)),
                apply_seconds: seconds_between(fault.began_ns, fault.t_ns),
                revert_seconds: reverted.map(|r| seconds_between(r.began_ns, r.t_ns)),
                verified_gone: reverted.is_some_and(|r| r.verified),
                id: fault.id,
                services: sides.of_fault(index),
                levels: levels(log, fault),
            }
        })
        .collect()
}

/// More changes of a dose than this are a ramp whose every step nobody reads; the last one stays.
const LEVELS_MAX: usize = 200;

fn levels(log: &Log<'_>, fault: &FaultInjected) -> Vec<DoseLevel> {
    let of_this = log.adjusted.iter().filter(|a| a.id == fault.id && a.level.is_finite());
    let mut levels: Vec<DoseLevel> =
        of_this.map(|a| DoseLevel { t_seconds: log.t_seconds(a.t_ns), level: a.level }).collect();
    if let Some(last) = levels.last().cloned()
        && levels.len() > LEVELS_MAX
    {
        levels.truncate(LEVELS_MAX - 1);
        levels.push(last);
    }
    levels
}

/// What a fault is called in a sentence: its name, and with several faults whom it is about.
pub(crate) fn label(fault: &FaultResult, faults: &[FaultResult]) -> String {
    if faults.len() < 2 {
        return fault.name.clone();
    }
    format!("{} ({})", fault.name, whom(fault))
}

/// `postgres`, `from api to db`; where nobody is named, the fault's number.
pub(crate) fn whom(fault: &FaultResult) -> String {
    if let Some(target) = fault.dose.get("target") {
        return target.clone();
    }
    match (fault.dose.get("from"), fault.dose.get("to")) {
        (Some(from), Some(to)) => format!("from {from} to {to}"),
        _ if fault.services.is_empty() => format!("fault {}", fault.id),
        _ => fault.services.join(", "),
    }
}

/// Whether it is in the nature of a fault that processes of its target end. Pausing one ends
/// none; a limit on memory ends in the kernel's choice of a victim.
pub(crate) fn ends_processes(name: &str) -> bool {
    let (family, kind) = name.split_once('.').unwrap_or((name, ""));
    matches!(family, "process" | "container" | "memory") && !kind.contains("pause")
}

/// When and how a fault was undone.
pub(crate) fn reverted<'a>(log: &Log<'a>, fault: &FaultInjected) -> Option<At<'a, FaultReverted>> {
    log.reverted.iter().find(|reverted| reverted.id == fault.id).copied()
}

/// The last reading before the undoing; of a fault that was never undone, the last there is.
fn effect(log: &Log<'_>, fault: &FaultInjected) -> Effect {
    reverted(log, fault)
        .map(|reverted| reverted.effect.clone())
        .or_else(|| {
            let readings = log.effects.iter().rev();
            readings.into_iter().find(|e| e.id == fault.id).map(|e| e.effect.clone())
        })
        .unwrap_or_default()
}
