//! The user's own bpftrace scripts, which run along with an experiment.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A bpftrace script runs along: its probes were attached before the first phase.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScriptStarted {
    /// Its name in the run.
    pub script: String,
    /// The file, as the experiment names it.
    pub path: String,
    /// The file in the run directory that has its text.
    pub source: String,
    /// The file in the run directory that has what it printed.
    pub output: String,
    /// What runs it: `bpftrace v0.17.0`.
    pub program: String,
    /// The process.
    pub pid: u32,
    /// From the start of the process until its probes were attached, nanoseconds.
    pub attach_ns: u64,
}

/// How a script came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ScriptEnd {
    /// Asked to by SIGINT, after the last phase.
    Asked,
    /// By itself, while the run was on: `exit()`, an error, or somebody else's signal.
    ByItself,
    /// By SIGKILL, because it did not end when it was asked to.
    Killed,
}

/// A bpftrace script has ended, and all that it printed is in its file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScriptEnded {
    /// Its name in the run.
    pub script: String,
    /// How it came to that.
    pub end: ScriptEnd,
    /// What the kernel says of it: `exit code 0`, `signal 9 (SIGKILL)`.
    pub status: String,
    /// Lines that it printed.
    pub lines: u64,
    /// Their bytes, as they were printed.
    pub bytes: u64,
    /// Of the lines, those that are not in the file.
    pub lines_cut: u64,
    /// Their bytes.
    pub bytes_cut: u64,
    /// Why the file could not be written to its end, if so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unwritten: Option<String>,
    /// Events that bpftrace itself says it lost (`Lost 3 events`).
    pub events_lost: u64,
    /// Processor time of the process in user mode, nanoseconds (wait4).
    pub user_ns: u64,
    /// Processor time of the process in the kernel, nanoseconds (wait4).
    pub system_ns: u64,
    /// Its greatest resident memory, bytes (wait4).
    pub memory_bytes_max: u64,
    /// What its eBPF programs cost, where it was still there to be asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub programs: Option<ScriptCost>,
}

/// The kernel's run statistics of a script's eBPF programs, all together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ScriptCost {
    /// Programs.
    pub programs: u64,
    /// How often they ran.
    pub runs: u64,
    /// How long, nanoseconds.
    pub run_ns: u64,
}
