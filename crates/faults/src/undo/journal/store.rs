//! The directory that journals are in, and what a journal asks of a file system.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::event::{Timespec, poll};
use rustix::fs::{FallocateFlags, FlockOperation, OFlags, fallocate, flock};
use rustix::io::Errno;
use temblor_event::clock::now_ns;

/// Room that is taken at once, so that a disk that fills up later stops neither the marks nor,
/// for a while, the records. An experiment has a few records of some hundred bytes.
const ROOM_BYTES: u64 = 64 * 1024;
/// How often the directory may vanish while a file is made in it: each time, another run's last
/// journal went, and the directory with it.
const TRIES: usize = 100;
/// How long to wait between two looks at a lock.
const LOOK_AGAIN_NS: i64 = 5_000_000;
/// Those who may write it besides its owner: nobody.
const OTHERS_WRITE: u32 = 0o022;

/// A directory of journals, as far as a journal is concerned.
pub(crate) trait Store: fmt::Debug + Send + Sync {
    /// Makes an empty file that was not there.
    fn create(&self, name: &str) -> io::Result<Box<dyn LogFile>>;
    /// Gives it another name.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Makes the names of all files durable.
    fn sync_names(&self) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, name: &str) -> io::Result<()>;
}

/// A file that grows.
pub(crate) trait LogFile: fmt::Debug + Send {
    /// Adds all bytes at the end; when it fails, some of them may have been added.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Makes all that was added durable. After it has failed nothing is certain.
    fn sync(&mut self) -> io::Result<()>;
    /// Takes away what was added past this length.
    fn cut(&mut self, len_bytes: u64) -> io::Result<()>;
}

/// A directory on a disk.
#[derive(Debug, Clone)]
pub(crate) struct Directory {
    path: PathBuf,
}

impl Directory {
    /// Makes the directory where it is not there, for its owner only.
    pub(crate) fn make(path: &Path) -> io::Result<Self> {
        for _ in 0..TRIES {
            // What lies above is not only ours: the lab's data is beside it, for other users.
            if let Some(above) = path.parent() {
                fs::DirBuilder::new().recursive(true).mode(0o755).create(above)?;
            }
            match fs::DirBuilder::new().mode(0o700).create(path) {
                // Somebody removed what lies above, which was empty.
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
                _ => {}
            }
            if let Some(directory) = Self::find(path)? {
                return Ok(directory);
            }
        }
        Err(io::Error::other("the directory vanishes again and again"))
    }

    /// A directory as it is, if it is there.
    pub(crate) fn find(path: &Path) -> io::Result<Option<Self>> {
        // Absolute, because a guardian leaves the directory it was started in.
        let found = fs::canonicalize(path).and_then(|path| {
            let directory = Self { path };
            directory.check()?;
            Ok(directory)
        });
        match found {
            Ok(directory) => Ok(Some(directory)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// What is written there is done by whoever heals, as root: nobody else may write there.
    fn check(&self) -> io::Result<()> {
        let metadata = fs::metadata(&self.path)?;
        let owner = metadata.uid();
        let known = owner == 0 || owner == rustix::process::geteuid().as_raw();
        if !metadata.is_dir() || !known || metadata.mode() & OTHERS_WRITE != 0 {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!(
                    "{} must be a directory that nobody but root or its owner may write",
                    self.path.display()
                ),
            ));
        }
        Ok(())
    }

    /// Where it is, absolute.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Removes the directory where nothing is left in it.
    pub(crate) fn tidy(&self) {
        let _ = fs::remove_dir(&self.path);
    }
}

impl Store for Directory {
    fn create(&self, name: &str) -> io::Result<Box<dyn LogFile>> {
        for _ in 0..TRIES {
            let file = OpenOptions::new()
                .append(true)
                .create_new(true)
                .mode(0o600)
                .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
                .open(self.path.join(name));
            match file {
                Ok(file) => {
                    // Not every file system can: then a full disk stops the next record.
                    let _ = fallocate(&file, FallocateFlags::KEEP_SIZE, 0, ROOM_BYTES);
                    return Ok(Box::new(file));
                }
                Err(e) if e.kind() == io::ErrorKind::NotFound => {
                    Self::make(&self.path)?;
                }
                Err(e) => return Err(e),
            }
        }
        Err(io::Error::other("the directory vanishes again and again"))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path.join(from), self.path.join(to))
    }

    fn sync_names(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path.join(name))
    }
}

impl LogFile for File {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        // Nothing but the length of the file and its bytes matters.
        self.sync_data()
    }

    fn cut(&mut self, len_bytes: u64) -> io::Result<()> {
        self.set_len(len_bytes)
    }
}

/// Whether a file is one that is to be obeyed: a plain one that nobody else could have written.
pub(crate) fn check_file(file: &File) -> io::Result<()> {
    let metadata = file.metadata()?;
    let owner = metadata.uid();
    let known = owner == 0 || owner == rustix::process::geteuid().as_raw();
    if metadata.is_file() && known && metadata.mode() & OTHERS_WRITE == 0 {
        return Ok(());
    }
    Err(io::Error::new(
        io::ErrorKind::InvalidInput,
        "it is not obeyed, because others than root or its owner may have written it",
    ))
}

/// Takes the lock of a file, waiting for at most this long; says whether it has it.
pub(crate) fn lock(file: &File, bound_ms: u64) -> io::Result<bool> {
    let deadline_ns = now_ns().saturating_add(bound_ms.saturating_mul(1_000_000));
    loop {
        match flock(file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(true),
            Err(Errno::WOULDBLOCK) if now_ns() >= deadline_ns => return Ok(false),
            Err(Errno::WOULDBLOCK) => {
                let timeout = Timespec { tv_sec: 0, tv_nsec: LOOK_AGAIN_NS };
                let _ = poll(&mut [], Some(&timeout));
            }
            Err(Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
}

/// Whether the file is still the one of that name.
pub(crate) fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    match fs::symlink_metadata(path) {
        Ok(there) => {
            let here = file.metadata()?;
            Ok((there.dev(), there.ino()) == (here.dev(), here.ino()))
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(e),
    }
}
