//! One run at a time: two would measure each other.

use std::fs::{self, File};
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::error::RunnerError;

/// Held for the length of a run. The kernel lets it go when this process ends, however it ends.
#[derive(Debug)]
pub struct RunLock(#[expect(dead_code, reason = "held open, never used")] File);

impl RunLock {
    /// Takes the lock at `path`.
    ///
    /// # Errors
    /// Another run holds it, or the file cannot be made.
    pub fn take(path: &Path) -> Result<Self, RunnerError> {
        let failed =
            || RunnerError::failed(format!("the lock {} could not be taken", path.display()));
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(|e| failed()(e.into()))?;
        }
        let file = File::create(path).map_err(|e| failed()(e.into()))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self(file)),
            Err(Errno::WOULDBLOCK) => Err(RunnerError::Busy(path.to_owned())),
            Err(errno) => Err(failed()(Box::new(errno))),
        }
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
        RunLock::take(&path).unwrap();
    }
}
