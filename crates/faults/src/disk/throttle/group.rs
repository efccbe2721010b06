//! The cgroup that is limited, in the words of its version.

use std::fs;
use std::path::{Path, PathBuf};

use temblor_host::cgroup::Cgroups;
use temblor_host::process;
use temblor_host::target::Target;

use super::Limit;
use crate::disk::DiskRefusal;
use crate::{Error, Result};

const V2_FILE: &str = "io.max";
const V1_FILE: &str = "blkio.throttle.write_bps_device";
/// How many of those who share a cgroup are named.
const NAMED: usize = 3;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    One,
    Two,
}

/// A cgroup that can be limited, and is nobody's but the target's.
#[derive(Debug, Clone)]
pub(super) struct Limited {
    pub(super) dir: PathBuf,
    pub(super) version: Version,
}

impl Limited {
    /// The target's cgroup.
    ///
    /// # Errors
    /// It has none that limits I/O, or shares it.
    pub(super) fn of(target: &Target) -> Result<Self> {
        let file =
            target.group.control_file(&[V2_FILE, V1_FILE]).ok_or_else(|| Error::Missing {
                what: format!(
                    "a cgroup of {} that limits I/O (io.max or blkio.throttle)",
                    target.service
                ),
                how:
                    "enable the io controller for it (`+io` in cgroup.subtree_control of the group \
                  above), or run it in a cgroup, a container or a unit of its own"
                        .into(),
            })?;
        let version = if file.ends_with(V2_FILE) { Version::Two } else { Version::One };
        let dir = file.parent().map(Path::to_path_buf).unwrap_or_default();
        let limited = Self { dir, version };
        limited.check_own(target)?;
        Ok(limited)
    }

    fn check_own(&self, target: &Target) -> Result<()> {
        let shared = |others: String| DiskRefusal::SharedGroup {
            service: target.service.clone(),
            dir: self.dir.clone(),
            others,
        };
        let cgroups = Cgroups::detect().map_err(|e| Error::system("look at the cgroups", e))?;
        if cgroups.hierarchies().iter().any(|hierarchy| hierarchy.mount == self.dir) {
            return Err(shared("the whole machine".into()).into());
        }
        let own = target.processes_now();
        let others: Vec<u32> =
            self.processes(&self.dir)?.into_iter().filter(|pid| !own.contains(pid)).collect();
        if !others.is_empty() {
            let mut names: Vec<String> = others
                .iter()
                .take(NAMED)
                .map(|pid| format!("{} ({pid})", process::name(*pid).unwrap_or_default()))
                .collect();
            if others.len() > NAMED {
                names.push(format!("{} more", others.len() - NAMED));
            }
            return Err(shared(names.join(", ")).into());
        }
        if self.version == Version::One && self.has_groups_below()? {
            let service = target.service.clone();
            return Err(DiskRefusal::GroupsBelow { service, dir: self.dir.clone() }.into());
        }
        Ok(())
    }

    fn processes(&self, dir: &Path) -> Result<Vec<u32>> {
        let file = dir.join("cgroup.procs");
        let text = fs::read_to_string(&file)
            .map_err(|e| Error::system(format!("read {}", file.display()), e))?;
        Ok(text.lines().filter_map(|line| line.parse().ok()).collect())
    }

    fn has_groups_below(&self) -> Result<bool> {
        let doing = || format!("list {}", self.dir.display());
        for entry in fs::read_dir(&self.dir).map_err(|e| Error::system(doing(), e))? {
            let path = entry.map_err(|e| Error::system(doing(), e))?.path();
            // One that is removed while it is looked at has no processes.
            if path.is_dir() && !self.processes(&path).unwrap_or_default().is_empty() {
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
        let of = |version| Limited { dir: "/c".into(), version }.changes(&limits);
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
