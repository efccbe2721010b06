//! The timeline's lines on processes: how they ended, and what they were sent.

use std::collections::BTreeMap;

use temblor_event::{
    ExitCause, ProcessExit, ProcessRestart, ProcessSignal, SignalSender, signal_name,
};

use crate::human::{count, duration};
use crate::log::{At, Log, seconds};
use crate::result::{TimelineEntry, TimelineKind};
use crate::timeline::entry;

/// Lines on what happened to processes of one service in one way.
const LINES_MAX: usize = 3;
/// Services and ways told at all.
const GROUPS_MAX: usize = 9;
/// Lines of this module: of each group the last is a count, and one line is of the other groups.
pub(crate) const ENTRIES_MAX: usize = GROUPS_MAX * (LINES_MAX + 1) + 1;

/// What happened to processes of one service in one way.
#[derive(Default)]
struct Group {
    /// When, to which process, and what.
    lines: Vec<(u64, String)>,
    source: &'static str,
}

/// Of each service and each way to end or to be signalled the first few, and how many more there
/// are. Exits with code 0 come last: there may be many, and they mean least.
pub(crate) fn processes(log: &Log<'_>) -> Vec<TimelineEntry> {
    let mut groups: BTreeMap<(bool, &str, String), Group> = BTreeMap::new();
    let mut add = |clean, (service, how), t_ns, what, source| {
        let group = groups.entry((clean, service, how)).or_default();
        group.lines.push((t_ns, what));
        group.source = source;
    };
    for exit in &log.exits {
        let clean = exit.cause == ExitCause::Code { code: 0 };
        let of = (&*exit.get().service, ended(&exit.cause, false));
        add(clean, of, exit.t_ns, exit_line(exit.get()), "ends of processes");
    }
    for restart in &log.restarts {
        let of = (
            &*restart.get().service,
            format!("restarted after it {}", ended(&restart.cause, false)),
        );
        add(false, of, restart.t_ns, restart_line(restart.get()), "programs that are run");
    }
    // A signal that ended the process is told with its end.
    let mut ends: BTreeMap<(&str, u32, u8), u64> = BTreeMap::new();
    for exit in &log.exits {
        if let Some(signal) = signal_of(&exit.cause) {
            ends.insert((&exit.get().service, exit.pid, signal), exit.t_ns);
        }
    }
    let deadly = |signal: &At<'_, ProcessSignal>| {
        let end = ends.get(&(&*signal.get().service, signal.pid, signal.signal));
        end.is_some_and(|end_ns| *end_ns >= signal.t_ns)
    };
    for signal in log.signals.iter().filter(|signal| !deadly(signal)) {
        let of = (&*signal.get().service, got(signal.get(), false));
        add(false, of, signal.t_ns, signal_line(signal.get()), "signals");
    }
    let mut groups: Vec<_> = groups.into_iter().collect();
    groups.sort_by_key(|((clean, ..), group)| (*clean, group.lines[0].0));
    let kernel = |t_ns, source, what| {
        entry(log, t_ns, TimelineKind::Kernel, log.hook_of("process", source), what)
    };
    let mut entries = Vec::new();
    for ((_, service, how), group) in groups.iter().take(GROUPS_MAX) {
        for (t_ns, what) in group.lines.iter().take(LINES_MAX) {
            entries.push(kernel(*t_ns, group.source, what.clone()));
        }
        if let Some(rest) = group.lines.get(LINES_MAX..).filter(|rest| !rest.is_empty()) {
            let more = count(rest.len() as u64);
            entries.push(kernel(
                rest[0].0,
                group.source,
                format!("{service}, {more} further times from here on: {how}"),
            ));
        }
    }
    let others = groups.iter().skip(GROUPS_MAX).flat_map(|(_, group)| &group.lines);
    if let Some(first) = others.clone().map(|(t_ns, _)| *t_ns).min() {
        let what = format!(
            "{} further ends of processes and signals of other kinds are left out",
            count(others.count() as u64)
        );
        entries.push(kernel(first, "ends of processes", what));
    }
    entries
}

