//! The machine's own description of itself.

use std::fs;

use rustix::system::{sysinfo, uname};
use temblor_event::HostFacts;

use crate::cgroup::Cgroups;

/// What a report says about the machine a run was made on. A fact that cannot be had is empty or
/// zero: no run fails for want of a name.
#[must_use]
pub fn facts() -> HostFacts {
    let kernel = uname();
    let memory = sysinfo();
    HostFacts {
        kernel: kernel.release().to_string_lossy().into_owned(),
        arch: kernel.machine().to_string_lossy().into_owned(),
        distribution: fs::read_to_string("/etc/os-release")
            .ok()
            .and_then(|text| pretty_name(&text))
            .unwrap_or_default(),
        cpus: fs::read_to_string("/sys/devices/system/cpu/online")
            .ok()
            .and_then(|list| count_cpus(&list))
            .unwrap_or_default(),
        memory_bytes: memory_bytes(memory.totalram, memory.mem_unit),
        boot_id: boot_id().unwrap_or_default(),
        cgroups: Cgroups::detect().map(|cgroups| cgroups.layout().to_string()).unwrap_or_default(),
    }
}

/// The id the kernel drew when it booted: what was recorded under another one is history.
///
/// # Errors
/// `/proc` is not mounted.
pub fn boot_id() -> std::io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

/// Whether the running kernel is at least this version.
#[must_use]
pub fn kernel_at_least(major: u32, minor: u32) -> bool {
    version(&uname().release().to_string_lossy()).is_some_and(|have| have >= (major, minor))
}

/// `6.1.0-28-amd64` is (6, 1).
fn version(release: &str) -> Option<(u32, u32)> {
    let mut parts = release.split(|c: char| !c.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

fn memory_bytes(units: u64, unit_bytes: u32) -> u64 {
    units.saturating_mul(u64::from(unit_bytes.max(1)))
}

fn pretty_name(os_release: &str) -> Option<String> {
    os_release
        .lines()
        .find_map(|line| line.strip_prefix("PRETTY_NAME="))
        .map(|name| name.trim().trim_matches('"').to_owned())
}

/// Counts the processors of a list such as `0-3,8`.
fn count_cpus(list: &str) -> Option<u32> {
    list.trim().split(',').try_fold(0u32, |sum, range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        sum.checked_add(last.checked_sub(first)?.checked_add(1)?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_releases_are_read_as_people_write_them() {
        for (release, expected) in [
            ("6.1.0-28-amd64", Some((6, 1))),
            ("5.10.0", Some((5, 10))),
            ("6.18.44-fc-v595", Some((6, 18))),
            ("6.6-rc1", Some((6, 6))),
            ("linux", None),
            ("", None),
        ] {
            assert_eq!(version(release), expected, "{release}");
        }
        assert!(kernel_at_least(3, 0));
        assert!(!kernel_at_least(999, 0));
    }

    #[test]
    fn processor_lists_are_counted() {
        for (list, expected) in [
            ("0\n", Some(1)),
            ("0-1\n", Some(2)),
            ("0-3,8,10-11", Some(7)),
            ("3-1", None),
            ("", None),
        ] {
            assert_eq!(count_cpus(list), expected, "{list:?}");
        }
    }

    #[test]
    fn this_machine_has_facts() {
        let facts = facts();
        assert!(!facts.kernel.is_empty() && !facts.arch.is_empty());
        assert!(facts.cpus >= 1 && facts.memory_bytes > 1 << 20, "{facts:?}");
        assert_eq!(facts.boot_id.len(), 36, "{facts:?}");
    }
}
