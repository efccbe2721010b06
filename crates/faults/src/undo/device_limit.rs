//! A cgroup's limits for one block device, in a file that has a line for each device.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use temblor_host::boot_id;

use super::{Undoing, Undone};
use crate::{Error, Result};

/// Limits for one device with their previous values: `io.max` of cgroup version 2
/// (`8:0 rbps=max wbps=1048576 riops=max wiops=max`), or one of version 1's
/// `blkio.throttle.*_device` (`8:0 1048576`). Other devices' lines and other keys of this
/// device's line are left alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceLimit {
    path: PathBuf,
    /// The file's own inode: another cgroup of the same name has another one.
    inode: u64,
    boot_id: String,
    /// `254:0`.
    device: String,
    limits: Vec<Limit>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Limit {
    /// `wbps`; empty in a file of version 1, which has one limit for a device.
    key: String,
    previous: String,
    /// A third value is somebody else's, and stays.
    ours: String,
}

impl Limit {
    fn word(&self, value: &str) -> String {
        if self.key.is_empty() { value.to_owned() } else { format!("{}={value}", self.key) }
    }
}

impl DeviceLimit {
    /// Reads what is there now, before `ours` is written: pairs of key and limit, or one pair
    /// with an empty key in a file of version 1.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn about_to_set(path: &Path, device: &str, ours: &[(&str, u64)]) -> Result<Self> {
        let doing = || format!("read {}", path.display());
        let text = fs::read_to_string(path).map_err(|e| Error::system(doing(), e))?;
        let inode = fs::metadata(path).map_err(|e| Error::system(doing(), e))?.ino();
        let boot_id = boot_id().map_err(|e| Error::system("read the boot's id", e))?;
        let now = values(&text, device);
        let limits = ours
            .iter()
            .map(|(key, ours)| Limit {
                key: (*key).to_owned(),
                previous: value(&now, key),
                ours: ours.to_string(),
            })
            .collect();
        Ok(Self { path: path.into(), inode, boot_id, device: device.into(), limits })
    }

    /// Makes the change that this is the undo of.
    ///
    /// # Errors
    /// The kernel refuses the device or a value.
    pub fn set(&self) -> Result<()> {
        let line = self.line(self.limits.iter().map(|limit| limit.word(&limit.ours)));
        write(&self.path, &line)
            .map_err(|e| Error::system(format!("write {line} to {}", self.path.display()), e))
    }

    fn line(&self, words: impl Iterator<Item = String>) -> String {
        std::iter::once(self.device.clone()).chain(words).collect::<Vec<_>>().join(" ")
    }

    /// The device's values now, if it is still the same file in the same boot.
    fn now(&self) -> Result<Option<BTreeMap<String, String>>> {
        if !boot_id().is_ok_and(|boot| boot == self.boot_id) {
            return Ok(None);
        }
        let doing = || format!("read {}", self.path.display());
        match fs::metadata(&self.path) {
            Ok(metadata) if metadata.ino() == self.inode => {}
            Ok(_) => return Ok(None),
            Err(error) if is_gone(&error) => return Ok(None),
            Err(e) => return Err(Error::system(doing(), e)),
        }
        match fs::read_to_string(&self.path) {
            Ok(text) => Ok(Some(values(&text, &self.device))),
            // The cgroup was removed between the two looks.
            Err(error) if is_gone(&error) => Ok(None),
            Err(e) => Err(Error::system(doing(), e)),
        }
    }

    fn gone(&self) -> Undone {
        Undone::NotOurs(format!("{} is gone", self.path.display()))
    }
}

impl Undoing for DeviceLimit {
    fn words(&self) -> String {
        let line = self.line(self.limits.iter().map(|limit| limit.word(&limit.previous)));
        format!("write {line} back to {}", self.path.display())
    }

    fn undo(&self) -> Result<Undone> {
        let Some(now) = self.now()? else { return Ok(self.gone()) };
        let mut back = Vec::new();
        let mut foreign = Vec::new();
        for limit in &self.limits {
            let now = value(&now, &limit.key);
            if now == limit.ours && now != limit.previous {
                back.push(limit.word(&limit.previous));
            } else if now != limit.previous {
                foreign.push(limit.word(&now));
            }
        }
        if !back.is_empty() {
            let line = self.line(back.into_iter());
            match write(&self.path, &line) {
                Ok(()) => {}
                // The device was taken away, and its limits with it; or the cgroup was.
                Err(error) if is_gone(&error) => return Ok(self.gone()),
                Err(e) => return Err(Error::system(self.words(), e)),
            }
            return Ok(Undone::Restored);
        }
        if foreign.is_empty() {
            return Ok(Undone::Nothing);
        }
        Ok(Undone::NotOurs(format!(
            "{} holds {} for {}, which somebody else has written since",
            self.path.display(),
            foreign.join(" "),
            self.device
        )))
    }

