//! How a process ended that is no child of ours.

use std::os::fd::{AsFd as _, AsRawFd as _};

use temblor_host::process::Process;

use super::Signo;
use super::stat::Stat;

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Death {
    /// By a signal of this number.
    Signal(i32),
    /// By itself, with this code.
    Exit(i32),
    /// Its parent collected it before it could be asked, on a kernel that forgets then.
    Unseen,
}

impl Death {
    /// Of a process that has ended. A process that nobody has waited for yet still has its line
    /// in `/proc`; one that was waited for is known to its handle since Linux 6.15.
    pub(crate) fn of(pid: u32, start_ticks: u64, handle: &Process) -> Self {
        if let Some(code) = code_of_handle(handle) {
            return Self::decode(code);
        }
        match Stat::of(pid) {
            Some(stat) if stat.start_ticks == start_ticks && stat.has_ended() => {
                Self::decode(stat.exit_code)
            }
            // Collected between the two looks.
            _ => code_of_handle(handle).map_or(Self::Unseen, Self::decode),
        }
    }

    fn decode(code: i32) -> Self {
        match code & 0x7f {
            0 => Self::Exit((code >> 8) & 0xff),
            signal => Self::Signal(signal),
        }
    }

    /// `ended by SIGKILL`.
    pub(crate) fn words(self) -> String {
        match self {
            Self::Signal(number) => match Signo::new(number) {
                Ok(signal) => format!("ended by {signal}"),
                Err(_) => format!("ended by signal {number}"),
            },
            Self::Exit(code) => format!("ended by themselves with code {code}"),
            Self::Unseen => {
                "ended, by what is not known (collected by their parents, before Linux 6.15)".into()
            }
        }
    }
}

/// `struct pidfd_info` as it was first published.
#[repr(C)]
#[derive(Debug, Default)]
struct PidfdInfo {
    mask: u64,
    cgroup_id: u64,
    ids: [u32; 11],
    exit_code: i32,
}

const _: () = assert!(size_of::<PidfdInfo>() == 64);

/// `PIDFD_INFO_EXIT`.
const INFO_EXIT: u64 = 1 << 3;
/// `PIDFD_GET_INFO`: `_IOWR(0xFF, 11, struct pidfd_info)`.
const GET_INFO: libc::c_ulong = (3 << 30) | (64 << 16) | (0xff << 8) | 11;

/// What the handle knows of the end; `None` before it was waited for, and on older kernels.
fn code_of_handle(handle: &Process) -> Option<i32> {
    let mut info = PidfdInfo { mask: INFO_EXIT, ..PidfdInfo::default() };
    // SAFETY: the kernel writes at most the 64 bytes that the request number names.
    let answer = unsafe { libc::ioctl(handle.as_fd().as_raw_fd(), GET_INFO as _, &raw mut info) };
    (answer == 0 && info.mask & INFO_EXIT != 0).then_some(info.exit_code)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn an_end_is_known_before_and_after_somebody_has_waited_for_it() {
        for (script, expected) in [
            ("kill -KILL $$", Death::Signal(9)),
            ("kill -TERM $$", Death::Signal(15)),
            ("exit 3", Death::Exit(3)),
        ] {
            // It waits for its input to end, so that there is a handle on it in time.
            let mut child = Command::new("sh")
                .args(["-c", &format!("read x; {script}")])
                .stdin(std::process::Stdio::piped())
                .spawn()
                .unwrap();
            let start_ticks = Stat::of(child.id()).unwrap().start_ticks;
            let handle = Process::open(child.id()).unwrap().unwrap();
            drop(child.stdin.take());
            assert!(handle.wait_ended(5_000).unwrap());
            assert_eq!(Death::of(child.id(), start_ticks, &handle), expected);
            child.wait().unwrap();
            let after = Death::of(child.id(), start_ticks, &handle);
            let remembers = temblor_host::kernel_at_least(6, 15);
            assert_eq!(after, if remembers { expected } else { Death::Unseen });
        }
    }
}
