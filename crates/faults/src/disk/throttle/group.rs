//! The cgroup that is limited, in the words of its version.

use std::fs;
use std::path::{Path, PathBuf};

use temblor_host::target::Target;

use super::Limit;
use crate::disk::DiskRefusal;
use crate::process::place::{Place, Wanted};
use crate::process::record::OnRecord;
use crate::undo::Guard;
use crate::{Error, PlannedChange, Result};

const V2_FILE: &str = "io.max";
const V1_FILE: &str = "blkio.throttle.write_bps_device";
/// Version 1 calls its controller otherwise, and a place is looked for under either name.
const WANTED: Wanted =
    Wanted { controller: "io", counted_by: Some("blkio"), v2: V2_FILE, v1: V1_FILE };

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    One,
    Two,
}

/// A cgroup that can be limited, and is nobody's but the target's, or will be once it is made.
#[derive(Debug, Clone)]
pub(super) struct Limited {
    place: Place,
    pub(super) dir: PathBuf,
    pub(super) version: Version,
}

impl Limited {
    /// Looks for it, and changes nothing.
    ///
    /// # Errors
    /// The target has none that limits I/O, and can be given none.
    pub(super) fn of(target: &Target) -> Result<Self> {
        let place = Place::find(target, WANTED)?;
        let dir = place.dir().to_path_buf();
        // A group that is not there yet will have what the one above it has.
        let has = |name: &str| dir.ancestors().take(2).any(|dir| dir.join(name).is_file());
        let version = if has(V1_FILE) { Version::One } else { Version::Two };
        let limited = Self { place, dir, version };
        if version == Version::One && limited.has_groups_below()? {
            let service = target.service.clone();
            return Err(DiskRefusal::GroupsBelow { service, dir: limited.dir }.into());
        }
        Ok(limited)
    }

    /// Moves the target in, where the group is one of ours.
    pub(super) fn enter(
        &self,
        target: &Target,
        guard: &Guard,
        record: &mut OnRecord,
    ) -> Result<()> {
        self.place.enter(target, guard, record)
    }

    pub(super) fn plan(&self, target: &Target) -> Option<PlannedChange> {
        self.place.plan(target)
    }

    fn has_groups_below(&self) -> Result<bool> {
        if matches!(self.place, Place::Ours(_)) {
            return Ok(false);
        }
        let doing = || format!("list {}", self.dir.display());
        for entry in fs::read_dir(&self.dir).map_err(|e| Error::system(doing(), e))? {
            let path = entry.map_err(|e| Error::system(doing(), e))?.path();
            if path.is_dir() && has_processes(&path) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The files to write a device's line to, each with its keys (an empty one in version 1).
    pub(super) fn changes(
        &self,
        limits: &[(Limit, u64)],
    ) -> Vec<(PathBuf, Vec<(&'static str, u64)>)> {
        match self.version {
            Version::Two => {
                let keys = limits.iter().map(|(limit, value)| (key(*limit), *value)).collect();
                vec![(self.dir.join(V2_FILE), keys)]
            }
            Version::One => limits
                .iter()
                .map(|(limit, value)| (self.dir.join(file(*limit)), vec![("", *value)]))
                .collect(),
        }
    }

    pub(super) fn mechanism(&self) -> String {
        let dir = self.dir.display();
        match self.version {
            Version::Two => format!("{V2_FILE} of the cgroup {dir}"),
            Version::One => format!(
                "blkio.throttle of the cgroup {dir} (version 1: what its processes themselves hand \
                 to the device, by fsync, direct I/O and reads; not what the kernel's flusher \
                 writes)"
            ),
        }
    }

    pub(super) fn counter_words(&self) -> String {
        let dir = self.dir.display();
        match self.version {
            Version::Two => format!("io.stat of the cgroup {dir}"),
            Version::One => {
                format!("blkio.throttle.io_serviced and io_service_bytes of the cgroup {dir}")
            }
        }
    }
}

/// One that is removed while it is looked at has none.
fn has_processes(dir: &Path) -> bool {
    fs::read_to_string(dir.join("cgroup.procs")).is_ok_and(|text| !text.trim().is_empty())
}

fn key(limit: Limit) -> &'static str {
    match limit {
        Limit::ReadBytes => "rbps",
        Limit::WriteBytes => "wbps",
        Limit::ReadOperations => "riops",
        Limit::WriteOperations => "wiops",
    }
}

fn file(limit: Limit) -> &'static str {
    match limit {
        Limit::ReadBytes => "blkio.throttle.read_bps_device",
        Limit::WriteBytes => V1_FILE,
        Limit::ReadOperations => "blkio.throttle.read_iops_device",
        Limit::WriteOperations => "blkio.throttle.write_iops_device",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_1_has_a_file_for_each_limit_and_version_2_one_for_all() {
        let limits = [(Limit::WriteBytes, 7), (Limit::ReadOperations, 8)];
        let of = |version| {
            Limited { place: Place::Own("/c".into()), dir: "/c".into(), version }.changes(&limits)
        };
        assert_eq!(of(Version::Two), [("/c/io.max".into(), vec![("wbps", 7), ("riops", 8)])]);
        assert_eq!(
            of(Version::One),
            [
                ("/c/blkio.throttle.write_bps_device".into(), vec![("", 7)]),
                ("/c/blkio.throttle.read_iops_device".into(), vec![("", 8)]),
            ]
        );
    }
}
