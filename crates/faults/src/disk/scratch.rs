//! A file of ours without a name: when the last process that has it open is gone, the kernel
//! frees it, so it cannot be left behind.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use temblor_event::clock::now_ns;

use super::place::Found;
use crate::undo::{Guard, RemoveFile, Undo};
use crate::{Error, Result};

/// Makes it. Most filesystems can make a file that never had a name. On the others (NFS, some
/// overlays) it gets one, with its removal on record, and loses it at once.
pub(super) fn unnamed(place: &Found, guard: &Guard) -> Result<File> {
    match without_name(place) {
        Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL | Errno::NOSYS) => {}
        Err(e) => {
            return Err(Error::system(format!("make a file in {}", place.words), e));
        }
        Ok(file) => return Ok(file),
    }
    by_name(place, guard)
}

fn by_name(place: &Found, guard: &Guard) -> Result<File> {
    let link = format!("/proc/self/fd/{}", place.dir.as_raw_fd());
    let doing = || format!("make a file in {}", place.words);
    let dir = std::fs::read_link(link).map_err(|e| Error::system(doing(), e))?;
    let here = rustix::fs::stat(&dir);
    let there = rustix::fs::fstat(&place.dir).map_err(|e| Error::system(doing(), e))?;
    if !here.is_ok_and(|here| (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino)) {
        return Err(Error::Missing {
            what: format!("files without a name (O_TMPFILE) on the filesystem of {}", place.words),
            how: "give a directory that this program sees under the same path".into(),
        });
    }
    let (path, token) = name(dir);
    let undo = RemoveFile::about_to_create(&path, &token)?;
    let entry = guard.record(Undo::RemoveFile(undo.clone()))?;
    let file = undo.create()?;
    entry.undo()?;
    Ok(file)
}

/// The same for a moment only: to see whether it can be done.
pub(super) fn without_name(place: &Found) -> Result<File, Errno> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    rustix::fs::openat(&place.dir, ".", flags, Mode::RUSR | Mode::WUSR).map(File::from)
}

fn name(dir: PathBuf) -> (PathBuf, String) {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let next = NEXT.fetch_add(1, Ordering::Relaxed);
    let token = format!("{:x}-{:x}-{next:x}", std::process::id(), now_ns());
    (dir.join(format!(".temblor-{token}")), token)
}

/// Whether this process still has the file open.
pub(super) fn is_open_here(device: u64, inode: u64) -> io::Result<bool> {
    for entry in std::fs::read_dir("/proc/self/fd")? {
        // The handle that lists the directory is gone again when it is looked at.
        let Ok(stat) = rustix::fs::stat(entry?.path()) else { continue };
        if (stat.st_dev, stat.st_ino) == (device, inode) {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;
    use crate::disk::Place;

    #[test]
    fn the_file_has_no_name_either_way_and_is_open_until_it_is_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let journal = tempfile::tempdir().unwrap();
        let guard = Guard::without_guardian(journal.path()).unwrap();
        let place = Place::Path(dir.path().into()).open().unwrap();
        for make in [unnamed, by_name] {
            let file = make(&place, &guard).unwrap();
            let is = file.metadata().unwrap();
            assert_eq!((is.nlink(), is.mode() & 0o777), (0, 0o600));
            assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
            assert!(is_open_here(is.dev(), is.ino()).unwrap());
            drop(file);
            assert!(!is_open_here(is.dev(), is.ino()).unwrap());
        }
    }
}
