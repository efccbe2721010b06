//! Targets by pid and by process name.

use std::collections::BTreeSet;
use std::fs;

use super::{FindError, Found, target};
use crate::cgroup::{Cgroups, Group};
use crate::processes::{Processes, started_as};
use crate::target::{Origin, Target};

/// One process with its descendants.
///
/// # Errors
/// It does not exist, has ended, is a thread, or is another user's and we are not root.
pub fn by_pid(pid: u32) -> Found {
    let all = read()?;
    let Some(row) = all.get(pid) else {
        // Threads have directories that no listing shows.
        return Err(match leader(pid) {
            Some(leader) => FindError::Thread {
                tid: pid,
                pid: leader,
                name: all.get(leader).map_or_else(String::new, |row| row.name.clone()),
            },
            None => FindError::NoProcess { pid },
        });
    };
    if row.has_ended {
        return Err(FindError::Ended { pid, name: row.name.clone() });
    }
    Ok(vec![instance(&all, pid, &row.name)?])
}

/// Every process that runs under this name (the kernel's name for it, or the file name that it
/// was started as) with its descendants, the oldest first. One that descends from another of that
/// name belongs to that one.
///
/// # Errors
/// There is none, or they are another user's and we are not root.
pub fn by_process_name(name: &str) -> Found {
    const KIND: &str = "process named";
    if name.is_empty() || name.contains('/') {
        return Err(FindError::BadName { kind: "process", wanted: name.to_owned() });
    }
    let all = read()?;
    let matches: BTreeSet<u32> = all
        .iter()
        .filter(|row| !row.has_ended)
        .filter(|row| answers_to(name, &row.name, || started_as(row.pid)))
        .map(|row| row.pid)
        .collect();
    let mut heads: Vec<_> = all
        .iter()
        .filter(|row| matches.contains(&row.pid))
        .filter(|row| !all.ancestors(row.pid).iter().any(|above| matches.contains(above)))
        .collect();
    heads.sort_by_key(|row| (row.start_ticks, row.pid));
    let mut instances = Vec::with_capacity(heads.len());
    for head in heads {
        match instance(&all, head.pid, name) {
            // It ended while we looked; the others did not.
            Err(error) if error.is_gone() => {}
            found => instances.push(found?),
        }
    }
    if instances.is_empty() {
        let known = all.iter().filter(|row| !row.is_kernel && !row.has_ended);
        return Err(FindError::not_found(KIND, name, known.map(|row| row.name.clone())));
    }
    Ok(instances)
}

/// Whether a process answers to a name. A name longer than the kernel keeps is told by what the
/// process was started as.
fn answers_to(wanted: &str, kernel_name: &str, started_as: impl Fn() -> Option<String>) -> bool {
    wanted == kernel_name || started_as().is_some_and(|started| started == wanted)
}

fn instance(all: &Processes, pid: u32, name: &str) -> Result<Target, FindError> {
    let alive = |pid: &u32| all.get(*pid).is_some_and(|row| !row.has_ended);
    let pids = std::iter::once(pid).chain(all.descendants(pid).into_iter().filter(alive)).collect();
    let group =
        Cgroups::detect().and_then(|cgroups| Group::of_pid(&cgroups, pid)).map_err(|source| {
            FindError::looking(format!("read the cgroup of {name} (process {pid})"), source)
        })?;
    target(format!("{name}-{pid}"), pids, group, Origin::Processes)
}

fn read() -> Result<Processes, FindError> {
    Processes::read().map_err(|source| FindError::looking("read /proc", source))
}

/// The process that a thread belongs to; `None` where there is no such thread.
fn leader(tid: u32) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{tid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("Tgid:"))?;
    line.trim().parse().ok().filter(|leader| *leader != tid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::find::tests::Spawned;

    #[test]
    fn a_process_is_found_by_its_pid_with_its_descendants_after_it() {
        let shell = Spawned::shell("sleep 60 & sleep 60 & wait", 3);
        let found = by_pid(shell.pid()).unwrap();
        let [target] = &found[..] else { panic!("{found:?}") };
        assert_eq!(target.pids[0], shell.pid());
        assert_eq!(target.pids.len(), 3, "{target:?}");
        assert_eq!(target.service, format!("sh-{}", shell.pid()));
        assert_eq!(target.origin, Origin::Processes);
        assert_eq!(target.netns, crate::netns::Netns::of_this_thread().unwrap());
    }

    #[test]
    fn what_is_no_process_is_said_to_be_what_it_is() {
        // Above the highest pid that Linux gives.
        let error = by_pid(5_000_000).unwrap_err();
        assert_eq!(error.to_string(), "there is no process 5000000");

        let (told, tid) = std::sync::mpsc::channel();
        let (done, wait) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || {
            told.send(rustix::thread::gettid().as_raw_nonzero().get().unsigned_abs()).unwrap();
            let _ = wait.recv();
        });
        let tid = tid.recv().unwrap();
        let error = by_pid(tid).unwrap_err().to_string();
        let me = std::process::id();
        assert!(error.starts_with(&format!("{tid} is a thread of process {me}")), "{error}");
        drop(done);
        thread.join().unwrap();
    }

    #[test]
    fn a_process_that_has_ended_is_no_target() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let handle = crate::process::Process::open(child.id()).unwrap().unwrap();
        assert!(handle.wait_ended(5_000).unwrap());
        let error = by_pid(child.id()).unwrap_err();
        assert_eq!(error.to_string(), format!("process {} (true) has ended", child.id()));
        child.wait().unwrap();
    }

    #[test]
    fn processes_of_one_name_are_instances_unless_one_descends_from_another() {
        // A name that no other process of this machine has.
        let name = format!("tmbl-{}", std::process::id());
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join(&name);
        fs::copy("/bin/sleep", &program).unwrap();
        let shell = dir.path().join("outer");
        fs::create_dir(&shell).unwrap();
        let shell = shell.join(&name);
        fs::copy("/bin/sh", &shell).unwrap();

        let alone = Spawned::command(std::process::Command::new(&program).arg("60"), 1);
        let script = format!("{} 60 & {} 60 & wait", program.display(), program.display());
        let family = Spawned::command(std::process::Command::new(&shell).args(["-c", &script]), 3);
        let found = by_process_name(&name).unwrap();
        let heads: BTreeSet<u32> = found.iter().map(|target| target.pids[0]).collect();
        assert_eq!(heads, BTreeSet::from([alone.pid(), family.pid()]), "{found:?}");
        let names: BTreeSet<_> = found.iter().map(|target| &target.service).collect();
        assert_eq!(names.len(), 2, "{names:?}");
        assert_eq!(found.iter().map(|target| target.pids.len()).sum::<usize>(), 4);
        drop((alone, family));

        let error = by_process_name(&name).unwrap_err().to_string();
        assert!(error.starts_with(&format!("there is no process named `{name}`; there is ")));
    }

    #[test]
    fn a_name_longer_than_the_kernel_keeps_is_told_by_what_was_started() {
        let started = || Some("market-simulator".to_owned());
        assert!(answers_to("market-simulator", "market-simulato", started));
        assert!(answers_to("market-simulato", "market-simulato", || None));
        assert!(!answers_to("market-simulatrix", "market-simulato", started));
        for name in ["", "/bin/sh"] {
            assert!(matches!(by_process_name(name), Err(FindError::BadName { .. })));
        }
    }
}
