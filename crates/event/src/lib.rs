//! The run vocabulary.
//!
//! Everything that happens during a run is an [`Event`]: a time from one clock and a body that
//! says what happened. Producers (load, faults, probes, checks) only append; the judge and the
//! reports read. This crate knows nothing of how an event came to be or what is made of it.
//!
//! Times are CLOCK_MONOTONIC nanoseconds, the clock eBPF programs use ([`clock::now_ns`]). The
//! run's first event, [`RunStarted`], ties that clock to wall time.

mod buckets;
mod cause;
pub mod clock;
mod condition;
mod fault;
mod load;
mod meaning;
mod measured;
mod process;
mod profile;
mod run;
mod sched;
mod script;
mod signal;
mod tcp;
pub mod tcp_names;
mod watch;
mod window;

pub use buckets::Buckets;
pub use cause::{Cause, Caused, caused};
pub use condition::{Condition, Expectation, Figure, Op, Unit};
pub use fault::{
    DoseSeen, Effect, EffectPart, FaultAdjusted, FaultEffect, FaultInjected, FaultReverted,
};
pub use load::{
    LedgerRead, LedgerRows, LoadFinished, LoadSecond, OrderOutcome, Outcome, StoredRow,
};
pub use meaning::{MEANINGS, Meaning, MeasureKind, MeasureUnit, all_meanings, meaning};
pub use measured::{cause_name, measured};
pub use process::{
    ExitCause, ProcessExec, ProcessExit, ProcessRestart, ProcessSignal, SignalSender,
};
pub use profile::{ProfileEnded, ProfileKept, ProfileMissing, ProfileStarted};
pub use run::{
    Aborted, AnsweredBy, HostFacts, LeftBehind, LoadPlan, PhaseMark, PhasePlan, PhaseRole,
    ProcessEnded, ProcessStarted, Question, RunEnded, RunStarted, ServiceHealth, TargetSeen,
    answer_is_known,
};
pub use sched::{Latency, SchedWindow, Throttled};
pub use script::{ScriptCost, ScriptEnd, ScriptEnded, ScriptStarted};
pub use signal::{SIGNALS, signal_name};
pub use tcp::{
    Connection, RetransmitKind, TcpReset, TcpRetransmit, TcpRtt, TcpState, TcpStateChange,
};
pub use watch::{
    CheckResult, Cost, CounterRead, CounterUnread, CounterWhen, Gauge, Hook, ProbeCost, ProbeLost,
    ProbeShed, ProbeStatus, ProgramCost,
};
pub use window::{Distribution, Measure, ProbeWindow, Reading};

use serde::{Deserialize, Serialize};

/// The version of this vocabulary. A reader refuses a run whose first event names a higher one.
pub const SCHEMA: u32 = 1;

/// One thing that happened, and when.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// CLOCK_MONOTONIC, nanoseconds.
    pub t_ns: u64,
    /// What happened.
    #[serde(flatten)]
    pub body: Body,
}

impl Event {
    /// An event that happens now.
    #[must_use]
    pub fn now(body: impl Into<Body>) -> Self {
        Self { t_ns: clock::now_ns(), body: body.into() }
    }

    /// An event at a time that was measured elsewhere (by the kernel, or by a load worker).
    #[must_use]
    pub fn at(t_ns: u64, body: impl Into<Body>) -> Self {
        Self { t_ns, body: body.into() }
    }
}

