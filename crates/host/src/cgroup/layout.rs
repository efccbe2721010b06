//! Which hierarchies are mounted, and where in them a process is.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use serde::Serialize;

/// How this machine has its cgroups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// No hierarchy is mounted.
    None,
    /// Version 1 only.
    V1,
    /// Version 2 only.
    V2,
    /// Version 1 controllers with a version 2 hierarchy beside them.
    Hybrid,
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::V1 => "v1",
            Self::V2 => "v2",
            Self::Hybrid => "hybrid",
        })
    }
}

/// One mounted hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hierarchy {
    /// Where it is mounted.
    pub mount: PathBuf,
    /// Which of its directories the mount shows: `/`, or a container's own.
    pub root: String,
    /// Version 1: its controllers (or `name=…`). Empty for version 2.
    pub controllers: Vec<String>,
    /// Whether it is the unified hierarchy of version 2.
    pub unified: bool,
}

impl Hierarchy {
    /// The directory of a cgroup given as `/proc/PID/cgroup` names it; `None` when it lies
    /// outside what the mount shows.
    #[must_use]
    pub fn dir(&self, path: &str) -> Option<PathBuf> {
        let below = match self.root.as_str() {
            "/" => path,
            root => {
                path.strip_prefix(root).filter(|rest| rest.is_empty() || rest.starts_with('/'))?
            }
        };
        // A namespace shows what lies above its root as `/..`.
        let below = below.trim_start_matches('/');
        (!below.split('/').any(|part| part == "..")).then(|| self.mount.join(below))
    }
}

/// The mounted hierarchies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cgroups {
    hierarchies: Vec<Hierarchy>,
}

impl Cgroups {
    /// Looks at what is mounted.
    ///
    /// # Errors
    /// `/proc` is not mounted.
    pub fn detect() -> io::Result<Self> {
        Ok(Self::parse(&fs::read_to_string("/proc/self/mountinfo")?))
    }

    /// Reads a `mountinfo`. A hierarchy that is mounted twice counts once, at its first place.
    #[must_use]
    pub fn parse(mountinfo: &str) -> Self {
        let mut seen = Vec::new();
        let mut hierarchies = Vec::new();
        for line in mountinfo.lines() {
            let Some((device, hierarchy)) = parse_mount(line) else { continue };
            if !seen.contains(&device) {
                seen.push(device);
                hierarchies.push(hierarchy);
            }
        }
        Self { hierarchies }
    }

    /// Version 1, version 2 or both.
    #[must_use]
    pub fn layout(&self) -> Layout {
        // A hierarchy without a controller (systemd's own) makes no machine a version 1 one.
        let v1 = self.hierarchies.iter().any(|h| h.controllers.iter().any(|c| !c.contains('=')));
        match (v1, self.unified().is_some()) {
            (false, false) => Layout::None,
            (true, false) => Layout::V1,
            (false, true) => Layout::V2,
            (true, true) => Layout::Hybrid,
        }
    }

    /// All hierarchies.
    #[must_use]
    pub fn hierarchies(&self) -> &[Hierarchy] {
        &self.hierarchies
    }

    /// The hierarchy of version 2.
    #[must_use]
    pub fn unified(&self) -> Option<&Hierarchy> {
        self.hierarchies.iter().find(|h| h.unified)
    }

    /// The directories of a process's cgroups, each with its hierarchy.
    ///
    /// # Errors
    /// No such process.
    pub fn of_pid(&self, pid: u32) -> io::Result<Vec<(&Hierarchy, PathBuf)>> {
        Ok(self.of_proc(&fs::read_to_string(format!("/proc/{pid}/cgroup"))?))
    }

    /// How the kernel knows a group's directory: the number of its hierarchy (0 is version 2) and
    /// the directory's inode. `None` where it lies in no hierarchy that is mounted.
    ///
    /// # Errors
    /// `/proc` is not mounted, or there is no such directory.
    pub fn identify(&self, dir: &Path) -> io::Result<Option<(u32, u64)>> {
        let inode = fs::metadata(dir)?.ino();
        let text = fs::read_to_string("/proc/self/cgroup")?;
        let hierarchy = self.hierarchies.iter().find(|h| dir.starts_with(&h.mount));
        Ok(hierarchy.and_then(|h| Some((number_of(h, &text)?, inode))))
    }

    /// Reads a `/proc/PID/cgroup`.
    fn of_proc(&self, text: &str) -> Vec<(&Hierarchy, PathBuf)> {
        text.lines()
            .filter_map(|line| {
                let mut parts = line.splitn(3, ':').skip(1);
                let (names, path) = (parts.next()?, parts.next()?);
                let hierarchy = self.hierarchies.iter().find(|h| {
                    if names.is_empty() {
                        h.unified
                    } else {
                        !h.unified && names.split(',').all(|n| h.controllers.iter().any(|c| c == n))
                    }
                })?;
                Some((hierarchy, hierarchy.dir(path)?))
            })
            .collect()
    }
}

