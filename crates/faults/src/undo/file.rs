//! A file of ours that is removed.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, OFlags, statat, unlinkat};
use serde::{Deserialize, Serialize};

use super::{Undoing, Undone};
use crate::{Error, Result};

/// Shorter ones could be in a name by chance.
const TOKEN_BYTES_MIN: usize = 8;

/// A file of ours. It is known by a token in its name that no other file has, in the directory
/// that was there when it was recorded; so it is found after a reboot too, when the numbers of
/// devices may be others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoveFile {
    path: PathBuf,
    /// The inode of the directory that the file is in.
    dir_inode: u64,
    /// The file's own inode, where it was there before it was recorded.
    inode: Option<u64>,
}

impl RemoveFile {
    /// A file that is about to be made. Its name contains `token` (at least 8 bytes, drawn for
    /// this fault), and nothing of that name is there.
    ///
    /// # Errors
    /// The path is not absolute, its name lacks the token, its directory cannot be looked at, or
    /// the name is taken.
    pub fn about_to_create(path: &Path, token: &str) -> Result<Self> {
        let doing = || format!("make the file {}", path.display());
        let invalid = |why: &str| {
            Error::system(doing(), io::Error::new(io::ErrorKind::InvalidInput, why.to_owned()))
        };
        let name = path.file_name().map(|name| name.as_bytes()).unwrap_or_default();
        let has_token = name.windows(token.len().max(1)).any(|part| part == token.as_bytes());
        if !path.is_absolute() || token.len() < TOKEN_BYTES_MIN || !has_token {
            return Err(invalid("its path must be absolute and its name unlike any other"));
        }
        match fs::symlink_metadata(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(Error::system(doing(), e)),
            Ok(_) => return Err(invalid("something of that name is there already")),
        }
        let dir = path.parent().unwrap_or(Path::new("/"));
        // Resolved once, so that a link on the way that is changed later leads nowhere else.
        let dir = fs::canonicalize(dir).map_err(|e| Error::system(doing(), e))?;
        let dir_inode = fs::metadata(&dir).map_err(|e| Error::system(doing(), e))?.ino();
        let path = dir.join(path.file_name().unwrap_or_default());
        Ok(Self { path, dir_inode, inode: None })
    }

    /// The same for a file that has been made meanwhile, which nothing has been written to yet:
    /// its inode goes on record too.
    ///
    /// # Errors
    /// The file cannot be looked at.
    pub fn known(mut self, file: &File) -> Result<Self> {
        let doing = || format!("look at {}", self.path.display());
        self.inode = Some(file.metadata().map_err(|e| Error::system(doing(), e))?.ino());
        Ok(self)
    }

    /// Makes the file that this is the undo of: empty, readable by its owner only.
    ///
    /// # Errors
    /// It cannot be made, or something of that name is there.
    pub fn create(&self) -> Result<File> {
        OpenOptions::new()
            .write(true)
            .read(true)
            .create_new(true)
            .mode(0o600)
            .open(&self.path)
            .map_err(|e| Error::system(format!("make the file {}", self.path.display()), e))
    }

    /// Where it is, with links on the way resolved.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The directory and what is in it under the file's name: a regular file, or why it is not
    /// ours.
    fn look(&self) -> Result<std::result::Result<File, Undone>> {
        let failed = |e: io::Error| Error::system(self.words(), e);
        let gone = || Undone::NotOurs(format!("the directory of {} is gone", self.path.display()));
        let dir = OpenOptions::new()
            .read(true)
            .custom_flags((OFlags::PATH | OFlags::DIRECTORY).bits().cast_signed())
            .open(self.path.parent().unwrap_or(Path::new("/")));
        let dir = match dir {
            Ok(dir) => dir,
            Err(e) if matches!(e.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR)) => {
                return Ok(Err(gone()));
            }
            Err(e) => return Err(failed(e)),
        };
        if dir.metadata().map_err(failed)?.ino() != self.dir_inode {
            return Ok(Err(gone()));
        }
        let name = self.path.file_name().unwrap_or_default();
        let found = match statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(found) => found,
            Err(rustix::io::Errno::NOENT) => return Ok(Err(Undone::Nothing)),
            Err(e) => return Err(failed(e.into())),
        };
        let regular = FileType::from_raw_mode(found.st_mode) == FileType::RegularFile;
        if !regular || self.inode.is_some_and(|inode| inode != found.st_ino) {
            return Ok(Err(Undone::NotOurs(format!("{} is another one", self.path.display()))));
        }
        Ok(Ok(dir))
    }
}

