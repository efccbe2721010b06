//! What an event counts: the figures of every probe in one shape, for whoever adds them up.

use std::borrow::Cow;

use crate::tcp_names::{errno_name, failure_name, kind_name, peer, service};
use crate::{
    Body, Connection, Distribution, ExitCause, Meaning, MeasureKind, MeasureUnit, ProbeWindow,
    Reading, SchedWindow, TcpReset, TcpRetransmit, TcpRtt, TcpState, TcpStateChange, signal_name,
};

/// What the figures mean that events of their own kinds are counted as. With [`crate::MEANINGS`]
/// they are all that [`measured`] gives.
pub(crate) const OF_EVENTS: &[Meaning] = &[
    Meaning {
        probe: "sched",
        name: "on_cpu",
        words: "time on a processor",
        unit: MeasureUnit::Nanoseconds,
        kind: MeasureKind::Count,
        labels: &[],
        sees: "waits, switches and time on a processor",
        notable: 0.01,
    },
    Meaning {
        probe: "sched",
        name: "run_queue_wait",
        words: "run-queue wait",
        unit: MeasureUnit::Nanoseconds,
        kind: MeasureKind::Distribution,
        labels: &[],
        sees: "waits, switches and time on a processor",
        notable: 0.001,
    },
    Meaning {
        probe: "sched",
        name: "run_queue_waited",
        words: "time spent waiting for a processor, waits that have not ended included",
        unit: MeasureUnit::Nanoseconds,
        kind: MeasureKind::Count,
        labels: &[],
        sees: "waits, switches and time on a processor",
        notable: 0.01,
    },
    Meaning {
        probe: "sched",
        name: "switches",
        words: "switches away from a thread",
        unit: MeasureUnit::Events,
        kind: MeasureKind::Count,
        labels: &["kind"],
        sees: "waits, switches and time on a processor",
        notable: 100.0,
    },
    Meaning {
        probe: "sched",
        name: "throttled",
        words: "time held back by the quota",
        unit: MeasureUnit::Nanoseconds,
        kind: MeasureKind::Count,
        labels: &[],
        sees: "throttling",
        notable: 0.01,
    },
    Meaning {
        probe: "sched",
        name: "quota_periods",
        words: "periods of the quota in which something ran",
        unit: MeasureUnit::Events,
        kind: MeasureKind::Count,
        labels: &[],
        sees: "throttling",
        notable: 1.0,
    },
    Meaning {
        probe: "sched",
        name: "quota_periods_throttled",
        words: "periods in which the quota was used up",
        unit: MeasureUnit::Events,
        kind: MeasureKind::Count,
        labels: &[],
        sees: "throttling",
        notable: 1.0,
    },
    Meaning {
        probe: "tcp",
        name: "connects",
        words: "attempts to connect that ended",
        unit: MeasureUnit::Events,
        kind: MeasureKind::Count,
        labels: &["peer", "result"],
        sees: CHANGES,
        notable: 1.0,
    },
    Meaning {
        probe: "tcp",
        name: "connect_latency",
        words: "time to connect",
        unit: MeasureUnit::Nanoseconds,
        kind: MeasureKind::Distribution,
        labels: &["peer"],
        sees: CHANGES,
        notable: 0.001,
    },
    Meaning {
        probe: "tcp",
        name: "accepts",
        words: "connections accepted",
        unit: MeasureUnit::Events,
        kind: MeasureKind::Count,
        labels: &["peer"],
        sees: CHANGES,
        notable: 1.0,
    },
    Meaning {
        probe: "tcp",
        name: "broken",
        words: "connections that ended with an error",
        unit: MeasureUnit::Events,
        kind: MeasureKind::Count,
        labels: &["peer", "error"],
        sees: CHANGES,
        notable: 1.0,
    },
    Meaning {
        probe: "tcp",
        name: "retransmitted_segments",
        words: "segments sent again",
        unit: MeasureUnit::Events,
        kind: MeasureKind::Count,
        labels: &["peer", "kind"],
        sees: "retransmissions",
        notable: 1.0,
    },
    Meaning {
        probe: "tcp",
        name: "resets",
        words: "resets",
        unit: MeasureUnit::Events,
        kind: MeasureKind::Count,
        labels: &["peer", "direction"],
        sees: "resets sent",
        notable: 1.0,
    },
    Meaning {
        probe: "tcp",
        name: "rtt",
        words: "round-trip time",
        unit: MeasureUnit::Microseconds,
        kind: MeasureKind::Distribution,
        labels: &["peer"],
        sees: "round-trip times",
        notable: 0.001,
    },
    Meaning {
        probe: "process",
        name: "execs",
        words: "programs run",
        unit: MeasureUnit::Events,
        kind: MeasureKind::Count,
        labels: &[],
        sees: "programs that are run",
        notable: 1.0,
    },
    Meaning {
        probe: "process",
        name: "exits",
        words: "processes that ended",
        unit: MeasureUnit::Events,
        kind: MeasureKind::Count,
        labels: &["cause"],
        sees: "ends of processes",
        notable: 1.0,
    },
    Meaning {
        probe: "process",
        name: "restarts",
        words: "programs run again after their end",
        unit: MeasureUnit::Events,
        kind: MeasureKind::Count,
        labels: &["cause"],
        sees: "programs that are run",
        notable: 1.0,
    },
    Meaning {
        probe: "process",
        name: "restart_gap",
        words: "time between an end and the restart",
        unit: MeasureUnit::Nanoseconds,
        kind: MeasureKind::Distribution,
        labels: &[],
        sees: "programs that are run",
        notable: 0.001,
    },
    Meaning {
        probe: "process",
        name: "signals",
        words: "signals that end, stop or continue",
        unit: MeasureUnit::Events,
        kind: MeasureKind::Count,
        labels: &["signal"],
        sees: "signals and their senders",
        notable: 1.0,
    },
];
const CHANGES: &str = "connects and state changes";

