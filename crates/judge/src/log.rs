//! The events by kind and in order of time: what every other module reads.
//!
//! Events of load and checks are written when their outcome is known and carry an earlier time,
//! so the order in the file means nothing. At the same nanosecond a phase ends before the next
//! begins, and rows come before the end of their read.

use std::ops::Deref;

use jiff::Timestamp;
use temblor_event::{
    Aborted, Body, CheckResult, Cost, CounterRead, CounterUnread, Event, FaultAdjusted,
    FaultEffect, FaultInjected, FaultReverted, Gauge, LedgerRead, LedgerRows, LeftBehind,
    LoadFinished, LoadSecond, OrderOutcome, PhaseMark, ProbeCost, ProbeLost, ProbeShed,
    ProbeStatus, ProbeWindow, ProcessEnded, ProcessExit, ProcessRestart, ProcessSignal,
    ProcessStarted, ProfileEnded, ProfileKept, ProfileMissing, ProfileStarted, RunEnded,
    RunStarted, SchedWindow, ScriptEnded, ScriptStarted, ServiceHealth, TargetSeen, TcpReset,
    TcpRetransmit, TcpRtt, TcpStateChange,
};

pub(crate) const SECOND_NS: u64 = 1_000_000_000;

/// An event's body with its time.
#[derive(Debug)]
pub(crate) struct At<'a, T> {
    pub(crate) t_ns: u64,
    what: &'a T,
}

impl<T> Clone for At<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for At<'_, T> {}

impl<T> Deref for At<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.what
    }
}

impl<'a, T> At<'a, T> {
    /// The body for as long as the events live.
    pub(crate) fn get(self) -> &'a T {
        self.what
    }
}

/// The events by kind, each kind in order of time.
#[derive(Debug)]
pub(crate) struct Log<'a> {
    pub(crate) started: At<'a, RunStarted>,
    /// Every event, in no order.
    pub(crate) all: &'a [Event],
    /// The first injection; in a run without one its first event.
    pub(crate) t0_ns: u64,
    /// From when on a sign can be one of the fault. As `t0_ns`, but for a fault that was over as
    /// soon as it was done: a killed process' connections are reset while the change is made,
    /// before its event says that it had been made.
    pub(crate) signs_from_ns: u64,
    /// The time of the last event.
    pub(crate) last_ns: u64,
    pub(crate) targets: Vec<At<'a, TargetSeen>>,
    pub(crate) marks: Vec<At<'a, PhaseMark>>,
    pub(crate) aborted: Vec<At<'a, Aborted>>,
    pub(crate) left_behind: Vec<At<'a, LeftBehind>>,
    pub(crate) processes_ended: Vec<At<'a, ProcessEnded>>,
    pub(crate) processes_started: Vec<At<'a, ProcessStarted>>,
    pub(crate) service_health: Vec<At<'a, ServiceHealth>>,
    pub(crate) adjusted: Vec<At<'a, FaultAdjusted>>,
    pub(crate) ended: Vec<At<'a, RunEnded>>,
    pub(crate) injected: Vec<At<'a, FaultInjected>>,
    pub(crate) effects: Vec<At<'a, FaultEffect>>,
    pub(crate) reverted: Vec<At<'a, FaultReverted>>,
    pub(crate) seconds: Vec<At<'a, LoadSecond>>,
    pub(crate) finished: Vec<At<'a, LoadFinished>>,
    pub(crate) orders: Vec<At<'a, OrderOutcome>>,
    pub(crate) rows: Vec<At<'a, LedgerRows>>,
    pub(crate) reads: Vec<At<'a, LedgerRead>>,
    pub(crate) checks: Vec<At<'a, CheckResult>>,
    pub(crate) gauges: Vec<At<'a, Gauge>>,
    pub(crate) counters: Vec<At<'a, CounterRead>>,
    pub(crate) counters_unread: Vec<At<'a, CounterUnread>>,
    pub(crate) probe_status: Vec<At<'a, ProbeStatus>>,
    pub(crate) probe_lost: Vec<At<'a, ProbeLost>>,
    pub(crate) probe_shed: Vec<At<'a, ProbeShed>>,
    pub(crate) probe_cost: Vec<At<'a, ProbeCost>>,
    pub(crate) costs: Vec<At<'a, Cost>>,
    pub(crate) states: Vec<At<'a, TcpStateChange>>,
    pub(crate) retransmits: Vec<At<'a, TcpRetransmit>>,
    pub(crate) resets: Vec<At<'a, TcpReset>>,
    pub(crate) rtts: Vec<At<'a, TcpRtt>>,
    pub(crate) scheds: Vec<At<'a, SchedWindow>>,
    pub(crate) windows: Vec<At<'a, ProbeWindow>>,
    pub(crate) exits: Vec<At<'a, ProcessExit>>,
    pub(crate) restarts: Vec<At<'a, ProcessRestart>>,
    pub(crate) signals: Vec<At<'a, ProcessSignal>>,
    pub(crate) scripts_started: Vec<At<'a, ScriptStarted>>,
    pub(crate) scripts_ended: Vec<At<'a, ScriptEnded>>,
    pub(crate) profiles_started: Vec<At<'a, ProfileStarted>>,
    pub(crate) profiles_kept: Vec<At<'a, ProfileKept>>,
    pub(crate) profiles_missing: Vec<At<'a, ProfileMissing>>,
    pub(crate) profiles_ended: Vec<At<'a, ProfileEnded>>,
}

