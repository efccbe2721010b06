//! A kernel control file (of a cgroup, of /proc/sys) that gets its previous value back.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use temblor_host::boot_id;

use super::{Undoing, Undone};
use crate::{Error, Result};

/// A control file with its previous value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ControlFile {
    path: PathBuf,
    /// The file's own inode: another cgroup of the same name has another one.
    inode: u64,
    boot_id: String,
    /// What it held before.
    previous: String,
    /// What it holds while the fault is in place, as the kernel writes it back. A third value is
    /// somebody else's, and stays.
    ours: String,
}

impl ControlFile {
    /// Reads what is there now, before `ours` is written. `ours` is what a read gives after the
    /// write: some files round what they are given.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn about_to_set(path: &Path, ours: &str) -> Result<Self> {
        let doing = || format!("read {}", path.display());
        let previous = read(path).map_err(|e| Error::system(doing(), e))?;
        let inode = fs::metadata(path).map_err(|e| Error::system(doing(), e))?.ino();
        let boot_id = boot_id().map_err(|e| Error::system("read the boot's id", e))?;
        Ok(Self { path: path.into(), inode, boot_id, previous, ours: ours.to_owned() })
    }

    /// Makes the change that this is the undo of.
    ///
    /// # Errors
    /// The kernel refuses the value.
    pub fn set(&self) -> Result<()> {
        write(&self.path, &self.ours).map_err(|e| {
            Error::system(format!("write {} to {}", self.ours, self.path.display()), e)
        })
    }

    /// The undo of a later change of ours to the same file: what was there before the first one
    /// is what it gets back. To be recorded before that change is made, beside the first one.
    #[must_use]
    pub fn then(&self, ours: &str) -> Self {
        Self { ours: ours.to_owned(), ..self.clone() }
    }

    /// What a read gives now; none when the file is gone.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn reads(&self) -> Result<Option<String>> {
        self.now()
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it held before.
    #[must_use]
    pub fn previous(&self) -> &str {
        &self.previous
    }

    /// The value now, if it is still the same file in the same boot.
    fn now(&self) -> Result<Option<String>> {
        if !boot_id().is_ok_and(|boot| boot == self.boot_id) {
            return Ok(None);
        }
        match fs::metadata(&self.path) {
            Ok(metadata) if metadata.ino() == self.inode => {}
            Ok(_) => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(Error::system(format!("look at {}", self.path.display()), e)),
        }
        match read(&self.path) {
            Ok(value) => Ok(Some(value)),
            // The cgroup was removed between the two looks.
            Err(error) if is_gone(&error) => Ok(None),
            Err(e) => Err(Error::system(format!("read {}", self.path.display()), e)),
        }
    }
}

impl Undoing for ControlFile {
    fn words(&self) -> String {
        format!("write {} back to {}", self.previous, self.path.display())
    }

    fn undo(&self) -> Result<Undone> {
        match self.now()? {
            None => Ok(Undone::NotOurs(format!("{} is gone", self.path.display()))),
            Some(now) if now == self.previous => Ok(Undone::Nothing),
            Some(now) if now != self.ours => Ok(Undone::NotOurs(format!(
                "{} holds {now}, which somebody else has written since",
                self.path.display()
            ))),
            Some(_) => match write(&self.path, &self.previous) {
                Ok(()) => Ok(Undone::Restored),
                Err(error) if is_gone(&error) => {
                    Ok(Undone::NotOurs(format!("{} is gone", self.path.display())))
                }
                Err(e) => Err(Error::system(self.words(), e)),
            },
        }
    }

    fn is_open(&self) -> Result<bool> {
        Ok(self.previous != self.ours && self.now()?.is_some_and(|now| now == self.ours))
    }
}

fn read(path: &Path) -> io::Result<String> {
    Ok(fs::read_to_string(path)?.trim_end().to_owned())
}

fn write(path: &Path, value: &str) -> io::Result<()> {
    // Opened for writing only: a control file is neither created nor truncated.
    fs::OpenOptions::new().write(true).open(path)?.write_all(value.as_bytes())
}

fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ENODEV)
}
