//! The table behind `temblor doctor`: what serves what, and what is missing.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::cgroup::{Cgroups, Layout};
use crate::facts::kernel_at_least;
use crate::programs;

/// One thing the kernel or the machine offers, and whom it serves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Capability {
    /// What it is.
    pub name: &'static str,
    /// The probe, the fault or the part that wants it: `probe tcp`, `fault network.partition`,
    /// `lab`.
    pub of: &'static str,
    /// Whether it is there.
    #[serde(flatten)]
    pub state: State,
}

/// Whether a capability is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum State {
    /// It is.
    Available {
        /// By what: a file, a version, a privilege.
        via: String,
    },
    /// Something lesser takes its place.
    Fallback {
        /// What does.
        via: String,
        /// What is then missing.
        lacks: String,
    },
    /// It is not, and what it serves cannot be had.
    Missing {
        /// What was looked for.
        why: String,
        /// What to do about it.
        how_to_get: String,
    },
}

/// Looks at everything. Nothing is loaded, attached or changed; what only an attempt can tell
/// (whether the verifier takes a program) is for whoever makes the attempt.
#[must_use]
pub fn capabilities() -> Vec<Capability> {
    let mut table = vec![
        entry("kernel", "probes and faults", kernel()),
        entry("BTF", "probe tcp", btf()),
        entry("CAP_BPF and CAP_PERFMON", "probe tcp", privilege(&[CAP_BPF, CAP_PERFMON])),
        entry("kernel lockdown", "probe tcp", lockdown()),
        entry("CAP_NET_ADMIN", "fault network.partition", privilege(&[CAP_NET_ADMIN])),
        entry("CAP_SYS_ADMIN", "fault network.partition", privilege(&[CAP_SYS_ADMIN])),
        entry("nftables library", "fault network.partition", nftables_library()),
        entry("nftables owner flag", "fault network.partition", owner_flag()),
        entry("root", "lab", root()),
        entry("cgroups", "lab", cgroups()),
        entry("network namespaces", "lab", namespaces()),
    ];
    table.extend(
        SERVERS
            .iter()
            .map(|(program, package)| entry(program, "lab", program_state(program, package))),
    );
    table.push(entry("prometheus", "lab", prometheus()));
    table.push(entry("bpftrace", "a user's own scripts", bpftrace()));
    table
}

/// The servers that the lab cannot go without, and the package that brings each on Debian and Ubuntu.
const SERVERS: &[(&str, &str)] = &[
    ("postgres", "postgresql"),
    ("initdb", "postgresql"),
    ("pg_isready", "postgresql-client"),
    ("redis-server", "redis-server"),
    ("redis-cli", "redis-tools"),
    ("nginx", "nginx-light"),
];

const CAP_NET_ADMIN: (u32, &str) = (12, "CAP_NET_ADMIN");
const CAP_SYS_ADMIN: (u32, &str) = (21, "CAP_SYS_ADMIN");
const CAP_PERFMON: (u32, &str) = (38, "CAP_PERFMON");
const CAP_BPF: (u32, &str) = (39, "CAP_BPF");

fn entry(name: &'static str, of: &'static str, state: State) -> Capability {
    Capability { name, of, state }
}

fn available(via: impl Into<String>) -> State {
    State::Available { via: via.into() }
}

fn missing(why: impl Into<String>, how_to_get: impl Into<String>) -> State {
    State::Missing { why: why.into(), how_to_get: how_to_get.into() }
}

fn kernel() -> State {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    if kernel_at_least(5, 10) {
        available(release)
    } else {
        missing(format!("Linux {release} is older than 5.10"), "boot Linux 5.10 or later")
    }
}

fn btf() -> State {
    let path = "/sys/kernel/btf/vmlinux";
    if Path::new(path).exists() {
        available(path)
    } else {
        missing(
            format!("{path} is not there"),
            "boot a kernel built with CONFIG_DEBUG_INFO_BTF=y (Debian's and Ubuntu's are)",
        )
    }
}

fn privilege(wanted: &[(u32, &str)]) -> State {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = effective_capabilities(&status).unwrap_or(0);
    // Before 5.8 there were neither CAP_BPF nor CAP_PERFMON, and CAP_SYS_ADMIN still implies both.
    let held = |bit: u32| effective & (1 << bit) != 0 || effective & (1 << CAP_SYS_ADMIN.0) != 0;
    let strict = |bit: u32| effective & (1 << bit) != 0;
    let lacking: Vec<_> = wanted
        .iter()
        .filter(|(bit, _)| if *bit >= CAP_PERFMON.0 { !held(*bit) } else { !strict(*bit) })
        .map(|(_, name)| *name)
        .collect();
    if lacking.is_empty() {
        available("held by this process")
    } else {
        missing(
            format!("this process does not hold {}", lacking.join(" and ")),
            "run as root: sudo temblor …",
        )
    }
}

