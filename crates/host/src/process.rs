//! Processes that cannot be mistaken for one another: a pid is reused, a pid with its start time
//! within one boot is not.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};
use temblor_event::clock::now_ns;

use crate::facts::boot_id;

/// Which process is meant, for good.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Identity {
    /// The pid, as the namespace of whoever recorded it counts.
    pub pid: u32,
    /// When it was started, in clock ticks since boot (field 22 of `/proc/PID/stat`).
    pub start_ticks: u64,
    /// The boot in which that was.
    pub boot_id: String,
}

impl Identity {
    /// Who is behind a pid now.
    ///
    /// # Errors
    /// No such process.
    pub fn of(pid: u32) -> io::Result<Self> {
        Ok(Self { pid, start_ticks: stat(pid)?.start_ticks, boot_id: boot_id()? })
    }

    /// Who we are.
    ///
    /// # Errors
    /// `/proc` is not mounted.
    pub fn of_self() -> io::Result<Self> {
        Self::of(std::process::id())
    }

    /// Whether the process still runs. One that has ended and waits for its parent does not.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        boot_id().is_ok_and(|boot| boot == self.boot_id)
            && stat(self.pid)
                .is_ok_and(|now| now.start_ticks == self.start_ticks && !now.has_ended())
    }

    /// A handle on the process, if it still runs.
    ///
    /// # Errors
    /// The kernel has no handle to give (none left, or older than 5.3).
    pub fn open(&self) -> io::Result<Option<Process>> {
        let Some(process) = Process::open(self.pid)? else { return Ok(None) };
        // The handle came first: if the pid is still this process now, the handle is its as well.
        Ok(self.is_alive().then_some(process))
    }
}

/// A handle on one process: a signal through it reaches that process or none.
#[derive(Debug)]
pub struct Process {
    pidfd: OwnedFd,
}

