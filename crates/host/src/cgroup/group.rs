//! One named cgroup, the same in every hierarchy that matters.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::event::{Timespec, poll};
use rustix::process::Signal;
use temblor_event::clock::now_ns;

use super::{Cgroups, Hierarchy};
use crate::process::Process;

/// The version 1 controllers a group is made in. Not `cpuset`: there a new group has no
/// processors until it is given some, and nothing can be attached to it.
const V1_CONTROLLERS: &[&str] = &["cpu", "cpuacct", "memory", "blkio", "freezer", "pids"];

/// What version 2 must be told to hand down to the groups below.
const V2_CONTROLLERS: &[&str] = &["cpu", "memory", "io", "pids"];

/// More groups than this in one hierarchy are not looked at: the kernel's own limit is 65,536.
const DIRS_MAX: usize = 1 << 16;

/// How long to wait between two looks at a group that is to become empty.
const LOOK_AGAIN_MS: i64 = 5;

/// What a group's processes may use together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// Memory in bytes.
    pub memory_bytes: Option<u64>,
    /// Processes and threads.
    pub pids: Option<u32>,
}

/// A cgroup under one name in all hierarchies that matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Group {
    dirs: Vec<PathBuf>,
}

impl Group {
    /// Makes the group; one that is there already is taken as it is. `name` may have several
    /// levels; those above the last are made as well, and are for the caller to remove.
    ///
    /// # Errors
    /// No hierarchy is mounted, or it may not be written (not root, or mounted read-only).
    pub fn create(cgroups: &Cgroups, name: &str) -> io::Result<Self> {
        check_name(name)?;
        let mut group = Self { dirs: Vec::new() };
        for hierarchy in cgroups.hierarchies().iter().filter(|h| is_wanted(h)) {
            if let Err(error) = make(hierarchy, name) {
                // What could not be removed now is empty, and the caller hears of the failure.
                let _ = group.remove();
                return Err(error);
            }
            group.dirs.push(hierarchy.mount.join(name));
        }
        if group.dirs.is_empty() {
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                "no cgroup hierarchy is mounted (looked in /proc/self/mountinfo)",
            ));
        }
        Ok(group)
    }

    /// The group as far as it exists, without making anything.
    #[must_use]
    pub fn find(cgroups: &Cgroups, name: &str) -> Self {
        let dirs = cgroups.hierarchies().iter().filter(|h| is_wanted(h));
        Self { dirs: dirs.map(|h| h.mount.join(name)).filter(|dir| dir.is_dir()).collect() }
    }

    /// A group whose directories were recorded by an earlier process.
    #[must_use]
    pub fn recorded(dirs: Vec<PathBuf>) -> Self {
        Self { dirs }
    }

    /// The group a process is in, in every hierarchy that matters.
    ///
    /// # Errors
    /// No such process.
    pub fn of_pid(cgroups: &Cgroups, pid: u32) -> io::Result<Self> {
        let dirs = cgroups.of_pid(pid)?;
        Ok(Self { dirs: dirs.into_iter().filter(|(h, _)| is_wanted(h)).map(|(_, d)| d).collect() })
    }

    /// The group that `/proc/PID/cgroup` calls by this path, as far as it exists.
    #[must_use]
    pub fn at(cgroups: &Cgroups, path: &str) -> Self {
        let wanted = cgroups.hierarchies().iter().filter(|h| is_wanted(h));
        Self { dirs: wanted.filter_map(|h| h.dir(path)).filter(|dir| dir.is_dir()).collect() }
    }

    /// The first of these control files that the group has, in the order given: `["cpu.max",
    /// "cpu.cfs_quota_us"]`.
    #[must_use]
    pub fn control_file(&self, names: &[&str]) -> Option<PathBuf> {
        names
            .iter()
            .flat_map(|name| self.dirs.iter().map(move |dir| dir.join(name)))
            .find(|file| file.is_file())
    }

    /// Its directories, one a hierarchy.
    #[must_use]
    pub fn dirs(&self) -> &[PathBuf] {
        &self.dirs
    }

    /// Moves a process in, with all its threads.
    ///
    /// # Errors
    /// The process or the group is gone, or the group may not be written.
    pub fn attach(&self, pid: u32) -> io::Result<()> {
        self.dirs.iter().try_for_each(|dir| write(&dir.join("cgroup.procs"), &pid.to_string()))
    }

    /// Opens what a process writes `0` to in order to move itself in: for use between fork and
    /// exec, so that nothing a service does happens outside its group.
    ///
    /// # Errors
    /// The group is gone, or may not be written.
    pub fn open_procs(&self) -> io::Result<Vec<OwnedFd>> {
        let open = |dir: &PathBuf| {
            let file = fs::OpenOptions::new().write(true).open(dir.join("cgroup.procs"))?;
            Ok(file.into())
        };
        self.dirs.iter().map(open).collect()
    }

    /// Its processes, in the order of their pids. Groups made below it by others are left out.
    #[must_use]
    pub fn processes(&self) -> Vec<u32> {
        let mut pids: Vec<u32> = self.dirs.iter().flat_map(|dir| procs(dir)).collect();
        pids.sort_unstable();
        pids.dedup();
        pids
    }

    /// Its processes and those of all groups below it, in the order of their pids.
    #[must_use]
    pub fn processes_below(&self) -> Vec<u32> {
        let mut pids: Vec<u32> =
            self.dirs.iter().flat_map(|dir| subtree(dir)).flat_map(|dir| procs(&dir)).collect();
        pids.sort_unstable();
        pids.dedup();
        pids
    }

    /// Sets limits, and names those that this layout cannot set here.
    ///
    /// # Errors
    /// The kernel refused a value.
    pub fn limit(&self, limits: Limits) -> io::Result<Vec<&'static str>> {
        let mut missing = Vec::new();
        if let Some(bytes) = limits.memory_bytes {
            let files = ["memory.max", "memory.limit_in_bytes"];
            if !self.set(&files, &bytes.to_string())? {
                missing.push("memory");
            }
        }
        if let Some(pids) = limits.pids
            && !self.set(&["pids.max"], &pids.to_string())?
        {
            missing.push("pids");
        }
        Ok(missing)
    }

    fn set(&self, files: &[&str], value: &str) -> io::Result<bool> {
        let paths = self.dirs.iter().flat_map(|dir| files.iter().map(|file| dir.join(file)));
        match paths
            .filter(|path| path.exists())
            .try_fold(0, |n, p| write(&p, value).map(|()| n + 1))
        {
            Ok(written) => Ok(written > 0),
            Err(error) => Err(error),
        }
    }

    /// Kills every process in it, those that are frozen or stopped included, and waits until the
    /// group is empty, at most this long. Returns who is still there.
    ///
    /// # Errors
    /// A process may not be killed.
    pub fn kill_all(&self, bound_ms: u64) -> io::Result<Vec<u32>> {
        let deadline_ns = now_ns().saturating_add(bound_ms.saturating_mul(1_000_000));
        loop {
            for dir in &self.dirs {
                // Each is absent where the version or the kernel has none: the loop below decides.
                // A frozen version 1 group does not die of SIGKILL before it is thawed.
                let _ = write(&dir.join("freezer.state"), "THAWED");
                let _ = write(&dir.join("cgroup.kill"), "1");
            }
            let pids = self.processes();
            for pid in &pids {
                if let Some(process) = Process::open(*pid)? {
                    // Opened first, looked up again after: a pid that was reused in between is
                    // not in the group, and the handle is then not for us to signal.
                    if self.holds(*pid) {
                        process.signal(Signal::KILL)?;
                    }
                }
            }
            if pids.is_empty() || now_ns() >= deadline_ns {
                return Ok(pids);
            }
            pause();
        }
    }

    fn holds(&self, pid: u32) -> bool {
        self.processes().contains(&pid)
    }

    /// Removes the group's directories. Those above it stay.
    ///
    /// # Errors
    /// It still has processes, or groups below it.
    pub fn remove(&self) -> io::Result<()> {
        self.remove_within(0)
    }

    /// Removes the group's directories, trying again for at most this long while the last
    /// processes are on their way out.
    ///
    /// # Errors
    /// It still has processes then, or groups below it.
    pub fn remove_within(&self, bound_ms: u64) -> io::Result<()> {
        let deadline_ns = now_ns().saturating_add(bound_ms.saturating_mul(1_000_000));
        loop {
            let failed = self.dirs.iter().find_map(|dir| match fs::remove_dir(dir) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Some((dir, error)),
                _ => None,
            });
            match failed {
                None => return Ok(()),
                Some((dir, error)) if now_ns() >= deadline_ns => {
                    return Err(io::Error::new(
                        error.kind(),
                        format!("{}: {error}", dir.display()),
                    ));
                }
                Some(_) => pause(),
            }
        }
    }
}