/// The figures that an event adds, as a window of its probe's and target's; one that is told by
/// itself has a window of no length. None: nothing is counted by it.
#[must_use]
pub fn measured(body: &Body) -> Option<Cow<'_, ProbeWindow>> {
    let counted = match body {
        Body::ProbeWindow(window) => return Some(Cow::Borrowed(window)),
        Body::SchedWindow(window) => sched(window),
        Body::TcpRtt(rtt) => round_trips(rtt),
        Body::TcpState(change) => state(change),
        Body::TcpRetransmit(segment) => retransmit(segment),
        Body::TcpReset(reset) => of_reset(reset),
        Body::ProcessExec(exec) => one("process", &exec.service, "execs", &[]),
        Body::ProcessExit(exit) => {
            one("process", &exit.service, "exits", &[("cause", &cause_name(&exit.cause))])
        }
        Body::ProcessRestart(restart) => {
            let cause = cause_name(&restart.cause);
            let mut counted = one("process", &restart.service, "restarts", &[("cause", &cause)]);
            let between = Distribution::of(restart.between_ns);
            counted.put("restart_gap", &[], Reading::Distribution(between));
            counted
        }
        Body::ProcessSignal(sent) => {
            let signal = signal_name(sent.signal.into());
            one("process", &sent.service, "signals", &[("signal", &signal)])
        }
        _ => return None,
    };
    (!counted.measures.is_empty()).then_some(Cow::Owned(counted))
}

/// `code 0`, `SIGKILL`, `fault SIGSEGV`, `out of memory`.
#[must_use]
pub fn cause_name(cause: &ExitCause) -> String {
    match cause {
        ExitCause::Code { code } => format!("code {code}"),
        ExitCause::Signal { signal, .. } => signal_name((*signal).into()),
        ExitCause::Fault { signal } => format!("fault {}", signal_name((*signal).into())),
        ExitCause::OutOfMemory { .. } => "out of memory".to_owned(),
    }
}

fn one(probe: &str, service: &str, name: &str, labels: &[(&str, &str)]) -> ProbeWindow {
    let mut window = ProbeWindow::new(probe, service, 0);
    window.put(name, labels, Reading::Count(1));
    window
}

