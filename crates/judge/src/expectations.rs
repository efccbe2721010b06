//! Conditions and what was observed of them.
//!
//! `during` chooses the phase for figures of the load; the ledger, detection, recovery and the
//! services have one figure a run. Without `during` the whole run is meant, and for the steady state the
//! baseline. A figure that was not observed does not hold, whatever the comparison.

use temblor_event::{Condition, Expectation, Figure};

use crate::load::{Load, is_of_load};
use crate::phases::Window;
use crate::result::{ExpectationResult, LedgerResult, LoadFigures, RecoveryResult};
use crate::services_result::ServicesResult;

/// Where figures are taken from.
#[derive(Debug)]
pub(crate) struct Figures<'a> {
    pub(crate) load: &'a Load,
    pub(crate) windows: &'a [Window<'a>],
    pub(crate) ledger: Option<&'a LedgerResult>,
    pub(crate) detection_seconds: Option<f64>,
    pub(crate) recovery: &'a RecoveryResult,
    pub(crate) services: &'a ServicesResult,
}

impl Figures<'_> {
    /// What the run is judged by.
    pub(crate) fn judge(&self, expectations: &[Expectation]) -> Vec<ExpectationResult> {
        let all = expectations.iter();
        all.map(|e| self.evaluate(e, self.load.whole.as_ref())).collect()
    }

    /// Whether there was a steady state to begin with.
    pub(crate) fn judge_baseline(&self, expectations: &[Expectation]) -> Vec<ExpectationResult> {
        let all = expectations.iter();
        all.map(|e| self.evaluate(e, self.load.baseline.as_ref())).collect()
    }

    fn evaluate(
        &self,
        expectation: &Expectation,
        default: Option<&LoadFigures>,
    ) -> ExpectationResult {
        let condition = &expectation.condition;
        let load = match &expectation.during {
            None => default,
            Some(name) => self
                .windows
                .iter()
                .position(|window| window.name == name)
                .and_then(|i| self.load.by_window[i].as_ref()),
        };
        let observed = self.observed(condition.figure, load).filter(|value| value.is_finite());
        ExpectationResult {
            name: expectation.name.clone(),
            during: expectation.during.clone(),
            condition: condition.clone(),
            observed,
            held: observed.is_some_and(|value| condition.op.holds(value, condition.bound)),
        }
    }

    /// A figure's value; `load` is what one of the load is taken from.
    pub(crate) fn observed(&self, figure: Figure, load: Option<&LoadFigures>) -> Option<f64> {
        let of_ledger = |part: fn(&LedgerResult) -> Option<u64>| {
            self.ledger.and_then(part).map(crate::log::as_f64)
        };
        match figure {
            Figure::LedgerLost => of_ledger(|ledger| ledger.lost),
            Figure::LedgerDuplicated => of_ledger(|ledger| ledger.duplicated),
            Figure::LedgerUnexpected => of_ledger(|ledger| ledger.unexpected),
            Figure::Detection => self.detection_seconds,
            Figure::RecoveryFirst => self.recovery.first,
            Figure::RecoveryFull => self.recovery.full,
            Figure::RecoveryServices => self.recovery.services,
            Figure::ServiceRestarts => self.services.restarts.map(crate::log::as_f64),
            Figure::ServiceOutage => self.services.outage_seconds,
            _ => load?.figure(figure),
        }
    }
}

/// The conditions on figures of the load.
pub(crate) fn load_conditions(expectations: &[Expectation]) -> Vec<Condition> {
    let conditions = expectations.iter().map(|expectation| &expectation.condition);
    conditions.filter(|condition| is_of_load(condition.figure)).cloned().collect()
}
