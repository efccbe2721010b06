//! What was told, taken apart.

use temblor_event::{
    Body, Event, ExitCause, ProcessExec, ProcessExit, ProcessSignal, SignalSender,
};
use temblor_host::target::Target;
use temblor_probes::process::ProcessProbe;

use crate::common::Watch;

pub(crate) fn watch(targets: &[Target]) -> Watch {
    Watch::start(targets, ProcessProbe::attach)
}

pub(crate) fn exits(events: &[Event]) -> Vec<ProcessExit> {
    let of = |event: &Event| match &event.body {
        Body::ProcessExit(exit) => Some(exit.clone()),
        _ => None,
    };
    events.iter().filter_map(of).collect()
}

pub(crate) fn execs(events: &[Event]) -> Vec<ProcessExec> {
    let of = |event: &Event| match &event.body {
        Body::ProcessExec(exec) => Some(exec.clone()),
        _ => None,
    };
    events.iter().filter_map(of).collect()
}

pub(crate) fn signals(events: &[Event]) -> Vec<ProcessSignal> {
    let of = |event: &Event| match &event.body {
        Body::ProcessSignal(signal) => Some(signal.clone()),
        _ => None,
    };
    events.iter().filter_map(of).collect()
}

/// How children ended as their parent heard of it: pid and status.
pub(crate) fn ended(said: &[String]) -> Vec<(u32, i32)> {
    let ended = said.iter().filter_map(|line| line.strip_prefix("ended "));
    ended
        .map(|line| {
            let (pid, status) = line.split_once(' ').unwrap();
            (pid.parse().unwrap(), status.parse().unwrap())
        })
        .collect()
}

/// The same as it was told, in the kernel's terms.
pub(crate) fn status(exit: &ProcessExit) -> (u32, i32) {
    let core = i32::from(exit.core_dumped) << 7;
    let status = match exit.cause {
        ExitCause::Code { code } => i32::from(code) << 8,
        ExitCause::Signal { signal, .. } | ExitCause::Fault { signal } => i32::from(signal),
        ExitCause::OutOfMemory { .. } => 9,
    };
    (exit.pid, status | core)
}

/// This program as a sender.
pub(crate) fn us() -> SignalSender {
    let name = std::fs::read_to_string("/proc/self/comm").unwrap().trim_end().to_owned();
    SignalSender::Process { pid: Some(std::process::id()), name, service: None }
}
