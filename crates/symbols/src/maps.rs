//! `/proc/PID/maps`: where in a process which file's code lies.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::ops::Range;
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;

/// More executable mappings than this are not kept: a process that maps and protects page by page
/// could otherwise have us store a million of them.
const MAPPINGS_MAX: usize = 1 << 16;
/// Longer than a line can be: the kernel's own limit for a path is 4096 bytes.
const LINE_BYTES_MAX: u64 = 1 << 14;

/// A file as the kernel numbers it in `maps`. It is not what `stat` says of the same file on every
/// file system: on btrfs and overlayfs the devices differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Inode {
    /// The device's major number.
    pub major: u32,
    /// The device's minor number.
    pub minor: u32,
    /// The inode's number on it.
    pub number: u64,
}

/// What is behind a mapping.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Backing {
    /// A file.
    File {
        /// Which one.
        inode: Inode,
        /// Its path as the process' mount namespace has it, with line ends as the kernel shows
        /// them (`\012`), and without `(deleted)`.
        path: PathBuf,
        /// The path leads to it no more. A file whose name ends in ` (deleted)` cannot be told
        /// from that.
        is_deleted: bool,
    },
    /// Memory with a descriptor instead of a path (`memfd_create`): some runtimes put the code
    /// there that they make.
    Memfd {
        /// Which one.
        inode: Inode,
        /// What it was called when it was made.
        name: String,
    },
    /// Memory without a file: the heap, stacks, and what was mapped anonymously, whether it was
    /// named (`[anon:…]`) or not. Code in there was made while the process ran.
    Anonymous,
    /// The library that the kernel maps into every process.
    Vdso,
    /// The copies of instructions that the kernel has put a uprobe on, which it steps through.
    Uprobes,
    /// Another mapping of the kernel's own, such as `[vsyscall]`.
    Kernel(String),
}

/// A range of addresses whose contents may be executed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    /// The addresses.
    pub addresses: Range<u64>,
    /// Where in the file the first of them lies.
    pub offset: u64,
    /// What is behind it.
    pub backing: Backing,
}

impl Mapping {
    /// Where in the file an address lies; none for one outside of the mapping.
    #[must_use]
    pub fn offset_of(&self, address: u64) -> Option<u64> {
        if !self.addresses.contains(&address) {
            return None;
        }
        // A sum past the end of 64 bits is no place in any file.
        (address - self.addresses.start).checked_add(self.offset)
    }
}

/// The executable mappings of a process as they stood at one moment, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Maps {
    mappings: Vec<Mapping>,
    unread: usize,
}

impl Maps {
    /// Reads those of a process.
    ///
    /// # Errors
    /// The process has ended, or it may not be looked at. A thread of the kernel's has none.
    pub fn read(pid: u32) -> io::Result<Self> {
        Self::parse(BufReader::new(File::open(format!("/proc/{pid}/maps"))?))
    }

    /// Reads them from lines in the kernel's format. Lines that are not are left out and counted.
    ///
    /// # Errors
    /// What the reader says.
    pub fn parse(mut lines: impl BufRead) -> io::Result<Self> {
        let mut maps = Self::default();
        let mut line = Vec::new();
        loop {
            line.clear();
            let read = io::Read::take(&mut lines, LINE_BYTES_MAX).read_until(b'\n', &mut line)?;
            if read == 0 {
                break;
            }
            match parse_line(line.strip_suffix(b"\n").unwrap_or(&line)) {
                Some(Line::Executable(mapping)) if maps.mappings.len() < MAPPINGS_MAX => {
                    maps.mappings.push(mapping);
                }
                Some(Line::NotExecutable) => {}
                Some(Line::Executable(_)) | None => maps.unread += 1,
            }
        }
        // The kernel's are in order already, and they do not overlap.
        maps.mappings.sort_by_key(|mapping| mapping.addresses.start);
        Ok(maps)
    }

    /// The mapping that an address lies in, and its place among [`all`](Self::all).
    #[must_use]
    pub fn find(&self, address: u64) -> Option<(usize, &Mapping)> {
        let after = self.mappings.partition_point(|mapping| mapping.addresses.start <= address);
        let at = after.checked_sub(1)?;
        let mapping = self.mappings.get(at)?;
        mapping.addresses.contains(&address).then_some((at, mapping))
    }

    /// All of them, by address.
    #[must_use]
    pub fn all(&self) -> &[Mapping] {
        &self.mappings
    }

