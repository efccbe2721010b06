//! Where in an ELF file the code and what is said of it are.

use std::borrow::Cow;
use std::ops::Range;

use gimli::{BaseAddresses, EhFrameHdr, LittleEndian};
use object::elf::{EM_X86_64, FileHeader64, PF_X, PT_GNU_EH_FRAME, PT_LOAD};
use object::elf::{ProgramHeader64, SectionHeader64};
use object::read::elf::{FileHeader as _, ProgramHeader as _, SectionHeader as _};
use object::{Endianness, FileKind};

use crate::Error;
use crate::bytes::{Unreadable, decompress, decompress_gnu};

/// Files have one or two. Each entry is held against each segment.
pub const SEGMENTS_MAX: usize = 64;

/// A part of a file that is mapped to be executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// Where it begins in the file.
    pub file_offset: u64,
    /// The address at which the file expects it.
    pub address: u64,
    /// Its bytes in memory.
    pub size: u64,
}

impl Segment {
    /// Whether all these addresses are the segment's.
    pub(crate) fn has(&self, addresses: &Range<u64>) -> bool {
        let end = self.address.saturating_add(self.size);
        self.address <= addresses.start && addresses.end <= end
    }
}

/// Frame information, decompressed.
pub(crate) struct Section<'data> {
    /// Where it is mapped: pointers in it are relative to themselves.
    pub(crate) address: u64,
    pub(crate) bytes: Cow<'data, [u8]>,
    /// Nothing but a zero in it tells where it ends: what is behind that is something else.
    pub(crate) ends_with_zero: bool,
}

/// A file for x86-64.
pub(crate) struct Elf<'data> {
    data: &'data [u8],
    endian: Endianness,
    segments: &'data [ProgramHeader64<Endianness>],
    sections: &'data [SectionHeader64<Endianness>],
    section_names: &'data [u8],
}

impl<'data> Elf<'data> {
    pub(crate) fn parse(data: &'data [u8]) -> Result<Self, Error> {
        match FileKind::parse(data) {
            Ok(FileKind::Elf64) => {}
            Ok(FileKind::Elf32) => return Err(Error::Bits32),
            _ => return Err(Error::NotElf),
        }
        let header = FileHeader64::<Endianness>::parse(data).map_err(Error::Headers)?;
        let endian = header.endian().map_err(Error::Headers)?;
        let machine = header.e_machine(endian);
        if machine != EM_X86_64 || endian != Endianness::Little {
            return Err(Error::Machine { machine });
        }
        let segments = header.program_headers(endian, data).map_err(Error::Headers)?;
        // A file runs without sections: some are stripped of them, and some packed so that what
        // is there is no section.
        let sections = header.section_headers(endian, data).unwrap_or_default();
        let section_names = header
            .shstrndx(endian, data)
            .ok()
            .and_then(|index| sections.get(usize::try_from(index).ok()?))
            .and_then(|names| names.data(endian, data).ok())
            .unwrap_or_default();
        Ok(Self { data, endian, segments, sections, section_names })
    }

    /// The segments that are executable, in the file's order.
    pub(crate) fn executable_segments(&self) -> Result<Vec<Segment>, Error> {
        let executable: Vec<Segment> = self
            .segments_of(PT_LOAD)
            .filter(|segment| segment.p_flags(self.endian) & PF_X != 0)
            .take(SEGMENTS_MAX + 1)
            .map(|segment| Segment {
                file_offset: segment.p_offset(self.endian),
                address: segment.p_vaddr(self.endian),
                size: segment.p_memsz(self.endian),
            })
            .collect();
        if executable.len() > SEGMENTS_MAX {
            return Err(Error::TooManySegments);
        }
        Ok(executable)
    }

    /// What exceptions are thrown by, and what every compiler leaves in a stripped file.
    pub(crate) fn eh_frame(&self) -> Result<Option<Section<'data>>, Unreadable> {
        match self.section(b".eh_frame\0") {
            Some(section) => self.contents(section).map(Some),
            None => self.mapped_eh_frame(),
        }
    }

    /// What debuggers read, compressed or not. Go writes nothing else.
    pub(crate) fn debug_frame(&self) -> Result<Option<Section<'data>>, Unreadable> {
        if let Some(section) = self.section(b".debug_frame\0") {
            return self.contents(section).map(Some);
        }
        let Some(section) = self.section(b".zdebug_frame\0") else {
            return Ok(None);
        };
        let section = self.contents(section)?;
        Ok(Some(Section { bytes: decompress_gnu(&section.bytes)?.into(), ..section }))
    }

    /// The name is compared where it stands: to look for the end of each would take a malicious
    /// file's length squared.
    fn section(&self, name_with_zero: &[u8]) -> Option<&'data SectionHeader64<Endianness>> {
        self.sections.iter().find(|section| {
            let at = usize::try_from(section.sh_name(self.endian)).unwrap_or(usize::MAX);
            self.section_names.get(at..).is_some_and(|names| names.starts_with(name_with_zero))
        })
    }

    fn contents(
        &self,
        section: &SectionHeader64<Endianness>,
    ) -> Result<Section<'data>, Unreadable> {
        let address = section.sh_addr(self.endian);
        let compression = section.compression(self.endian, self.data).map_err(|_| Unreadable)?;
        let bytes = match compression {
            None => section.data(self.endian, self.data).map_err(|_| Unreadable)?.into(),
            Some((header, offset, size)) => {
                let compressed = slice(self.data, offset, size).ok_or(Unreadable)?;
                let format = header.ch_type.get(self.endian);
                decompress(format, compressed, header.ch_size.get(self.endian))?.into()
            }
        };
        Ok(Section { address, bytes, ends_with_zero: false })
    }

    /// As a program finds it that is running, without sections: a segment points to it. It ends
    /// with a zero, or with the segment that it is in.
    fn mapped_eh_frame(&self) -> Result<Option<Section<'data>>, Unreadable> {
        let Some(pointer) = self.segments_of(PT_GNU_EH_FRAME).next() else {
            return Ok(None);
        };
        let bytes = pointer.data(self.endian, self.data).map_err(|()| Unreadable)?;
        let bases = BaseAddresses::default().set_eh_frame_hdr(pointer.p_vaddr(self.endian));
        let address = EhFrameHdr::new(bytes, LittleEndian)
            .parse(&bases, 8)
            .and_then(|header| header.eh_frame_ptr().direct())
            .map_err(|_| Unreadable)?;
        let bytes = self.segments_of(PT_LOAD).find_map(|segment| {
            let within = address.checked_sub(segment.p_vaddr(self.endian))?;
            let (offset, size) = segment.file_range(self.endian);
            let rest = size.checked_sub(within).filter(|rest| *rest > 0)?;
            slice(self.data, offset.checked_add(within)?, rest)
        });
        let bytes = bytes.ok_or(Unreadable)?.into();
        Ok(Some(Section { address, bytes, ends_with_zero: true }))
    }

    fn segments_of(&self, kind: u32) -> impl Iterator<Item = &'data ProgramHeader64<Endianness>> {
        self.segments.iter().filter(move |segment| segment.p_type(self.endian) == kind)
    }
}

fn slice(data: &[u8], offset: u64, size: u64) -> Option<&[u8]> {
    let start = usize::try_from(offset).ok()?;
    data.get(start..start.checked_add(usize::try_from(size).ok()?)?)
}
