//! One event in words.

use std::time::Duration;

use temblor_event::{Body, Connection, SchedWindow, TcpRtt};
use temblor_judge::{
    human, process_exit_line, process_restart_line, process_signal_line, shed_line, tcp_names,
};

/// A line's parts: which probe, whose, and what happened. None: it is for the summary only.
pub(super) fn words(body: &Body) -> Option<(String, String)> {
    let told = |probe: &str, of: &str, what: String| Some((format!("{probe:<7} {of}"), what));
    match body {
        Body::SchedWindow(window) => told("sched", &window.service, sched(window)),
        Body::ProbeWindow(window) => {
            told(&window.probe, &window.service, super::measures::words(window)?)
        }
        Body::TcpRtt(rtt) => {
            told("tcp", &format!("{} → {}", rtt.service, rtt.peer), rtt_words(rtt))
        }
        Body::TcpState(change) => told("tcp", &sides(&change.conn), tcp_names::change(change)?),
        Body::TcpRetransmit(again) => {
            let timer = tcp_names::timer(seconds(again.rto_ns), again.backoff);
            let kind = tcp_names::kind_name(again.kind);
            let segments = match again.segments {
                1 => "retransmission".to_owned(),
                n => format!("retransmission of {} segments", human::count(n.into())),
            };
            let failed = match again.errno {
                0 => String::new(),
                errno => format!(", not sent: {}", tcp_names::errno_name(errno)),
            };
            told("tcp", &sides(&again.conn), format!("{segments} ({kind}{timer}{failed})"))
        }
        Body::TcpReset(reset) => {
            told("tcp", &sides(&reset.conn), tcp_names::reset(reset.sent).to_owned())
        }
        Body::ProcessExec(exec) => {
            told("process", &exec.service, format!("process {} runs {}", exec.pid, exec.file))
        }
        Body::ProcessExit(exit) => told("process", &exit.service, process_exit_line(exit)),
        Body::ProcessRestart(restart) => {
            told("process", &restart.service, process_restart_line(restart))
        }
        Body::ProcessSignal(sent) => told("process", &sent.service, process_signal_line(sent)),
        Body::ProbeShed(shed) => told(&shed.probe, "", shed_line(shed)),
        Body::ProbeLost(lost) => told(&lost.probe, "", human::counted(lost.events, "events lost")),
        Body::TargetSeen(_) | Body::ProbeStatus(_) | Body::ProbeCost(_) | Body::Cost(_) => None,
        // What has no words yet is not kept back.
        other => Some((String::new(), serde_json::to_string(other).ok()?)),
    }
}

/// `trading-api → postgres (10.0.0.4:40112 → 10.0.0.2:5432)`.
fn sides(connection: &Connection) -> String {
    format!("{} ({})", tcp_names::services(connection), tcp_names::addresses(connection))
}

fn sched(window: &SchedWindow) -> String {
    let mut parts = vec![format!("on cpu {}", share(window.on_cpu_ns, window.window_ns))];
    let wait = &window.wait;
    if wait.samples > 0 {
        parts.push(format!(
            "run-queue wait p50 {} p99 {} max {}",
            length(wait.p50_ns),
            length(wait.p99_ns),
            length(wait.max_ns)
        ));
    }
    // What has ended is in the figures above.
    if window.waiting_max_ns > 0 {
        parts.push(format!("still waiting after {}", length(window.waiting_max_ns)));
    }
    parts.push(switches(window.voluntary, window.involuntary));
    if let Some(throttled) = window.throttled {
        parts.push(match throttled.ns {
            0 => "throttled 0".to_owned(),
            ns => format!("throttled {}", length(ns)),
        });
    }
    parts.join(", ")
}

fn rtt_words(rtt: &TcpRtt) -> String {
    let us = |us: u64| length(us.saturating_mul(1_000));
    format!(
        "RTT p50 {} p99 {} max {}, {} measured",
        us(rtt.p50_us),
        us(rtt.p99_us),
        us(rtt.max_us),
        human::count(rtt.samples)
    )
}

pub(super) fn switches(voluntary: u64, involuntary: u64) -> String {
    let all = human::counted(voluntary.saturating_add(involuntary), "switches");
    format!("{all} ({} involuntary)", human::count(involuntary))
}

/// A share of one processor, to a tenth of a percent where it is more than one.
pub(super) fn share(used_ns: u64, of_ns: u64) -> String {
    let share = seconds(used_ns) / seconds(of_ns.max(1));
    human::percent(if share < 0.01 { share } else { (share * 1_000.0).round() / 1_000.0 })
}

/// A length of time, nanoseconds.
pub(super) fn length(ns: u64) -> String {
    human::duration(seconds(ns))
}

pub(super) fn seconds(ns: u64) -> f64 {
    Duration::from_nanos(ns).as_secs_f64()
}
