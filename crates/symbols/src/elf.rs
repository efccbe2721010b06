//! What is read of an ELF file before any name is looked up: its build id, where its code lies,
//! and how much its compressed sections say that they hold.
//!
//! The file is whatever a process had mapped, so that nothing in it is believed: each read has a
//! bound, and each sum may be one too many.

use std::fmt;
use std::ops::Range;

/// A file has a dozen of them, and the kernel refuses more than 64 KiB.
const PROGRAM_HEADERS_MAX: u64 = 1 << 11;
/// Objects with a section for each function have some ten thousand; programs have forty.
const SECTIONS_MAX: u64 = 1 << 17;
/// A file says itself how large an entry is.
const TABLE_BYTES_MAX: usize = 8 << 20;
const NOTES_BYTES_MAX: u64 = 1 << 16;
/// SHA-1 has 20 bytes; linkers let one choose up to this.
const BUILD_ID_BYTES_MAX: usize = 64;

const PT_LOAD: u32 = 1;
const PT_NOTE: u32 = 4;
const PF_X: u32 = 1;
const SHT_NOBITS: u32 = 8;
const SHF_COMPRESSED: u64 = 1 << 11;
const NT_GNU_BUILD_ID: u32 = 3;

/// What a linker calls a build: the same for a program and its separate debug information.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BuildId(Box<[u8]>);

impl BuildId {
    /// Its bytes, in the order in which they are shown.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    #[cfg(test)]
    pub(crate) fn of(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }
}

impl fmt::Display for BuildId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A part of the file that is loaded into memory.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Load {
    offsets: Range<u64>,
    address: u64,
    is_code: bool,
}

/// What an ELF file says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Image {
    pub(crate) build_id: Option<BuildId>,
    loads: Vec<Load>,
    /// What its compressed sections say that they hold, all together; none where the sections
    /// cannot be read.
    pub(crate) decompressed_bytes: Option<u64>,
}

impl Image {
    /// Reads it. `read` gives so many bytes from an offset, or none if the file ends before them.
    pub(crate) fn parse(read: impl Fn(u64, usize) -> Option<Vec<u8>>) -> Option<Self> {
        let file = Reader { read, is_64: true };
        let ident = file.bytes(0, 16)?;
        let native = if cfg!(target_endian = "little") { 1 } else { 2 };
        if !ident.starts_with(b"\x7fELF") || ident[5] != native {
            return None;
        }
        let file = match ident[4] {
            1 => Reader { is_64: false, ..file },
            2 => file,
            _ => return None,
        };
        Some(file.image())
    }

    /// Where the linker put what lies at an offset. The same bytes may be loaded twice: once as
    /// data, once as the code that was seen to run.
    pub(crate) fn address_of(&self, offset: u64) -> Option<u64> {
        let holding = || self.loads.iter().filter(|load| load.offsets.contains(&offset));
        let load = holding().find(|load| load.is_code).or_else(|| holding().next())?;
        load.address.checked_add(offset - load.offsets.start)
    }
}

struct Reader<R> {
    read: R,
    is_64: bool,
}

impl<R: Fn(u64, usize) -> Option<Vec<u8>>> Reader<R> {
    fn bytes(&self, offset: u64, length: usize) -> Option<Vec<u8>> {
        offset.checked_add(u64::try_from(length).ok()?)?;
        (self.read)(offset, length).filter(|bytes| bytes.len() == length)
    }

    /// What is there of a file that is cut off is taken.
    fn image(&self) -> Image {
        let mut image = Image::default();
        let (table, entry, count) =
            if self.is_64 { (0x20, 0x36, 0x38) } else { (0x1c, 0x2a, 0x2c) };
        let headers = self.table(table, entry, count, PROGRAM_HEADERS_MAX, false);
        for header in headers.iter().flatten() {
            let Some(segment) = self.segment(header) else { continue };
            match segment.kind {
                PT_LOAD => image.loads.push(segment.load),
                PT_NOTE if image.build_id.is_none() => image.build_id = self.build_id(&segment),
                _ => {}
            }
        }
        image.decompressed_bytes = self.decompressed_bytes();
        image
    }

