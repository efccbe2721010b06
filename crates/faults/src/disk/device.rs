//! Which block device is behind a file, and behind a target.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use rustix::fs::{FileType, Stat, major, minor};
use temblor_host::target::Target;

use super::{DiskRefusal, mounts};
use crate::process::members::Roll;
use crate::{Error, Result};

/// How many devices one fault takes.
const MAX_DEVICES: usize = 8;
/// How many open files of one process are looked at.
const MAX_FILES: usize = 65_536;

/// A whole block device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockDevice {
    /// The number of its driver.
    pub major: u32,
    /// Which of the driver's devices.
    pub minor: u32,
}

/// `254:0`, as the kernel's files write it.
impl fmt::Display for BlockDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.major, self.minor)
    }
}

/// A device as an experiment names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeviceAsked {
    /// A device's own path, or any path on the filesystem that is meant.
    Path(PathBuf),
    /// Its numbers.
    Number(BlockDevice),
}

/// What was named as a device is none.
#[derive(Debug, thiserror::Error)]
pub enum NotADevice {
    /// Neither a path nor numbers.
    #[error("`{0}` is neither a path such as /dev/sda nor a device's numbers such as 8:0")]
    Unreadable(String),
    /// Nothing is there.
    #[error("{path} cannot be looked at")]
    Absent {
        /// The path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Not on a disk.
    #[error("{what} is on {kind}, which has no block device of its own")]
    NoDisk {
        /// The file or directory.
        what: PathBuf,
        /// `tmpfs`, …
        kind: String,
    },
    /// No device has these numbers.
    #[error("no block device has the numbers {0}")]
    Unknown(BlockDevice),
}

impl FromStr for DeviceAsked {
    type Err = NotADevice;

    fn from_str(text: &str) -> Result<Self, NotADevice> {
        if text.starts_with('/') {
            return Ok(Self::Path(text.into()));
        }
        text.split_once(':')
            .and_then(|(major, minor)| {
                Some(BlockDevice { major: major.parse().ok()?, minor: minor.parse().ok()? })
            })
            .map(Self::Number)
            .ok_or_else(|| NotADevice::Unreadable(text.into()))
    }
}

/// `/dev/vda`, `254:0`: as it was written.
impl fmt::Display for DeviceAsked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => path.display().fmt(f),
            Self::Number(number) => number.fmt(f),
        }
    }
}

impl DeviceAsked {
    /// The whole disk that is meant.
    ///
    /// # Errors
    /// There is none.
    pub fn resolve(&self) -> Result<BlockDevice, NotADevice> {
        match self {
            Self::Number(number) => number.whole(),
            Self::Path(path) => BlockDevice::behind(path),
        }
    }
}

impl BlockDevice {
    /// The whole disk that a path is on, or, where it is a device, that it is.
    ///
    /// # Errors
    /// Nothing is there, or it is not on a disk.
    pub fn behind(path: &Path) -> Result<Self, NotADevice> {
        let absent = |source| NotADevice::Absent { path: path.into(), source };
        let path = fs::canonicalize(path).map_err(absent)?;
        let stat = rustix::fs::stat(&path).map_err(|e| absent(e.into()))?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::BlockDevice {
            return Self::numbered(stat.st_rdev).whole();
        }
        let mounts = mounts::of("thread-self").map_err(absent)?;
        Self::of_stat(&stat, &path, mounts::holding(&mounts, &path))
    }

