//! Small tables, as each version's linker would make them.

use proptest::prelude::*;

use super::*;

pub(in crate::go) const TEXT: u64 = 0x40_1000;
const FIRST: u64 = TEXT;
pub(in crate::go) const SECOND: u64 = TEXT + 0x40;
const END: u64 = TEXT + 0x80;
const ALL: [Version; 4] = [Version::Go2, Version::Go16, Version::Go18, Version::Go20];

/// Bytes that are put together piece by piece.
#[derive(Default)]
struct Bytes(Vec<u8>);

impl Bytes {
    fn at(&self) -> usize {
        self.0.len()
    }

    /// Returns where it is.
    fn put(&mut self, bytes: &[u8]) -> u32 {
        let at = u32::try_from(self.at()).unwrap();
        self.0.extend(bytes);
        at
    }

    fn word(&mut self, word: u32) {
        self.put(&word.to_ne_bytes());
    }

    fn address(&mut self, address: u64) {
        self.put(&address.to_ne_bytes());
    }

    fn align(&mut self) {
        self.0.resize(self.at().next_multiple_of(8), 0);
    }

    fn set_address(&mut self, at: usize, address: u64) {
        self.0[at..at + 8].copy_from_slice(&address.to_ne_bytes());
    }
}

/// One function's values: each holds for so many bytes.
fn values(all: &[(i32, u8)]) -> Vec<u8> {
    let mut last = -1;
    let mut bytes = Vec::new();
    for (value, length) in all {
        let change = value - last;
        last = *value;
        let mut change = ((change << 1) ^ (change >> 31)).cast_unsigned();
        while change >= 0x80 {
            bytes.push(u8::try_from(change & 0x7f).unwrap() | 0x80);
            change >>= 7;
        }
        bytes.extend([u8::try_from(change).unwrap(), *length]);
    }
    bytes.push(0);
    bytes
}

/// A table of two functions, and what was inlined: of the second one's bytes from 16 up to 32
/// `inner` was inlined into `middle`, and that into the second.
pub(in crate::go) fn table(version: Version) -> (Vec<u8>, Vec<u8>) {
    let magic: u32 = match version {
        Version::Go2 => 0xffff_fffb,
        Version::Go16 => 0xffff_fffa,
        Version::Go18 => 0xffff_fff0,
        Version::Go20 => 0xffff_fff1,
    };
    let is_relative = version >= Version::Go18;
    let mut all = Bytes::default();
    all.word(magic);
    all.put(&[0, 0, 1, 8]);
    all.address(2);
    if version != Version::Go2 {
        all.address(2);
        for _ in 0..if is_relative { 6 } else { 5 } {
            all.address(0);
        }
    }
    // Distances are from the parts' beginnings, but up to Go 1.15 from the whole's.
    let base = |all: &Bytes| if version == Version::Go2 { 0 } else { all.at() };
    let list_at = all.at();
    if version == Version::Go2 {
        // The list of functions and of files comes first.
        all.0.resize(list_at + 5 * 8 + 4, 0);
        all.align();
    }
    let names_at = base(&all);
    let names: Vec<u32> = ["first", "second", "inner", "middle"]
        .iter()
        .map(|name| all.put(format!("{name}\0").as_bytes()) - u32::try_from(names_at).unwrap())
        .collect();
    let files_at = base(&all);
    let files: Vec<u32> = ["a.go", "b.go"]
        .iter()
        .map(|name| all.put(format!("{name}\0").as_bytes()) - u32::try_from(files_at).unwrap())
        .collect();
    all.align();
    let units_at = all.at();
    if version == Version::Go2 {
        all.word(3);
    } else {
        all.word(u32::MAX);
    }
    all.word(files[0]);
    all.word(files[1]);
    all.align();
    let values_at = base(&all);
    // No function's table is at nought.
    all.put(&[0]);
    let mut put = |of: &[(i32, u8)]| all.put(&values(of)) - u32::try_from(values_at).unwrap();
    let number = |file| if version == Version::Go2 { file + 1 } else { file };
    let file = [put(&[(number(0), 64)]), put(&[(number(0), 16), (number(1), 48)])];
    let line = [put(&[(10, 32), (300, 32)]), put(&[(20, 8), (21, 8), (7, 16), (22, 32)])];
    let calls = [put(&[(-1, 64)]), put(&[(-1, 4), (0, 4), (-1, 8), (1, 16), (-1, 32)])];
    all.align();
    let functions_at = all.at();
    let mut list = vec![0; 5];
    if version != Version::Go2 {
        all.0.resize(functions_at + 5 * 8, 0);
    }
    for (at, start) in [FIRST, SECOND].into_iter().enumerate() {
        all.align();
        let here = all.at() - if version == Version::Go2 { 0 } else { functions_at };
        list[2 * at] = if is_relative { start - TEXT } else { start };
        list[2 * at + 1] = here as u64;
        if is_relative {
            all.word(u32::try_from(start - TEXT).unwrap());
        } else {
            all.address(start);
        }
        // Arguments, the deferred call, and the stack's size are not read.
        for word in [names[at], 0, 0, 0, file[at], line[at], 3, 1] {
            all.word(word);
        }
        if version == Version::Go20 {
            all.word(9);
        }
        all.put(&[0, 0, 0, 4]);
        for word in [0, 0, calls[at], u32::MAX, u32::MAX, u32::MAX] {
            all.word(word);
        }
        // Where in what was inlined its calls are.
        all.word(if at == 0 { u32::MAX } else { 8 });
    }
    list[4] = if is_relative { END - TEXT } else { END };
    let width = if is_relative { 4 } else { 8 };
    let list_at = if version == Version::Go2 { list_at } else { functions_at };
    for (at, entry) in list.into_iter().enumerate() {
        let to = list_at + at * width;
        all.0[to..to + width].copy_from_slice(&entry.to_ne_bytes()[..width]);
    }
    if version == Version::Go2 {
        let to = list_at + 5 * 8;
        all.0[to..to + 4].copy_from_slice(&u32::try_from(units_at).unwrap().to_ne_bytes());
    } else {
        let first = if is_relative { 32 } else { 24 };
        let parts = [names_at, units_at, files_at, values_at, functions_at];
        for (at, part) in parts.into_iter().enumerate() {
            all.set_address(first + at * 8, part as u64);
        }
    }
    let mut inlined = Bytes::default();
    inlined.address(u64::MAX);
    // `middle` is called at byte 2 of the second function, `inner` at byte 5, which is in `middle`.
    for (name, parent) in [(names[3], 2), (names[2], 5)] {
        let words: &[u32] = match version {
            Version::Go18 => &[0, 0, 0, name, parent],
            _ => &[0, name, parent, 1],
        };
        words.iter().for_each(|word| inlined.word(*word));
    }
    (all.0, inlined.0)
}