    /// The entries of a table whose place, entry's size and length stand in the file's header.
    fn table(&self, at: u64, entry: u64, count: u64, max: u64, long: bool) -> Option<Vec<Vec<u8>>> {
        let header = self.bytes(0, if self.is_64 { 64 } else { 52 })?;
        let start = self.word(&header, at)?;
        let size = usize::from(u16::from_ne_bytes(array(&header, entry)?));
        if size == 0 {
            return Some(Vec::new());
        }
        let mut count = u64::from(u16::from_ne_bytes(array(&header, count)?));
        if count == 0 && long && start != 0 {
            // More than fit into the header's field: the first entry has the number as its size.
            let first = self.bytes(start, size)?;
            count = self.word(&first, if self.is_64 { 0x20 } else { 0x14 })?;
        }
        if count > max {
            return None;
        }
        let length = size.checked_mul(usize::try_from(count).ok()?)?;
        if length > TABLE_BYTES_MAX {
            return None;
        }
        Some(self.bytes(start, length)?.chunks(size).map(<[u8]>::to_vec).collect())
    }

    fn segment(&self, header: &[u8]) -> Option<Segment> {
        let (flags, offset, address, size, align) =
            if self.is_64 { (4, 8, 16, 32, 48) } else { (24, 4, 8, 16, 28) };
        let start = self.word(header, offset)?;
        let offsets = start..start.checked_add(self.word(header, size)?)?;
        Some(Segment {
            kind: u32::from_ne_bytes(array(header, 0)?),
            align: self.word(header, align)?,
            load: Load {
                offsets,
                address: self.word(header, address)?,
                is_code: u32::from_ne_bytes(array(header, flags)?) & PF_X != 0,
            },
        })
    }

    fn build_id(&self, segment: &Segment) -> Option<BuildId> {
        let Range { start, end } = segment.load.offsets;
        let length = usize::try_from((end - start).min(NOTES_BYTES_MAX)).ok()?;
        build_id(&self.bytes(start, length)?, if segment.align == 8 { 8 } else { 4 })
    }

    fn decompressed_bytes(&self) -> Option<u64> {
        let (table, entry, count) =
            if self.is_64 { (0x28, 0x3a, 0x3c) } else { (0x20, 0x2e, 0x30) };
        let (flags, offset, held) = if self.is_64 { (8, 0x18, 8) } else { (8, 0x10, 4) };
        let mut sum = 0_u64;
        for header in self.table(table, entry, count, SECTIONS_MAX, true)? {
            let kind = u32::from_ne_bytes(array(&header, 4)?);
            if kind == SHT_NOBITS || self.word(&header, flags)? & SHF_COMPRESSED == 0 {
                continue;
            }
            let at = self.word(&header, offset)?.checked_add(held)?;
            sum = sum.saturating_add(self.word(&self.bytes(at, 8)?, 0)?);
        }
        Some(sum)
    }

    /// A number that is as wide as the file's addresses.
    fn word(&self, bytes: &[u8], at: u64) -> Option<u64> {
        Some(if self.is_64 {
            u64::from_ne_bytes(array(bytes, at)?)
        } else {
            u64::from(u32::from_ne_bytes(array(bytes, at)?))
        })
    }
}

struct Segment {
    kind: u32,
    align: u64,
    load: Load,
}

fn array<const N: usize>(bytes: &[u8], at: u64) -> Option<[u8; N]> {
    bytes.get(usize::try_from(at).ok()?..)?.first_chunk().copied()
}

