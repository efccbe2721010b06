//! The real storage: one directory of a file system.

use crate::storage::{SegmentFile, Storage};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

const LOCK_NAME: &str = "journal.lock";

/// A directory, held by one process at a time, or looked at by any.
#[derive(Debug)]
pub struct FsStorage {
    dir: PathBuf,
    /// Kept open for its lock alone; the kernel releases it however the process ends. None: it is only
    /// looked at.
    lock: Option<File>,
}

impl FsStorage {
    /// Opens the directory, making it where needed, and locks it against other processes.
    ///
    /// # Errors
    /// When the directory cannot be made or written, or another process has the journal open
    /// ([`io::ErrorKind::WouldBlock`]).
    pub fn open(dir: impl Into<PathBuf>) -> io::Result<Self> {
        let dir = dir.into();
        let missing: Vec<PathBuf> = dir
            .ancestors()
            .take_while(|path| !path.as_os_str().is_empty() && !path.exists())
            .map(Path::to_path_buf)
            .collect();
        fs::create_dir_all(&dir)?;
        // Each new directory's own name must survive a crash too, or all in it is lost with it.
        for made in missing {
            let parent = made.parent().filter(|parent| !parent.as_os_str().is_empty());
            File::open(parent.unwrap_or(Path::new(".")))?.sync_all()?;
        }
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(dir.join(LOCK_NAME))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { dir, lock: Some(lock) }),
            Err(TryLockError::WouldBlock) => Err(io::Error::new(
                io::ErrorKind::WouldBlock,
                format!("another process has the journal in {} open; stop it first", dir.display()),
            )),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// A directory that is only looked at, also while another process has the journal open: nothing in
    /// it can be changed through this.
    ///
    /// # Errors
    /// When there is no such directory.
    pub fn look(dir: impl Into<PathBuf>) -> io::Result<Self> {
        let dir = dir.into();
        fs::read_dir(&dir)?;
        Ok(Self { dir, lock: None })
    }

    /// The directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}

impl Storage for FsStorage {
    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            // A name that is not UTF-8 is none of ours.
            names.extend(entry?.file_name().into_string());
        }
        Ok(names)
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn SegmentFile>> {
        if self.lock.is_none() {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let file =
            OpenOptions::new().read(true).write(true).create_new(true).open(self.dir.join(name))?;
        Ok(Box::new(FsFile(file)))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn SegmentFile>> {
        let is_held = self.lock.is_some();
        let file = OpenOptions::new().read(true).write(is_held).open(self.dir.join(name))?;
        Ok(Box::new(FsFile(file)))
    }

    fn sync_dir(&self) -> io::Result<()> {
        File::open(&self.dir)?.sync_all()
    }
}

struct FsFile(File);

impl SegmentFile for FsFile {
    fn len_bytes(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.0.read_at(buffer, offset) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn sync_data(&mut self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn truncate(&mut self, len_bytes: u64) -> io::Result<()> {
        self.0.set_len(len_bytes)?;
        // Not sync_data: that may leave a shorter length for later, and old bytes would come back.
        self.0.sync_all()
    }
}