impl<'a> Log<'a> {
    /// None: no event says what the run was to be.
    pub(crate) fn new(events: &'a [Event]) -> Option<Self> {
        let mut sorted: Vec<&Event> = events.iter().collect();
        sorted.sort_by_key(|event| (event.t_ns, rank(&event.body)));
        let started = sorted.iter().find_map(|event| match &event.body {
            Body::RunStarted(started) => Some(At { t_ns: event.t_ns, what: &**started }),
            _ => None,
        })?;
        let mut log = Self::empty(events, started);
        for event in sorted {
            log.push(event);
        }
        log.t0_ns = log.injected.first().map_or(started.t_ns, |fault| fault.t_ns);
        log.signs_from_ns = match log.injected.first() {
            Some(first) if log.over_at_once(first.id, first.t_ns) => first.began_ns.min(log.t0_ns),
            _ => log.t0_ns,
        };
        Some(log)
    }

    /// Seconds from the first injection.
    pub(crate) fn t_seconds(&self, t_ns: u64) -> f64 {
        seconds_between(self.t0_ns, t_ns)
    }

    /// Wall time of a moment on the run's clock, RFC 3339 in UTC, to the millisecond.
    pub(crate) fn wall_time(&self, t_ns: u64) -> String {
        let since_start_ns = i128::from(t_ns) - i128::from(self.started.t_ns);
        let unix_ns = i128::from(self.started.wall_unix_ns) + since_start_ns;
        let time = Timestamp::from_nanosecond(unix_ns).unwrap_or(Timestamp::UNIX_EPOCH);
        format!("{time:.3}")
    }

    /// When the last fault was undone; None while one of them is in place, or if there was none.
    pub(crate) fn healed_ns(&self) -> Option<u64> {
        let all_undone =
            self.injected.iter().all(|fault| self.reverted.iter().any(|r| r.id == fault.id));
        if self.injected.is_empty() || !all_undone {
            return None;
        }
        self.reverted.last().map(|fault| fault.t_ns)
    }

    /// Whether a fault was over as soon as it was done: no phase is as short as a second.
    fn over_at_once(&self, id: u32, injected_ns: u64) -> bool {
        let reverted = self.reverted.iter().find(|reverted| reverted.id == id);
        reverted.is_some_and(|reverted| reverted.t_ns.saturating_sub(injected_ns) < SECOND_NS)
    }

