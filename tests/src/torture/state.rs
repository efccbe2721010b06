//! The whole state of a world, as lines of text: whatever the instrument could have changed.

use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash as _, Hasher as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;
use std::process::Command;

use super::world::{TOKEN, World};

/// What is there in both namespaces, in the words of the kernel's own tools.
const NETWORK: &str = "nft list ruleset; tc qdisc show; for dev in e0 lo; do tc class show dev \
    $dev; tc filter show dev $dev; tc filter show dev $dev ingress; tc filter show dev $dev egress; \
    done; ip -o link; ip -o addr; ip route show table all; ip -6 route show table all; ip rule; \
    ip -6 rule; ip -o tuntap; ss -Htn state established sport = :7000 | wc -l";

/// Figures that the kernel counts, and files that only take commands: they are no settings.
const COUNTED: &[&str] = &[
    "cgroup.procs",
    "tasks",
    "usage",
    "usage_in_bytes",
    "max_usage_in_bytes",
    "failcnt",
    "reset_stats",
    "event_control",
    "force_empty",
    "pressure_level",
    "peak",
    "pressure",
    "kill",
    "reclaim",
    "cgroup.threads",
];

/// The whole state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State(pub String);

impl World {
    /// What is there now.
    pub fn state(&self) -> State {
        let mut lines = String::new();
        for (name, pid) in ["target", "peer"].iter().zip(self.pids()) {
            lines.push_str(&format!("== network of the {name}\n{}", network(pid)));
        }
        for dir in self.cgroups() {
            groups(dir, &mut lines);
        }
        process(self.pids()[0], &mut lines);
        lines.push_str("== mounts\n");
        lines.push_str(&fs::read_to_string("/proc/thread-self/mounts").unwrap());
        lines.push_str("== files\n");
        files(self.dir(), &mut lines);
        // Room may be taken by a file that has no name.
        let room = rustix::fs::statvfs(self.dir().join("disk")).unwrap();
        lines.push_str(&format!("{} blocks, {} files left\n", room.f_bfree, room.f_ffree));
        lines.push_str("== processes of the instrument\n");
        others(self.token(), &mut lines);
        State(lines)
    }
}

/// The lines that are in one and not in the other; nothing when they are the same.
pub fn difference(before: &State, after: &State) -> String {
    let lines = |state: &State| state.0.lines().map(str::to_owned).collect::<Vec<_>>();
    let (before, after) = (lines(before), lines(after));
    let gone = before.iter().filter(|line| !after.contains(line)).map(|line| format!("- {line}"));
    let new = after.iter().filter(|line| !before.contains(line)).map(|line| format!("+ {line}"));
    let mut all: Vec<String> = gone.chain(new).collect();
    if all.is_empty() && before != after {
        all.push("the same lines in another order or number".into());
    }
    all.join("\n")
}

/// The network of a process's namespace.
pub(crate) fn network(pid: u32) -> String {
    let out = Command::new("nsenter")
        .args(["-n", "-t", &pid.to_string(), "sh", "-c", NETWORK])
        .output()
        .unwrap();
    String::from_utf8_lossy(&out.stdout).into_owned()
}

/// The groups at and below a directory, with their settings and processes.
pub(crate) fn groups(dir: &Path, lines: &mut String) {
    lines.push_str(&format!("== {}\n", dir.display()));
    let mut below = Vec::new();
    let mut files = Vec::new();
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    for entry in entries {
        let path = entry.path();
        if path.is_dir() {
            below.push(path);
        } else {
            files.push(path);
        }
    }
    files.sort();
    below.sort();
    for file in files {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let writable = fs::metadata(&file).is_ok_and(|m| m.mode() & 0o200 != 0);
        let counted = COUNTED.iter().any(|end| name.ends_with(end));
        if name == "cgroup.procs" || (writable && !counted) {
            // One that may only be written, or is gone, has no value.
            let value = fs::read_to_string(&file).unwrap_or_default();
            lines.push_str(&format!("{}: {}\n", file.display(), value.trim().replace('\n', " | ")));
        }
    }
    for dir in below {
        groups(&dir, lines);
    }
}

/// What can be done to a process from outside.
fn process(pid: u32, lines: &mut String) {
    let proc = Path::new("/proc").join(pid.to_string());
    let read = |name: &str| fs::read_to_string(proc.join(name)).unwrap_or_default();
    lines.push_str("== target\n");
    let mut stopped = false;
    for task in fs::read_dir(proc.join("task")).into_iter().flatten().flatten() {
        let status = fs::read_to_string(task.path().join("status")).unwrap_or_default();
        let field = |name: &str| {
            status.lines().find_map(|l| l.strip_prefix(name)).unwrap_or_default().trim().to_owned()
        };
        stopped |= field("State:").starts_with(['T', 't']);
        lines.push_str(&format!(
            "{} traced by {}, seccomp {}\n",
            field("Name:"),
            field("TracerPid:"),
            field("Seccomp:")
        ));
    }
    lines.push_str(&format!("stopped {stopped}\n"));
    lines.push_str(&read("limits"));
    lines.push_str(&format!("oom {}timens {}", read("oom_score_adj"), read("timens_offsets")));
    for namespace in ["cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"] {
        let link = fs::read_link(proc.join("ns").join(namespace)).unwrap_or_default();
        lines.push_str(&format!("{}\n", link.display()));
    }
    let maps = read("maps");
    let memory = fs::File::open(proc.join("mem"));
    for line in maps.lines() {
        let mut fields = line.split_ascii_whitespace();
        let (Some(range), Some(rights)) = (fields.next(), fields.next()) else { continue };
        if rights.contains('x') {
            lines.push_str(&format!("{line}\n"));
        }
        if let Ok(memory) = &memory
            && line.ends_with("[vdso]")
        {
            let (from, to) = range.split_once('-').unwrap();
            let [from, to] = [from, to].map(|at| u64::from_str_radix(at, 16).unwrap());
            let mut bytes = vec![0; usize::try_from(to - from).unwrap()];
            let read = memory.read_exact_at(&mut bytes, from).is_ok();
            let mut hasher = DefaultHasher::new();
            bytes.hash(&mut hasher);
            lines.push_str(&format!("vdso {read} {:016x}\n", hasher.finish()));
        }
    }
}

fn files(dir: &Path, lines: &mut String) {
    let mut entries: Vec<_> = fs::read_dir(dir).into_iter().flatten().flatten().collect();
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        if path.is_dir() {
            // The directory of journals may stay when nothing is in it.
            if path.ends_with("undo") && fs::read_dir(&path).is_ok_and(|mut d| d.next().is_none()) {
                continue;
            }
            lines.push_str(&format!("{}/\n", path.display()));
            files(&path, lines);
        } else {
            // The target writes its file again and again; who else's size matters is not there.
            lines.push_str(&format!("{}\n", path.display()));
        }
    }
}

/// Everything that was started by the instrument in this world and lives.
fn others(token: &str, lines: &mut String) {
    let mark = format!("{TOKEN}={token}");
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let environ = fs::read(entry.path().join("environ")).unwrap_or_default();
        if environ.split(|b| *b == 0).any(|variable| variable == mark.as_bytes()) {
            let command = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            found.push(String::from_utf8_lossy(&command).replace('\0', " "));
        }
    }
    found.sort();
    for command in found {
        lines.push_str(&format!("{command}\n"));
    }
}
