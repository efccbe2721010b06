//! `/tmp/perf-PID.map`: what a runtime that makes code while it runs says of that code.
//!
//! The file is text, `START SIZE NAME` in a line with hexadecimal numbers, and it only grows: when
//! memory is used anew, a line further down is the one that holds.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};

use crate::maps::hex;
use crate::names::shorten;
use crate::open;

/// Of a longer file only the end is read, which has what is newest.
const BYTES_MAX: u64 = 64 << 20;
const ENTRIES_MAX: usize = 1 << 20;
const NAME_BYTES_MAX: usize = 1 << 10;

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    end: u64,
    name: Box<str>,
}

/// The code that a runtime has told of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PerfMap {
    /// By their first address; they do not overlap.
    entries: BTreeMap<u64, Entry>,
    unread: usize,
}

impl PerfMap {
    /// Reads that of a process, from the process' own `/tmp` and under the pid that the process
    /// has for itself; none where it has written none.
    ///
    /// # Errors
    /// The process has ended; or somebody else has put the file there, or something that is no
    /// file.
    pub fn read(pid: u32) -> io::Result<Option<Self>> {
        let status = Status::read(pid)?;
        let path = format!("tmp/perf-{}.map", status.innermost_pid);
        let file = match open::in_root(pid, path.as_ref()) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let metadata = file.metadata()?;
        // /tmp is everybody's: who else could write it could give names to code of another's.
        if ![0, status.user].contains(&metadata.uid()) {
            return Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                format!("/{path} belongs to user {}, not to the process'", metadata.uid()),
            ));
        }
        let start = metadata.len().saturating_sub(BYTES_MAX);
        let length = usize::try_from(metadata.len() - start).map_err(io::Error::other)?;
        let mut bytes = vec![0; length];
        let mut read = 0;
        // Cut short since its length was asked for: what is there is read.
        while let Some(rest) = bytes.get_mut(read..).filter(|rest| !rest.is_empty()) {
            match file.read_at(rest, start + read as u64)? {
                0 => break,
                more => read += more,
            }
        }
        bytes.truncate(read);
        let whole =
            if start == 0 { 0 } else { bytes.iter().position(|b| *b == b'\n').unwrap_or(0) };
        Ok(Some(Self::parse(&bytes[whole..])))
    }

    /// Reads one. Lines in another format are left out and counted, the last one too if it has no
    /// end yet: it is just being written.
    #[must_use]
    pub fn parse(text: &[u8]) -> Self {
        let mut map = Self::default();
        let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        map.unread += usize::from(whole < text.len());
        for line in text[..whole].split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            match parse_line(line) {
                Some((start, entry)) if map.entries.len() < ENTRIES_MAX => map.put(start, entry),
                Some(_) | None => map.unread += 1,
            }
        }
        map
    }

    /// What lies at an address.
    #[must_use]
    pub fn name(&self, address: u64) -> Option<&str> {
        let (_, entry) = self.entries.range(..=address).next_back()?;
        (address < entry.end).then_some(&entry.name)
    }

    /// How many ranges there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many lines were left out.
    #[must_use]
    pub fn unread(&self) -> usize {
        self.unread
    }

    /// The newer range takes what it covers; an older one keeps its rest, since a sample from
    /// before may lie there.
    fn put(&mut self, start: u64, entry: Entry) {
        let before = self.entries.range_mut(..start).next_back();
        if let Some((_, older)) = before.filter(|(_, older)| older.end > start) {
            let rest = (older.end > entry.end).then(|| older.clone());
            older.end = start;
            if let Some(rest) = rest {
                self.entries.insert(entry.end, rest);
            }
        }
        let covered: Vec<u64> = self.entries.range(start..entry.end).map(|(at, _)| *at).collect();
        for at in covered {
            let older = self.entries.remove(&at);
            if let Some(rest) = older.filter(|older| older.end > entry.end) {
                self.entries.insert(entry.end, rest);
            }
        }
        self.entries.insert(start, entry);
    }
}

fn parse_line(line: &[u8]) -> Option<(u64, Entry)> {
    let line = String::from_utf8_lossy(line);
    let (start, rest) = line.trim_start().split_once([' ', '\t'])?;
    let (size, name) = rest.trim_start().split_once([' ', '\t'])?;
    let number = |word: &str| hex(word.strip_prefix("0x").unwrap_or(word));
    let (start, size, name) = (number(start)?, number(size)?, name.trim());
    let end = start.checked_add(size)?;
    if start == end || name.is_empty() {
        return None;
    }
    Some((start, Entry { end, name: shorten(name, NAME_BYTES_MAX).into() }))
}

