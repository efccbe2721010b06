//! A group's memory, in the words of its version.

use std::fs;
use std::path::{Path, PathBuf};

/// The control file of version 2: `max`, or bytes.
pub(super) const V2_LIMIT: &str = "memory.max";
const V2_SWAP: &str = "memory.swap.max";
/// The control file of version 1; no limit is a number near 2^63.
pub(super) const V1_LIMIT: &str = "memory.limit_in_bytes";
const V1_SWAP: &str = "memory.memsw.limit_in_bytes";
/// Limits from here on are none.
const UNLIMITED: u64 = 1 << 60;

/// One directory of the memory controller's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MemoryGroup {
    pub(super) dir: PathBuf,
}

/// What the kernel counts of a group.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counters {
    /// How often something did not fit below the limit.
    pub(super) hits: u64,
    /// How many processes the kernel has killed for that.
    pub(super) kills: u64,
}

impl MemoryGroup {
    pub(super) fn at(dir: &Path) -> Self {
        Self { dir: dir.to_path_buf() }
    }

    pub(super) fn is_v2(&self) -> bool {
        self.dir.join(V2_LIMIT).is_file()
    }

    fn read(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.dir.join(name)).ok()
    }

    fn number(&self, name: &str) -> Option<u64> {
        self.read(name)?.trim().parse().ok()
    }

    /// The limit, if there is one.
    pub(super) fn limit(&self) -> Option<u64> {
        self.number(V2_LIMIT).or_else(|| self.number(V1_LIMIT)).filter(|bytes| *bytes < UNLIMITED)
    }

    /// The file with the limit.
    pub(super) fn limit_file(&self) -> PathBuf {
        self.dir.join(if self.is_v2() { V2_LIMIT } else { V1_LIMIT })
    }

    /// Bytes in use, page cache included.
    pub(super) fn usage(&self) -> Option<u64> {
        self.number("memory.current").or_else(|| self.number("memory.usage_in_bytes"))
    }

    /// The most that was ever in use, where the kernel remembers it.
    pub(super) fn peak(&self) -> Option<u64> {
        self.number("memory.peak").or_else(|| self.number("memory.max_usage_in_bytes"))
    }

    /// Whether processes wait for memory instead of being killed (version 1).
    pub(super) fn kills_nobody(&self) -> bool {
        self.read("memory.oom_control")
            .is_some_and(|text| field(&text, "oom_kill_disable") == Some(1))
    }

    pub(super) fn counters(&self) -> Option<Counters> {
        if let Some(events) = self.read("memory.events") {
            let of = |name| field(&events, name).unwrap_or(0);
            return Some(Counters { hits: of("max"), kills: of("oom_kill") });
        }
        let kills = self.read("memory.oom_control").and_then(|text| field(&text, "oom_kill"));
        Some(Counters { hits: self.number("memory.failcnt")?, kills: kills.unwrap_or(0) })
    }

    pub(super) fn counted_in(&self) -> String {
        let files =
            if self.is_v2() { "memory.events" } else { "memory.failcnt and memory.oom_control" };
        format!("{files} of the cgroup {}", self.dir.display())
    }

    /// The files to write for a limit, in their order (undone in the other), each with what it
    /// reads back. Where there is swap, it is no way out: else the target would get slow instead
    /// of short of memory.
    pub(super) fn files(&self, bytes: u64, has_swap: bool) -> Vec<(PathBuf, String)> {
        let value = whole_pages(bytes).to_string();
        let (swap, swap_value) =
            if self.is_v2() { (V2_SWAP, "0".to_owned()) } else { (V1_SWAP, value.clone()) };
        let swap = self.dir.join(swap);
        // Version 1 wants memory and swap together never below memory alone: when the limit is
        // lowered memory comes first, when it is raised memory comes last.
        let swap = (has_swap && swap.is_file()).then_some((swap, swap_value));
        std::iter::once((self.limit_file(), value)).chain(swap).collect()
    }

    /// By how much the groups above this one, below their own limits, may still grow.
    pub(super) fn left_above(&self) -> Option<u64> {
        let above = self.dir.ancestors().skip(1).map(Self::at);
        above.filter_map(|group| Some(group.limit()?.saturating_sub(group.usage()?))).min()
    }
}

/// The kernel counts in pages, and rounds down.
pub(super) fn whole_pages(bytes: u64) -> u64 {
    // SAFETY: sysconf reads a constant of the system's.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    let page = u64::try_from(page).ok().filter(|page| *page > 0).unwrap_or(4096);
    bytes / page * page
}

fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
    line.trim().parse().ok()
}

/// The machine's memory, from `/proc/meminfo`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Machine {
    pub(super) total: u64,
    pub(super) available: u64,
    pub(super) swap: u64,
}

impl Machine {
    pub(super) fn now() -> Option<Self> {
        Self::parse(&fs::read_to_string("/proc/meminfo").ok()?)
    }

    fn parse(text: &str) -> Option<Self> {
        let bytes = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kb| kb << 10)
        };
        Some(Self {
            total: bytes("MemTotal:")?,
            available: bytes("MemAvailable:")?,
            swap: bytes("SwapTotal:")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(files: &[(&str, &str)]) -> (tempfile::TempDir, MemoryGroup) {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(dir.path().join(name), text).unwrap();
        }
        let group = MemoryGroup::at(dir.path());
        (dir, group)
    }

    const V1: &[(&str, &str)] = &[
        (V1_LIMIT, "67108864\n"),
        (V1_SWAP, "9223372036854771712\n"),
        ("memory.usage_in_bytes", "1000\n"),
        ("memory.max_usage_in_bytes", "2000\n"),
        ("memory.failcnt", "7\n"),
        ("memory.oom_control", "oom_kill_disable 1\nunder_oom 0\noom_kill 3\n"),
    ];
    const V2: &[(&str, &str)] = &[
        (V2_LIMIT, "67108864\n"),
        (V2_SWAP, "max\n"),
        ("memory.current", "1000\n"),
        ("memory.peak", "2000\n"),
        ("memory.events", "low 0\nhigh 0\nmax 7\noom 4\noom_kill 3\noom_group_kill 9\n"),
    ];

    #[test]
    fn both_versions_say_the_same_in_other_words() {
        for (files, no_limit) in
            [(V1, (V1_LIMIT, "9223372036854771712\n")), (V2, (V2_LIMIT, "max\n"))]
        {
            let (dir, group) = group(files);
            assert_eq!(group.limit(), Some(64 << 20));
            assert_eq!((group.usage(), group.peak()), (Some(1000), Some(2000)));
            assert_eq!(group.counters(), Some(Counters { hits: 7, kills: 3 }));
            assert_eq!(group.kills_nobody(), !group.is_v2());
            fs::write(dir.path().join(no_limit.0), no_limit.1).unwrap();
            assert_eq!(group.limit(), None, "{no_limit:?}");
        }
        let (_dir, empty) = group(&[]);
        assert_eq!((empty.limit(), empty.usage(), empty.counters()), (None, None, None));
    }

    #[test]
    fn swap_is_no_way_out_where_there_is_some() {
        for (files, limit, swap) in
            [(V1, V1_LIMIT, (V1_SWAP, "8388608")), (V2, V2_LIMIT, (V2_SWAP, "0"))]
        {
            let (dir, group) = group(files);
            let at = |(name, value): (&str, &str)| (dir.path().join(name), value.to_owned());
            let first = at((limit, "8388608"));
            let with_swap = [first, at(swap)];
            assert_eq!(group.files((8 << 20) + 5, false), with_swap[..1]);
            assert_eq!(group.files((8 << 20) + 5, true), with_swap);
        }
    }

    #[test]
    fn the_groups_above_leave_what_their_limits_leave() {
        let (dir, _) = group(&[(V2_LIMIT, "5000"), ("memory.current", "4000")]);
        let below = dir.path().join("a/b");
        fs::create_dir_all(&below).unwrap();
        assert_eq!(MemoryGroup::at(&below).left_above(), Some(1000));
        fs::write(dir.path().join("a").join(V2_LIMIT), "300").unwrap();
        fs::write(dir.path().join("a/memory.current"), "400").unwrap();
        assert_eq!(MemoryGroup::at(&below).left_above(), Some(0));
    }

    #[test]
    fn the_machine_is_read_in_bytes() {
        let text = "MemTotal:       24683776 kB\nMemFree: 1 kB\nMemAvailable:   1024 kB\nSwapTotal: 0 kB\n";
        let expected = Machine { total: 24_683_776 << 10, available: 1 << 20, swap: 0 };
        assert_eq!(Machine::parse(text), Some(expected));
        assert_eq!(Machine::parse("MemTotal: x kB"), None);
        assert!(Machine::now().unwrap().total > 0);
    }
}
