//! Code of processes that becomes again what the kernel had made it.

use std::fs;
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use temblor_host::process::Identity;
use temblor_host::target::Target;

use super::{Undoing, Undone};
use crate::clock::stopped::{Stopped, while_stopped};
use crate::clock::vdso::{Change, Look, look, mapping};
use crate::family::Family;
use crate::{Error, Result};

/// A thread that is in the code that goes away is in it for less than a microsecond, unless a
/// signal handler runs on top of it.
const TRIES_MAX: u32 = 200;
const TRY_AGAIN: Duration = Duration::from_millis(5);
/// Children that are forked while they are looked for are found by looking again.
const LOOKS_MAX: u32 = 8;

/// The changed vDSO of some processes, and of what they have forked since.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessMemory {
    processes: Vec<Changed>,
    /// The jumps first, the routine that they lead to last.
    changes: Vec<Change>,
    /// Where the routine begins, whose first bytes are data and may be any.
    routine_at: usize,
    family: Family,
}

/// One process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Changed {
    process: Identity,
    /// Device and inode of what it ran: another program has another vDSO.
    executable: (u64, u64),
    /// Where it had its vDSO.
    vdso: Range<u64>,
}

/// A process whose vDSO is changed now.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub(crate) process: Identity,
    pub(crate) vdso: u64,
}

impl ProcessMemory {
    /// Looks at processes before their vDSO is changed. One that has ended is left out.
    pub(crate) fn about_to_change(
        target: &Target,
        pids: &[u32],
        changes: Vec<Change>,
        routine_at: usize,
    ) -> Result<Self> {
        let family = Family::of(target).map_err(|e| {
            Error::system(format!("look at the processes of {}", target.service), e)
        })?;
        let mut processes = Vec::new();
        for pid in pids {
            match Changed::look_at(*pid) {
                Ok(Some(changed)) => processes.push(changed),
                Ok(None) => {}
                Err(error) if super::is_gone(&error) => {}
                Err(e) => return Err(Error::system(format!("look at process {pid}"), e)),
            }
        }
        Ok(Self { processes, changes, routine_at, family })
    }

    /// The processes that are to be changed.
    pub(crate) fn processes(&self) -> impl Iterator<Item = Found> {
        self.processes
            .iter()
            .map(|one| Found { process: one.process.clone(), vdso: one.vdso.start })
    }

    /// What the bytes of a stopped process are now.
    pub(crate) fn look_at(&self, stopped: &Stopped, vdso: u64) -> io::Result<Look> {
        look(&self.changes, self.routine_at, |range| {
            stopped.read(vdso + range.start as u64, range.len())
        })
    }

    /// Every process that has our changes, or some of them, now.
    pub(crate) fn open(&self) -> io::Result<Vec<Found>> {
        let changed: Vec<Identity> = self.processes.iter().map(|o| o.process.clone()).collect();
        let own = self.processes.iter().map(|one| (one.process.clone(), one.clone()));
        let heirs = self.family.heirs(&changed)?.into_iter().flat_map(|heir| {
            self.processes.iter().map(move |one| (heir.process.clone(), one.clone()))
        });
        let mut open: Vec<Found> = Vec::new();
        for (process, one) in own.chain(heirs) {
            let is_known = open.iter().any(|found| found.process == process);
            if !is_known && self.look_now(&process, &one)? == Some(Look::Ours) {
                open.push(Found { process, vdso: one.vdso.start });
            }
        }
        Ok(open)
    }

    /// What is in a process's memory, without stopping it. None: it is another program by now, or
    /// has ended.
    fn look_now(&self, process: &Identity, one: &Changed) -> io::Result<Option<Look>> {
        let looked = || -> io::Result<Option<Look>> {
            let now = Changed::look_at(process.pid)?;
            let is_same = now.is_some_and(|now| {
                (now.executable, now.vdso) == (one.executable, one.vdso.clone())
            });
            if !is_same || !process.is_alive() {
                return Ok(None);
            }
            let memory = fs::File::open(format!("/proc/{}/mem", process.pid))?;
            look(&self.changes, self.routine_at, |range| {
                let mut bytes = vec![0; range.len()];
                memory.read_exact_at(&mut bytes, one.vdso.start + range.start as u64)?;
                Ok(bytes)
            })
            .map(Some)
        };
        match looked() {
            // It ended, or became another program, between two looks.
            Err(_) if !is_still(process, &one.vdso) => Ok(None),
            other => other,
        }
    }