fn sched(window: &SchedWindow) -> ProbeWindow {
    let mut counted = ProbeWindow::new("sched", &window.service, window.window_ns);
    counted.put("on_cpu", &[], Reading::Count(window.on_cpu_ns));
    counted.put("run_queue_wait", &[], Reading::Distribution(window.wait.clone().into()));
    if let Some(waited_ns) = window.waited_ns {
        counted.put("run_queue_waited", &[], Reading::Count(waited_ns));
    }
    for (kind, switches) in [("voluntary", window.voluntary), ("involuntary", window.involuntary)] {
        counted.put("switches", &[("kind", kind)], Reading::Count(switches));
    }
    if let Some(throttled) = window.throttled {
        counted.put("throttled", &[], Reading::Count(throttled.ns));
        counted.put("quota_periods", &[], Reading::Count(throttled.periods));
        let used_up = Reading::Count(throttled.periods_throttled);
        counted.put("quota_periods_throttled", &[], used_up);
    }
    counted
}

fn round_trips(rtt: &TcpRtt) -> ProbeWindow {
    let mut counted = ProbeWindow::new("tcp", &rtt.service, rtt.window_ns);
    let (sum, max, buckets) = (rtt.sum_us, rtt.max_us, rtt.buckets.clone());
    let times = Distribution { sum, max, buckets };
    counted.put("rtt", &[("peer", &rtt.peer)], Reading::Distribution(times));
    counted
}

fn of_connection(connection: &Connection) -> (ProbeWindow, String) {
    (ProbeWindow::new("tcp", &service(connection), 0), peer(connection))
}

fn state(change: &TcpStateChange) -> ProbeWindow {
    let (mut counted, peer) = of_connection(&change.conn);
    let peer = ("peer", &*peer);
    let one = || Reading::Count(1);
    match (change.from, change.to) {
        (TcpState::SynSent, TcpState::Established) => {
            counted.put("connects", &[peer, ("result", "connected")], one());
            if let Some(ns) = change.connect_ns {
                let took = Reading::Distribution(Distribution::of(ns));
                counted.put("connect_latency", &[peer], took);
            }
        }
        (TcpState::SynSent, TcpState::Close) => {
            counted.put("connects", &[peer, ("result", &failure_name(change.errno))], one());
        }
        (TcpState::SynRecv, TcpState::Established) => counted.put("accepts", &[peer], one()),
        (_, TcpState::Close) if change.errno != 0 => {
            counted.put("broken", &[peer, ("error", &errno_name(change.errno))], one());
        }
        _ => {}
    }
    counted
}

fn retransmit(segment: &TcpRetransmit) -> ProbeWindow {
    let (mut counted, peer) = of_connection(&segment.conn);
    let labels = [("peer", &*peer), ("kind", kind_name(segment.kind))];
    counted.put("retransmitted_segments", &labels, Reading::Count(segment.segments.into()));
    counted
}

