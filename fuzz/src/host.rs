//! What the kernel says of cgroups, and the words that allow what is refused otherwise.

use temblor_host::cgroup::Cgroups;
use temblor_host::protected::Word;

/// A group's directory lies within its hierarchy, wherever a process says that it is.
pub(crate) fn cgroups(bytes: &[u8]) {
    let written = crate::text(bytes);
    let (mounts, path) = written.rsplit_once('\n').unwrap_or((&written, "/"));
    let cgroups = Cgroups::parse(mounts);
    assert!(cgroups.hierarchies().len() <= mounts.lines().count());
    let _ = (cgroups.layout(), cgroups.unified());
    for hierarchy in cgroups.hierarchies() {
        if let Some(dir) = hierarchy.dir(path) {
            assert!(dir.starts_with(&hierarchy.mount), "{hierarchy:?} {path:?}");
            assert!(!dir.strip_prefix(&hierarchy.mount).unwrap().iter().any(|part| part == ".."));
        }
    }
    if let Ok(word) = written.parse::<Word>() {
        assert_eq!(word.to_string(), written);
    }
}

pub(crate) fn mounts() -> Vec<Vec<u8>> {
    crate::seeds_of([
        "25 23 0:22 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup rw,nsdelegate\n/a.slice/b",
        "30 24 0:26 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n\
         31 24 0:28 /docker/ab /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct\n\
         32 24 0:29 / /sys/fs/cgroup/with\\040space rw - cgroup cgroup rw,xattr,name=systemd\n\
         /docker/ab/../..",
        "sshd",
    ])
}