fn build_id(mut notes: &[u8], align: usize) -> Option<BuildId> {
    loop {
        let size = |at| usize::try_from(u32::from_ne_bytes(array(notes, at)?)).ok();
        let (name, description) = (size(0)?, size(4)?);
        let kind = u32::from_ne_bytes(array(notes, 8)?);
        let description_at = 12_usize.checked_add(name)?.checked_next_multiple_of(align)?;
        let end = description_at.checked_add(description)?;
        if kind == NT_GNU_BUILD_ID && notes.get(12..12 + name)? == b"GNU\0" {
            let id = notes.get(description_at..end)?;
            return (1..=BUILD_ID_BYTES_MAX).contains(&id.len()).then(|| BuildId(id.into()));
        }
        // The last note need not be filled up.
        notes = notes.get(end.checked_next_multiple_of(align)?..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::fs;
    use std::process::Command;

    fn parse(bytes: &[u8]) -> Option<Image> {
        Image::parse(|offset, length| {
            let start = usize::try_from(offset).ok()?;
            Some(bytes.get(start..start.checked_add(length)?)?.to_vec())
        })
    }

    fn own() -> Vec<u8> {
        fs::read("/proc/self/exe").unwrap()
    }

    fn note(name: &[u8], kind: u32, id: &[u8]) -> Vec<u8> {
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap().to_ne_bytes();
        let mut note = [length(name), length(id), kind.to_ne_bytes()].concat();
        for part in [name, id] {
            note.extend(part);
            note.resize(note.len().next_multiple_of(4), 0);
        }
        note
    }

    #[test]
    fn the_build_id_is_what_the_tools_of_binutils_show() {
        let out = Command::new("readelf").args(["-n", "/proc/self/exe"]).output();
        let Ok(out) = out else {
            eprintln!("skipped: needs readelf (apt-get install binutils)");
            return;
        };
        // Of itself: readelf opened its own program.
        let text = String::from_utf8(out.stdout).unwrap();
        let expected = text.split("Build ID: ").nth(1).unwrap().split_whitespace().next().unwrap();
        let path = Command::new("sh").args(["-c", "command -v readelf"]).output().unwrap().stdout;
        let image = parse(&fs::read(String::from_utf8(path).unwrap().trim()).unwrap()).unwrap();
        assert_eq!(image.build_id.unwrap().to_string(), expected);
        assert_eq!(image.decompressed_bytes, Some(0));
    }

    #[test]
    fn other_notes_are_passed_over() {
        let id = |bytes: &[u8]| build_id(bytes, 4).map(|id| id.to_string());
        let ours = note(b"GNU\0", 3, &[0xab, 0x01]);
        assert_eq!(id(&ours).as_deref(), Some("ab01"));
        let others = [note(b"Go\0\0", 4, b"x/y"), note(b"GNU\0", 1, &[0; 16]), ours].concat();
        assert_eq!(id(&others).as_deref(), Some("ab01"));
        assert_eq!(id(&note(b"GNU\0", 3, &[])), None);
        assert_eq!(id(&note(b"GNU\0", 3, &[0; 65])), None);
        assert_eq!(id(&note(b"GNU", 3, &[1])), None);
        assert_eq!(id(&[0xff; 40]), None);
        assert_eq!(id(&[]), None);
    }

    #[test]
    fn code_is_where_the_loader_puts_it() {
        let image = parse(&own()).unwrap();
        let code = image.loads.iter().find(|load| load.is_code).unwrap();
        assert_eq!(image.address_of(code.offsets.start), Some(code.address));
        assert_eq!(image.address_of(u64::MAX), None);
    }

    #[test]
    fn a_file_that_is_cut_off_is_read_as_far_as_it_goes() {
        let bytes = own();
        assert!(parse(&bytes[..15]).is_none());
        assert_eq!(parse(&bytes[..20]), Some(Image::default()));
        // The headers are there, the table of sections at the end is not.
        let image = parse(&bytes[..4096]).unwrap();
        assert!(!image.loads.is_empty());
        assert_eq!(image.decompressed_bytes, None);
        for not_elf in [&b""[..], b"#!/bin/sh\n", b"\x7fELF\x02\x02\x01\0\0\0\0\0\0\0\0\0"] {
            assert!(parse(not_elf).is_none());
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(
            changes in prop::collection::vec((0usize..1024, any::<u8>()), 0..40),
            offset in any::<u64>(), is_64 in any::<bool>(),
        ) {
            let mut bytes = own();
            bytes.truncate(8192);
            if !is_64 {
                bytes[4] = 1;
            }
            for (at, byte) in changes {
                bytes[at] = byte;
            }
            if let Some(image) = parse(&bytes) {
                let _ = image.address_of(offset);
            }
        }

        #[test]
        fn no_notes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), align in 0usize..2) {
            let _ = build_id(&bytes, 4 << align);
        }
    }
}