    /// Whether every fault was over as soon as it was done: recovery then begins while signs of
    /// trouble are still to come.
    pub(crate) fn all_over_at_once(&self) -> bool {
        self.injected.iter().all(|fault| self.over_at_once(fault.id, fault.t_ns))
    }

    /// From the first injection, never less than nothing: a sign may come while the change is
    /// being made.
    pub(crate) fn since_injection(&self, t_ns: u64) -> f64 {
        self.t_seconds(t_ns.max(self.t0_ns))
    }

    /// The hook at which something of this kind is seen of connections, as the probe itself says.
    pub(crate) fn hook(&self, sees: &str) -> String {
        self.hook_of("tcp", sees)
    }

    /// The same of another probe.
    pub(crate) fn hook_of(&self, probe: &str, sees: &str) -> String {
        self.probe_status
            .iter()
            .filter(|status| status.probe == probe)
            .flat_map(|status| &status.hooks)
            .find(|hook| hook.sees.contains(sees))
            .map_or_else(|| format!("{probe} probe"), |hook| hook.hook.clone())
    }

    fn empty(all: &'a [Event], started: At<'a, RunStarted>) -> Self {
        Self {
            started,
            all,
            t0_ns: started.t_ns,
            signs_from_ns: started.t_ns,
            last_ns: started.t_ns,
            targets: Vec::new(),
            marks: Vec::new(),
            aborted: Vec::new(),
            left_behind: Vec::new(),
            processes_ended: Vec::new(),
            processes_started: Vec::new(),
            service_health: Vec::new(),
            adjusted: Vec::new(),
            ended: Vec::new(),
            injected: Vec::new(),
            effects: Vec::new(),
            reverted: Vec::new(),
            seconds: Vec::new(),
            finished: Vec::new(),
            orders: Vec::new(),
            rows: Vec::new(),
            reads: Vec::new(),
            checks: Vec::new(),
            gauges: Vec::new(),
            counters: Vec::new(),
            counters_unread: Vec::new(),
            probe_status: Vec::new(),
            probe_lost: Vec::new(),
            probe_shed: Vec::new(),
            probe_cost: Vec::new(),
            costs: Vec::new(),
            states: Vec::new(),
            retransmits: Vec::new(),
            resets: Vec::new(),
            rtts: Vec::new(),
            scheds: Vec::new(),
            windows: Vec::new(),
            exits: Vec::new(),
            restarts: Vec::new(),
            signals: Vec::new(),
            scripts_started: Vec::new(),
            scripts_ended: Vec::new(),
            profiles_started: Vec::new(),
            profiles_kept: Vec::new(),
            profiles_missing: Vec::new(),
            profiles_ended: Vec::new(),
        }
    }