    /// How many lines were left out: not in the kernel's format, or too many.
    #[must_use]
    pub fn unread(&self) -> usize {
        self.unread
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Line {
    Executable(Mapping),
    NotExecutable,
}

/// `55d0c0a00000-55d0c0a05000 r-xp 00002000 fd:01 1234    /usr/bin/sleep (deleted)`. A path may
/// hold spaces; five fields before it do not.
fn parse_line(line: &[u8]) -> Option<Line> {
    let mut rest = line;
    let addresses = range(text(field(&mut rest)?)?)?;
    let permissions = field(&mut rest)?;
    let offset = hex(text(field(&mut rest)?)?)?;
    let (major, minor) = text(field(&mut rest)?)?.split_once(':')?;
    let inode = Inode {
        major: u32::try_from(hex(major)?).ok()?,
        minor: u32::try_from(hex(minor)?).ok()?,
        number: decimal(text(field(&mut rest)?)?)?,
    };
    if *permissions.get(2)? != b'x' {
        return Some(Line::NotExecutable);
    }
    let backing = backing(rest.trim_ascii_start(), inode);
    Some(Line::Executable(Mapping { addresses, offset, backing }))
}

fn backing(name: &[u8], inode: Inode) -> Backing {
    let deleted = name.strip_suffix(b" (deleted)");
    let path = deleted.unwrap_or(name);
    if let Some(name) = path.strip_prefix(b"/memfd:") {
        return Backing::Memfd { inode, name: String::from_utf8_lossy(name).into_owned() };
    }
    // Shared memory without a name is a deleted file to the kernel, but nobody's program; that is
    // what a mapping of huge pages and of System V shared memory looks like, too.
    let is_shared_memory = deleted.is_some()
        && [&b"/dev/zero"[..], b"/anon_hugepage"].contains(&path)
        || path.starts_with(b"/SYSV");
    match path {
        b"[vdso]" => Backing::Vdso,
        b"[uprobes]" => Backing::Uprobes,
        b"" | b"//anon" | b"[heap]" | b"[stack]" => Backing::Anonymous,
        _ if is_shared_memory => Backing::Anonymous,
        _ if [&b"[anon:"[..], b"[anon_shmem:", b"[stack:"].iter().any(|a| path.starts_with(a)) => {
            Backing::Anonymous
        }
        _ if path.starts_with(b"[") && inode.number == 0 => {
            Backing::Kernel(String::from_utf8_lossy(path).into_owned())
        }
        _ => Backing::File {
            inode,
            path: PathBuf::from(OsString::from_vec(path.to_vec())),
            is_deleted: deleted.is_some(),
        },
    }
}

/// Takes the next word off a line.
fn field<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let line = rest.trim_ascii_start();
    let end = line.iter().position(|byte| *byte == b' ').unwrap_or(line.len());
    let (word, after) = line.split_at(end);
    *rest = after;
    (!word.is_empty()).then_some(word)
}

fn text(word: &[u8]) -> Option<&str> {
    std::str::from_utf8(word).ok()
}

/// `7f12-7f34`; what is empty or backwards is none.
pub(crate) fn range(word: &str) -> Option<Range<u64>> {
    let (start, end) = word.split_once('-')?;
    let range = hex(start)?..hex(end)?;
    (!range.is_empty()).then_some(range)
}

/// Digits only: Rust's own parser takes a sign, too.
pub(crate) fn hex(word: &str) -> Option<u64> {
    word.bytes().all(|b| b.is_ascii_hexdigit()).then(|| u64::from_str_radix(word, 16).ok())?
}

fn decimal(word: &str) -> Option<u64> {
    word.bytes().all(|b| b.is_ascii_digit()).then(|| word.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> Maps {
        Maps::parse(text.as_bytes()).unwrap()
    }

    fn one(line: &str) -> Mapping {
        let maps = parse(line);
        assert_eq!((maps.all().len(), maps.unread()), (1, 0), "{line}");
        maps.all()[0].clone()
    }

    #[test]
    fn what_is_behind_a_mapping_is_told_from_its_name() {
        let inode = Inode { major: 0xfd, minor: 1, number: 1234 };
        let file = |path: &str, is_deleted| Backing::File { inode, path: path.into(), is_deleted };
        let memfd = |name: &str| Backing::Memfd { inode, name: name.into() };
        for (id, name, expected) in [
            ("fd:01 1234", "   /usr/bin/sleep", file("/usr/bin/sleep", false)),
            ("fd:01 1234", " /usr/bin/sleep (deleted)", file("/usr/bin/sleep", true)),
            ("fd:01 1234", " /a b/c  d", file("/a b/c  d", false)),
            ("fd:01 1234", r" /a\012b", file(r"/a\012b", false)),
            ("fd:01 1234", " /memfd:doublemapper (deleted)", memfd("doublemapper")),
            ("fd:01 1234", " /memfd: (deleted)", memfd("")),
            ("00:01 1234", " /dev/zero (deleted)", Backing::Anonymous),
            ("00:01 7", " /SYSV00000000 (deleted)", Backing::Anonymous),
            ("00:00 0", "", Backing::Anonymous),
            ("00:00 0", " ", Backing::Anonymous),
            ("00:00 0", " //anon", Backing::Anonymous),
            ("00:00 0", " [heap]", Backing::Anonymous),
            ("00:00 0", " [anon:JIT code]", Backing::Anonymous),
            ("00:01 99", " [anon_shmem:x]", Backing::Anonymous),
            ("00:00 0", " [vdso]", Backing::Vdso),
            ("00:00 0", " [uprobes]", Backing::Uprobes),
            ("00:00 0", " [vsyscall]", Backing::Kernel("[vsyscall]".into())),
        ] {
            let line = format!("7f0000001000-7f0000003000 r-xp 00002000 {id}{name}\n");
            let mapping = one(&line);
            assert_eq!(mapping.backing, expected, "{line}");
            assert_eq!(mapping.addresses, 0x7f00_0000_1000..0x7f00_0000_3000);
            assert_eq!(mapping.offset, 0x2000);
        }
    }

    #[test]
    fn lines_that_no_kernel_wrote_are_left_out_and_counted() {
        for line in [
            "\n",
            "junk",
            "1000-2000",
            "1000-2000 r-xp 0 00:00",
            "1000-2000 r- 0 00:00 0",
            "1000-2000 r-xp 0 0000 0",
            "1000-2000 r-xp 0 00:00 -1",
            "+1000-2000 r-xp 0 00:00 0",
            "2000-1000 r-xp 0 00:00 0",
            "1000-1000 r-xp 0 00:00 0",
            "1000-2000 r-xp fffffffffffffffff 00:00 0",
            "1000-2000 r-xp 0 100000000:00 0",
            "\u{fffd}-2000 r-xp 0 00:00 0",
        ] {
            let maps = parse(line);
            assert_eq!((maps.all().len(), maps.unread()), (0, 1), "{line}");
        }
        let maps = parse("x\n1000-2000 rw-p 0 00:00 0\n2000-3000 --xp 0 00:00 0\n");
        assert_eq!((maps.all().len(), maps.unread()), (1, 1));
        assert_eq!(parse(""), Maps::default());
    }

    #[test]
    fn a_line_without_an_end_does_not_fill_the_memory() {
        let line = vec![b'a'; usize::try_from(LINE_BYTES_MAX).unwrap() * 3];
        let maps = Maps::parse(&line[..]).unwrap();
        assert_eq!((maps.all().len(), maps.unread()), (0, 3));
    }

    #[test]
    fn an_address_is_found_in_its_mapping_and_nowhere_else() {
        let maps = parse("4000-5000 r-xp 100 00:00 0\n1000-2000 r-xp 0 00:00 0\n");
        for (address, expected) in [
            (0xfff, None),
            (0x1000, Some((0, 0))),
            (0x1fff, Some((0, 0xfff))),
            (0x2000, None),
            (0x4001, Some((1, 0x101))),
            (0x5000, None),
            (u64::MAX, None),
        ] {
            let found = maps.find(address).map(|(at, m)| (at, m.offset_of(address).unwrap()));
            assert_eq!(found, expected, "{address:#x}");
        }
        let far = one("1000-2000 r-xp ffffffffffffffff 00:00 0");
        assert_eq!((far.offset_of(0x1000), far.offset_of(0x1001)), (Some(u64::MAX), None));
        assert_eq!(far.offset_of(0x2000), None);
    }

    #[test]
    fn this_process_has_its_own_code_mapped() {
        let maps = Maps::read(std::process::id()).unwrap();
        assert_eq!(maps.unread(), 0);
        let here = this_process_has_its_own_code_mapped as fn() as usize as u64;
        let (_, mapping) = maps.find(here).expect("it is running");
        let Backing::File { path, .. } = &mapping.backing else { panic!("{mapping:?}") };
        assert_eq!(*path, std::env::current_exe().unwrap());
        assert!(maps.all().iter().any(|mapping| mapping.backing == Backing::Vdso));
    }

    proptest! {
        #[test]
        fn nothing_that_is_read_panics(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let maps = Maps::parse(&bytes[..]).unwrap();
            prop_assert!(maps.find(0x1000).is_none_or(|(_, m)| m.offset_of(0x1000).is_some()
                || m.offset.checked_add(0x1000).is_none()));
        }

        #[test]
        fn nothing_that_looks_like_a_line_panics(
            line in "[0-9a-f]{1,17}-[0-9a-f]{1,17} [r-][w-][x-][ps] [0-9a-f]{1,17} \
                     [0-9a-f]{1,9}:[0-9a-f]{1,3} [0-9]{1,21} .{0,30}",
            address in any::<u64>(),
        ) {
            let maps = parse(&line);
            prop_assert!(maps.all().len() + maps.unread() <= line.lines().count().max(1) + 1);
            if let Some((_, mapping)) = maps.find(address) {
                prop_assert!(mapping.addresses.contains(&address));
            }
        }

        #[test]
        fn what_was_written_is_read(
            start in 0u64..1 << 47, length in 1u64..1 << 30, offset in 0u64..1 << 40,
            number in 1u64.., path in "/[ -~]{0,40}[a-z]",
        ) {
            prop_assume!(!["/memfd:", "/SYSV"].iter().any(|start| path.starts_with(start)));
            let line = format!("{start:x}-{:x} r-xp {offset:08x} 08:02 {number}    {path}\n", start + length);
            let inode = Inode { major: 8, minor: 2, number };
            prop_assert_eq!(one(&line), Mapping {
                addresses: start..start + length,
                offset,
                backing: Backing::File { inode, path: path.into(), is_deleted: false },
            });
        }
    }
}
