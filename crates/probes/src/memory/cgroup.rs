//! What a target's own cgroup says of its memory.

use std::fs;
use std::path::{Path, PathBuf};

use temblor_event::{ProbeWindow, Reading};
use temblor_host::target::Target;

use crate::group::own_file;

/// What a group of version 2 counts in `memory.events`. Version 1 has two of them elsewhere.
const EVENTS: [&str; 5] = ["low", "high", "max", "oom", "oom_kill"];
const MAX: usize = 2;
const OOM_KILL: usize = 4;

/// How often each of [`EVENTS`] has happened; none where the group does not count it.
type Counts = [Option<u64>; EVENTS.len()];

/// The memory of a target's cgroup, and how often it was at its limits so far.
#[derive(Debug)]
pub(super) struct GroupMemory {
    usage: Result<PathBuf, &'static str>,
    before: Counts,
}

impl GroupMemory {
    pub(super) fn of(target: &Target) -> Self {
        let absent = "its cgroup does not count memory";
        let usage = own_file(target, &["memory.current", "memory.usage_in_bytes"], absent);
        let before = usage.as_deref().map(counts).unwrap_or_default();
        Self { usage, before }
    }

    /// The file that tells how much it is, or why there is none.
    pub(super) fn source(&self) -> Result<&Path, &'static str> {
        self.usage.as_deref().map_err(|why| *why)
    }

    /// Puts in what it is now, and what has happened since this was done last.
    pub(super) fn put(&mut self, window: &mut ProbeWindow) {
        let Ok(usage) = &self.usage else { return };
        if let Some(bytes) = number(usage) {
            window.put("cgroup_memory", &[], Reading::Level(bytes));
        }
        let now = counts(usage);
        for ((event, now), before) in EVENTS.iter().zip(now).zip(&mut self.before) {
            if let (Some(now), Some(before)) = (now, *before) {
                let grown = now.saturating_sub(before);
                window.put("cgroup_memory_events", &[("event", event)], Reading::Count(grown));
            }
            *before = now.or(*before);
        }
    }
}

/// From the files beside the one that tells how much the group has.
fn counts(usage: &Path) -> Counts {
    let read = |name: &str| fs::read_to_string(usage.with_file_name(name)).ok();
    if let Some(events) = read("memory.events") {
        return EVENTS.map(|event| figure(&events, event));
    }
    let mut counts = Counts::default();
    counts[MAX] = number(&usage.with_file_name("memory.failcnt"));
    counts[OOM_KILL] =
        read("memory.oom_control").and_then(|control| figure(&control, EVENTS[OOM_KILL]));
    counts
}

fn number(file: &Path) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

fn figure(text: &str, name: &str) -> Option<u64> {
    let mut lines = text.lines().filter_map(|line| line.split_once(' '));
    lines.find(|(of, _)| *of == name).and_then(|(_, value)| value.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_from_those_that_begin_alike() {
        let v2 = "low 0\nhigh 7\nmax 5\noom 2\noom_kill 1\noom_group_kill 9\n";
        let counts = EVENTS.map(|event| figure(v2, event));
        assert_eq!(counts, [Some(0), Some(7), Some(5), Some(2), Some(1)]);
        let v1 = "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n";
        assert_eq!(figure(v1, EVENTS[OOM_KILL]), Some(3));
        assert_eq!(figure(v1, EVENTS[MAX]), None);
        assert_eq!(EVENTS[MAX], "max");
    }
}
