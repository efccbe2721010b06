//! What happened, in order of time, each line from evidence and with its source.
//!
//! Bounded: whatever repeats is told a few times and then counted.

use std::collections::BTreeMap;

use crate::detection::{Sign, check_says, check_source};
use crate::evidence::shed_line;
use crate::faults::reverted;
use crate::human::{count, counted, duration, number, percent};
use crate::log::{Log, seconds_between};
use crate::phases::Window;
use crate::recovery::{First, Recovery};
use crate::result::{ConnectionStory, FaultResult, LedgerResult, TimelineEntry, TimelineKind};
use crate::sides::{Sides, services};
use crate::steady::SteadyWatch;
use crate::{scripts, timeline_process, timeline_tcp};

const ENTRIES_MAX: usize = 300;
const PHASES_MAX: usize = 24;
/// Aborts and things left behind.
const TROUBLES_MAX: usize = 10;
/// Processes that ended or came, and changes of a service's health.
const SERVICES_MAX: usize = 40;
/// Three lines a fault.
const FAULTS_MAX: usize = 30;
/// Changes of a dose: a ramp has many, and the plot shows them all.
const LEVELS_MAX: usize = 20;
const CHECKS_MAX: usize = 40;
/// Changes of answer told of one check: a flapping one would bury the rest.
const CHANGES_MAX: usize = 12;
const BACKLOGS_MAX: usize = 10;
/// An experiment may not have more of them.
const SCRIPTS_MAX: usize = 8;
/// First connection, drained, steady; the ledger; a first sign each.
const SINGLE_LINES: usize = 6;

const _: () = assert!(
    PHASES_MAX
        + TROUBLES_MAX
        + SERVICES_MAX
        + FAULTS_MAX
        + LEVELS_MAX
        + timeline_tcp::ENTRIES_MAX
        + timeline_process::ENTRIES_MAX
        + CHECKS_MAX
        + BACKLOGS_MAX
        + SCRIPTS_MAX
        + SINGLE_LINES
        <= ENTRIES_MAX
);

/// What the timeline is made of.
#[derive(Debug)]
pub(crate) struct Sources<'a> {
    pub(crate) log: &'a Log<'a>,
    pub(crate) windows: &'a [Window<'a>],
    pub(crate) sides: &'a Sides,
    pub(crate) steady: &'a SteadyWatch,
    pub(crate) faults: &'a [FaultResult],
    pub(crate) stories: &'a [ConnectionStory],
    pub(crate) application: Option<&'a Sign>,
    pub(crate) kernel: Option<&'a Sign>,
    pub(crate) recovery: &'a Recovery<'a>,
    pub(crate) ledger: Option<&'a LedgerResult>,
}

/// The entries, in order; at most 300. At the same time causes come before signs.
pub(crate) fn timeline(from: &Sources<'_>) -> Vec<TimelineEntry> {
    let mut signs = bounded(checks(from.log), CHECKS_MAX, "changes of checks' answers");
    signs.extend(timeline_tcp::retransmissions(from.log, from.stories));
    signs.extend(timeline_tcp::ends(from.log, from.sides));
    signs.extend(timeline_process::processes(from.log));
    signs.extend(bounded(backlogs(from), BACKLOGS_MAX, "backlogs"));
    signs.extend(recovery(from));
    signs.extend(ledger(from));
    let first = first_signs(from, &mut signs);

    let mut entries = bounded(phases(from), PHASES_MAX, "phases");
    entries.extend(bounded(troubles(from.log), TROUBLES_MAX, "troubles"));
    entries.extend(bounded(scripts::timeline(from.log), SCRIPTS_MAX, "ends of scripts"));
    entries.extend(bounded(faults(from), FAULTS_MAX, "lines on faults"));
    entries.extend(bounded(levels(from), LEVELS_MAX, "changes of a dose"));
    entries.extend(bounded(services_lines(from), SERVICES_MAX, "lines on services"));
    entries.extend(first);
    entries.extend(signs);
    entries.sort_by(|a, b| a.t_seconds.total_cmp(&b.t_seconds));
    entries
}

/// The first so many, and how many more there are.
fn bounded(mut entries: Vec<TimelineEntry>, max: usize, what: &str) -> Vec<TimelineEntry> {
    if entries.len() > max {
        let left_out = count((entries.len() - (max - 1)) as u64);
        let t_seconds = entries[max - 1].t_seconds;
        entries.truncate(max - 1);
        entries.push(TimelineEntry {
            t_seconds,
            what: format!("{left_out} further {what} from here on are left out"),
            source: "timeline".to_owned(),
            kind: TimelineKind::Run,
        });
    }
    entries
}

pub(crate) fn entry(
    log: &Log<'_>,
    t_ns: u64,
    kind: TimelineKind,
    source: impl Into<String>,
    what: impl Into<String>,
) -> TimelineEntry {
    TimelineEntry { t_seconds: log.t_seconds(t_ns), what: what.into(), source: source.into(), kind }
}

