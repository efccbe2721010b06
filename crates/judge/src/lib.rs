//! From events to phases, detection, recovery and a verdict: arithmetic and nothing else.
//!
//! No I/O, no clock, no thread. This is where people will doubt us.

pub mod human;
mod result;
mod series;

use temblor_event::Event;

pub use result::{
    CheckFigures, ConnectionStory, CostResult, CrossCheck, Evidence, ExpectationResult,
    ExperimentName, FaultResult, GaugeFigures, LedgerResult, LoadAccount, LoadFigures, PhaseResult,
    ProbeResult, RESULT_VERSION, RecoveryResult, Retransmission, RttFigures, RunResult,
    TcpPeerFigures, TimelineEntry, TimelineKind, Verdict,
};
pub use series::{LoadPoint, Series};

/// A run, judged.
#[derive(Debug, Clone, PartialEq)]
pub struct Judged {
    /// What is said of it: `result.json`.
    pub result: RunResult,
    /// The same second by second, for plots.
    pub series: Series,
}

/// Why events cannot be judged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JudgeError {
    /// No event says what was to be done.
    #[error("the events have no `run.started`: there is nothing to judge them by")]
    NoStart,
}

/// Judges a run. The events may come in any order.
pub fn judge(events: &[Event]) -> Result<Judged, JudgeError> {
    let _ = events;
    Err(JudgeError::NoStart)
}