    fn push(&mut self, event: &'a Event) {
        let t_ns = event.t_ns;
        self.last_ns = self.last_ns.max(t_ns);
        match &event.body {
            // The earliest is the run's; a second one is nothing that a run writes.
            Body::RunStarted(_) => {}
            Body::TargetSeen(what) => self.targets.push(At { t_ns, what }),
            Body::Phase(what) => self.marks.push(At { t_ns, what }),
            Body::Aborted(what) => self.aborted.push(At { t_ns, what }),
            Body::ProcessEnded(what) => self.processes_ended.push(At { t_ns, what }),
            Body::ProcessStarted(what) => self.processes_started.push(At { t_ns, what }),
            Body::ServiceHealth(what) => self.service_health.push(At { t_ns, what }),
            Body::FaultAdjusted(what) => self.adjusted.push(At { t_ns, what }),
            Body::LeftBehind(what) => self.left_behind.push(At { t_ns, what }),
            Body::RunEnded(what) => self.ended.push(At { t_ns, what }),
            Body::FaultInjected(what) => self.injected.push(At { t_ns, what }),
            Body::FaultEffect(what) => self.effects.push(At { t_ns, what }),
            Body::FaultReverted(what) => self.reverted.push(At { t_ns, what }),
            Body::LoadSecond(what) => self.seconds.push(At { t_ns, what }),
            Body::LoadFinished(what) => self.finished.push(At { t_ns, what }),
            Body::Order(what) => self.orders.push(At { t_ns, what }),
            Body::LedgerRows(what) => self.rows.push(At { t_ns, what }),
            Body::LedgerRead(what) => self.reads.push(At { t_ns, what }),
            Body::Check(what) => self.checks.push(At { t_ns, what }),
            Body::Gauge(what) => self.gauges.push(At { t_ns, what }),
            Body::Counter(what) => self.counters.push(At { t_ns, what }),
            Body::CounterUnread(what) => self.counters_unread.push(At { t_ns, what }),
            Body::ProbeStatus(what) => self.probe_status.push(At { t_ns, what }),
            Body::ProbeLost(what) => self.probe_lost.push(At { t_ns, what }),
            Body::ProbeShed(what) => self.probe_shed.push(At { t_ns, what }),
            Body::ProbeCost(what) => self.probe_cost.push(At { t_ns, what }),
            Body::Cost(what) => self.costs.push(At { t_ns, what }),
            Body::TcpState(what) => self.states.push(At { t_ns, what }),
            Body::TcpRetransmit(what) => self.retransmits.push(At { t_ns, what }),
            Body::TcpReset(what) => self.resets.push(At { t_ns, what }),
            Body::TcpRtt(what) => self.rtts.push(At { t_ns, what }),
            Body::ProbeWindow(what) => self.windows.push(At { t_ns, what }),
            Body::SchedWindow(what) => self.scheds.push(At { t_ns, what }),
            Body::ProcessExit(what) => self.exits.push(At { t_ns, what }),
            Body::ProcessRestart(what) => self.restarts.push(At { t_ns, what }),
            Body::ProcessSignal(what) => self.signals.push(At { t_ns, what }),
            Body::ProcessExec(_) => {}
            Body::ScriptStarted(what) => self.scripts_started.push(At { t_ns, what }),
            Body::ScriptEnded(what) => self.scripts_ended.push(At { t_ns, what }),
            Body::ProfileStarted(what) => self.profiles_started.push(At { t_ns, what }),
            Body::ProfileKept(what) => self.profiles_kept.push(At { t_ns, what }),
            Body::ProfileMissing(what) => self.profiles_missing.push(At { t_ns, what }),
            Body::ProfileEnded(what) => self.profiles_ended.push(At { t_ns, what }),
        }
    }
}

fn rank(body: &Body) -> u8 {
    match body {
        Body::RunStarted(_) => 0,
        Body::Phase(mark) if !mark.starts => 1,
        // What happened to a service at one moment: it went before it came back.
        Body::ProcessStarted(_) => 4,
        Body::ServiceHealth(health) if health.healthy => 5,
        Body::Phase(_) => 2,
        Body::LedgerRead(_) => 4,
        Body::RunEnded(_) => 5,
        _ => 3,
    }
}

/// From one time to another, negative if the other is earlier.
#[expect(
    clippy::cast_precision_loss,
    reason = "a double holds a week in nanoseconds to a tenth of a microsecond"
)]
pub(crate) fn seconds_between(from_ns: u64, to_ns: u64) -> f64 {
    (i128::from(to_ns) - i128::from(from_ns)) as f64 / 1e9
}

/// A length of time in seconds.
pub(crate) fn seconds(ns: u64) -> f64 {
    seconds_between(0, ns)
}

/// A count as a figure.
#[expect(clippy::cast_precision_loss, reason = "counts of a run are far below 2^53")]
pub(crate) fn as_f64(n: u64) -> f64 {
    n as f64
}
