//! What the kernel says of processes: what they run, how they end, and who sends them what.
//!
//! Process ids are those of the pid namespace in which the run was made.

use serde::{Deserialize, Serialize};

/// A process began to run a program (exec).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessExec {
    /// The target it belongs to.
    pub service: String,
    /// Which process; 0 where it has no id in the run's pid namespace.
    pub pid: u32,
    /// Its parent. None: the parent has no id in the run's pid namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<u32>,
    /// The program's file as it was given to the kernel, at most 255 bytes of it.
    pub file: String,
}

/// A program that had ended was run again in its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessRestart {
    /// The target it belongs to.
    pub service: String,
    /// Which process runs it now; 0 where it has no id in the run's pid namespace.
    pub pid: u32,
    /// The program, at most 15 bytes of its file's name.
    pub name: String,
    /// Which process had run it before.
    pub before: u32,
    /// From that one's end to when the program was run again, nanoseconds.
    pub between_ns: u64,
    /// Why that one had ended.
    pub cause: ExitCause,
}

/// A process ended: its last thread is gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessExit {
    /// The target it belonged to.
    pub service: String,
    /// Which process; 0 where it has no id in the run's pid namespace.
    pub pid: u32,
    /// Its command, as the kernel names it (at most 15 bytes).
    pub name: String,
    /// From its fork on, nanoseconds.
    pub lived_ns: u64,
    /// Why it ended.
    pub cause: ExitCause,
    /// A core was dumped.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub core_dumped: bool,
}

/// Why a process ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ExitCause {
    /// It exited by itself.
    Code {
        /// What it said, 0 to 255.
        code: u8,
    },
    /// A signal killed it.
    Signal {
        /// The signal's number.
        signal: u8,
        /// Who sent it. None: it was sent before the probe watched, or the kernel told of no
        /// sending.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sender: Option<SignalSender>,
    },
    /// Its own code did what cannot be done, and the kernel ended it with a signal (SIGSEGV,
    /// SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGSYS).
    Fault {
        /// The signal's number.
        signal: u8,
    },
    /// The kernel killed it for want of memory.
    OutOfMemory {
        /// Whether the limit of a cgroup was reached. None: the kernel does not say.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cgroup_limit: Option<bool>,
    },
}

/// A signal was sent to a process: one that ends it, stops it or lets it go on, or that asks it to
/// end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessSignal {
    /// The target it belongs to.
    pub service: String,
    /// Which process; 0 where it has no id in the run's pid namespace.
    pub pid: u32,
    /// Its command, as the kernel names it (at most 15 bytes).
    pub name: String,
    /// The signal's number.
    pub signal: u8,
    /// The process has a handler of its own for it.
    pub handled: bool,
    /// Who sent it.
    pub sender: SignalSender,
}

/// Who sent a signal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "snake_case")]
pub enum SignalSender {
    /// A process, perhaps the one itself.
    Process {
        /// Which. None: it has no id in the run's pid namespace.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pid: Option<u32>,
        /// Its command, as the kernel names it (at most 15 bytes).
        name: String,
        /// The target it belongs to, if to one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        service: Option<String>,
    },
    /// The kernel, for a reason of its own: a terminal, a timer, a resource limit, want of memory.
    Kernel,
    /// The kernel, because the process' own code did what cannot be done.
    Fault,
}
