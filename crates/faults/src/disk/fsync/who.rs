//! Whose threads are traced, and by whom.

use std::fs;
use std::io;

use temblor_host::process;

/// Why a target cannot be traced.
#[derive(Debug)]
pub(super) enum CannotTrace {
    /// Somebody else traces it: there is room for one.
    Traced { pid: u32, by: String },
    /// It is not allowed.
    Denied { pid: u32 },
    /// The kernel refuses for another reason.
    Refused { pid: u32, source: io::Error },
    /// There is no way to wake the tracing thread.
    Alarm(io::Error),
}

impl CannotTrace {
    pub(super) fn of(pid: u32, tid: i32, source: io::Error) -> Self {
        if let Some(by) = tracer_of(tid) {
            return Self::Traced { pid, by: name(by) };
        }
        match source.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => Self::Denied { pid },
            _ => Self::Refused { pid, source },
        }
    }
}

/// How a process is called in a report: `strace (1234)`.
pub(super) fn name(pid: i32) -> String {
    let known = u32::try_from(pid).ok().and_then(process::name);
    format!("{} ({pid})", known.as_deref().unwrap_or("a process that cannot be seen from here"))
}

/// A process's threads; none where it has ended.
pub(super) fn threads(pid: u32) -> Vec<i32> {
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
}

/// Who traces a thread.
pub(super) fn tracer_of(tid: i32) -> Option<i32> {
    // A thread that leads no process is not listed there, and is found by name nevertheless.
    let status = fs::read_to_string(format!("/proc/{tid}/status")).ok()?;
    let by = status.lines().find_map(|line| line.strip_prefix("TracerPid:"))?;
    by.trim().parse().ok().filter(|by| *by != 0)
}
