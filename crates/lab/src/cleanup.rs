//! Removing what a lab made, and finding out what is still there.

use std::fs;
use std::io;
use std::path::Path;

use rustix::event::{Timespec, poll};
use temblor_event::clock::now_ns;
use temblor_host::cgroup::{Cgroups, Group};
use temblor_host::process;

use crate::error::{Doing, Error, Result, chain};
use crate::lock::make_dir;
use crate::network;
use crate::options::Options;
use crate::state::State;

/// Marks a directory as a lab's own: only such a directory is ever removed.
const MARK: &str = ".temblor-lab";
/// For SIGKILL to empty a cgroup, and for an emptied one to go.
const WITHIN_MS: u64 = 5_000;

/// Takes a directory for the lab.
///
/// # Errors
/// It holds something that no lab put there.
pub(crate) fn claim(dir: &Path) -> Result<()> {
    make_dir(dir)?;
    let mark = dir.join(MARK);
    let mut entries = fs::read_dir(dir).doing(|| format!("read {}", dir.display()))?;
    if !mark.exists() && entries.next().is_some() {
        return Err(Error::Option(format!(
            "{} is not empty and no lab's: its contents would be lost; choose another directory",
            dir.display()
        )));
    }
    fs::write(&mark, "made by temblor lab, removed by it as a whole\n")
        .doing(|| format!("write {}", mark.display()))
}

/// Whether there may be anything of a lab's in these directories.
pub(crate) fn is_claimed(options: &Options) -> bool {
    [&options.runtime_dir, &options.data_dir].iter().any(|dir| dir.join(MARK).exists())
}

/// Gives up directories in which nothing was started.
pub(crate) fn unclaim(options: &Options) {
    for dir in [&options.data_dir, &options.runtime_dir] {
        // What cannot be removed bears the mark still, and the next attempt takes it again.
        remove_dir(dir, &mut Vec::new());
    }
}

/// Kills the lab's processes and removes its cgroups, its link and its directories, whether or
/// not a supervisor got as far as making them. Returns what is still there, for people.
pub(crate) fn everything(options: &Options) -> Vec<String> {
    let mut left = Vec::new();
    let recorded = match State::read(&options.state_file()) {
        Ok(state) => state,
        Err(error) => {
            left.push(chain(&error));
            None
        }
    };
    remove_groups(options, recorded.as_ref(), &mut left);
    if let Some(state) = &recorded {
        let network = &state.network;
        if let Err(error) = network::delete_stale_link(&network.link, network.host_address) {
            left.push(chain(&error));
        }
        wait_link_gone(&network.link);
        if state.data_dir != options.data_dir {
            remove_dir(&state.data_dir, &mut left);
        }
    }
    remove_dir(&options.data_dir, &mut left);
    // The state goes with it, last of all: until then a next attempt can read it.
    if left.is_empty() {
        remove_dir(&options.runtime_dir, &mut left);
    }
    left.extend(remains(options));
    left
}

/// What is there of a lab. Empty when nothing is.
pub(crate) fn remains(options: &Options) -> Vec<String> {
    let mut left = Vec::new();
    for (name, group) in named_groups(options) {
        for pid in group.processes() {
            let command = process::name(pid).unwrap_or_default();
            left.push(format!("the process {pid} ({command})"));
        }
        left.push(format!("the cgroup {name}"));
    }
    match network::link_exists(&options.link) {
        Ok(true) => left.push(format!("the network link {}", options.link)),
        Ok(false) => {}
        Err(error) => left.push(chain(&error)),
    }
    let dirs = [&options.data_dir, &options.runtime_dir].into_iter();
    left.extend(
        dirs.filter(|dir| dir.join(MARK).exists())
            .map(|dir| format!("the directory {}", dir.display())),
    );
    left
}

/// The lab's groups as they are found: those of its services, then the one above them.
pub(crate) fn lab_groups(options: &Options) -> Vec<Group> {
    named_groups(options).into_iter().map(|(_, group)| group).collect()
}

fn named_groups(options: &Options) -> Vec<(String, Group)> {
    let Ok(cgroups) = Cgroups::detect() else { return Vec::new() };
    let top = Group::find(&cgroups, &options.cgroup());
    let below = top.dirs().iter().flat_map(|dir| fs::read_dir(dir).into_iter().flatten().flatten());
    let mut names: Vec<_> = below
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .filter_map(|entry| entry.file_name().into_string().ok())
        .map(|name| format!("{}/{name}", options.cgroup()))
        .collect();
    names.sort_unstable();
    names.dedup();
    names.push(options.cgroup());
    names
        .into_iter()
        .map(|name| (Group::find(&cgroups, &name), name))
        .filter(|(group, _)| !group.dirs().is_empty())
        .map(|(group, name)| (name, group))
        .collect()
}

/// Only a state that tells of processes is a reason to kill some: without one, a group of that name
/// that has processes is another lab's.
fn remove_groups(options: &Options, recorded: Option<&State>, left: &mut Vec<String>) {
    let mut groups = Vec::new();
    if let Some(state) = recorded {
        groups.extend(state.services.iter().map(|s| Group::recorded(s.cgroups.clone())));
        groups.push(Group::recorded(state.cgroups.clone()));
    }
    groups.extend(lab_groups(options));
    for group in groups {
        let emptied = match recorded {
            Some(_) => group.kill_all(WITHIN_MS).map(|_| WITHIN_MS),
            None => Ok(0),
        };
        if let Err(error) = emptied.and_then(|within_ms| group.remove_within(within_ms)) {
            left.push(format!("a cgroup cannot be removed: {error}"));
        }
    }
}

/// A namespace that nobody holds any more takes its links with it, a moment later.
fn wait_link_gone(link: &str) {
    let deadline_ns = now_ns() + WITHIN_MS * 1_000_000;
    while network::link_exists(link).unwrap_or(false) && now_ns() < deadline_ns {
        let timeout = Timespec { tv_sec: 0, tv_nsec: 10_000_000 };
        // Interrupted is as good as elapsed.
        let _ = poll(&mut [], Some(&timeout));
    }
}

/// Removes a directory that bears the mark, and the one above it if that is called `temblor` and
/// empty.
fn remove_dir(dir: &Path, left: &mut Vec<String>) {
    if !dir.join(MARK).exists() {
        // Not claimed, or never filled: an empty one goes, anything else is not ours.
        let _ = fs::remove_dir(dir);
    } else if let Err(error) = fs::remove_dir_all(dir)
        && error.kind() != io::ErrorKind::NotFound
    {
        left.push(format!("{} cannot be removed: {error}", dir.display()));
    }
    if let Some(parent) = dir.parent().filter(|parent| parent.ends_with("temblor")) {
        // Something else may live there, and then it stays.
        let _ = fs::remove_dir(parent);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_bears_the_mark_is_removed() {
        let root = tempfile::tempdir().unwrap();
        let (theirs, ours) = (root.path().join("theirs"), root.path().join("temblor/ours"));
        fs::create_dir(&theirs).unwrap();
        fs::write(theirs.join("photo"), "").unwrap();
        let error = claim(&theirs).unwrap_err();
        assert_eq!(error.kind(), crate::Kind::Input);
        claim(&ours).unwrap();
        fs::write(ours.join("data"), "").unwrap();
        claim(&ours).expect("it is ours already");

        let mut left = Vec::new();
        remove_dir(&theirs, &mut left);
        remove_dir(&ours, &mut left);
        assert_eq!(left, Vec::<String>::new());
        assert!(theirs.join("photo").exists());
        assert!(!root.path().join("temblor").exists());
    }
}
