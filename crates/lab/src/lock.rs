//! One command at a time on one lab.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;

use rustix::event::{Timespec, poll};
use rustix::fs::{FlockOperation, flock};
use temblor_event::clock::now_ns;

use crate::error::{Doing, Error, Result};

/// The directory that everything about one lab hangs on, locked: `up` and `down` hold it while they
/// are at work. The directory itself carries the lock, so that no lock file is left behind.
#[derive(Debug)]
pub(crate) struct Lock {
    _dir: fs::File,
}

impl Lock {
    /// Makes the directory and takes the lock, waiting at most this long for whoever has it.
    pub(crate) fn take(dir: &Path, bound_ms: u64) -> Result<Self> {
        let deadline_ns = now_ns().saturating_add(bound_ms.saturating_mul(1_000_000));
        loop {
            make_dir(dir)?;
            match fs::File::open(dir) {
                // Removed in between, by a `down` that was faster.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error).doing(|| format!("open {}", dir.display())),
                Ok(file) => match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                    Ok(()) if is_still(&file, dir) => return Ok(Self { _dir: file }),
                    // Whoever had the lock has removed the directory: it is another one now.
                    Ok(()) => {}
                    Err(rustix::io::Errno::AGAIN) => {}
                    Err(error) => return Err(error).doing(|| format!("lock {}", dir.display())),
                },
            }
            if now_ns() >= deadline_ns {
                return Err(Error::Busy(dir.to_path_buf()));
            }
            let timeout = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
            // Interrupted is as good as elapsed.
            let _ = poll(&mut [], Some(&timeout));
        }
    }
}

/// Makes a directory that others may pass through, as services under other users must.
pub(crate) fn make_dir(dir: &Path) -> Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(dir)
        .doing(|| format!("make the directory {}", dir.display()))
}

fn is_still(file: &fs::File, dir: &Path) -> bool {
    let (Ok(held), Ok(there)) = (file.metadata(), fs::metadata(dir)) else { return false };
    (held.dev(), held.ino()) == (there.dev(), there.ino())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time_and_a_removed_directory_is_made_anew() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("a/b");
        let first = Lock::take(&dir, 0).unwrap();
        assert!(matches!(Lock::take(&dir, 60), Err(Error::Busy(_))));
        fs::remove_dir(&dir).unwrap();
        let second = Lock::take(&dir, 1_000).expect("the directory is a new one");
        drop(first);
        assert!(matches!(Lock::take(&dir, 0), Err(Error::Busy(_))));
        drop(second);
        Lock::take(&dir, 0).unwrap();
    }
}