/// The processes of one group in one hierarchy; none where it is gone.
pub(crate) fn procs(dir: &Path) -> Vec<u32> {
    let text = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
    // 0 is a process that this pid namespace cannot see.
    text.lines().filter_map(|line| line.parse().ok()).filter(|pid| *pid != 0).collect()
}

/// A group's directory and all below it, parents before children, as many as a machine can be
/// expected to have.
pub(crate) fn subtree(top: &Path) -> Vec<PathBuf> {
    let mut dirs = vec![top.to_path_buf()];
    let mut at = 0;
    while at < dirs.len() && dirs.len() < DIRS_MAX {
        let entries = fs::read_dir(&dirs[at]).into_iter().flatten().flatten();
        let below = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        let mut below: Vec<PathBuf> = below.map(|entry| entry.path()).collect();
        below.sort_unstable();
        dirs.extend(below);
        at += 1;
    }
    dirs
}

fn is_wanted(hierarchy: &Hierarchy) -> bool {
    let has = |list: &[&str]| hierarchy.controllers.iter().any(|c| list.contains(&c.as_str()));
    hierarchy.unified || (has(V1_CONTROLLERS) && !has(&["cpuset"]))
}

fn check_name(name: &str) -> io::Result<()> {
    let good = |part: &str| !part.is_empty() && !part.starts_with('.') && !part.contains('\0');
    if name.split('/').all(good) {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{name:?} cannot name a cgroup")))
}

/// Makes the directories of a name level by level. Under version 2 each level above the last
/// hands its controllers down; the mount itself is left as it is, since it is not ours.
fn make(hierarchy: &Hierarchy, name: &str) -> io::Result<()> {
    let mut dir = hierarchy.mount.clone();
    let mut levels = name.split('/').peekable();
    while let Some(level) = levels.next() {
        dir.push(level);
        match fs::create_dir(&dir) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(io::Error::new(error.kind(), format!("{}: {error}", dir.display())));
            }
            _ => {}
        }
        if hierarchy.unified && levels.peek().is_some() {
            let offered = fs::read_to_string(dir.join("cgroup.controllers")).unwrap_or_default();
            for controller in offered.split_whitespace().filter(|c| V2_CONTROLLERS.contains(c)) {
                write(&dir.join("cgroup.subtree_control"), &format!("+{controller}"))?;
            }
        }
    }
    Ok(())
}

