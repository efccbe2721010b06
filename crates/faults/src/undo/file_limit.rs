//! Soft limits of open files that get their previous values back.

use std::io;

use rustix::process::{Gid, Uid};
use rustix::thread::{set_thread_res_gid, set_thread_res_uid};
use serde::{Deserialize, Serialize};
use temblor_host::process::Identity;
use temblor_host::target::Target;

use super::{Undoing, Undone};
use crate::family::Family;
use crate::{Error, Result};

/// Children that are forked while they are looked for are found by looking again.
const LOOKS_MAX: u32 = 8;

/// The soft limits of some processes, and of what they have forked since.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileLimits {
    lowered: Vec<Lowered>,
    family: Family,
}

/// One process and its soft limit of open files; the hard limit stays what it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lowered {
    process: Identity,
    previous: u64,
    hard: u64,
    /// The limit while the fault is in place. A third value is somebody else's, and stays.
    ours: u64,
}

impl Lowered {
    /// Which process.
    #[must_use]
    pub fn process(&self) -> &Identity {
        &self.process
    }

    /// Its soft limit before.
    #[must_use]
    pub fn previous(&self) -> u64 {
        self.previous
    }

    /// Its soft limit while the fault is in place.
    #[must_use]
    pub fn ours(&self) -> u64 {
        self.ours
    }

    fn words(&self, what: &str) -> String {
        format!("set the soft limit of open files of process {} {what}", self.process.pid)
    }
}

impl FileLimits {
    /// Looks at processes of a target before their limits are changed; each with its new limit.
    /// One that has ended is left out.
    ///
    /// # Errors
    /// A process cannot be looked at.
    pub fn about_to_lower(target: &Target, limits: &[(u32, u64)]) -> Result<Self> {
        let look = |pid: u32, ours: u64| -> io::Result<Lowered> {
            let process = Identity::of(pid)?;
            let (previous, hard) = read(pid)?;
            Ok(Lowered { process, previous, hard, ours })
        };
        let family = Family::of(target).map_err(|e| {
            Error::system(format!("look at the processes of {}", target.service), e)
        })?;
        let mut lowered = Vec::new();
        for (pid, ours) in limits {
            match look(*pid, *ours) {
                Ok(one) => lowered.push(one),
                Err(error) if is_gone(&error) => {}
                Err(e) => return Err(Error::system(format!("look at process {pid}"), e)),
            }
        }
        Ok(Self { lowered, family })
    }

    /// Makes the change that this is the undo of.
    ///
    /// # Errors
    /// The kernel refuses the limit of one that lives: some are set then, and wait for their undo.
    pub fn lower(&self) -> Result<()> {
        self.lowered.iter().try_for_each(|one| match set(&one.process, one.ours) {
            Err(e) if one.process.is_alive() => {
                Err(Error::system(one.words(&format!("to {}", one.ours)), e))
            }
            _ => Ok(()),
        })
    }

    /// The processes, each with its limits.
    #[must_use]
    pub fn lowered(&self) -> &[Lowered] {
        &self.lowered
    }

    /// Every process that has one of our limits now, with the limit that it should have.
    fn open(&self) -> io::Result<Vec<(Identity, u64)>> {
        let changed: Vec<Identity> = self.lowered.iter().map(|one| one.process.clone()).collect();
        let mut open: Vec<(Identity, u64)> = self
            .lowered
            .iter()
            .filter(|one| one.ours != one.previous && is_at(&one.process, one.ours))
            .map(|one| (one.process.clone(), one.previous))
            .collect();
        for heir in self.family.heirs(&changed)? {
            let Ok(now) = read(heir.process.pid) else { continue };
            let may_be = || self.lowered.iter().filter(|one| (one.ours, one.hard) == now);
            let of_parent = may_be().find(|one| Some(one.process.pid) == heir.of);
            if let Some(one) = of_parent.or_else(|| may_be().next()) {
                open.push((heir.process, one.previous));
            }
        }
        Ok(open)
    }
}

impl Undoing for FileLimits {
    fn words(&self) -> String {
        let each = self.lowered.iter().map(|one| one.words(&format!("back to {}", one.previous)));
        format!("{}, and of what it has forked since", each.collect::<Vec<_>>().join("; "))
    }

