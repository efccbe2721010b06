//! The guest as a whole: everything in it that a fault could have changed, before and after.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use temblor_event::clock::now_ns;

use crate::torture::{State, difference, groups, network};

const CGROUPS: &str = "/sys/fs/cgroup";
/// How long what was ended may take to be gone.
const SETTLES_WITHIN: Duration = Duration::from_secs(20);

/// What is there now. A guest has nobody else on it, so that whatever is different is a test's.
pub(super) fn state() -> State {
    let mut lines = network(std::process::id());
    let mut all_groups = String::new();
    groups(Path::new(CGROUPS), &mut all_groups);
    // In the first group are the kernel's own threads, which come and go.
    let own = format!("{CGROUPS}/cgroup.procs:");
    for line in all_groups.lines().filter(|line| !line.starts_with(&own)) {
        lines.push_str(line);
        lines.push('\n');
    }
    lines.push_str("== mounts\n");
    lines.push_str(&fs::read_to_string("/proc/self/mounts").unwrap_or_default());
    lines.push_str("== named namespaces, open journals, loop devices\n");
    for dir in ["/run/netns", "/var/lib/temblor/undo"] {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            lines.push_str(&format!("{}\n", entry.path().display()));
        }
    }
    for entry in fs::read_dir("/sys/block").into_iter().flatten().flatten() {
        if let Ok(file) = fs::read_to_string(entry.path().join("loop/backing_file")) {
            lines.push_str(&format!("{} is {file}", entry.path().display()));
        }
    }
    lines.push_str("== processes\n");
    for (pid, command) in processes() {
        lines.push_str(&format!("{pid} {command}\n"));
    }
    State(lines)
}

/// Those of user space.
fn processes() -> BTreeMap<u32, String> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            let command = fs::read(entry.path().join("cmdline")).ok()?;
            // The kernel's own threads have none.
            let command = String::from_utf8_lossy(&command).replace('\0', " ");
            (!command.is_empty()).then(|| (pid, command.trim().to_owned()))
        })
        .collect()
}

/// What is still different from before after a while.
pub(super) fn left(before: &State) -> String {
    let until_ns = now_ns() + u64::try_from(SETTLES_WITHIN.as_nanos()).unwrap();
    loop {
        let now = state();
        let left = difference(before, &now);
        if left.is_empty() || now_ns() > until_ns {
            return left;
        }
        std::thread::park_timeout(Duration::from_millis(50));
    }
}

/// Where each thread stands, inside of the kernel, of processes that were not there before.
pub(super) fn stacks_but(before: &State) -> String {
    let mut lines = String::new();
    for (pid, command) in since(before) {
        for task in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
            let stack = fs::read_to_string(task.path().join("stack")).unwrap_or_default();
            lines.push_str(&format!("{pid} {command}, {}:\n{stack}", task.path().display()));
        }
    }
    lines
}

/// The processes that were not there before.
fn since(before: &State) -> impl Iterator<Item = (u32, String)> {
    let there = |(pid, command): &(u32, String)| {
        before.0.lines().any(|line| line == format!("{pid} {command}"))
    };
    processes().into_iter().filter(move |process| !there(process))
}

/// Ends what was not there before, so that it is told of once.
pub(super) fn end_all_but(before: &State) {
    for (pid, _) in since(before) {
        // It may have ended by now.
        let _ = Command::new("kill").args(["-KILL", &pid.to_string()]).output();
    }
}
