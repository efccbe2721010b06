//! Processes that were moved into a cgroup of ours and go back to theirs.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use rustix::event::{Timespec, poll};
use serde::{Deserialize, Serialize};
use temblor_event::clock::now_ns;
use temblor_host::boot_id;
use temblor_host::cgroup::Cgroups;
use temblor_host::process::Identity;

use super::{Undoing, Undone};
use crate::{Error, Result};

/// How the name of every group of ours begins.
const OURS: &str = "temblor";
/// Processes fork while they are moved, and end while a group is removed: so it is looked at
/// again, for at most this long.
const EMPTY_WITHIN_NS: u64 = 2_000_000_000;
/// How long to wait between two looks.
const LOOK_AGAIN_NS: i64 = 2_000_000;
/// How many parents are asked for before a process counts as nobody's child.
const PARENTS_MAX: usize = 64;

/// Processes with the cgroups they come from. Those that they start meanwhile are in our group as
/// well, and go where the process that started them goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MoveBack {
    /// The directories of our group, one a hierarchy.
    group: Vec<PathBuf>,
    /// The main process first.
    homes: Vec<Home>,
    boot_id: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Home {
    process: Identity,
    /// Where it was, one directory for each of [`MoveBack::group`], in its order.
    dirs: Vec<PathBuf>,
}

impl MoveBack {
    /// Looks at where `pids` are, the main one first, before they are moved into the group with
    /// these directories (one in each hierarchy that matters), which are not there yet. A process
    /// that has ended meanwhile is left out.
    ///
    /// A process whose threads are in several version 1 groups goes back to its first thread's.
    ///
    /// # Errors
    /// The name of a directory does not begin with `temblor`, one is there already, is in no
    /// cgroup hierarchy, or none of the processes is left.
    pub fn about_to_move(group: Vec<PathBuf>, pids: &[u32]) -> Result<Self> {
        let failed = |why: String| {
            let error = io::Error::new(io::ErrorKind::InvalidInput, why);
            Error::system("move processes into a cgroup of ours", error)
        };
        for dir in &group {
            let ours = dir.file_name().is_some_and(|n| n.to_string_lossy().starts_with(OURS));
            if !ours || dir.exists() {
                return Err(failed(format!("{} is not a new name of ours", dir.display())));
            }
        }
        let cgroups = Cgroups::detect().map_err(|e| Error::system("look at the cgroups", e))?;
        let mut homes = Vec::new();
        for pid in pids {
            let Ok(process) = Identity::of(*pid) else { continue };
            let Ok(now) = cgroups.of_pid(*pid) else { continue };
            let home = |dir: &PathBuf| {
                // The longest mount that it is below: hierarchies are mounted beside each other.
                now.iter()
                    .filter(|(hierarchy, _)| dir.starts_with(&hierarchy.mount))
                    .max_by_key(|(hierarchy, _)| hierarchy.mount.as_os_str().len())
                    .map(|(_, home)| home.clone())
                    .ok_or_else(|| failed(format!("{} is in no hierarchy", dir.display())))
            };
            let dirs = group.iter().map(home).collect::<Result<_>>()?;
            homes.push(Home { process, dirs });
        }
        if homes.is_empty() || group.is_empty() {
            return Err(failed("there is none of them left, or nowhere to move them".into()));
        }
        let boot_id = boot_id().map_err(|e| Error::system("read the boot's id", e))?;
        Ok(Self { group, homes, boot_id })
    }

    /// Makes the group's directories, empty: the first half of the change.
    ///
    /// # Errors
    /// One cannot be made.
    pub fn make(&self) -> Result<()> {
        self.group.iter().try_for_each(|dir| {
            fs::create_dir(dir)
                .map_err(|e| Error::system(format!("make the cgroup {}", dir.display()), e))
        })
    }

    /// Moves the processes in, and the children that they have by now: the second half. Those
    /// that have ended are left out.
    ///
    /// # Errors
    /// One cannot be moved.
    pub fn enter(&self) -> Result<()> {
        for home in &self.homes {
            if !home.process.is_alive() {
                continue;
            }
            for dir in &self.group {
                match attach(dir, home.process.pid) {
                    Ok(()) => {}
                    Err(e) if e.raw_os_error() == Some(libc::ESRCH) => {}
                    Err(e) => {
                        let doing =
                            format!("move process {} to {}", home.process.pid, dir.display());
                        return Err(Error::system(doing, e));
                    }
                }
            }
        }
        Ok(())
    }

    /// The group's directories.
    #[must_use]
    pub fn group(&self) -> &[PathBuf] {
        &self.group
    }

    /// Where a process that is in our group now belongs, in the hierarchy of this index.
    fn home(&self, pid: u32, hierarchy: usize) -> Option<&Path> {
        let mut asked = pid;
        for _ in 0..PARENTS_MAX {
            let of = |home: &&Home| home.process.pid == asked && home.process.is_alive();
            if let Some(home) = self.homes.iter().find(of) {
                return home.dirs.get(hierarchy).map(PathBuf::as_path);
            }
            match parent(asked) {
                Some(next) if next > 1 => asked = next,
                _ => break,
            }
        }
        // Its parent has ended: it is the main process's child as far as anybody can tell.
        self.homes.first()?.dirs.get(hierarchy).map(PathBuf::as_path)
    }