fn phases(from: &Sources<'_>) -> Vec<TimelineEntry> {
    let log = from.log;
    let run = |t_ns, what: String| entry(log, t_ns, TimelineKind::Run, "run", what);
    let mut entries: Vec<TimelineEntry> = from
        .windows
        .iter()
        .map(|window| run(window.start_ns, format!("phase {} begins", window.name)))
        .collect();
    entries.extend(
        from.windows
            .last()
            .map(|last| run(last.end_ns, format!("phase {} ends, the last one", last.name))),
    );
    entries
}

fn troubles(log: &Log<'_>) -> Vec<TimelineEntry> {
    let run = |t_ns, what: String| entry(log, t_ns, TimelineKind::Run, "run", what);
    let aborted = log.aborted.iter().map(|a| run(a.t_ns, format!("aborted: {}", a.why)));
    let left = log.left_behind.iter().map(|l| run(l.t_ns, format!("left behind: {}", l.what)));
    let shed = log.probe_shed.iter().map(|shed| {
        entry(log, shed.t_ns, TimelineKind::Kernel, "the probe's own cost", shed_line(shed.get()))
    });
    aborted.chain(left).chain(shed).collect()
}

fn faults(from: &Sources<'_>) -> Vec<TimelineEntry> {
    let log = from.log;
    let mut entries = Vec::new();
    for (fault, result) in log.injected.iter().zip(from.faults) {
        let dose: Vec<String> = fault.dose.iter().map(|(k, v)| format!("{k} {v}")).collect();
        let dose = if dose.is_empty() { String::new() } else { format!(": {}", dose.join(", ")) };
        let took = duration(result.apply_seconds);
        entries.push(entry(
            log,
            fault.t_ns,
            TimelineKind::Fault,
            &fault.mechanism,
            format!("{} is in place{dose} (it took {took})", fault.name),
        ));
        let Some(reverted) = reverted(log, fault) else { continue };
        entries.push(entry(
            log,
            reverted.began_ns,
            TimelineKind::Fault,
            &result.effect.source,
            format!("{}: {}", fault.name, counted(result.effect.count, &result.effect.measure)),
        ));
        let gone =
            if reverted.verified { "verified: nothing of it is left" } else { "not verified" };
        let took = duration(seconds_between(reverted.began_ns, reverted.t_ns));
        entries.push(entry(
            log,
            reverted.t_ns,
            TimelineKind::Fault,
            &fault.mechanism,
            format!("{} is undone (it took {took}; {gone})", fault.name),
        ));
    }
    entries
}

fn levels(from: &Sources<'_>) -> Vec<TimelineEntry> {
    let log = from.log;
    log.adjusted
        .iter()
        .map(|adjusted| {
            let fault = log.injected.iter().find(|fault| fault.id == adjusted.id);
            let (name, mechanism) = fault.map_or(("a fault", "runner"), |f| {
                (f.get().name.as_str(), f.get().mechanism.as_str())
            });
            let what = format!("{name}: {} of its dose from here on", percent(adjusted.level));
            entry(log, adjusted.t_ns, TimelineKind::Fault, mechanism, what)
        })
        .collect()
}

/// An exit is no trouble of the run's by itself: it may be just what the fault is.
fn services_lines(from: &Sources<'_>) -> Vec<TimelineEntry> {
    let log = from.log;
    let process = |t_ns, kind, what| entry(log, t_ns, kind, "the process itself (pidfd)", what);
    let mut entries: Vec<TimelineEntry> = Vec::new();
    entries.extend(log.processes_ended.iter().map(|e| {
        let how = e.how.as_ref().map(|how| format!(": {how}")).unwrap_or_default();
        let what = format!("the process {} of {} has ended{how}", e.pid, e.service);
        process(e.t_ns, TimelineKind::Application, what)
    }));
    entries.extend(log.processes_started.iter().map(|s| {
        let times = s.restarts.map(|n| format!(", restart {n}")).unwrap_or_default();
        let what = format!("{} runs again, as process {}{times}", s.service, s.pid);
        process(s.t_ns, TimelineKind::Recovery, what)
    }));
    entries.extend(log.service_health.iter().map(|h| {
        let (kind, how) = if h.healthy {
            (TimelineKind::Recovery, "is well")
        } else {
            (TimelineKind::Application, "is not well")
        };
        entry(log, h.t_ns, kind, &h.source, format!("{} {how}", h.service))
    }));
    // What is left out beyond the bound is the latest.
    entries.sort_by(|a, b| a.t_seconds.total_cmp(&b.t_seconds));
    let services_well = from.recovery.services_ns.zip(from.recovery.healed_ns);
    if let Some((t_ns, healed_ns)) = services_well.filter(|(t_ns, _)| *t_ns > log.t0_ns) {
        let after = duration(seconds_between(healed_ns, t_ns));
        let what = format!("all services are well again, {after} after healing");
        entries.truncate(SERVICES_MAX - 1);
        entries.push(entry(log, t_ns, TimelineKind::Recovery, "processes and health checks", what));
    }
    entries
}