    fn is_open(&self) -> Result<bool> {
        let Some(now) = self.now()? else { return Ok(false) };
        Ok(self
            .limits
            .iter()
            .any(|limit| limit.previous != limit.ours && value(&now, &limit.key) == limit.ours))
    }
}

/// The values on a device's line; none where it has no line.
fn values(text: &str, device: &str) -> BTreeMap<String, String> {
    text.lines()
        .filter_map(|line| line.trim().split_once(' '))
        .filter(|(of, _)| *of == device)
        .flat_map(|(_, words)| words.split_whitespace())
        .map(|word| word.split_once('=').unwrap_or(("", word)))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

/// What a line that is not there means: no limit, which version 1 writes as 0.
fn value(values: &BTreeMap<String, String>, key: &str) -> String {
    let none = if key.is_empty() { "0" } else { "max" };
    values.get(key).map_or(none, String::as_str).to_owned()
}

fn write(path: &Path, line: &str) -> io::Result<()> {
    // Opened for writing only: a control file is neither created nor truncated.
    fs::OpenOptions::new().write(true).open(path)?.write_all(line.as_bytes())
}

fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
        || matches!(error.raw_os_error(), Some(libc::ENODEV | libc::ENXIO))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A plain file stands in for the kernel's: it keeps what was last written as it was, so
    /// each test writes whole contents by itself.
    fn file(content: &str) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("io.max");
        fs::write(&path, content).unwrap();
        (dir, path)
    }

    #[test]
    fn only_our_keys_of_our_device_are_put_back() {
        let before = "8:0 rbps=1 wbps=2 riops=3 wiops=4\n254:0 rbps=max wbps=77 riops=max wiops=9";
        let (_dir, path) = file(before);
        let undo =
            DeviceLimit::about_to_set(&path, "254:0", &[("wbps", 100), ("riops", 5)]).unwrap();
        assert_eq!(undo.undo().unwrap(), Undone::Nothing, "before the change");
        assert!(!undo.is_open().unwrap());
        assert_eq!(
            undo.words(),
            format!("write 254:0 wbps=77 riops=max back to {}", path.display())
        );
        fs::write(&path, "254:0 rbps=max wbps=100 riops=5 wiops=6").unwrap();
        assert!(undo.is_open().unwrap());
        assert_eq!(undo.undo().unwrap(), Undone::Restored);
        assert!(fs::read_to_string(&path).unwrap().starts_with("254:0 wbps=77 riops=max"));
    }

    #[test]
    fn what_somebody_else_wrote_since_stays() {
        let (_dir, path) = file("");
        let undo = DeviceLimit::about_to_set(&path, "8:0", &[("", 100)]).unwrap();
        fs::write(&path, "8:0 50\n8:16 100").unwrap();
        let Undone::NotOurs(why) = undo.undo().unwrap() else { panic!("it was not ours") };
        assert!(why.ends_with("holds 50 for 8:0, which somebody else has written since"), "{why}");
        assert!(!undo.is_open().unwrap());
        fs::write(&path, "8:0 100\n8:16 100").unwrap();
        assert_eq!(undo.undo().unwrap(), Undone::Restored);
        assert!(fs::read_to_string(&path).unwrap().starts_with("8:0 0"), "0 takes the limit away");
    }

    #[test]
    fn another_group_of_the_same_name_and_another_boot_are_not_ours() {
        let (dir, path) = file("8:0 100");
        let undo = DeviceLimit::about_to_set(&path, "8:0", &[("", 100)]).unwrap();
        let undo = DeviceLimit {
            limits: vec![Limit { previous: "1".into(), ..undo.limits[0].clone() }],
            ..undo
        };
        assert!(undo.is_open().unwrap());
        let other = DeviceLimit { boot_id: "another".into(), ..undo.clone() };
        assert!(matches!(other.undo().unwrap(), Undone::NotOurs(_)));
        fs::write(dir.path().join("new"), "8:0 100").unwrap();
        fs::rename(dir.path().join("new"), &path).unwrap();
        assert!(matches!(undo.undo().unwrap(), Undone::NotOurs(_)));
        fs::remove_file(&path).unwrap();
        assert!(matches!(undo.undo().unwrap(), Undone::NotOurs(_)));
        assert!(!undo.is_open().unwrap());
    }

    #[test]
    fn it_survives_the_journal() {
        let (_dir, path) = file("8:0 100");
        let undo = DeviceLimit::about_to_set(&path, "8:0", &[("", 7)]).unwrap();
        let text = serde_json::to_string(&undo).unwrap();
        assert_eq!(serde_json::from_str::<DeviceLimit>(&text).unwrap(), undo);
    }
}
