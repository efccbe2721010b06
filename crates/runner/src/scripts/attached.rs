//! When a script's probes are attached. Only newer versions of bpftrace say so (0.24: `Attached 4
//! probes`); what the others say (`Attaching 4 probes...`) comes before they try. All of them wait
//! for their events once everything is attached, and not before: the kernel tells who waits so.

use std::fs;

use temblor_event::clock;

use super::process::Process;
use crate::stop::Stop;

/// How often it is looked.
const LOOK_EVERY_NS: u64 = 10_000_000;

/// The same where a moment of quiet is waited for.
const QUIET_LOOK_EVERY_NS: u64 = 1_000_000;
/// Warnings may come before it says that it is attached.
const SAID_LINES_MAX: usize = 64;

/// How waiting for a script ended.
pub(super) enum Wait {
    /// Its probes are attached, or it has already come to a good end.
    Attached,
    /// It came to a bad end.
    Refused,
    /// The run is to end.
    Interrupted(String),
    /// It took longer than it may.
    TooLong,
}

/// Waits until a script's probes are attached.
pub(super) fn wait(process: &Process, last_ns: u64, stop: &Stop) -> Wait {
    loop {
        // In this order: what waits has not ended, and what has ended no longer waits.
        if process.has_ended() {
            return if process.succeeded() { Wait::Attached } else { Wait::Refused };
        }
        if says_attached(process) || waits_for_events(process.pid()) {
            return Wait::Attached;
        }
        if let Some(why) = stop.requested() {
            return Wait::Interrupted(why);
        }
        let now_ns = clock::now_ns();
        if now_ns >= last_ns {
            return Wait::TooLong;
        }
        process.wait_ended(last_ns.min(now_ns + LOOK_EVERY_NS));
    }
}

/// Waits until a process is in no other system call than that for its events, or until `last_ns`. A
/// signal that comes while it writes makes bpftrace (0.17) lose all that it prints from then on.
pub(super) fn wait_for_quiet(process: &Process, last_ns: u64) {
    while !process.has_ended() && !waits_for_events(process.pid()) {
        let now_ns = clock::now_ns();
        if now_ns >= last_ns || process.wait_ended(last_ns.min(now_ns + QUIET_LOOK_EVERY_NS)) {
            return;
        }
    }
}

/// Whether bpftrace has said so, before it began with the script's own output.
fn says_attached(process: &Process) -> bool {
    let says = |line: &String| line.starts_with("Attached ") && line.contains(" probe");
    process.said(SAID_LINES_MAX).iter().any(says)
}

/// Whether the process' first thread is in a system call that waits for events.
fn waits_for_events(pid: u32) -> bool {
    let text = fs::read_to_string(format!("/proc/{pid}/syscall")).unwrap_or_default();
    is_wait_for_events(&text)
}

/// `232 0x5 …` is the number of a system call and its arguments; `running` is none.
fn is_wait_for_events(syscall: &str) -> bool {
    let number = syscall.split_whitespace().next().and_then(|n| n.parse::<libc::c_long>().ok());
    number.is_some_and(|number| {
        #[cfg(target_arch = "x86_64")]
        if number == libc::SYS_epoll_wait {
            return true;
        }
        number == libc::SYS_epoll_pwait || number == libc::SYS_epoll_pwait2
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_wait_for_events_is_one() {
        let pwait = format!("{} 0x5 0x0 0x2\n", libc::SYS_epoll_pwait);
        let read = format!("{} 0x0 0x0 0x2\n", libc::SYS_read);
        for (text, expected) in
            [(pwait.as_str(), true), (&read, false), ("running\n", false), ("", false)]
        {
            assert_eq!(is_wait_for_events(text), expected, "{text}");
        }
    }
}
