//! Who came of whom: what a process has when it forks, its children have too.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::PathBuf;

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use temblor_host::boot_id;
use temblor_host::cgroup::Group;
use temblor_host::process::Identity;
use temblor_host::target::{Origin, Target};

/// Processes that are changed, and where those are found that inherit the change.
///
/// An heir is a process that was started since and descends from a changed one, by parents that
/// still live, or is in the target's cgroup where that is the target's own. One whose parents
/// have all ended and that is in no cgroup of the target's is not found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Family {
    boot_id: String,
    /// From when on a process may be an heir, in clock ticks since boot.
    since_ticks: u64,
    /// The target's own cgroup, one directory a hierarchy; empty where it has none.
    group: Vec<PathBuf>,
}

/// A process that may have inherited a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Heir {
    pub(crate) process: Identity,
    /// The nearest of its ancestors that was changed, where that is known.
    pub(crate) of: Option<u32>,
}

impl Family {
    /// The family of a target's processes, before they are changed.
    pub(crate) fn of(target: &Target) -> io::Result<Self> {
        let group = match target.origin {
            Origin::Processes => Vec::new(),
            _ => target.group.dirs().to_vec(),
        };
        Ok(Self { boot_id: boot_id()?, since_ticks: ticks_now(), group })
    }

    /// Those that have come of these processes since, or into the group.
    pub(crate) fn heirs(&self, changed: &[Identity]) -> io::Result<Vec<Heir>> {
        if boot_id()? != self.boot_id {
            return Ok(Vec::new());
        }
        let all: HashMap<u32, Stat> = fs::read_dir("/proc")?
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .filter_map(|pid: u32| Some((pid, stat(pid)?)))
            .collect();
        let in_group = Group::recorded(self.group.clone()).processes();
        let is_changed = |pid: u32| {
            let Some(stat) = all.get(&pid) else { return false };
            changed.iter().any(|one| one.pid == pid && one.start_ticks == stat.start_ticks)
        };
        let mut heirs: Vec<Heir> = all
            .iter()
            .filter(|(pid, stat)| stat.start_ticks >= self.since_ticks && !is_changed(**pid))
            .filter_map(|(pid, stat)| {
                let of = ancestor(*pid, &all, is_changed);
                let process = Identity {
                    pid: *pid,
                    start_ticks: stat.start_ticks,
                    boot_id: self.boot_id.clone(),
                };
                (of.is_some() || in_group.contains(pid)).then_some(Heir { process, of })
            })
            .collect();
        heirs.sort_unstable_by_key(|heir| heir.process.pid);
        Ok(heirs)
    }
}

fn ancestor(pid: u32, all: &HashMap<u32, Stat>, is_changed: impl Fn(u32) -> bool) -> Option<u32> {
    let mut pid = pid;
    // A pid that is used again while the list is read could make a circle of it.
    for _ in 0..all.len() {
        pid = all.get(&pid)?.parent;
        if is_changed(pid) {
            return Some(pid);
        }
    }
    None
}

/// Now, as the kernel writes down when a process was started.
fn ticks_now() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    // SAFETY: it reads a constant of the system.
    let per_s = unsafe { libc::sysconf(libc::_SC_CLK_TCK) }.unsigned_abs();
    let (s, ns) = (now.tv_sec.unsigned_abs(), now.tv_nsec.unsigned_abs());
    s * per_s + ns * per_s / 1_000_000_000
}

#[derive(Debug, PartialEq, Eq)]
struct Stat {
    parent: u32,
    start_ticks: u64,
}

fn stat(pid: u32) -> Option<Stat> {
    parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// The command (field 2) may hold anything; what follows its last parenthesis is regular.
fn parse(line: &str) -> Option<Stat> {
    let mut fields = line.rsplit_once(") ")?.1.split(' ');
    let parent = fields.nth(1)?.parse().ok()?;
    let start_ticks = fields.nth(17)?.trim().parse().ok()?;
    Some(Stat { parent, start_ticks })
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use temblor_host::netns::Netns;

    use super::*;

    #[test]
    fn a_line_of_the_kernel_is_read() {
        let line = "42 (a) b) S 7 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 777 11 12\n";
        assert_eq!(parse(line), Some(Stat { parent: 7, start_ticks: 777 }));
        assert_eq!(parse("42 (redis) S 1 2"), None);
    }

    #[test]
    fn children_and_their_children_are_heirs_when_they_came_since() {
        let netns = Netns::of_this_thread().unwrap();
        let target = Target::of_namespace("test", netns, Vec::new());
        let mut before = Command::new("sleep").arg("60").spawn().unwrap();
        // So that the two are not of the same tick.
        let (started, mut family) = (ticks_now(), Family::of(&target).unwrap());
        while family.since_ticks < started + 2 {
            family = Family::of(&target).unwrap();
            std::thread::yield_now();
        }
        let mut since = Command::new("sh").args(["-c", "sleep 60 & echo; wait"]).spawn().unwrap();
        let me = Identity::of_self().unwrap();
        let mut heirs = Vec::new();
        // The grandchild takes its time.
        for _ in 0..1000 {
            heirs = family.heirs(std::slice::from_ref(&me)).unwrap();
            let grandchild = heirs
                .iter()
                .find(|heir| stat(heir.process.pid).is_some_and(|stat| stat.parent == since.id()));
            if let Some(grandchild) = grandchild {
                assert_eq!(grandchild.of, Some(me.pid));
                let pid = rustix::process::Pid::from_raw(grandchild.process.pid.cast_signed());
                rustix::process::kill_process(pid.unwrap(), rustix::process::Signal::KILL).unwrap();
                break;
            }
            std::thread::park_timeout(std::time::Duration::from_millis(5));
        }
        let pids: Vec<u32> = heirs.iter().map(|heir| heir.process.pid).collect();
        assert!(pids.contains(&since.id()), "{pids:?}");
        assert!(!pids.contains(&before.id()) && !pids.contains(&me.pid));
        let other_boot = Family { boot_id: "of another boot".into(), ..family };
        assert_eq!(other_boot.heirs(&[me]).unwrap(), []);
        for child in [&mut before, &mut since] {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }
}
