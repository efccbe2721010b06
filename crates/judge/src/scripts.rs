//! The user's own bpftrace scripts: what became of them. What they printed is in files of the run
//! directory, which is not for the judge to read, and no verdict hangs on it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use temblor_event::{ScriptCost, ScriptEnd};

use crate::log::{Log, seconds};
use crate::result::{TimelineEntry, TimelineKind};
use crate::timeline::entry;

/// A bpftrace script of the user's that ran along.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ScriptResult {
    /// Its name.
    pub name: String,
    /// Its file, as the experiment named it.
    pub path: String,
    /// What ran it: `bpftrace v0.17.0`.
    pub program: String,
    /// The file in the run directory that has its text.
    pub source: String,
    /// The file in the run directory that has what it printed, each line with its time.
    pub output: String,
    /// From its start until its probes were attached, seconds.
    pub attach_seconds: f64,
    /// The injection of the first fault (in a run without one: the run's first event) on the clock
    /// of the lines in `output`, CLOCK_MONOTONIC, nanoseconds.
    pub zero_ns: u64,
    /// How it ended; null where the run was cut off before.
    pub ended: Option<ScriptEndResult>,
}

/// The end of a script.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ScriptEndResult {
    /// How it came to that.
    pub end: ScriptEnd,
    /// `exit code 0`, `signal 9 (SIGKILL)`.
    pub status: String,
    /// When, seconds from injection.
    pub t_seconds: f64,
    /// Lines that it printed.
    pub lines: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Of the lines, those that are not in `output`.
    pub lines_cut: u64,
    /// Their bytes.
    pub bytes_cut: u64,
    /// Why `output` could not be written to its end.
    pub unwritten: Option<String>,
    /// Events that bpftrace itself says it lost.
    pub events_lost: u64,
    /// Processor time of the process, seconds.
    pub cpu_seconds: f64,
    /// Its greatest resident memory, bytes.
    pub memory_bytes_max: u64,
    /// What its eBPF programs cost; null where that was not measured.
    pub programs: Option<ScriptCost>,
}

/// Each script, in the order of the experiment.
pub(crate) fn results(log: &Log<'_>) -> Vec<ScriptResult> {
    let ended = |name: &str| {
        let ended = log.scripts_ended.iter().find(|ended| ended.script == name)?;
        Some(ScriptEndResult {
            end: ended.end,
            status: ended.status.clone(),
            t_seconds: log.t_seconds(ended.t_ns),
            lines: ended.lines,
            bytes: ended.bytes,
            lines_cut: ended.lines_cut,
            bytes_cut: ended.bytes_cut,
            unwritten: ended.unwritten.clone(),
            events_lost: ended.events_lost,
            cpu_seconds: seconds(ended.user_ns.saturating_add(ended.system_ns)),
            memory_bytes_max: ended.memory_bytes_max,
            programs: ended.programs,
        })
    };
    let started = log.scripts_started.iter();
    started
        .map(|script| ScriptResult {
            name: script.script.clone(),
            path: script.path.clone(),
            program: script.program.clone(),
            source: script.source.clone(),
            output: script.output.clone(),
            attach_seconds: seconds(script.attach_ns),
            zero_ns: log.t0_ns,
            ended: ended(&script.script),
        })
        .collect()
}

/// The ends that nobody asked for.
pub(crate) fn timeline(log: &Log<'_>) -> Vec<TimelineEntry> {
    let ends = log.scripts_ended.iter().filter_map(|ended| {
        let how = match ended.end {
            ScriptEnd::Asked => return None,
            ScriptEnd::ByItself => "ended by itself",
            ScriptEnd::Killed => "was killed, for it did not end when it was asked to",
        };
        let what = format!("the bpftrace script {} {how}: {}", ended.script, ended.status);
        Some(entry(log, ended.t_ns, TimelineKind::Run, "bpftrace", what))
    });
    ends.collect()
}