    /// Empties one directory and removes it; says whether it was there.
    fn remove(&self, hierarchy: usize, dir: &Path) -> io::Result<bool> {
        let deadline_ns = now_ns().saturating_add(EMPTY_WITHIN_NS);
        loop {
            let pids = match processes(dir) {
                Err(e) if is_gone(&e) => return Ok(false),
                pids => pids?,
            };
            let mut failed = None;
            for pid in pids {
                let Some(home) = self.home(pid, hierarchy) else { continue };
                match attach_near(home, pid) {
                    Err(e) if e.raw_os_error() != Some(libc::ESRCH) => failed = Some(e),
                    _ => {}
                }
            }
            match fs::remove_dir(dir) {
                Ok(()) => return Ok(true),
                Err(e) if is_gone(&e) => return Ok(true),
                Err(e) if now_ns() >= deadline_ns => return Err(failed.unwrap_or(e)),
                // The kernel tells nobody when a version 1 group becomes empty.
                Err(_) => {
                    let timeout = Timespec { tv_sec: 0, tv_nsec: LOOK_AGAIN_NS };
                    let _ = poll(&mut [], Some(&timeout));
                }
            }
        }
    }

    fn is_of_this_boot(&self) -> bool {
        boot_id().is_ok_and(|boot| boot == self.boot_id)
    }
}

impl Undoing for MoveBack {
    fn words(&self) -> String {
        let dirs: Vec<String> = self.group.iter().map(|dir| dir.display().to_string()).collect();
        format!("move the processes in {} back and remove it", dirs.join(", "))
    }

    fn undo(&self) -> Result<Undone> {
        if !self.is_of_this_boot() {
            return Ok(Undone::NotOurs("the cgroups of another boot are gone".into()));
        }
        let mut was_there = false;
        let mut failed = None;
        for (hierarchy, dir) in self.group.iter().enumerate() {
            match self.remove(hierarchy, dir) {
                Ok(there) => was_there |= there,
                // The others are undone all the same.
                Err(e) => failed = Some(Error::system(format!("remove {}", dir.display()), e)),
            }
        }
        match failed {
            Some(error) => Err(error),
            None if was_there => Ok(Undone::Restored),
            None => Ok(Undone::Nothing),
        }
    }

    fn is_open(&self) -> Result<bool> {
        Ok(self.is_of_this_boot() && self.group.iter().any(|dir| dir.exists()))
    }
}

fn processes(dir: &Path) -> io::Result<Vec<u32>> {
    let text = fs::read_to_string(dir.join("cgroup.procs"))?;
    // 0 is a process that this pid namespace cannot see, nor move.
    Ok(text.lines().filter_map(|line| line.parse().ok()).filter(|pid| *pid != 0).collect())
}

fn attach(dir: &Path, pid: u32) -> io::Result<()> {
    let procs = fs::OpenOptions::new().write(true).open(dir.join("cgroup.procs"));
    procs?.write_all(pid.to_string().as_bytes())
}

/// Moves a process to a directory, or, where that has gone meanwhile, to the nearest above it.
fn attach_near(home: &Path, pid: u32) -> io::Result<()> {
    let mut gone = io::Error::from_raw_os_error(libc::ENOENT);
    for dir in home.ancestors() {
        match attach(dir, pid) {
            Err(e) if is_gone(&e) => gone = e,
            other => return other,
        }
    }
    Err(gone)
}

fn parent(pid: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().parse().ok()
}