    fn undo(&self) -> Result<Undone> {
        let mut restored = false;
        for _ in 0..LOOKS_MAX {
            let open = self.open().map_err(|e| Error::system(self.words(), e))?;
            if open.is_empty() {
                break;
            }
            for (process, previous) in open {
                match set(&process, previous) {
                    Ok(()) => restored = true,
                    Err(_) if !process.is_alive() => {}
                    Err(e) => return Err(Error::system(self.words(), e)),
                }
            }
        }
        if restored {
            return Ok(Undone::Restored);
        }
        let mut others = self.lowered.iter().filter_map(|one| {
            if !one.process.is_alive() {
                return Some(format!("process {} has ended", one.process.pid));
            }
            let (now, _) = read(one.process.pid).ok()?;
            (now != one.previous).then(|| {
                format!("process {} has a limit of {now}, which is not ours", one.process.pid)
            })
        });
        Ok(others.next().map_or(Undone::Nothing, Undone::NotOurs))
    }

    fn is_open(&self) -> Result<bool> {
        let open = self.open().map_err(|e| Error::system("look for lowered limits", e))?;
        Ok(!open.is_empty())
    }
}

/// Whether it says that a process has ended.
pub(crate) fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ESRCH)
}

fn is_at(process: &Identity, soft: u64) -> bool {
    process.is_alive() && read(process.pid).is_ok_and(|(now, _)| now == soft)
}

/// The soft and the hard limit of open files, as the kernel shows them.
pub(crate) fn read(pid: u32) -> io::Result<(u64, u64)> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/limits"))?;
    parse(&text).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no limit of open files"))
}

fn parse(text: &str) -> Option<(u64, u64)> {
    let line = text.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    let mut values = line.split_ascii_whitespace().map(|word| match word {
        "unlimited" => Some(u64::MAX),
        number => number.parse().ok(),
    });
    Some((values.next()??, values.next()??))
}

fn set(process: &Identity, soft: u64) -> io::Result<()> {
    if !process.is_alive() {
        return Err(io::Error::from_raw_os_error(libc::ESRCH));
    }
    let (_, hard) = read(process.pid)?;
    as_its_user(process.pid, || {
        // The hard limit may have been lowered meanwhile, by whoever may: it bounds ours.
        let new = libc::rlimit { rlim_cur: soft.min(hard), rlim_max: hard };
        prlimit(process.pid, Some(&new))
    })
}

/// Whether this process may set a process's limits.
pub(crate) fn may_set(pid: u32) -> io::Result<()> {
    as_its_user(pid, || prlimit(pid, None))
}

fn prlimit(pid: u32, new: Option<&libc::rlimit>) -> io::Result<()> {
    let mut old = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    let new = new.map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: `new` is null or a limit that lives through the call; `old` is written to.
    match unsafe { libc::prlimit(pid.cast_signed(), libc::RLIMIT_NOFILE, new, &raw mut old) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Runs `work` as it is, and where that is not allowed, with the process's own ids.
///
/// Setting the limits of another user's process takes CAP_SYS_RESOURCE, which root in a container
/// does not have, or the same real ids, which root can take. They are taken by a thread that ends
/// with the work; its effective ids stay, and so do its rights.
fn as_its_user(pid: u32, work: impl Fn() -> io::Result<()> + Sync) -> io::Result<()> {
    match work() {
        Err(error) if error.raw_os_error() == Some(libc::EPERM) => {}
        other => return other,
    }
    let (uid, gid) = ids(pid)?;
    std::thread::scope(|scope| {
        let thread =
            std::thread::Builder::new().name("limits".into()).spawn_scoped(scope, || {
                set_thread_res_gid(Gid::from_raw(gid), None, None)?;
                set_thread_res_uid(Uid::from_raw(uid), None, None)?;
                work()
            })?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// A process's real ids.
fn ids(pid: u32) -> io::Result<(u32, u32)> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let id = |key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key))?;
        line.split_ascii_whitespace().next()?.parse().ok()
    };
    id("Uid:").zip(id("Gid:")).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_as_the_kernel_writes_them() {
        let text = "Limit                     Soft Limit           Hard Limit           Units     
Max processes             7                    8                    processes 
Max open files            1024                 unlimited            files     
";
        assert_eq!(parse(text), Some((1024, u64::MAX)));
        assert_eq!(parse("Max open files x y files"), None);
        assert_eq!(parse(""), None);
        assert!(read(std::process::id()).unwrap().0 > 0);
    }
}
