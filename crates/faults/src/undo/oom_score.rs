//! A process's place on the kernel's list of whom to kill when memory runs out.

use std::fs;
use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use temblor_host::process::Identity;

use super::{Undoing, Undone};
use crate::{Error, Result};

/// A process whose `oom_score_adj` was raised. Raising needs no capability, and neither does going
/// back to what it was before, as long as that was not below 0.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OomScore {
    process: Identity,
    /// What it was.
    previous: i32,
    /// What it is while the fault is in place.
    ours: i32,
}

impl OomScore {
    /// Reads what it is now, before [`Self::set`] raises it to `ours`.
    ///
    /// # Errors
    /// There is no such process.
    pub fn about_to_raise(pid: u32, ours: i32) -> Result<Self> {
        let failed = |e| Error::system(format!("read the OOM score of process {pid}"), e);
        let process = Identity::of(pid).map_err(failed)?;
        let previous = read(pid).map_err(failed)?;
        Ok(Self { process, previous, ours })
    }

    /// What it was before.
    #[must_use]
    pub fn previous(&self) -> i32 {
        self.previous
    }

    /// Makes the change that this is the undo of. A process that has ended meanwhile needs none.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn set(&self) -> Result<()> {
        let pid = self.process.pid;
        let doing = || format!("raise the OOM score of process {pid} to {}", self.ours);
        match fs::write(path(pid), self.ours.to_string()) {
            Err(e) if !is_gone(&e) => Err(Error::system(doing(), e)),
            _ => Ok(()),
        }
    }

    /// The score now; none where the process has ended.
    fn now(&self) -> Result<Option<i32>> {
        if !self.process.is_alive() {
            return Ok(None);
        }
        match read(self.process.pid) {
            Ok(score) => Ok(Some(score)),
            Err(e) if is_gone(&e) => Ok(None),
            Err(e) => {
                Err(Error::system(format!("read the OOM score of process {}", self.process.pid), e))
            }
        }
    }
}

impl Undoing for OomScore {
    fn words(&self) -> String {
        format!("set the OOM score of process {} back to {}", self.process.pid, self.previous)
    }

    fn undo(&self) -> Result<Undone> {
        match self.now()? {
            None => Ok(Undone::NotOurs(format!("process {} has ended", self.process.pid))),
            Some(now) if now == self.previous => Ok(Undone::Nothing),
            Some(now) if now != self.ours => Ok(Undone::NotOurs(format!(
                "the OOM score of process {} is {now}, which somebody else has written since",
                self.process.pid
            ))),
            Some(_) => match fs::write(path(self.process.pid), self.previous.to_string()) {
                Ok(()) => Ok(Undone::Restored),
                Err(e) if is_gone(&e) => {
                    Ok(Undone::NotOurs(format!("process {} has ended", self.process.pid)))
                }
                Err(e) => Err(Error::system(self.words(), e)),
            },
        }
    }

    fn is_open(&self) -> Result<bool> {
        Ok(self.previous != self.ours && self.now()? == Some(self.ours))
    }
}

fn path(pid: u32) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/oom_score_adj"))
}

fn read(pid: u32) -> io::Result<i32> {
    fs::read_to_string(path(pid))?.trim().parse().map_err(io::Error::other)
}

fn is_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ESRCH))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_raised_score_goes_back_and_a_successor_is_left_alone() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let pid = child.id();
        let before = read(pid).unwrap();
        let undo = OomScore::about_to_raise(pid, 1000).unwrap();
        assert_eq!(undo.undo().unwrap(), Undone::Nothing, "not raised yet");
        undo.set().unwrap();
        assert_eq!((read(pid).unwrap(), undo.is_open().unwrap()), (1000, true));
        assert_eq!(undo.undo().unwrap(), Undone::Restored);
        assert_eq!((read(pid).unwrap(), undo.is_open().unwrap()), (before, false));
        assert_eq!(undo.undo().unwrap(), Undone::Nothing);
        fs::write(path(pid), "500").unwrap();
        assert!(matches!(undo.undo().unwrap(), Undone::NotOurs(_)));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(matches!(undo.undo().unwrap(), Undone::NotOurs(_)));
        assert!(!undo.is_open().unwrap());
        undo.set().unwrap();
    }
}