    /// Its name, `vda`; its numbers where it has none.
    #[must_use]
    pub fn name(self) -> String {
        fs::canonicalize(format!("/sys/dev/block/{self}"))
            .ok()
            .and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned()))
            .unwrap_or_else(|| self.to_string())
    }

    fn numbered(number: u64) -> Self {
        Self { major: major(number), minor: minor(number) }
    }

    /// The disk that it is a part of, or itself: limits are kept for whole disks.
    fn whole(self) -> Result<Self, NotADevice> {
        let dir = fs::canonicalize(format!("/sys/dev/block/{self}"))
            .map_err(|_| NotADevice::Unknown(self))?;
        if !dir.join("partition").exists() {
            return Ok(self);
        }
        dir.parent()
            .and_then(|disk| fs::read_to_string(disk.join("dev")).ok())
            .and_then(|text| match text.trim().parse() {
                Ok(DeviceAsked::Number(disk)) => Some(disk),
                _ => None,
            })
            .ok_or(NotADevice::Unknown(self))
    }

    /// Filesystems that span devices (btrfs) or lie on others (overlay) have numbers of their
    /// own, which no device has; there the mount says what is below.
    fn of_stat(
        stat: &Stat,
        what: &Path,
        mount: Option<&mounts::Mount>,
    ) -> Result<Self, NotADevice> {
        if major(stat.st_dev) != 0 {
            return Self::numbered(stat.st_dev).whole();
        }
        let no_disk = || NotADevice::NoDisk {
            what: what.into(),
            kind: mount.map_or_else(|| "a filesystem without a name".into(), |m| m.kind.clone()),
        };
        let mount = mount.ok_or_else(no_disk)?;
        let below = mount.upper_dir().unwrap_or_else(|| mount.source.clone());
        let below = rustix::fs::stat(&below).map_err(|_| no_disk())?;
        match FileType::from_raw_mode(below.st_mode) {
            FileType::BlockDevice => Self::numbered(below.st_rdev).whole(),
            _ if major(below.st_dev) != 0 => Self::numbered(below.st_dev).whole(),
            _ => Err(no_disk()),
        }
    }
}

/// The devices behind the regular files that a target has open for writing, each with one such
/// file for the report; where it has none open, the device behind its working directory.
pub(super) fn of_target(target: &Target) -> Result<BTreeMap<BlockDevice, String>> {
    let service = || target.service.clone();
    let pids = Roll::of(target).members();
    if pids.is_empty() {
        return Err(Error::from(DiskRefusal::NoProcesses { service: service() }));
    }
    let mut found = BTreeMap::new();
    for pid in &pids {
        // A process may end while it is looked at: what it had open does not matter then.
        let _ = of_open_files(*pid, &mut found);
    }
    if found.is_empty() {
        let mut why = String::from("it cannot be looked at");
        for pid in &pids {
            match of_link(*pid, "cwd", None) {
                Ok((device, path)) => {
                    found.insert(device, format!("{}, its working directory", path.display()));
                    break;
                }
                Err(error) => why = error.to_string(),
            }
        }
        if found.is_empty() {
            return Err(DiskRefusal::NoDevice { service: service(), why }.into());
        }
    }
    if found.len() > MAX_DEVICES {
        return Err(DiskRefusal::TooManyDevices { service: service(), given: found.len() }.into());
    }
    Ok(found)
}

/// The disk behind a directory that this process holds open.
pub(super) fn of_directory(dir: &OwnedFd, words: &str) -> Result<BlockDevice, NotADevice> {
    let absent = |source: io::Error| NotADevice::Absent { path: words.into(), source };
    let stat = rustix::fs::fstat(dir).map_err(|e| absent(e.into()))?;
    let info =
        fs::read_to_string(format!("/proc/self/fdinfo/{}", dir.as_raw_fd())).map_err(absent)?;
    let id = info.lines().find_map(|line| line.strip_prefix("mnt_id:")?.trim().parse().ok());
    let mounts = mounts::of("thread-self").map_err(absent)?;
    let mount = mounts.iter().find(|mount| Some(mount.id) == id);
    BlockDevice::of_stat(&stat, Path::new(words), mount)
}

/// A file that a process has open.
pub(super) struct Open {
    number: String,
    mount: Option<u32>,
    /// What the kernel says of it.
    pub(super) stat: Stat,
    /// Its path, as the process sees it.
    pub(super) path: PathBuf,
}

