//! Loop devices of our own, and what is told put together.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use temblor_event::{Body, Distribution, Event, ProbeWindow, Reading};

/// The interface of /dev/loop-control and of loop devices.
const LOOP_CTL_GET_FREE: libc::c_ulong = 0x4c82;
const LOOP_SET_FD: libc::c_ulong = 0x4c00;
const LOOP_CLR_FD: libc::c_ulong = 0x4c01;
const LOOP_SET_DIRECT_IO: libc::c_ulong = 0x4c08;

/// Whether the processor is emulated, and slow: see `crates/faults/tests/emulated`.
pub(crate) fn is_emulated() -> bool {
    std::env::var_os("TEMBLOR_TEST_EMULATED").is_some()
}

/// A directory that is gone when this is.
pub(crate) struct Dir(pub(crate) PathBuf);

impl Dir {
    pub(crate) fn create(name: &str) -> Self {
        let name = format!("temblor-test-block-{name}-{}", std::process::id());
        let dir = std::env::temp_dir().join(name);
        fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A disk of our own: nobody else uses it. Dropping it takes it away.
pub(crate) struct Disk {
    pub(crate) path: String,
    pub(crate) name: String,
    device: OwnedFd,
    _dir: Option<Dir>,
}

impl Disk {
    /// On a file of its own. Says why where there can be none.
    pub(crate) fn create(name: &str, bytes: u64) -> Option<Self> {
        let dir = Dir::create(name);
        let file = dir.0.join("disk");
        File::create(&file).unwrap().set_len(bytes).unwrap();
        Self::over(&file, Some(dir))
    }

    /// On top of another, past the cache.
    pub(crate) fn on(below: &Self) -> Option<Self> {
        let disk = Self::over(Path::new(&below.path), None)?;
        // SAFETY: it takes a number.
        let direct = unsafe { libc::ioctl(disk.device.as_raw_fd(), LOOP_SET_DIRECT_IO, 1) };
        assert_eq!(direct, 0, "{}", std::io::Error::last_os_error());
        Some(disk)
    }

    fn over(file: &Path, dir: Option<Dir>) -> Option<Self> {
        let open = |path: &str| File::options().read(true).write(true).open(path);
        let Ok(control) = open("/dev/loop-control") else {
            eprintln!("skipped: no loop devices here");
            return None;
        };
        let file = File::options().read(true).write(true).open(file).unwrap();
        // Somebody else may be quicker with the one that was free.
        for _ in 0..50 {
            // SAFETY: it takes nothing.
            let number = unsafe { libc::ioctl(control.as_raw_fd(), LOOP_CTL_GET_FREE) };
            let name = format!("loop{number}");
            let path = format!("/dev/{name}");
            let Ok(device) = open(&path) else { continue };
            // SAFETY: it takes a descriptor, which is open.
            let set = unsafe { libc::ioctl(device.as_raw_fd(), LOOP_SET_FD, file.as_raw_fd()) };
            if set == 0 {
                return Some(Self { path, name, device: device.into(), _dir: dir });
            }
        }
        panic!("no loop device is free: {}", std::io::Error::last_os_error());
    }

    /// The kernel's own statistics of it.
    pub(crate) fn stat(&self) -> Stat {
        let text = fs::read_to_string(format!("/sys/block/{}/stat", self.name)).unwrap();
        let figures: Vec<u64> = text.split_whitespace().map(|one| one.parse().unwrap()).collect();
        Stat {
            reads: figures[0],
            bytes_read: figures[2] * 512,
            reading_ms: figures[3],
            writes: figures[4],
            bytes_written: figures[6] * 512,
            writing_ms: figures[7],
        }
    }

    /// As cgroups call it.
    pub(crate) fn number(&self) -> String {
        let number = fs::read_to_string(format!("/sys/block/{}/dev", self.name)).unwrap();
        number.trim().to_owned()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // SAFETY: it takes nothing. With others at it, it is done when they are gone.
        unsafe { libc::ioctl(self.device.as_raw_fd(), LOOP_CLR_FD) };
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) reads: u64,
    pub(crate) bytes_read: u64,
    pub(crate) reading_ms: u64,
    pub(crate) writes: u64,
    pub(crate) bytes_written: u64,
    pub(crate) writing_ms: u64,
}

/// Each service's windows put together.
pub(crate) fn together(events: &[Event]) -> BTreeMap<String, ProbeWindow> {
    let mut told: BTreeMap<String, ProbeWindow> = BTreeMap::new();
    for event in events {
        let Body::ProbeWindow(window) = &event.body else { continue };
        let sum = told.entry(window.service.clone());
        sum.and_modify(|sum| sum.merge(window)).or_insert_with(|| window.clone());
    }
    told
}

pub(crate) fn reading(of: &ProbeWindow, name: &str, labels: &[&str]) -> Option<Reading> {
    let same = |told: &BTreeMap<String, String>| {
        told.len() == labels.len() && told.values().eq(labels.iter())
    };
    let found = of.measures.iter().find(|one| one.name == name && same(&one.labels));
    found.map(|one| one.reading.clone())
}

/// Labels in the order of their names. What did not happen has no values.
pub(crate) fn values(of: &ProbeWindow, name: &str, labels: &[&str]) -> Distribution {
    match reading(of, name, labels) {
        None => Distribution::default(),
        Some(Reading::Distribution(values)) => values,
        Some(other) => panic!("{name} is {other:?}"),
    }
}

pub(crate) fn level(of: &ProbeWindow, name: &str, labels: &[&str]) -> u64 {
    match reading(of, name, labels) {
        None => 0,
        Some(Reading::Level(level)) => level,
        Some(other) => panic!("{name} is {other:?}"),
    }
}
