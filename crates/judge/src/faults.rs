//! Faults: the dose that was asked, the effect that somebody else counted.

use temblor_event::{Effect, FaultInjected, FaultReverted};

use crate::log::{At, Log, seconds_between};
use crate::result::FaultResult;

/// Each fault that was put in place, in order.
pub(crate) fn results(log: &Log<'_>) -> Vec<FaultResult> {
    log.injected
        .iter()
        .map(|fault| {
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
            }
        })
        .collect()
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