/// What `/proc/PID/status` has of a process.
#[derive(Debug, PartialEq, Eq)]
struct Status {
    innermost_pid: u32,
    user: u32,
}

impl Status {
    fn read(pid: u32) -> io::Result<Self> {
        let text = fs::read(format!("/proc/{pid}/status"))?;
        Self::parse(&String::from_utf8_lossy(&text)).ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidData, format!("/proc/{pid}/status"))
        })
    }

    fn parse(text: &str) -> Option<Self> {
        let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
        Some(Self {
            // One for each namespace that it is in, its own last.
            innermost_pid: field("NSpid:")?.split_whitespace().next_back()?.parse().ok()?,
            // Real, effective, saved, of the file system: files are made as the last one.
            user: field("Uid:")?.split_whitespace().nth(3)?.parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> PerfMap {
        PerfMap::parse(text.as_bytes())
    }

    #[test]
    fn the_newest_of_overlapping_entries_wins() {
        for (text, expected) in [
            ("100 10 a\n", [None, Some("a"), Some("a"), None]),
            ("100 10 a\n100 10 b\n", [None, Some("b"), Some("b"), None]),
            ("100 10 a\n108 10 b\n", [None, Some("a"), Some("b"), Some("b")]),
            ("108 10 b\n100 10 a\n", [None, Some("a"), Some("a"), Some("b")]),
            ("f0 40 old\n100 10 new\n", [Some("old"), Some("new"), Some("new"), Some("old")]),
            ("108 1 in\nf0 40 all\n", [Some("all"); 4]),
            ("f0 18 x\n110 8 y\n104 10 z\n", [Some("x"), Some("x"), Some("z"), Some("z")]),
            ("0x100 0x10 void A::b(int, char)\n", [None; 4]),
        ] {
            let map = parse(text);
            if text.starts_with("0x") {
                assert_eq!(map.name(0x10f), Some("void A::b(int, char)"));
                continue;
            }
            assert_eq!([0xff, 0x100, 0x108, 0x110].map(|at| map.name(at)), expected, "{text}");
        }
    }

    #[test]
    fn lines_in_another_format_are_left_out_and_counted() {
        for line in
            ["x\n", "1 2\n", "1 2 \n", "1 0 a\n", "g 1 a\n", "-1 1 a\n", "1 ffffffffffffffff a\n"]
        {
            let map = parse(line);
            assert_eq!((map.len(), map.unread()), (0, 1), "{line}");
        }
        // The last line has no end yet: its name may be longer, its size another.
        let map = parse("10 1 a\n\n20 1 b");
        assert_eq!((map.len(), map.unread(), map.is_empty()), (1, 1, false));
        let long = format!("10 1 {}\n", "ä".repeat(NAME_BYTES_MAX));
        assert_eq!(parse(&long).name(0x10).unwrap().len(), NAME_BYTES_MAX);
    }

    #[test]
    fn a_process_is_known_by_its_own_pid_and_user() {
        let text = "Name:\tx\nUid:\t1\t2\t3\t4\nNSpid:\t4711\t12\t1\n";
        assert_eq!(Status::parse(text), Some(Status { innermost_pid: 1, user: 4 }));
        for text in ["", "Uid:\t1\nNSpid:\t1\n", "Uid:\t1\t1\t1\t1\nNSpid:\t\n"] {
            assert_eq!(Status::parse(text), None, "{text}");
        }
    }

    proptest! {
        /// Against the plain reading of the rule: the last line that covers an address.
        #[test]
        fn every_address_has_the_name_of_the_last_line_that_covers_it(
            lines in prop::collection::vec((0u64..64, 1u64..24), 0..24),
        ) {
            let text: String = lines.iter().enumerate()
                .map(|(at, (start, size))| format!("{start:x} {size:x} n{at}\n")).collect();
            let map = parse(&text);
            for address in 0..100 {
                let expected = lines.iter().rposition(|(start, size)| {
                    (*start..start + size).contains(&address)
                });
                let expected = expected.map(|at| format!("n{at}"));
                prop_assert_eq!(map.name(address), expected.as_deref(), "{:#x} in\n{}", address, text);
            }
        }

        #[test]
        fn nothing_panics(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = PerfMap::parse(&bytes).name(0x10);
        }
    }
}
