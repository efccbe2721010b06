//! Every process of this machine, as it stood at one moment.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;

/// `PF_KTHREAD` of the kernel's `include/linux/sched.h`.
const KERNEL_THREAD: u64 = 0x0020_0000;

/// One process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Its pid.
    pub pid: u32,
    /// Its parent's; 0 where there is none to be seen.
    pub parent: u32,
    /// Its session's leader; 0 where that is outside this pid namespace.
    pub session: u32,
    /// The command it runs under, as the kernel names it (at most 15 bytes).
    pub name: String,
    /// When it was started, in clock ticks since boot.
    pub start_ticks: u64,
    /// It is a thread of the kernel's own.
    pub is_kernel: bool,
    /// It has ended and waits for its parent to hear of it.
    pub has_ended: bool,
}

/// The processes of this pid namespace. Those that began or ended while it was read may be
/// missing.
#[derive(Debug, Clone, Default)]
pub struct Processes {
    rows: BTreeMap<u32, Row>,
    children: BTreeMap<u32, Vec<u32>>,
}

impl Processes {
    /// Reads `/proc`.
    ///
    /// # Errors
    /// It is not mounted.
    pub fn read() -> io::Result<Self> {
        let pids = fs::read_dir("/proc")?
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        // One that cannot be read has ended since the listing.
        Ok(Self::new(pids.filter_map(|pid| {
            parse_stat(pid, &String::from_utf8_lossy(&fs::read(format!("/proc/{pid}/stat")).ok()?))
        })))
    }

    /// The processes given.
    #[must_use]
    pub fn new(rows: impl IntoIterator<Item = Row>) -> Self {
        let rows: BTreeMap<_, _> = rows.into_iter().map(|row| (row.pid, row)).collect();
        let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for row in rows.values() {
            children.entry(row.parent).or_default().push(row.pid);
        }
        Self { rows, children }
    }

    /// The process of that pid.
    #[must_use]
    pub fn get(&self, pid: u32) -> Option<&Row> {
        self.rows.get(&pid)
    }

    /// All of them, in the order of their pids.
    pub fn iter(&self) -> impl Iterator<Item = &Row> {
        self.rows.values()
    }

    /// The children of a process, their children and so on: nearer ones first, and each once. The
    /// process itself is not among them.
    #[must_use]
    pub fn descendants(&self, pid: u32) -> Vec<u32> {
        let mut found = Vec::new();
        let mut seen = BTreeSet::from([pid]);
        let mut next = vec![pid];
        while !next.is_empty() {
            next = next
                .iter()
                .flat_map(|parent| self.children.get(parent).into_iter().flatten())
                .copied()
                // A table read while pids were reused can go round in a circle.
                .filter(|child| seen.insert(*child))
                .collect();
            found.extend(&next);
        }
        found
    }

    /// Its parent, the parent's parent and so on.
    #[must_use]
    pub fn ancestors(&self, pid: u32) -> Vec<u32> {
        let mut found = Vec::new();
        let mut at = pid;
        while let Some(row) = self.get(at).and_then(|row| self.get(row.parent)) {
            if row.pid == pid || found.contains(&row.pid) {
                break;
            }
            found.push(row.pid);
            at = row.pid;
        }
        found
    }

    /// The same processes in the order in which a reader looks for the main one: those whose
    /// parent is not among them first, earlier ones before later ones, each followed by its
    /// descendants.
    #[must_use]
    pub fn main_first(&self, pids: &BTreeSet<u32>) -> Vec<u32> {
        let parent = |pid: &u32| self.get(*pid).map_or(0, |row| row.parent);
        let mut roots: Vec<u32> =
            pids.iter().copied().filter(|pid| !pids.contains(&parent(pid))).collect();
        roots.sort_by_key(|pid| (self.get(*pid).map_or(u64::MAX, |r| r.start_ticks), *pid));
        let mut ordered = Vec::with_capacity(pids.len());
        for root in roots {
            ordered.push(root);
            ordered.extend(self.descendants(root).into_iter().filter(|pid| pids.contains(pid)));
        }
        let mut seen = BTreeSet::new();
        ordered.retain(|pid| seen.insert(*pid));
        // Whoever is a parent to itself by way of reused pids has no root.
        ordered.extend(pids.iter().filter(|pid| !seen.contains(pid)));
        ordered
    }
}