impl Undoing for RemoveFile {
    fn words(&self) -> String {
        format!("remove {}", self.path.display())
    }

    fn undo(&self) -> Result<Undone> {
        let dir = match self.look()? {
            Ok(dir) => dir,
            Err(undone) => return Ok(undone),
        };
        match unlinkat(&dir, self.path.file_name().unwrap_or_default(), AtFlags::empty()) {
            Ok(()) => Ok(Undone::Restored),
            Err(rustix::io::Errno::NOENT) => Ok(Undone::Nothing),
            Err(e) => Err(Error::system(self.words(), e)),
        }
    }

    fn is_open(&self) -> Result<bool> {
        Ok(self.look()?.is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "5f3a9c21";

    fn dir() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(format!("temblor-{TOKEN}"));
        (dir, path)
    }

    #[test]
    fn a_file_goes_once_whether_or_not_it_was_made() {
        let (dir, path) = dir();
        let undo = RemoveFile::about_to_create(&path, TOKEN).unwrap();
        assert_eq!(undo.undo().unwrap(), Undone::Nothing, "before it is made");
        let file = undo.create().unwrap();
        assert!(undo.is_open().unwrap());
        let known = undo.clone().known(&file).unwrap();
        assert!(known.is_open().unwrap());
        assert_eq!(undo.undo().unwrap(), Undone::Restored);
        assert!(!path.exists() && !undo.is_open().unwrap());
        assert_eq!(undo.undo().unwrap(), Undone::Nothing, "twice");
        drop(dir);
        assert!(matches!(undo.undo().unwrap(), Undone::NotOurs(_)));
    }

    #[test]
    fn what_is_not_the_file_that_was_recorded_stays() {
        let (dir, path) = dir();
        let undo = RemoveFile::about_to_create(&path, TOKEN).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(matches!(undo.undo().unwrap(), Undone::NotOurs(_)), "a directory");
        fs::remove_dir(&path).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", &path).unwrap();
        assert!(matches!(undo.undo().unwrap(), Undone::NotOurs(_)), "a link");
        fs::remove_file(&path).unwrap();
        // The holder of the inode stays open, so that it is not used again.
        let first = undo.create().unwrap();
        let known = undo.clone().known(&first).unwrap();
        fs::remove_file(&path).unwrap();
        fs::write(&path, "another").unwrap();
        assert!(matches!(known.undo().unwrap(), Undone::NotOurs(_)), "another inode");
        assert!(path.exists());
        // Another directory under the same name.
        let elsewhere = tempfile::tempdir().unwrap();
        let moved = elsewhere.path().join("moved");
        fs::rename(dir.path(), &moved).unwrap();
        fs::create_dir(dir.path()).unwrap();
        fs::write(&path, "somebody else's").unwrap();
        assert!(matches!(undo.undo().unwrap(), Undone::NotOurs(_)), "another directory");
        assert!(path.exists());
    }

    #[test]
    fn names_that_could_be_anybodys_are_refused() {
        let (_dir, path) = dir();
        for (path, token) in [
            (path.as_path(), "temblor"),
            (path.as_path(), "another-token"),
            (path.as_path(), ""),
            (Path::new("temblor-5f3a9c21"), TOKEN),
            (Path::new("/"), TOKEN),
        ] {
            assert!(RemoveFile::about_to_create(path, token).is_err(), "{path:?} {token:?}");
        }
        fs::write(&path, "there").unwrap();
        assert!(RemoveFile::about_to_create(&path, TOKEN).is_err());
    }
}