fn write(path: &Path, value: &str) -> io::Result<()> {
    // Opened for writing only: a control file is neither created nor truncated.
    let written = fs::OpenOptions::new()
        .write(true)
        .open(path)
        .and_then(|mut file| io::Write::write_all(&mut file, value.as_bytes()));
    written.map_err(|error| {
        io::Error::new(error.kind(), format!("writing {value} to {}: {error}", path.display()))
    })
}

/// The kernel tells nobody when a version 1 group becomes empty, so it is looked at again.
fn pause() {
    let timeout = Timespec { tv_sec: 0, tv_nsec: LOOK_AGAIN_MS * 1_000_000 };
    // Interrupted is as good as elapsed: the caller looks again either way.
    let _ = poll(&mut [], Some(&timeout));
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn names_that_would_lead_elsewhere_are_refused() {
        for name in ["", "/", "a//b", "../a", "a/..", "a/", ".a"] {
            assert!(check_name(name).is_err(), "{name:?}");
        }
        assert!(check_name("temblor-lab.x/redis").is_ok());
    }

    #[test]
    fn a_group_holds_its_processes_kills_them_even_stopped_and_leaves_nothing() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: needs root (cgroups are made)");
            return;
        }
        let cgroups = Cgroups::detect().unwrap();
        let top = format!("temblor-test-{}", std::process::id());
        let name = format!("{top}/inner");
        let group = Group::create(&cgroups, &name).unwrap();
        assert_eq!(Group::find(&cgroups, &name), group);
        let unsupported =
            group.limit(Limits { memory_bytes: Some(64 << 20), pids: Some(16) }).unwrap();
        assert!(unsupported.is_empty() || cgroups.layout() == super::super::Layout::V2);

        let mut children: Vec<_> =
            (0..3).map(|_| Command::new("sleep").arg("60").spawn().unwrap()).collect();
        let mut pids: Vec<_> = children.iter().map(std::process::Child::id).collect();
        pids.sort_unstable();
        pids.iter().for_each(|pid| group.attach(*pid).unwrap());
        assert_eq!(group.processes(), pids);
        let seen: Vec<_> = cgroups.of_pid(pids[0]).unwrap().into_iter().map(|(_, d)| d).collect();
        assert!(group.dirs().iter().all(|dir| seen.contains(dir)), "{seen:?}");
        Process::open(pids[0]).unwrap().unwrap().signal(Signal::STOP).unwrap();
        for dir in group.dirs() {
            let _ = write(&dir.join("freezer.state"), "FROZEN");
        }
        assert!(group.remove().is_err(), "it is not empty");

        assert_eq!(group.kill_all(5_000).unwrap(), Vec::<u32>::new());
        children.iter_mut().for_each(|child| assert!(!child.wait().unwrap().success()));
        group.remove_within(5_000).unwrap();
        Group::find(&cgroups, &top).remove_within(1_000).unwrap();
        assert_eq!(Group::find(&cgroups, &top).dirs(), &[] as &[PathBuf]);
    }
}