/// What a process has open for writing: files, and whatever else has a descriptor.
pub(super) fn open_for_writing(pid: u32) -> io::Result<Vec<Open>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fd"))?.take(MAX_FILES) {
        let entry = entry?;
        let number = entry.file_name().to_string_lossy().into_owned();
        let Ok(info) = fs::read_to_string(format!("/proc/{pid}/fdinfo/{number}")) else { continue };
        let field =
            |name: &str| info.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let writes = field("flags:")
            .and_then(|flags| i32::from_str_radix(flags, 8).ok())
            .is_some_and(|flags| flags & libc::O_ACCMODE != libc::O_RDONLY);
        let mount = field("mnt_id:").and_then(|id| id.parse().ok());
        if !writes {
            continue;
        }
        let (Ok(stat), Ok(path)) = (rustix::fs::stat(entry.path()), fs::read_link(entry.path()))
        else {
            continue;
        };
        found.push(Open { number, mount, stat, path });
    }
    Ok(found)
}

fn of_open_files(pid: u32, found: &mut BTreeMap<BlockDevice, String>) -> io::Result<()> {
    for open in open_for_writing(pid)? {
        if let Ok((device, path)) = of_link(pid, &format!("fd/{}", open.number), open.mount) {
            found.entry(device).or_insert_with(|| format!("{}, open for writing", path.display()));
        }
    }
    Ok(())
}

/// The device behind what a link of a process leads to, if that is a file or a directory.
fn of_link(
    pid: u32,
    link: &str,
    mount_id: Option<u32>,
) -> Result<(BlockDevice, PathBuf), NotADevice> {
    let link = PathBuf::from(format!("/proc/{pid}/{link}"));
    let absent = |source: io::Error| NotADevice::Absent { path: link.clone(), source };
    let path = fs::read_link(&link).map_err(absent)?;
    let stat = rustix::fs::stat(&link).map_err(|e| absent(e.into()))?;
    if !matches!(FileType::from_raw_mode(stat.st_mode), FileType::RegularFile | FileType::Directory)
    {
        return Err(NotADevice::NoDisk { what: path, kind: "no filesystem".into() });
    }
    // Only an anonymous device number needs the mounts: those of a process are many.
    let mounts = match major(stat.st_dev) {
        0 => mounts::of(&pid.to_string()).map_err(absent)?,
        _ => Vec::new(),
    };
    let mount = match mount_id {
        Some(id) => mounts.iter().find(|mount| mount.id == id),
        None => mounts::holding(&mounts, &path),
    };
    Ok((BlockDevice::of_stat(&stat, &path, mount)?, path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_a_path_or_two_numbers() {
        let number = "254:0".parse::<DeviceAsked>().unwrap();
        assert_eq!(number, DeviceAsked::Number(BlockDevice { major: 254, minor: 0 }));
        assert_eq!(number.to_string(), "254:0");
        assert_eq!("/dev/x".parse::<DeviceAsked>().unwrap(), DeviceAsked::Path("/dev/x".into()));
        for bad in ["", "sda", "8:", ":0", "8:0:1", "-1:0", "8:x"] {
            let error = bad.parse::<DeviceAsked>().unwrap_err();
            assert!(error.to_string().contains("neither a path"), "{bad}: {error}");
        }
    }

    #[test]
    fn what_is_on_no_disk_is_said_to_be() {
        let proc = BlockDevice::behind(Path::new("/proc/self/status")).unwrap_err();
        assert!(proc.to_string().ends_with("is on proc, which has no block device of its own"));
        let absent = BlockDevice::behind(Path::new("/no/such/file")).unwrap_err();
        assert_eq!(absent.to_string(), "/no/such/file cannot be looked at");
        let unknown = "0:0".parse::<DeviceAsked>().unwrap().resolve().unwrap_err();
        assert_eq!(unknown.to_string(), "no block device has the numbers 0:0");
    }

    #[test]
    fn a_part_is_resolved_to_its_disk() {
        for entry in fs::read_dir("/sys/dev/block").into_iter().flatten().flatten() {
            let Ok(asked) = entry.file_name().to_string_lossy().parse::<DeviceAsked>() else {
                continue;
            };
            let disk = asked.resolve().unwrap();
            assert_eq!(disk.whole().unwrap(), disk, "{asked}");
            assert!(disk.name().chars().next().is_some_and(char::is_alphabetic), "{asked}");
        }
    }
}
