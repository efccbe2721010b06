//! Which processes are a target's now.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use temblor_host::cgroup::Cgroups;
use temblor_host::process::Process;
use temblor_host::target::{Origin, Target};

use super::ProcessRefusal;
use super::stat::Stat;
use crate::stressor;

/// How deep groups below a target's are looked for.
const DEPTH_MAX: u32 = 8;
/// How often a group is looked at again because processes in it come and go.
const LOOKS_MAX: u32 = 4;

/// Who belongs to a target, asked again and again.
///
/// A target that was found by its processes consists of them and of all that they have started.
/// Any other is what is in its cgroup, groups below it included. Where version 1 has it in
/// several groups, some of which it shares with others, it is what is in all of them; a root
/// group, which everybody is in, says nothing.
#[derive(Debug, Clone)]
pub(crate) struct Roll {
    service: String,
    /// As they were found, the main one first.
    first: Vec<u32>,
    /// The target's groups, without those that hold the whole machine.
    dirs: Vec<PathBuf>,
    by_group: bool,
}

impl Roll {
    pub(crate) fn of(target: &Target) -> Self {
        let mounts: Vec<PathBuf> = Cgroups::detect()
            .map(|cgroups| cgroups.hierarchies().iter().map(|h| h.mount.clone()).collect())
            .unwrap_or_default();
        let dirs = target.group.dirs().iter().filter(|dir| !mounts.contains(dir));
        let dirs: Vec<PathBuf> = dirs.cloned().collect();
        Self {
            service: target.service.clone(),
            first: target.pids.clone(),
            by_group: target.origin != Origin::Processes && !dirs.is_empty(),
            dirs,
        }
    }

    /// Whether its processes are known by a cgroup, so that new ones are, too.
    pub(crate) fn is_by_group(&self) -> bool {
        self.by_group
    }

    /// Its processes now, in the order of their pids; those that have ended and wait for their
    /// parent are left out.
    pub(crate) fn members(&self) -> Vec<u32> {
        let found = if self.by_group { in_all(&self.dirs) } else { with_descendants(&self.first) };
        let lives = |pid: &u32| {
            !stressor::is_ours(*pid) && Stat::of(*pid).is_some_and(|stat| !stat.has_ended())
        };
        found.into_iter().filter(lives).collect()
    }

    /// Its main process: its first one while that lives, else whoever was started into the group
    /// from outside, the oldest where there are several.
    pub(crate) fn main(&self) -> Option<u32> {
        let all = self.members();
        if let Some(first) = self.first.first().filter(|first| all.contains(first)) {
            return Some(*first);
        }
        self.outsider(&all)
    }

    /// Who among these was started by nobody among these.
    pub(crate) fn outsider(&self, all: &[u32]) -> Option<u32> {
        all.iter()
            .filter_map(|pid| Some((*pid, Stat::of(*pid)?)))
            .filter(|(_, stat)| !all.contains(&stat.parent))
            .min_by_key(|(pid, stat)| (stat.start_ticks, *pid))
            .map(|(pid, _)| pid)
    }

    /// A handle on a process of the target's. It is opened first and looked for after: a pid that
    /// was reused in between is not the target's.
    pub(crate) fn open(&self, pid: u32) -> std::io::Result<Option<Process>> {
        let Some(process) = Process::open(pid)? else { return Ok(None) };
        Ok(self.members().contains(&pid).then_some(process))
    }

    /// The file of one of these names in a group of the target's where nobody else is.
    pub(crate) fn own_file(&self, names: &[&str]) -> Option<PathBuf> {
        let files = names.iter().flat_map(|name| self.dirs.iter().map(move |dir| dir.join(name)));
        files.filter(|file| file.is_file()).find(|file| file.parent().is_some_and(|d| self.owns(d)))
    }

    /// Whether nobody but the target is in a group and those below it.
    fn owns(&self, dir: &Path) -> bool {
        // A process that was started between the two looks is not somebody else's.
        (0..LOOKS_MAX).any(|_| {
            let inside = processes_in(dir);
            let all = self.members();
            let nobody = |pid| stressor::is_ours(pid) || Stat::of(pid).is_none_or(Stat::has_ended);
            inside.iter().all(|pid| all.contains(pid) || nobody(*pid))
        })
    }

    /// Refuses an empty target, and one that this program is part of.
    pub(crate) fn refuse_ourselves(&self, pids: &[u32]) -> Result<(), ProcessRefusal> {
        let service = || self.service.clone();
        if pids.is_empty() {
            return Err(ProcessRefusal::NoProcesses { service: service() });
        }
        // Who else must not be hit without a word is for whoever chose the target to say.
        if pids.contains(&std::process::id()) {
            return Err(ProcessRefusal::Ourselves { service: service() });
        }
        Ok(())
    }
}

/// The processes that are in all of these groups, or in groups below them.
pub(crate) fn in_all(dirs: &[PathBuf]) -> BTreeSet<u32> {
    let mut sets = dirs.iter().map(|dir| processes_in(dir));
    let first = sets.next().unwrap_or_default();
    sets.fold(first, |all, set| all.intersection(&set).copied().collect())
}

/// The processes of a group and those below it.
fn processes_in(dir: &Path) -> BTreeSet<u32> {
    let mut found = BTreeSet::new();
    let mut left = vec![(dir.to_path_buf(), 0)];
    while let Some((dir, depth)) = left.pop() {
        let text = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
        // 0 is a process that this pid namespace cannot see.
        found.extend(text.lines().filter_map(|l| l.parse::<u32>().ok()).filter(|pid| *pid != 0));
        if depth < DEPTH_MAX {
            let below = fs::read_dir(&dir).into_iter().flatten().flatten();
            let dirs = below.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
            left.extend(dirs.map(|entry| (entry.path(), depth + 1)));
        }
    }
    found
}

/// These processes and all that descend from them.
fn with_descendants(pids: &[u32]) -> BTreeSet<u32> {
    let numbers = fs::read_dir("/proc").into_iter().flatten().flatten();
    let all: Vec<(u32, u32)> = numbers
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(|pid| Some((pid, Stat::of(pid)?.parent)))
        .collect();
    let mut found: BTreeSet<u32> = pids.iter().copied().collect();
    loop {
        let before = found.len();
        let children = all.iter().filter(|(_, parent)| found.contains(parent)).map(|(pid, _)| *pid);
        let children: Vec<u32> = children.collect();
        found.extend(children);
        if found.len() == before {
            return found;
        }
    }
}
