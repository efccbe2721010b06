//! Opening what another process has, which may be anything: only regular files are read. A pipe
//! would make us wait, and a device can act on being opened.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fstat, open, openat2};

/// A file by a path in our own mount namespace.
pub(crate) fn regular(path: &Path) -> io::Result<File> {
    readable(open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?)
}

/// A file by the path that a process has for it. Links in it lead to where they lead that
/// process, never to a file of ours.
pub(crate) fn in_root(pid: u32, path: &Path) -> io::Result<File> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let root = openat2(
        CWD,
        format!("/proc/{pid}/root"),
        flags | OFlags::DIRECTORY,
        Mode::empty(),
        ResolveFlags::empty(),
    )?;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    readable(openat2(root, path, flags, Mode::empty(), resolve)?)
}

/// Opens for reading what has been found, if it is a file.
fn readable(found: OwnedFd) -> io::Result<File> {
    if FileType::from_raw_mode(fstat(&found)?.st_mode) != FileType::RegularFile {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    File::open(by_descriptor(&found))
}

/// A path that leads to what is open, whatever has become of its name. It leads there as long as
/// it is open.
pub(crate) fn by_descriptor(open: &impl AsFd) -> String {
    format!("/proc/self/fd/{}", open.as_fd().as_raw_fd())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn what_is_no_file_is_not_opened() {
        for path in ["/dev/null", "/tmp"] {
            let error = regular(path.as_ref()).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{path}");
        }
        assert!(regular("/proc/self/exe".as_ref()).is_ok());
    }

    #[test]
    fn a_file_of_a_process_is_found_by_its_path_there() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("target");
        std::fs::write(&target, "x").unwrap();
        let link = dir.path().join("link");
        symlink(&target, &link).unwrap();
        let file = in_root(std::process::id(), &link).unwrap();
        assert_eq!(io::read_to_string(file).unwrap(), "x");
        // A link that leads out of a file system by way of somebody's descriptors is not followed.
        let magic = dir.path().join("magic");
        symlink("/proc/self/exe", &magic).unwrap();
        assert!(in_root(std::process::id(), &magic).is_err());
        let none = in_root(std::process::id(), &dir.path().join("none")).unwrap_err();
        assert_eq!(none.kind(), io::ErrorKind::NotFound);
    }
}