/// `postgres (1234) was killed by SIGKILL, sent by temblor (99); it lived 3.1 s`.
#[must_use]
pub fn exit_line(exit: &ProcessExit) -> String {
    let core = if exit.core_dumped { ", core dumped" } else { "" };
    let lived = duration(seconds(exit.lived_ns));
    let who = process(&exit.name, Some(exit.pid), Some(&exit.service));
    format!("{who} {}{core}; it lived {lived}", ended(&exit.cause, true))
}

/// `postgres (1240) is a restart, 1.02 s after process 1234 was killed by SIGKILL, sent by temblor
/// (99)`.
#[must_use]
pub fn restart_line(restart: &ProcessRestart) -> String {
    format!(
        "{} is a restart, {} after process {} {}",
        process(&restart.name, Some(restart.pid), Some(&restart.service)),
        duration(seconds(restart.between_ns)),
        restart.before,
        ended(&restart.cause, true),
    )
}

/// `postgres (1234) got SIGTERM, sent by temblor (99)`.
#[must_use]
pub fn signal_line(signal: &ProcessSignal) -> String {
    let who = process(&signal.name, Some(signal.pid), Some(&signal.service));
    format!("{who} {}", got(signal, true))
}

/// `was killed by SIGKILL, sent by temblor`, with that one's pid where it is wanted.
#[must_use]
pub fn ended(cause: &ExitCause, with_pid: bool) -> String {
    match cause {
        ExitCause::Code { code } => format!("exited with code {code}"),
        ExitCause::Signal { signal, sender: Some(sender) } => {
            format!("was killed by {}, {}", signal_name((*signal).into()), sent(sender, with_pid))
        }
        ExitCause::Signal { signal, sender: None } => {
            format!("was killed by {}, whose sender was not seen", signal_name((*signal).into()))
        }
        ExitCause::Fault { signal } => {
            format!("was killed by {}: a fault of its own code", signal_name((*signal).into()))
        }
        ExitCause::OutOfMemory { cgroup_limit } => {
            let limit = match cgroup_limit {
                Some(true) => ": its cgroup's limit was reached",
                Some(false) => ": the machine's was used up",
                None => "",
            };
            format!("was killed by the kernel for want of memory{limit}")
        }
    }
}

fn got(signal: &ProcessSignal, with_pid: bool) -> String {
    let handled = if signal.handled { " (it has a handler for it)" } else { "" };
    format!(
        "got {}, {}{handled}",
        signal_name(signal.signal.into()),
        sent(&signal.sender, with_pid)
    )
}

fn sent(sender: &SignalSender, with_pid: bool) -> String {
    match sender {
        SignalSender::Process { pid, name, service } => {
            let pid = pid.filter(|_| with_pid);
            format!("sent by {}", process(name, pid, service.as_deref()))
        }
        SignalSender::Kernel => "sent by the kernel".to_owned(),
        SignalSender::Fault => "sent by the kernel for what it did itself".to_owned(),
    }
}

/// `postgres (1234)`; `nginx: sh (77)` where the service's name does not say it all.
fn process(name: &str, pid: Option<u32>, service: Option<&str>) -> String {
    let service = service.filter(|service| *service != name);
    let service = service.map(|service| format!("{service}: ")).unwrap_or_default();
    let pid = pid.filter(|pid| *pid != 0).map(|pid| format!(" ({pid})")).unwrap_or_default();
    format!("{service}{name}{pid}")
}

fn signal_of(cause: &ExitCause) -> Option<u8> {
    match cause {
        ExitCause::Code { .. } => None,
        ExitCause::Signal { signal, .. } | ExitCause::Fault { signal } => Some(*signal),
        ExitCause::OutOfMemory { .. } => Some(9),
    }
}