/// A hierarchy's number, from a `/proc/PID/cgroup`.
fn number_of(hierarchy: &Hierarchy, text: &str) -> Option<u32> {
    let mut lines = text.lines().filter_map(|line| {
        let mut parts = line.splitn(3, ':');
        Some((parts.next()?.parse().ok()?, parts.next()?))
    });
    let is_meant = |names: &str| {
        if hierarchy.unified {
            names.is_empty()
        } else {
            !names.is_empty()
                && names.split(',').all(|n| hierarchy.controllers.iter().any(|c| c == n))
        }
    };
    lines.find(|(_, names)| is_meant(names)).map(|(number, _)| number)
}

/// One line: `31 23 0:28 ROOT MOUNT OPTIONS [FIELDS…] - TYPE SOURCE SUPEROPTIONS`.
fn parse_mount(line: &str) -> Option<(&str, Hierarchy)> {
    let (mount, filesystem) = line.split_once(" - ")?;
    let mut filesystem = filesystem.split(' ');
    let unified = match filesystem.next()? {
        "cgroup2" => true,
        "cgroup" => false,
        _ => return None,
    };
    let options = filesystem.nth(1)?;
    let mut fields = mount.split(' ').skip(2);
    let (device, root, mount) = (fields.next()?, fields.next()?, fields.next()?);
    let controllers = if unified { Vec::new() } else { controllers(options) };
    Some((
        device,
        Hierarchy {
            mount: Path::new(&unescape(mount)).to_path_buf(),
            root: unescape(root),
            controllers,
            unified,
        },
    ))
}

/// Version 1's super options name the controllers among flags.
fn controllers(options: &str) -> Vec<String> {
    const FLAGS: &[&str] =
        &["rw", "ro", "xattr", "noprefix", "clone_children", "cpuset_v2_mode", "none", "seclabel"];
    options
        .split(',')
        .filter(|o| !FLAGS.contains(o) && !o.starts_with("release_agent="))
        .map(str::to_owned)
        .collect()
}

/// `mountinfo` writes space, tab, newline and backslash as three octal digits.
fn unescape(text: &str) -> String {
    text.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
}

#[cfg(test)]
mod tests {
    use super::*;

    const V2: &str =
        "29 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
    const V1: &str = "\
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:5 - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory,release_agent=/x
40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd
41 31 0:37 / /elsewhere rw - cgroup cgroup rw,xattr,name=systemd
";
    const NAMED_ONLY: &str =
        "40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n";
    const HYBRID_V2: &str = "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";

    #[test]
    fn layouts_are_told_apart() {
        for (mounts, expected) in [
            (String::new(), Layout::None),
            (V2.into(), Layout::V2),
            (V1.into(), Layout::V1),
            (format!("{V1}{HYBRID_V2}"), Layout::Hybrid),
            (format!("{NAMED_ONLY}{HYBRID_V2}"), Layout::V2),
        ] {
            assert_eq!(Cgroups::parse(&mounts).layout(), expected, "{mounts}");
        }
    }

    #[test]
    fn controllers_stand_among_flags_and_a_second_mount_is_no_second_hierarchy() {
        let cgroups = Cgroups::parse(V1);
        let names: Vec<_> = cgroups.hierarchies().iter().map(|h| h.controllers.join("+")).collect();
        assert_eq!(names, ["cpu+cpuacct", "memory", "name=systemd"]);
    }

    #[test]
    fn a_process_is_found_in_every_hierarchy() {
        let text = format!("{V1}{HYBRID_V2}");
        let cgroups = Cgroups::parse(&text);
        let dirs: Vec<_> = cgroups
            .of_proc("4:memory:/a/b\n1:cpu,cpuacct:/\n9:name=systemd:/s\n3:cpuset:/\n0::/u\n")
            .into_iter()
            .map(|(_, dir)| dir)
            .collect();
        let expected = [
            "/sys/fs/cgroup/memory/a/b",
            "/sys/fs/cgroup/cpu,cpuacct",
            "/sys/fs/cgroup/systemd/s",
            "/sys/fs/cgroup/unified/u",
        ];
        assert_eq!(dirs, expected.map(PathBuf::from));
    }

    #[test]
    fn a_containers_mount_shows_only_what_is_below_its_root() {
        let text = "29 23 0:26 /docker/ab /sys/fs/cgroup ro - cgroup2 cgroup rw\n";
        let cgroups = Cgroups::parse(text);
        let unified = cgroups.unified().unwrap();
        for (path, expected) in [
            ("/docker/ab", Some("/sys/fs/cgroup")),
            ("/docker/ab/x", Some("/sys/fs/cgroup/x")),
            ("/docker/abc", None),
            ("/", None),
        ] {
            assert_eq!(unified.dir(path), expected.map(PathBuf::from), "{path}");
        }
        let namespaced = Cgroups::parse(V2);
        assert_eq!(namespaced.unified().unwrap().dir("/../other"), None);
    }
}