macro_rules! bodies {
    ($($(#[$doc:meta])* $name:ident($type:ty) = $tag:literal,)+) => {
        /// What happened. The JSON field `event` carries the name given here.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "event")]
        pub enum Body {
            $($(#[$doc])* #[serde(rename = $tag)] $name($type),)+
        }

        $(impl From<$type> for Body {
            fn from(body: $type) -> Self {
                Self::$name(body)
            }
        })+
    };
}

bodies! {
    /// The first event of every run.
    RunStarted(Box<RunStarted>) = "run.started",
    /// A target or a lab service as it was found at the start.
    TargetSeen(TargetSeen) = "run.target",
    /// A target's main process ended while the run was on.
    ProcessEnded(ProcessEnded) = "run.process_ended",
    /// A target has a main process again, or a new one.
    ProcessStarted(ProcessStarted) = "run.process_started",
    /// Whether a service is well changed.
    ServiceHealth(ServiceHealth) = "run.service_health",
    /// A phase begins or ends.
    Phase(PhaseMark) = "run.phase",
    /// The run was cut short.
    Aborted(Aborted) = "run.aborted",
    /// Something of ours was still there after everything had been undone.
    LeftBehind(LeftBehind) = "run.left_behind",
    /// The last event of a run that came to its end.
    RunEnded(RunEnded) = "run.ended",
    /// A fault is in place.
    FaultInjected(FaultInjected) = "fault.injected",
    /// A reading of the fault's counters while it is in place.
    FaultEffect(FaultEffect) = "fault.effect",
    /// A fault's dose was changed while it is in place.
    FaultAdjusted(FaultAdjusted) = "fault.adjusted",
    /// A fault is undone.
    FaultReverted(FaultReverted) = "fault.reverted",
    /// One second of load, complete.
    LoadSecond(LoadSecond) = "load.second",
    /// The load's closing account.
    LoadFinished(LoadFinished) = "load.finished",
    /// One order and its outcome, as the client knows it.
    Order(OrderOutcome) = "ledger.order",
    /// Orders as the database has them.
    LedgerRows(LedgerRows) = "ledger.rows",
    /// The database was read to the end (or could not be).
    LedgerRead(LedgerRead) = "ledger.read",
    /// A check's answer.
    Check(CheckResult) = "check",
    /// A figure of the target's that goes up and down, read from the target.
    Gauge(Gauge) = "gauge",
    /// A counter kept by somebody else, read before and after.
    Counter(CounterRead) = "counter",
    /// A counter kept by somebody else could not be read.
    CounterUnread(CounterUnread) = "counter.unread",
    /// A probe is attached: which hooks it uses and what it cannot see.
    ProbeStatus(ProbeStatus) = "probe.status",
    /// A probe lost events.
    ProbeLost(ProbeLost) = "probe.lost",
    /// A probe does less from now on, because it cost too much.
    ProbeShed(ProbeShed) = "probe.shed",
    /// What a probe counted of a target over a window.
    ProbeWindow(ProbeWindow) = "probe.window",
    /// What a probe's programs cost.
    ProbeCost(ProbeCost) = "probe.cost",
    /// What the instrument itself cost.
    Cost(Cost) = "cost",
    /// A TCP connection changed its state.
    TcpState(TcpStateChange) = "tcp.state",
    /// A TCP segment was sent again.
    TcpRetransmit(TcpRetransmit) = "tcp.retransmit",
    /// A reset was sent or received.
    TcpReset(TcpReset) = "tcp.reset",
    /// Round-trip times over a window, aggregated in the kernel.
    TcpRtt(TcpRtt) = "tcp.rtt",
    /// How a target's threads came to the processors over a window, aggregated in the kernel.
    SchedWindow(SchedWindow) = "sched.window",
    /// A target's process began to run a program.
    ProcessExec(ProcessExec) = "process.exec",
    /// A target's process ended, as the kernel saw it.
    ProcessExit(ProcessExit) = "process.exit",
    /// A target's program that had ended was run again.
    ProcessRestart(ProcessRestart) = "process.restart",
    /// A target's process was sent a signal.
    ProcessSignal(ProcessSignal) = "process.signal",
    /// A bpftrace script of the user's runs along.
    ScriptStarted(ScriptStarted) = "script.started",
    /// A bpftrace script of the user's has ended.
    ScriptEnded(ScriptEnded) = "script.ended",
    /// A profile is being collected.
    ProfileStarted(ProfileStarted) = "profile.started",
    /// The profile of a phase lies in the run directory.
    ProfileKept(ProfileKept) = "profile.kept",
    /// A profile that was asked for is not there.
    ProfileMissing(ProfileMissing) = "profile.missing",
    /// What collecting a profile took.
    ProfileEnded(ProfileEnded) = "profile.ended",
}

impl From<RunStarted> for Body {
    fn from(body: RunStarted) -> Self {
        Self::RunStarted(Box::new(body))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_flat_object_with_its_name() {
        let event = Event::at(5, ProbeLost { probe: "tcp".into(), events: 3 });
        let json = serde_json::to_string(&event).unwrap();
        assert_eq!(json, r#"{"t_ns":5,"event":"probe.lost","probe":"tcp","events":3}"#);
        assert_eq!(serde_json::from_str::<Event>(&json).unwrap(), event);
    }

    #[test]
    fn nested_flat_parts_survive() {
        let conn = Connection {
            cookie: u64::MAX,
            service: Some("trading-api".into()),
            peer: None,
            local: "10.0.0.4:40112".parse().unwrap(),
            remote: "[fd00::2]:5432".parse().unwrap(),
        };
        let reset = TcpReset { conn, sent: true, state: Some(TcpState::SynSent) };
        let event = Event::at(u64::MAX, reset);
        let json = serde_json::to_string(&event).unwrap();
        assert!(json.contains(r#""state":"SYN_SENT""#), "{json}");
        assert_eq!(serde_json::from_str::<Event>(&json).unwrap(), event);
    }

    #[test]
    fn every_figure_is_found_by_its_name() {
        for figure in Figure::ALL {
            let json = serde_json::to_string(&figure).unwrap();
            assert_eq!(json, format!("\"{}\"", figure.name()));
        }
    }
}