/// The `CapEff` line of a `/proc/PID/status`.
fn effective_capabilities(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

fn lockdown() -> State {
    let path = "/sys/kernel/security/lockdown";
    let Ok(text) = fs::read_to_string(path) else { return available("no lockdown") };
    match lockdown_mode(&text) {
        Some("confidentiality") => missing(
            "the kernel is locked down to confidentiality: BPF programs may not read its memory",
            "boot with lockdown=integrity or none on the kernel's command line",
        ),
        mode => available(format!("lockdown is {}", mode.unwrap_or("none"))),
    }
}

/// `none [integrity] confidentiality`: the mode in brackets.
fn lockdown_mode(text: &str) -> Option<&str> {
    text.split_once('[')?.1.split_once(']').map(|(mode, _)| mode)
}

fn nftables_library() -> State {
    let name = "libnftables.so.1";
    match library_dirs().into_iter().map(|dir| dir.join(name)).find(|path| path.exists()) {
        Some(path) => available(path.display().to_string()),
        None => missing(
            format!("{name} is in none of the loader's directories"),
            "install nftables (Debian, Ubuntu: apt-get install nftables)",
        ),
    }
}

/// Where the loader looks: what `/etc/ld.so.conf` and its parts name, then its own defaults.
fn library_dirs() -> Vec<PathBuf> {
    let parts = fs::read_dir("/etc/ld.so.conf.d")
        .map(|entries| entries.flatten().map(|entry| entry.path()).collect::<Vec<_>>())
        .unwrap_or_default();
    let listed: Vec<_> = std::iter::once(PathBuf::from("/etc/ld.so.conf"))
        .chain(parts)
        .filter_map(|path| fs::read_to_string(path).ok())
        .flat_map(|text| {
            let dirs = text.lines().map(str::trim).filter(|line| line.starts_with('/'));
            dirs.map(PathBuf::from).collect::<Vec<_>>()
        })
        .collect();
    let triple = format!("{}-linux-gnu", std::env::consts::ARCH);
    let defaults = ["/lib", "/usr/lib", "/lib64", "/usr/lib64"].map(PathBuf::from);
    let multiarch = ["/lib", "/usr/lib"].map(|dir| Path::new(dir).join(&triple));
    listed.into_iter().chain(multiarch).chain(defaults).collect()
}

fn owner_flag() -> State {
    if kernel_at_least(5, 12) {
        available("kernel 5.12 or later: a table goes with the process that made it")
    } else {
        missing(
            format!(
                "Linux {} is older than 5.12: an nftables table would outlive the process that \
                 made it",
                rustix::system::uname().release().to_string_lossy()
            ),
            "boot Linux 5.12 or later",
        )
    }
}

fn root() -> State {
    if rustix::process::geteuid().is_root() {
        available("this process is root")
    } else {
        missing("this process is not root", "run as root: sudo temblor …")
    }
}

fn cgroups() -> State {
    match Cgroups::detect() {
        Ok(cgroups) if cgroups.layout() != Layout::None => {
            available(format!("{} layout", cgroups.layout()))
        }
        _ => missing(
            "no cgroup hierarchy is mounted",
            "mount one: mount -t cgroup2 none /sys/fs/cgroup",
        ),
    }
}

fn namespaces() -> State {
    let path = "/proc/self/ns/net";
    if Path::new(path).exists() {
        available(path)
    } else {
        missing(format!("{path} is not there"), "boot a kernel built with CONFIG_NET_NS=y")
    }
}

/// The lab can be started without it, if somebody says so.
fn prometheus() -> State {
    match programs::find("prometheus") {
        Some(path) => available(path.display().to_string()),
        None => State::Fallback {
            via: "a lab without it (TEMBLOR_LAB_WITHOUT=prometheus)".into(),
            lacks: "the services' figures over time (Debian, Ubuntu: apt-get install prometheus)"
                .into(),
        },
    }
}

/// Only experiments that have a script want it.
fn bpftrace() -> State {
    match programs::find("bpftrace") {
        Some(path) => available(path.display().to_string()),
        None => State::Fallback {
            via: "the probes that are built in".into(),
            lacks: "bpftrace scripts in `observe` (Debian, Ubuntu: apt-get install bpftrace)"
                .into(),
        },
    }
}

fn program_state(program: &str, package: &str) -> State {
    match programs::find_postgresql(program) {
        Some(path) => available(path.display().to_string()),
        None => missing(
            format!("{program} is neither in PATH nor where distributions put it"),
            format!("install {package} (Debian, Ubuntu: apt-get install {package})"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn effective_capabilities_are_read_from_status() {
        let status = "Name:\tx\nCapPrm:\t0000000000000000\nCapEff:\t000001fffeffffff\n";
        let bits = effective_capabilities(status).unwrap();
        assert!(bits & (1 << CAP_BPF.0) != 0);
        assert!(bits & (1 << 24) == 0, "CAP_SYS_RESOURCE is the one that is missing there");
        assert_eq!(effective_capabilities("Name:\tx\n"), None);
    }

    #[test]
    fn the_lockdown_mode_is_the_one_in_brackets() {
        assert_eq!(lockdown_mode("none [integrity] confidentiality\n"), Some("integrity"));
        assert_eq!(lockdown_mode("[none] integrity confidentiality\n"), Some("none"));
        assert_eq!(lockdown_mode(""), None);
    }

    #[test]
    fn the_table_says_what_to_do_about_whatever_is_missing() {
        for capability in capabilities() {
            match &capability.state {
                State::Available { via } => assert!(!via.is_empty(), "{capability:?}"),
                State::Fallback { via, lacks } => {
                    assert!(!via.is_empty() && !lacks.is_empty(), "{capability:?}");
                }
                State::Missing { why, how_to_get } => {
                    assert!(!why.is_empty() && !how_to_get.is_empty(), "{capability:?}");
                }
            }
        }
    }
}