    fn restore(&self, found: &Found) -> io::Result<bool> {
        let routine = self.changes.iter().find(|change| change.at == self.routine_at);
        let Some(routine) = routine else { return Err(io::ErrorKind::InvalidData.into()) };
        let at = |change: &Change| found.vdso + change.at as u64;
        let inside = at(routine)..at(routine) + routine.ours.len() as u64;
        for _ in 0..TRIES_MAX {
            let outcome = while_stopped(found.process.pid, |stopped| {
                let mapping = mapping(found.process.pid)?;
                if mapping.is_none_or(|now| now.start != found.vdso)
                    || !found.process.is_alive()
                    || self.look_at(stopped, found.vdso)? != Look::Ours
                {
                    return Ok(Some(false));
                }
                // Nobody enters any more; those who are in there go on to its end first.
                for jump in self.changes.iter().filter(|change| change.at != self.routine_at) {
                    stopped.write(at(jump), &jump.previous)?;
                }
                if stopped.is_anybody_in(std::slice::from_ref(&inside))? {
                    return Ok(None);
                }
                stopped.write(at(routine), &routine.previous)?;
                Ok(Some(true))
            })?;
            match outcome {
                Some(done) => return Ok(done),
                None => std::thread::park_timeout(TRY_AGAIN),
            }
        }
        Err(io::Error::new(
            io::ErrorKind::TimedOut,
            "it tells the true time again, but a signal handler of its own runs on top of the \
             code that is to go",
        ))
    }
}

impl Changed {
    fn look_at(pid: u32) -> io::Result<Option<Self>> {
        let process = Identity::of(pid)?;
        let Some(vdso) = mapping(pid)? else { return Ok(None) };
        let executable = fs::metadata(format!("/proc/{pid}/exe"))?;
        Ok(Some(Self { process, executable: (executable.dev(), executable.ino()), vdso }))
    }
}

fn is_still(process: &Identity, vdso: &Range<u64>) -> bool {
    process.is_alive() && mapping(process.pid).is_ok_and(|now| now.as_ref() == Some(vdso))
}

impl Undoing for ProcessMemory {
    fn words(&self) -> String {
        let pids: Vec<String> =
            self.processes.iter().map(|one| one.process.pid.to_string()).collect();
        format!(
            "make the vDSO of process {}, and of what it has forked since, the kernel's own again",
            pids.join(", ")
        )
    }

    fn undo(&self) -> Result<Undone> {
        let mut restored = false;
        for _ in 0..LOOKS_MAX {
            let open = self.open().map_err(|e| Error::system(self.words(), e))?;
            if open.is_empty() {
                break;
            }
            for found in open {
                match self.restore(&found) {
                    Ok(done) => restored |= done,
                    Err(_) if !found.process.is_alive() => {}
                    Err(e) => return Err(Error::system(self.words(), e)),
                }
            }
        }
        if restored {
            return Ok(Undone::Restored);
        }
        for one in &self.processes {
            let pid = one.process.pid;
            if !one.process.is_alive() {
                return Ok(Undone::NotOurs(format!("process {pid} has ended")));
            }
            let now = self.look_now(&one.process, one);
            match now.map_err(|e| Error::system(self.words(), e))? {
                Some(Look::Pristine) => {}
                None => {
                    return Ok(Undone::NotOurs(format!("process {pid} runs another program now")));
                }
                Some(_) => {
                    return Ok(Undone::NotOurs(format!(
                        "the vDSO of process {pid} has been changed by somebody else since"
                    )));
                }
            }
        }
        Ok(Undone::Nothing)
    }

    fn is_open(&self) -> Result<bool> {
        let open = self.open().map_err(|e| Error::system("look for a changed vDSO", e))?;
        Ok(!open.is_empty())
    }
}
