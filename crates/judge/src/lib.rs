//! From events to phases, detection, recovery and a verdict: arithmetic and nothing else.
//!
//! No I/O, no clock, no thread. This is where people will doubt us.

mod result;

pub use result::{
    CheckFigures, ConnectionStory, CostResult, CrossCheck, Evidence, ExpectationResult,
    ExperimentName, FaultResult, GaugeFigures, LedgerResult, LoadAccount, LoadFigures,
    PhaseResult, ProbeResult, RESULT_VERSION, RecoveryResult, Retransmission, RttFigures,
    RunResult, TcpPeerFigures, TimelineEntry, TimelineKind, Verdict,
};