fn look_up(version: Version, address: u64) -> Option<Vec<String>> {
    let (bytes, inlined) = table(version);
    let table = Table::parse(&bytes).unwrap();
    let found = table.with(TEXT, &inlined).look_up(address)?;
    let show = |found: &Found| {
        let file = found.file.as_deref().unwrap_or("?");
        format!("{} {file}:{}", found.name, found.line.unwrap_or(0))
    };
    assert!(found.last().unwrap().start.is_some());
    Some(found.iter().map(show).collect())
}

#[test]
fn names_files_and_lines_are_found() {
    for version in ALL {
        for (address, expected) in [
            (FIRST, "first a.go:10"),
            (FIRST + 31, "first a.go:10"),
            (FIRST + 32, "first a.go:300"),
            (SECOND, "second a.go:20"),
            (SECOND + 15, "second a.go:21"),
            (SECOND + 32, "second b.go:22"),
            (END - 1, "second b.go:22"),
        ] {
            let found = look_up(version, address).unwrap();
            assert_eq!(found, [expected], "{version:?} {address:#x}");
        }
        for nowhere in [0, FIRST - 1, END, u64::MAX] {
            assert_eq!(look_up(version, nowhere), None, "{version:?} {nowhere:#x}");
        }
    }
}

#[test]
fn what_was_inlined_is_found() {
    for version in [Version::Go18, Version::Go20] {
        let found = look_up(version, SECOND + 20).unwrap();
        let expected = ["inner b.go:7", "middle a.go:20", "second a.go:20"];
        assert_eq!(found, expected, "{version:?}");
    }
    // Before Go 1.18 the lists are at addresses, which are not looked for.
    for version in [Version::Go2, Version::Go16] {
        assert_eq!(look_up(version, SECOND + 20).unwrap(), ["second b.go:7"], "{version:?}");
    }
}

#[test]
fn what_was_inlined_into_itself_ends() {
    let (bytes, mut inlined) = table(Version::Go20);
    // The outer call's place is the place that was asked for.
    inlined[16..20].copy_from_slice(&20_u32.to_ne_bytes());
    inlined[32..36].copy_from_slice(&20_u32.to_ne_bytes());
    let found = Table::parse(&bytes).unwrap().with(TEXT, &inlined).look_up(SECOND + 20).unwrap();
    assert_eq!(found.len(), INLINED_MAX + 1);
}

#[test]
fn other_bytes_are_no_table() {
    let (bytes, _) = table(Version::Go20);
    for (at, byte) in [(0, 0xf2), (3, 0), (4, 1), (5, 1), (6, 3), (7, 2)] {
        let mut changed = bytes.clone();
        changed[at] = byte;
        assert!(Table::parse(&changed).is_none(), "{at}");
    }
    assert!(Table::parse(&[]).is_none());
}

#[test]
fn a_table_that_is_cut_off_gives_what_it_still_has() {
    for version in ALL {
        let (bytes, inlined) = table(version);
        for length in 0..bytes.len() {
            let Some(table) = Table::parse(&bytes[..length]) else { continue };
            let table = table.with(TEXT, &inlined[..length.min(inlined.len())]);
            for address in FIRST..END {
                table.look_up(address);
            }
        }
    }
}

proptest! {
    #[test]
    fn no_bytes_panic(
        version in prop::sample::select(&ALL[..]),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
        text in prop_oneof![Just(TEXT), any::<u64>()],
        address in prop_oneof![FIRST..END, any::<u64>()],
    ) {
        let (mut bytes, mut inlined) = table(version);
        for (at, byte) in changes {
            // Their head says where everything is; there a change does most.
            let at = at.index(2 * bytes.len());
            match bytes.get_mut(at) {
                Some(of) => *of = byte,
                None if at % 2 == 0 => bytes[at % 80] = byte,
                None => {
                    let length = inlined.len();
                    inlined[at % length] = byte;
                }
            }
        }
        if let Some(table) = Table::parse(&bytes) {
            let table = table.with(text, &inlined);
            for address in (FIRST..END).chain([address]) {
                if let Some(found) = table.look_up(address) {
                    prop_assert!(found.len() <= INLINED_MAX + 1);
                }
            }
        }
    }

    #[test]
    fn no_other_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), address in any::<u64>()) {
        let mut bytes = bytes;
        if let Some(head) = bytes.first_chunk_mut() {
            *head = [0xf1, 0xff, 0xff, 0xff, 0, 0, 1, 4];
        }
        if let Some(table) = Table::parse(&bytes) {
            table.with(0, &bytes).look_up(address);
        }
    }
}
