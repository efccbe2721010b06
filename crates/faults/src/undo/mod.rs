//! What undoes a fault when this process cannot.
//!
//! A change that the kernel would keep is first written to a journal, with what was there before
//! and with whom it belongs to, and the journal is fsynced; only then is the change made. The
//! journal is replayed by whoever is left: this process at the fault's end, a guardian process
//! when this one dies or the deadline passes, `temblor heal` when both are dead, also after a
//! reboot.

mod book;
mod control_file;
mod device_limit;
mod file;
mod file_limit;
mod guard;
mod guardian;
mod heal;
mod journal;
mod move_back;
mod namespace;
mod oom_score;
mod process;
mod process_memory;
#[cfg(test)]
mod properties;
mod qdisc;
mod replay;
pub(crate) mod thaw;

pub use control_file::ControlFile;
pub use device_limit::DeviceLimit;
pub use file::RemoveFile;
pub use file_limit::{FileLimits, Lowered};
pub(crate) use file_limit::{is_gone, may_set, read as file_limit};
pub use guard::{Entry, Guard};
pub use guardian::stand_guard;
pub use heal::{
    HealOutcome, Healed, OpenChange, OpenJournal, Standing, heal, open_journals, state_dir,
};
pub use move_back::MoveBack;
pub use oom_score::OomScore;
pub use process::{Continue, EndProcess};
pub use process_memory::ProcessMemory;
pub use qdisc::Qdisc;
pub use replay::{Change, Replayed};
pub use thaw::Thaw;

use serde::{Deserialize, Serialize};

use crate::Result;

/// One change and how it is undone. Each kind has a file of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Undo {
    /// A control file gets its previous value back.
    ControlFile(ControlFile),
    /// A process that was stopped goes on.
    Continue(Continue),
    /// A process of ours ends.
    EndProcess(EndProcess),
    /// A file of ours is removed.
    RemoveFile(RemoveFile),
    /// Processes go back to their cgroups, and the group of ours is removed.
    MoveBack(MoveBack),
    /// A cgroup's limits for one block device get their previous values back.
    DeviceLimit(DeviceLimit),
    /// A cgroup that was frozen goes on.
    Thaw(Thaw),
    /// A process's OOM score goes back to what it was.
    OomScore(OomScore),
    /// Soft limits of open files get their previous values back.
    FileLimits(FileLimits),
    /// A queue, filters or an interface of ours are taken out of a network namespace.
    Qdisc(Qdisc),
    /// The code by which processes tell the time becomes the kernel's again.
    ProcessMemory(ProcessMemory),
}

/// What became of an undoing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Undone {
    /// It was in place, and now it is not.
    Restored,
    /// There was nothing to undo: the change had not been made, or had been undone.
    Nothing,
    /// What was changed is gone, or is not ours any more; the reason.
    NotOurs(String),
}

/// What each kind of [`Undo`] can do.
pub trait Undoing {
    /// In words, for plans and for `temblor heal`: `write 100000 back to /sys/...`.
    fn words(&self) -> String;

    /// Undoes the change. Doing it twice is as good as once, and it is right before the change
    /// was made, half way through it, and after somebody else has undone it.
    ///
    /// # Errors
    /// It is still in place and could not be undone.
    fn undo(&self) -> Result<Undone>;

    /// Whether something of it is still in place.
    ///
    /// # Errors
    /// That cannot be found out.
    fn is_open(&self) -> Result<bool>;
}

impl Undo {
    fn kind(&self) -> &dyn Undoing {
        match self {
            Self::ControlFile(undo) => undo,
            Self::Continue(undo) => undo,
            Self::EndProcess(undo) => undo,
            Self::RemoveFile(undo) => undo,
            Self::MoveBack(undo) => undo,
            Self::DeviceLimit(undo) => undo,
            Self::Thaw(undo) => undo,
            Self::OomScore(undo) => undo,
            Self::FileLimits(undo) => undo,
            Self::Qdisc(undo) => undo,
            Self::ProcessMemory(undo) => undo,
        }
    }
}

impl Undoing for Undo {
    fn words(&self) -> String {
        self.kind().words()
    }

    fn undo(&self) -> Result<Undone> {
        self.kind().undo()
    }

    fn is_open(&self) -> Result<bool> {
        self.kind().is_open()
    }
}

/// The pid namespace that this process counts in, by its inode.
fn pid_namespace() -> std::io::Result<u64> {
    use std::os::unix::fs::MetadataExt as _;

    Ok(std::fs::metadata("/proc/self/ns/pid")?.ino())
}
