//! A cgroup that was frozen goes on.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use temblor_host::boot_id;

use super::{Undoing, Undone};
use crate::{Error, Result};

/// The control file of version 2.
pub(crate) const FREEZE: &str = "cgroup.freeze";
/// The control file of version 1; it reads `FREEZING` until the last process has stopped.
pub(crate) const STATE: &str = "freezer.state";
/// Version 1: whether this very group was told to freeze, whatever its parents were told.
const SELF_FREEZING: &str = "freezer.self_freezing";

/// A cgroup of either version that is frozen by its control file and goes on by it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Thaw {
    /// `cgroup.freeze` or `freezer.state`.
    path: PathBuf,
    /// The group's inode: another one of the same name has another.
    inode: u64,
    boot_id: String,
    /// Somebody else had frozen it: then it stays as it is.
    frozen_before: bool,
}

impl Thaw {
    /// Looks at a group by its `cgroup.freeze` (version 2) or `freezer.state` (version 1), before
    /// it is frozen.
    ///
    /// # Errors
    /// There is no such file, or it cannot be read.
    pub fn about_to_freeze(path: &Path) -> Result<Self> {
        let doing = || format!("read {}", path.display());
        let inode = inode(path).map_err(|e| Error::system(doing(), e))?;
        let frozen_before = is_told(path).map_err(|e| Error::system(doing(), e))?;
        let boot_id = boot_id().map_err(|e| Error::system("read the boot's id", e))?;
        Ok(Self { path: path.into(), inode, boot_id, frozen_before })
    }

    /// Makes the change that this is the undo of. The kernel stops each process when it next
    /// leaves the kernel, and those that are started into the group meanwhile at once.
    ///
    /// # Errors
    /// The group is gone, or may not be written.
    pub fn freeze(&self) -> Result<()> {
        let value = if self.is_v2() { "1" } else { "FROZEN" };
        write(&self.path, value)
            .map_err(|e| Error::system(format!("write {value} to {}", self.path.display()), e))
    }

    /// The control file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it was frozen already when it was looked at.
    #[must_use]
    pub fn frozen_before(&self) -> bool {
        self.frozen_before
    }

    fn is_v2(&self) -> bool {
        self.path.ends_with(FREEZE)
    }

    fn value(&self) -> &'static str {
        if self.is_v2() { "0" } else { "THAWED" }
    }

    /// Whether the group was told to freeze; `None` when it is gone.
    fn now(&self) -> Result<Option<bool>> {
        if !boot_id().is_ok_and(|boot| boot == self.boot_id) {
            return Ok(None);
        }
        let looked = inode(&self.path).and_then(|inode| {
            if inode == self.inode { is_told(&self.path).map(Some) } else { Ok(None) }
        });
        match looked {
            Err(e) if is_gone(&e) => Ok(None),
            Err(e) => Err(Error::system(format!("look at {}", self.path.display()), e)),
            Ok(told) => Ok(told),
        }
    }
}

impl Undoing for Thaw {
    fn words(&self) -> String {
        format!("write {} to {}", self.value(), self.path.display())
    }

    fn undo(&self) -> Result<Undone> {
        let gone = || Undone::NotOurs(format!("{} is gone", self.path.display()));
        match self.now()? {
            None => Ok(gone()),
            Some(told) if !told || self.frozen_before => Ok(Undone::Nothing),
            Some(_) => match write(&self.path, self.value()) {
                Ok(()) => Ok(Undone::Restored),
                Err(e) if is_gone(&e) => Ok(gone()),
                Err(e) => Err(Error::system(self.words(), e)),
            },
        }
    }

    fn is_open(&self) -> Result<bool> {
        Ok(!self.frozen_before && self.now()? == Some(true))
    }
}

/// The directory's inode: what is in it has new ones when it is made anew, but it is the group
/// that is meant.
fn inode(path: &Path) -> io::Result<u64> {
    Ok(fs::metadata(path.parent().unwrap_or(Path::new("/")))?.ino())
}

fn is_told(path: &Path) -> io::Result<bool> {
    let file =
        if path.ends_with(FREEZE) { path.into() } else { path.with_file_name(SELF_FREEZING) };
    Ok(fs::read_to_string(file)?.trim_end() == "1")
}

fn write(path: &Path, value: &str) -> io::Result<()> {
    // Opened for writing only: a control file is neither created nor truncated.
    fs::OpenOptions::new().write(true).open(path)?.write_all(value.as_bytes())
}

fn is_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENODEV | libc::ENOTDIR))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A group of version 2, as far as files show it, and one of version 1.
    fn group(dir: &Path, version: u32) -> PathBuf {
        match version {
            2 => {
                fs::write(dir.join(FREEZE), "0\n").unwrap();
                dir.join(FREEZE)
            }
            _ => {
                fs::write(dir.join(STATE), "THAWED\n").unwrap();
                fs::write(dir.join(SELF_FREEZING), "0\n").unwrap();
                dir.join(STATE)
            }
        }
    }

    fn told(dir: &Path, path: &Path, frozen: bool) {
        let value = if frozen { "1\n" } else { "0\n" };
        let file = if path.ends_with(FREEZE) { FREEZE } else { SELF_FREEZING };
        fs::write(dir.join(file), value).unwrap();
    }

    #[test]
    fn a_frozen_group_goes_on_once_and_somebody_elses_stays_frozen() {
        for (version, thawed) in [(1, "THAWED"), (2, "0")] {
            let dir = tempfile::tempdir().unwrap();
            let path = group(dir.path(), version);
            let undo = Thaw::about_to_freeze(&path).unwrap();
            assert_eq!(undo.undo().unwrap(), Undone::Nothing, "before the change");
            undo.freeze().unwrap();
            told(dir.path(), &path, true);
            assert!(undo.is_open().unwrap());
            assert_eq!(undo.undo().unwrap(), Undone::Restored);
            let now = fs::read_to_string(&path).unwrap();
            assert!(now.starts_with(thawed), "{now}");
            told(dir.path(), &path, false);
            assert_eq!(undo.undo().unwrap(), Undone::Nothing, "twice");
            told(dir.path(), &path, true);
            let theirs = Thaw::about_to_freeze(&path).unwrap();
            assert!(theirs.frozen_before() && !theirs.is_open().unwrap());
            assert_eq!(theirs.undo().unwrap(), Undone::Nothing);
            let other = Thaw { inode: undo.inode + 1, ..undo.clone() };
            assert!(matches!(other.undo().unwrap(), Undone::NotOurs(_)));
            let other = Thaw { boot_id: "another".into(), ..undo.clone() };
            assert!(matches!(other.undo().unwrap(), Undone::NotOurs(_)));
            drop(dir);
            assert!(matches!(undo.undo().unwrap(), Undone::NotOurs(_)), "gone");
            assert!(!undo.is_open().unwrap());
        }
    }
}
