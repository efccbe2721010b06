//! One run at a time, because two would measure each other; and no target in two hands.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

#[cfg(doc)]
use crate::targets::Targets;

use crate::error::RunnerError;

/// How often the file or its directory may be gone between its being made and locked: each time,
/// another run ended in that moment.
const TRIES: usize = 100;

/// Held for the length of a run. The kernel lets it go when this process ends, however it ends;
/// the file is removed where there is somebody left to do it.
#[derive(Debug)]
pub struct RunLock {
    path: PathBuf,
    _held: File,
}

impl RunLock {
    /// Takes a lock on each of these targets in `dir`, by [`Targets::lock_names`] of them.
    ///
    /// # Errors
    /// Somebody else acts on one of them, or a file cannot be made; then none is held.
    pub(crate) fn take_all(dir: &Path, names: &[String]) -> Result<Vec<Self>, RunnerError> {
        names.iter().map(|name| Self::take(&dir.join(format!("{name}.lock")))).collect()
    }

    /// Takes the lock at `path`.
    ///
    /// # Errors
    /// Another run holds it, or the file cannot be made.
    pub fn take(path: &Path) -> Result<Self, RunnerError> {
        let failed =
            || RunnerError::failed(format!("the lock {} could not be taken", path.display()));
        for _ in 0..TRIES {
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent).map_err(|e| failed()(e.into()))?;
            }
            let file = match File::create(path) {
                Ok(file) => file,
                // Its last holder removed the directory in between.
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                Err(e) => return Err(failed()(e.into())),
            };
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(Errno::WOULDBLOCK) => return Err(RunnerError::Busy(path.to_owned())),
                Err(errno) => return Err(failed()(Box::new(errno))),
            }
            // The file may have been removed by its last holder before we locked it: then the
            // lock is on a file that nobody else will find.
            if is_at(&file, path).map_err(|e| failed()(e.into()))? {
                return Ok(Self { path: path.to_owned(), _held: file });
            }
        }
        Err(RunnerError::Busy(path.to_owned()))
    }
}

impl Drop for RunLock {
    fn drop(&mut self) {
        // Removed while it is still locked, so that nobody else's file is. The directory goes
        // too where nothing else is in it.
        let _ = fs::remove_file(&self.path);
        if let Some(parent) = self.path.parent() {
            let _ = fs::remove_dir(parent);
        }
    }
}

fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    match fs::metadata(path) {
        Ok(there) => Ok(there.ino() == file.metadata()?.ino()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_run_is_told_who_holds_the_lock_and_a_later_one_gets_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("below/run.lock");
        let first = RunLock::take(&path).unwrap();
        let refused = RunLock::take(&path).unwrap_err().to_string();
        assert!(refused.contains("run.lock"), "{refused}");
        drop(first);
        assert!(!path.exists());
        RunLock::take(&path).unwrap();
    }
}