fn of_reset(reset: &TcpReset) -> ProbeWindow {
    let (mut counted, peer) = of_connection(&reset.conn);
    let direction = if reset.sent { "sent" } else { "received" };
    counted.put("resets", &[("peer", &peer), ("direction", direction)], Reading::Count(1));
    counted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Latency, ProcessExit, Throttled, meaning};

    fn connection() -> Connection {
        Connection {
            cookie: 7,
            service: Some("api".into()),
            peer: None,
            local: "10.0.0.4:40112".parse().unwrap(),
            remote: "10.0.0.9:5432".parse().unwrap(),
        }
    }

    fn change(from: TcpState, to: TcpState, errno: i32) -> Body {
        let (conn, connect_ns) = (connection(), Some(5_000));
        let change = TcpStateChange {
            conn,
            from,
            to,
            errno,
            connect_ns,
            srtt_us: 0,
            retransmitted: 0,
            pid: None,
        };
        change.into()
    }

    /// `name{label=value,…} reading`, and every one has a meaning with just these labels.
    fn told(body: &Body) -> Vec<String> {
        let Some(window) = measured(body) else { return Vec::new() };
        assert_eq!(window.service, "api");
        let told = window.measures.iter().map(|one| {
            let of = meaning(&window.probe, &one.name).unwrap();
            let mut labels: Vec<&str> = of.labels.to_vec();
            labels.sort_unstable();
            assert_eq!(one.labels.keys().collect::<Vec<_>>(), labels, "{}", one.name);
            let (kind, reading) = match &one.reading {
                Reading::Count(n) => (MeasureKind::Count, n.to_string()),
                Reading::Level(n) => (MeasureKind::Level, n.to_string()),
                Reading::Distribution(of) => {
                    (MeasureKind::Distribution, format!("{}x{}", of.samples(), of.sum))
                }
            };
            assert_eq!(kind, of.kind, "{}", one.name);
            let labels = one.labels.iter().map(|(name, value)| format!("{name}={value}"));
            format!("{}{{{}}} {reading}", one.name, labels.collect::<Vec<_>>().join(","))
        });
        told.collect()
    }

    #[test]
    fn connections_are_counted_by_how_they_went() {
        use TcpState::{Close, Established, LastAck, Listen, SynRecv, SynSent};
        for (from, to, errno, expected) in [
            (Close, SynSent, 0, &[][..]),
            (
                SynSent,
                Established,
                0,
                &[
                    "connects{peer=10.0.0.9,result=connected} 1",
                    "connect_latency{peer=10.0.0.9} 1x5000",
                ],
            ),
            (SynSent, Close, 111, &["connects{peer=10.0.0.9,result=ECONNREFUSED} 1"]),
            (SynSent, Close, 0, &["connects{peer=10.0.0.9,result=given up} 1"]),
            (SynRecv, Established, 0, &["accepts{peer=10.0.0.9} 1"]),
            (Established, Close, 110, &["broken{error=ETIMEDOUT,peer=10.0.0.9} 1"]),
            (LastAck, Close, 0, &[]),
            (Close, Listen, 0, &[]),
        ] {
            assert_eq!(told(&change(from, to, errno)), expected, "{from:?} → {to:?}");
        }
    }

    #[test]
    fn a_window_of_processor_time_is_its_figures() {
        let window = SchedWindow {
            service: "api".into(),
            window_ns: 1_000,
            on_cpu_ns: 400,
            voluntary: 3,
            involuntary: 0,
            wait: Latency::of(vec![(3, 2)].into(), 6, 3),
            waited_ns: Some(8),
            waiting_max_ns: 2,
            throttled: Some(Throttled { periods: 10, periods_throttled: 4, ns: 50 }),
        };
        let expected = [
            "on_cpu{} 400",
            "run_queue_wait{} 2x6",
            "run_queue_waited{} 8",
            "switches{kind=voluntary} 3",
            "throttled{} 50",
            "quota_periods{} 10",
            "quota_periods_throttled{} 4",
        ];
        assert_eq!(told(&window.into()), expected);
    }

    #[test]
    fn ends_are_counted_by_their_cause() {
        for (cause, expected) in [
            (ExitCause::Code { code: 0 }, "code 0"),
            (ExitCause::Signal { signal: 9, sender: None }, "SIGKILL"),
            (ExitCause::Fault { signal: 11 }, "fault SIGSEGV"),
            (ExitCause::OutOfMemory { cgroup_limit: Some(true) }, "out of memory"),
        ] {
            let exit = ProcessExit {
                service: "api".into(),
                pid: 4,
                name: "sh".into(),
                lived_ns: 1,
                cause,
                core_dumped: false,
            };
            assert_eq!(told(&exit.into()), [format!("exits{{cause={expected}}} 1")]);
        }
    }

    #[test]
    fn segments_and_resets_are_counted_by_peer() {
        let segment = TcpRetransmit {
            conn: connection(),
            kind: crate::RetransmitKind::Timeout,
            segments: 3,
            rto_ns: 0,
            backoff: 0,
            state: TcpState::Established,
            errno: 0,
        };
        let expected = "retransmitted_segments{kind=timeout,peer=10.0.0.9} 3";
        assert_eq!(told(&segment.into()), [expected]);
        let reset = TcpReset { conn: connection(), sent: false, state: None };
        assert_eq!(told(&reset.into()), ["resets{direction=received,peer=10.0.0.9} 1"]);
    }
}