/// Each check's changes of answer; a yes at the very first is none.
fn checks(log: &Log<'_>) -> Vec<TimelineEntry> {
    let mut last: BTreeMap<&str, (bool, usize)> = BTreeMap::new();
    let mut entries = Vec::new();
    for check in &log.checks {
        let (answer, changes) = last.entry(&check.get().check).or_insert((true, 0));
        if *answer == check.ok {
            continue;
        }
        *answer = check.ok;
        *changes += 1;
        if *changes > CHANGES_MAX {
            continue;
        }
        let kind = if check.ok { TimelineKind::Recovery } else { TimelineKind::Application };
        let more = if *changes == CHANGES_MAX { " (further changes are left out)" } else { "" };
        let what = format!("{}{more}", check_says(check.ok, &check.seen));
        entries.push(entry(log, check.t_ns, kind, check_source(&check.check), what));
    }
    entries
}

fn backlogs(from: &Sources<'_>) -> Vec<TimelineEntry> {
    let log = from.log;
    let mut entries = Vec::new();
    for backlog in &log.started.backlogs {
        let after = from.steady.backlog(backlog).filter(|(t_ns, value)| {
            *t_ns >= log.t0_ns && value.is_finite() && !log.injected.is_empty()
        });
        // The first of several readings that are equally great.
        let peak = after.fold(None, |peak: Option<(u64, f64)>, reading| match peak {
            Some(peak) if peak.1 >= reading.1 => Some(peak),
            _ => Some(reading),
        });
        let Some((t_ns, value)) = peak else { continue };
        let bound = from.steady.backlog_bound(backlog);
        if bound.is_some_and(|bound| value <= bound) {
            continue;
        }
        let baseline = bound
            .map(|bound| format!(" (in the baseline at most {})", number(bound)))
            .unwrap_or_default();
        entries.push(entry(
            log,
            t_ns,
            TimelineKind::Application,
            format!("gauge \"{backlog}\""),
            format!("the backlog is at its greatest: {}{baseline}", number(value)),
        ));
    }
    entries
}

fn recovery(from: &Sources<'_>) -> Vec<TimelineEntry> {
    let (log, recovery) = (from.log, from.recovery);
    let Some(healed_ns) = recovery.healed_ns else { return Vec::new() };
    let mut entries = Vec::new();
    let after = |t_ns: u64| format!("{} after healing", duration(seconds_between(healed_ns, t_ns)));
    // A check's change of answer has its own line already.
    if let Some(First::Connection(state)) = recovery.first {
        entries.push(entry(
            log,
            state.t_ns,
            TimelineKind::Recovery,
            log.hook("state"),
            format!(
                "first connection that works: {}, {}",
                services(&state.conn),
                after(state.t_ns)
            ),
        ));
    }
    if let Some(t_ns) = recovery.drained_ns {
        let names = log.started.backlogs.join("\", \"");
        entries.push(entry(
            log,
            t_ns,
            TimelineKind::Recovery,
            format!("gauge \"{names}\""),
            format!("the backlog is drained, {}", after(t_ns)),
        ));
    }
    if let Some(t_ns) = recovery.full_ns {
        let hold = duration(crate::log::seconds(log.started.steady_hold_ns));
        entries.push(entry(
            log,
            t_ns,
            TimelineKind::Recovery,
            "load, checks and backlogs",
            format!("steady again, {}, and so for {hold}", after(t_ns)),
        ));
    }
    entries
}

fn ledger(from: &Sources<'_>) -> Option<TimelineEntry> {
    let read = from.log.reads.last()?;
    let what = match from.ledger {
        Some(LedgerResult { error: Some(error), .. }) => {
            format!("the database was not read to the end: {error}")
        }
        _ => format!("the database was read: {} rows", count(read.rows)),
    };
    Some(entry(from.log, read.t_ns, TimelineKind::Run, &read.source, what))
}

/// The first signs are marked where they stand; those that do not are given.
fn first_signs(from: &Sources<'_>, entries: &mut [TimelineEntry]) -> Vec<TimelineEntry> {
    let signs = [
        (from.kernel, TimelineKind::Kernel, "first sign in the kernel"),
        (from.application, TimelineKind::Application, "first sign in the application"),
    ];
    let mut added = Vec::new();
    for (sign, kind, label) in signs {
        let Some(sign) = sign else { continue };
        let after = duration(from.log.since_injection(sign.t_ns));
        let marked = format!("{label}, {after} after injection: {}", sign.what);
        let t_seconds = from.log.t_seconds(sign.t_ns);
        let same = entries.iter_mut().find(|entry| {
            entry.kind == kind
                && entry.source == sign.source
                && entry.what == sign.what
                && entry.t_seconds.total_cmp(&t_seconds).is_eq()
        });
        match same {
            Some(entry) => entry.what = marked,
            None => added.push(entry(from.log, sign.t_ns, kind, &sign.source, marked)),
        }
    }
    added
}