fn is_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENODEV))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Child, Command, Stdio};

    fn skipped() -> bool {
        let root = rustix::process::geteuid().is_root();
        if !root {
            eprintln!("skipped: needs root (it makes cgroups)");
        }
        !root
    }

    /// A group of its own for a test, in two hierarchies where there are two.
    struct World {
        homes: Vec<PathBuf>,
        ours: Vec<PathBuf>,
        children: Vec<Child>,
    }

    impl World {
        fn new(name: &str) -> Self {
            let cgroups = Cgroups::detect().unwrap();
            let wanted = |controller: &str| {
                cgroups.hierarchies().iter().find(|h| h.controllers.iter().any(|c| c == controller))
            };
            let mut mounts: Vec<PathBuf> = ["cpu", "memory"]
                .into_iter()
                .filter_map(|controller| Some(wanted(controller)?.mount.clone()))
                .collect();
            if mounts.is_empty() {
                mounts.push(cgroups.unified().unwrap().mount.clone());
            }
            let named = |what: &str| {
                let name = format!("{what}-{name}-{}", std::process::id());
                mounts.iter().map(|mount| mount.join(&name)).collect::<Vec<_>>()
            };
            let world =
                Self { homes: named("home"), ours: named("temblor-ours"), children: Vec::new() };
            world.homes.iter().for_each(|dir| fs::create_dir(dir).unwrap());
            world
        }

        fn process(&mut self, script: &str) -> u32 {
            // It begins when it is where it belongs, and its children with it.
            let mut child = Command::new("sh")
                .args(["-c", &format!("read go; {script}")])
                .stdin(Stdio::piped())
                .spawn()
                .unwrap();
            self.homes.iter().for_each(|dir| attach(dir, child.id()).unwrap());
            child.stdin.take().unwrap().write_all(b"go\n").unwrap();
            self.children.push(child);
            self.children.last().unwrap().id()
        }
    }

    impl Drop for World {
        fn drop(&mut self) {
            for dirs in [&self.ours, &self.homes] {
                for dir in dirs {
                    for pid in processes(dir).unwrap_or_default() {
                        let pid = rustix::process::Pid::from_raw(pid.cast_signed()).unwrap();
                        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
                    }
                }
            }
            self.children.iter_mut().for_each(|child| drop(child.wait()));
            for dir in self.ours.iter().chain(&self.homes) {
                temblor_host::cgroup::Group::recorded(vec![dir.clone()])
                    .remove_within(2_000)
                    .unwrap();
            }
        }
    }

    #[test]
    fn processes_and_their_children_go_home_from_every_hierarchy() {
        if skipped() {
            return;
        }
        let mut world = World::new("back");
        let main = world.process("sleep 60");
        let other = world.process("sleep 60 & sleep 60 & wait");
        let undo = MoveBack::about_to_move(world.ours.clone(), &[main, other]).unwrap();
        assert_eq!(undo.undo().unwrap(), Undone::Nothing, "before the change");
        undo.make().unwrap();
        assert!(undo.is_open().unwrap());
        assert_eq!(undo.undo().unwrap(), Undone::Restored, "half way");
        undo.make().unwrap();
        undo.enter().unwrap();
        for (ours, home) in world.ours.iter().zip(&world.homes) {
            let both = processes(ours).unwrap();
            assert!(both.contains(&main) && both.contains(&other), "{both:?}");
            assert!(!processes(home).unwrap().contains(&main));
        }
        // Moved home by somebody else meanwhile: it is not touched again.
        attach(&world.homes[0], main).unwrap();
        assert_eq!(undo.undo().unwrap(), Undone::Restored);
        assert!(!undo.is_open().unwrap());
        for home in &world.homes {
            let back = processes(home).unwrap();
            assert!(back.contains(&main) && back.contains(&other), "{back:?}");
        }
        assert!(world.ours.iter().all(|dir| !dir.exists()));
        assert_eq!(undo.undo().unwrap(), Undone::Nothing, "twice");
    }

    #[test]
    fn a_child_goes_where_its_parent_goes_and_nobody_is_lost_when_a_home_is_gone() {
        if skipped() {
            return;
        }
        let mut world = World::new("child");
        let main = world.process("sleep 60");
        let parent = world.process("sleep 60 & wait");
        // The parent has a group of its own below the main one's.
        let below: Vec<PathBuf> = world.homes.iter().map(|dir| dir.join("below")).collect();
        for dir in &below {
            fs::create_dir(dir).unwrap();
            attach(dir, parent).unwrap();
        }
        let undo = MoveBack::about_to_move(world.ours.clone(), &[main, parent]).unwrap();
        undo.make().unwrap();
        undo.enter().unwrap();
        let child = |dir: &Path| processes(dir).unwrap().into_iter().find(|p| *p != parent);
        // Its child was started before the move or after it: either way it is moved in now.
        let kin = format!("/proc/{parent}/task/{parent}/children");
        let started = || fs::read_to_string(&kin).ok()?.trim().parse::<u32>().ok();
        let bound_ns = now_ns() + 5_000_000_000;
        let grandchild = loop {
            if let Some(pid) = started() {
                break pid;
            }
            assert!(now_ns() < bound_ns);
        };
        world.ours.iter().for_each(|dir| attach(dir, grandchild).unwrap());
        assert_eq!(undo.undo().unwrap(), Undone::Restored);
        for dir in &below {
            assert_eq!(child(dir), Some(grandchild), "beside its parent");
        }
        // Now the parent's group goes away during the fault: it goes to the nearest above.
        let again =
            MoveBack::about_to_move(world.ours.clone(), &[main, parent, grandchild]).unwrap();
        again.make().unwrap();
        again.enter().unwrap();
        below.iter().for_each(|dir| fs::remove_dir(dir).unwrap());
        assert_eq!(again.undo().unwrap(), Undone::Restored);
        for home in &world.homes {
            let back = processes(home).unwrap();
            assert!([main, parent, grandchild].iter().all(|pid| back.contains(pid)), "{back:?}");
        }
    }

    #[test]
    fn groups_that_are_not_new_ones_of_ours_are_refused() {
        let me = std::process::id();
        for group in
            [vec![], vec!["/sys/fs/cgroup/redis".into()], vec!["/nowhere/temblor-x".into()]]
        {
            assert!(MoveBack::about_to_move(group, &[me]).is_err());
        }
        let gone = MoveBack::about_to_move(vec!["/sys/fs/cgroup/temblor-x".into()], &[u32::MAX]);
        assert!(gone.is_err(), "nobody is left to be moved");
    }
}