impl Process {
    /// Whoever is behind the pid now; `None` when nobody is.
    ///
    /// # Errors
    /// The kernel has no handle to give (none left, or older than 5.3).
    pub fn open(pid: u32) -> io::Result<Option<Self>> {
        let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return Ok(None) };
        match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(pidfd) => Ok(Some(Self { pidfd })),
            // EINVAL: the pid is a thread's that leads no process.
            Err(rustix::io::Errno::SRCH | rustix::io::Errno::INVAL) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Sends a signal; `false` when the process had ended before.
    ///
    /// # Errors
    /// We may not send signals to it.
    pub fn signal(&self, signal: Signal) -> io::Result<bool> {
        match pidfd_send_signal(&self.pidfd, signal) {
            Ok(()) => Ok(true),
            Err(rustix::io::Errno::SRCH) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// How the process ended, in words; `None` while it runs, and where the kernel does not keep
    /// that for a process that is no child of ours (before 6.15).
    #[must_use]
    pub fn how_ended(&self) -> Option<String> {
        let mut info = PidfdInfo { mask: PIDFD_INFO_EXIT, ..PidfdInfo::default() };
        // SAFETY: the request's number has the size of the struct that the kernel fills, which
        // lives for the call.
        let done =
            unsafe { libc::ioctl(self.pidfd.as_raw_fd(), PIDFD_GET_INFO, &raw mut info) } == 0;
        let status = (done && info.mask & PIDFD_INFO_EXIT != 0).then_some(info.exit_code)?;
        let signal = status & 0x7f;
        if signal == 0 {
            return Some(format!("exit code {}", (status >> 8) & 0xff));
        }
        let name = temblor_event::signal_name(signal);
        let number = format!("signal {signal}");
        Some(if name == number { number } else { format!("{number} ({name})") })
    }

    /// Waits until the process has ended, at most this long; says whether it has.
    ///
    /// # Errors
    /// The handle cannot be polled.
    pub fn wait_ended(&self, bound_ms: u32) -> io::Result<bool> {
        let deadline_ns = now_ns().saturating_add(u64::from(bound_ms) * 1_000_000);
        loop {
            let left = Duration::from_nanos(deadline_ns.saturating_sub(now_ns()));
            let timeout = Timespec::try_from(left).unwrap_or_default();
            match poll(&mut [PollFd::new(&self.pidfd, PollFlags::IN)], Some(&timeout)) {
                Ok(ready) => return Ok(ready > 0),
                // A signal to us says nothing of the process: wait on for what is left.
                Err(rustix::io::Errno::INTR) if !left.is_zero() => {}
                Err(rustix::io::Errno::INTR) => return Ok(false),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl AsFd for Process {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

/// What PIDFD_GET_INFO fills (linux/pidfd.h, `struct pidfd_info` as of 6.13).
#[repr(C)]
#[derive(Default)]
struct PidfdInfo {
    mask: u64,
    cgroup_id: u64,
    pid: u32,
    tgid: u32,
    ppid: u32,
    ids: [u32; 8],
    exit_code: i32,
}

/// `_IOWR(0xFF, 11, struct pidfd_info)`.
const PIDFD_GET_INFO: libc::c_ulong =
    0xc000_ff0b | ((size_of::<PidfdInfo>() as libc::c_ulong) << 16);
const PIDFD_INFO_EXIT: u64 = 1 << 3;
const _: () = assert!(size_of::<PidfdInfo>() == 64);

/// The command a process runs under, as the kernel names it (at most 15 bytes).
#[must_use]
pub fn name(pid: u32) -> Option<String> {
    Some(fs::read_to_string(format!("/proc/{pid}/comm")).ok()?.trim_end().to_owned())
}

#[derive(Debug, PartialEq, Eq)]
struct Stat {
    state: char,
    start_ticks: u64,
}

impl Stat {
    fn has_ended(&self) -> bool {
        matches!(self.state, 'Z' | 'X')
    }
}

fn stat(pid: u32) -> io::Result<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    parse_stat(&text)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("/proc/{pid}/stat")))
}

/// The command (field 2) may hold anything, parentheses and spaces included; what follows its
/// last parenthesis is regular.
fn parse_stat(text: &str) -> Option<Stat> {
    let (_, rest) = text.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    let state = fields.next()?.chars().next()?;
    // Field 22 of the line, with fields 1 to 3 behind us.
    let start_ticks = fields.nth(18)?.trim().parse().ok()?;
    Some(Stat { state, start_ticks })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_command_with_parentheses_does_not_shift_the_fields() {
        let rest = "S 1 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 777 11 12\n";
        for command in ["redis", "a) Z 1 2", "((", "x y"] {
            let line = format!("42 ({command}) {rest}");
            assert_eq!(parse_stat(&line), Some(Stat { state: 'S', start_ticks: 777 }), "{line}");
        }
        assert_eq!(parse_stat("42 (redis) S 1 2"), None);
        assert_eq!(parse_stat(""), None);
    }

    #[test]
    fn a_process_is_known_by_more_than_its_pid() {
        let me = Identity::of_self().unwrap();
        assert!(me.is_alive());
        let later = Identity { start_ticks: me.start_ticks + 1, ..me.clone() };
        assert!(!later.is_alive(), "another process under the same pid");
        let other_boot = Identity { boot_id: "of another boot".into(), ..me.clone() };
        assert!(!other_boot.is_alive());
        assert!(later.open().unwrap().is_none());
        assert!(me.open().unwrap().is_some());
    }

    #[test]
    fn a_handle_signals_its_process_and_no_successor() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let identity = Identity::of(child.id()).unwrap();
        let handle = identity.open().unwrap().expect("it was just started");
        assert!(!handle.wait_ended(0).unwrap());
        assert!(handle.signal(Signal::KILL).unwrap());
        assert!(handle.wait_ended(5_000).unwrap());
        // Ended, not yet waited for: its pid is still taken, and yet it is not alive.
        assert!(!identity.is_alive());
        child.wait().unwrap();
        assert!(!handle.signal(Signal::KILL).unwrap(), "nobody is left to hit");
        assert!(identity.open().unwrap().is_none());
    }

    #[test]
    fn how_a_process_ended_is_known_where_the_kernel_keeps_it() {
        if !crate::kernel_at_least(6, 15) {
            eprintln!("skipped: needs Linux 6.15, which keeps how a process ended");
            return;
        }
        for (command, expected) in
            [("exit 7", "exit code 7"), ("kill -KILL $$", "signal 9 (SIGKILL)")]
        {
            let mut child = Command::new("sh").args(["-c", command]).spawn().unwrap();
            let handle = Process::open(child.id()).unwrap().unwrap();
            child.wait().unwrap();
            assert_eq!(handle.how_ended().as_deref(), Some(expected));
        }
    }
}