/// The file name of what a process was started as, which may say more than the kernel's name.
#[must_use]
pub fn started_as(pid: u32) -> Option<String> {
    let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let first = line.split(|byte| *byte == 0).next()?;
    let first = String::from_utf8_lossy(first);
    let name = first.rsplit('/').next()?;
    (!name.is_empty()).then(|| name.to_owned())
}

/// Reads a `/proc/PID/stat`. The command may hold anything, parentheses and line ends included;
/// what follows its last parenthesis is regular.
fn parse_stat(pid: u32, text: &str) -> Option<Row> {
    let (before, rest) = text.rsplit_once(") ")?;
    let (_, name) = before.split_once('(')?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let number = |n: usize| fields.get(n - 3)?.parse::<i64>().ok();
    Some(Row {
        pid,
        parent: u32::try_from(number(4)?).ok()?,
        session: u32::try_from(number(6)?).unwrap_or(0),
        name: name.to_owned(),
        start_ticks: fields.get(22 - 3)?.parse().ok()?,
        is_kernel: fields.get(9 - 3)?.parse::<u64>().ok()? & KERNEL_THREAD != 0,
        has_ended: matches!(*fields.first()?, "Z" | "X"),
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(crate) fn row(pid: u32, parent: u32, session: u32, name: &str) -> Row {
        Row {
            pid,
            parent,
            session,
            name: name.into(),
            start_ticks: u64::from(pid),
            is_kernel: false,
            has_ended: false,
        }
    }

    #[test]
    fn a_stat_is_read_whatever_the_command() {
        let rest = "S 7 5 3 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 777 11 12\n";
        for name in ["redis", "a) Z 1 2", "((", "x y", "x\ny"] {
            let read = parse_stat(42, &format!("42 ({name}) {rest}")).unwrap();
            assert_eq!(read, Row { start_ticks: 777, ..row(42, 7, 3, name) });
        }
        let kernel =
            parse_stat(2, "2 (kthreadd) S 0 0 0 0 -1 2129984 0 0 0 0 0 0 0 0 20 0 1 0 1 0 0");
        assert!(kernel.unwrap().is_kernel);
        let ended = parse_stat(9, &format!("9 (x) {}", rest.replacen('S', "Z", 1)));
        assert!(ended.unwrap().has_ended);
        assert_eq!(parse_stat(42, "42 (redis) S 1 2"), None);
        assert_eq!(parse_stat(42, ""), None);
    }

    #[test]
    fn this_process_is_there_with_its_ancestors() {
        let me = std::process::id();
        let all = Processes::read().unwrap();
        assert!(all.get(me).is_some());
        let ancestors = all.ancestors(me);
        let parent = std::os::unix::process::parent_id();
        assert_eq!(ancestors.first(), Some(&parent).filter(|p| **p != 0), "{ancestors:?}");
        assert!(ancestors.iter().all(|pid| all.descendants(*pid).contains(&me)));
        assert!(started_as(me).is_some());
    }

    proptest! {
        #[test]
        fn a_table_that_goes_round_in_circles_still_ends(
            parents in prop::collection::vec(0u32..12, 1..12),
            start in 0u32..12,
        ) {
            let all = Processes::new((1..).zip(&parents).map(|(pid, p)| row(pid, *p, 1, "x")));
            let below = all.descendants(start);
            let distinct: BTreeSet<_> = below.iter().copied().collect();
            prop_assert_eq!(distinct.len(), below.len());
            prop_assert!(!below.contains(&start));
            prop_assert!(all.ancestors(start).len() <= parents.len());
            let pids: BTreeSet<u32> = all.iter().map(|r| r.pid).filter(|p| p % 2 == 0).collect();
            let ordered = all.main_first(&pids);
            prop_assert_eq!(ordered.iter().copied().collect::<BTreeSet<_>>(), pids.clone());
            prop_assert_eq!(ordered.len(), pids.len());
        }

        #[test]
        fn parents_stand_before_their_children(parents in prop::collection::vec(0u32..8, 1..24)) {
            // Each parent's pid is lower than the child's: a forest.
            let rows = (1u32..).zip(&parents).map(|(pid, p)| row(pid, p % pid, 1, "x"));
            let all = Processes::new(rows);
            let pids: BTreeSet<u32> = all.iter().map(|row| row.pid).collect();
            let ordered = all.main_first(&pids);
            let place = |pid: u32| ordered.iter().position(|p| *p == pid).unwrap();
            for row in all.iter().filter(|row| row.parent != 0) {
                prop_assert!(place(row.parent) < place(row.pid));
            }
        }
    }
}
