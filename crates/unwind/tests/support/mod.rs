//! ELF files and their frame information, made byte by byte.

/// The code of every file made here.
pub(crate) const CODE: u64 = 0x10_0000;
/// Its length.
pub(crate) const CODE_BYTES: u64 = 0x1000_0000;

/// `rsp + 8`, and the return address below it: what holds where a function begins.
pub(crate) const AT_ENTRY: &[u8] = &[0x0c, 7, 8, 0x90, 1];

/// A section of a file.
pub(crate) struct Section {
    pub(crate) name: &'static str,
    pub(crate) flags: u64,
    pub(crate) bytes: Vec<u8>,
}

impl Section {
    pub(crate) fn plain(name: &'static str, bytes: Vec<u8>) -> Self {
        Self { name, flags: 0, bytes }
    }

    /// With the header that says how it is compressed.
    pub(crate) fn compressed(name: &'static str, format: u32, size: usize, data: &[u8]) -> Self {
        let mut bytes = format.to_le_bytes().to_vec();
        bytes.extend([0; 4]);
        bytes.extend((size as u64).to_le_bytes());
        bytes.extend(1_u64.to_le_bytes());
        bytes.extend(data);
        Self { name, flags: 0x800, bytes }
    }
}

/// A program header: type, flags, offset, address, bytes in the file, bytes in memory.
pub(crate) type Segment = (u32, u32, u64, u64, u64, u64);

/// The segment of the code. Nobody reads it: it has no bytes in the file.
pub(crate) const CODE_SEGMENT: Segment = (1, 5, CODE, CODE, 0, CODE_BYTES);

/// A file for x86-64: header, program headers, sections, their names, section headers.
pub(crate) fn elf(segments: &[Segment], sections: &[Section]) -> Vec<u8> {
    let mut body: Vec<u8> = Vec::new();
    for (kind, flags, offset, address, file_bytes, memory_bytes) in segments {
        body.extend(kind.to_le_bytes());
        body.extend(flags.to_le_bytes());
        for word in [*offset, *address, *address, *file_bytes, *memory_bytes, 1] {
            body.extend(word.to_le_bytes());
        }
    }
    let mut names = vec![0];
    let mut headers = vec![0; 64];
    let mut section = |body: &mut Vec<u8>, name: u32, flags: u64, bytes: &[u8]| {
        headers.extend(name.to_le_bytes());
        headers.extend(1_u32.to_le_bytes());
        let offset = 64 + body.len() as u64;
        for word in [flags, 0, offset, bytes.len() as u64, 0, 1, 0] {
            headers.extend(word.to_le_bytes());
        }
        body.extend(bytes);
    };
    for Section { name, flags, bytes } in sections {
        section(&mut body, u32::try_from(names.len()).unwrap(), *flags, bytes);
        names.extend(name.as_bytes());
        names.push(0);
    }
    section(&mut body, 0, 0, &names);
    let sections = u16::try_from(headers.len() / 64).unwrap();
    let headers_at = 64 + body.len() as u64;

    let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0\x3e\0\x01\0\0\0".to_vec();
    for word in [CODE, 64, headers_at] {
        file.extend(word.to_le_bytes());
    }
    file.extend([0; 4]);
    for half in [64, 56, u16::try_from(segments.len()).unwrap(), 64, sections, sections - 1] {
        file.extend(half.to_le_bytes());
    }
    file.extend(body);
    file.extend(headers);
    file
}

/// A file with code and one section that speaks of it.
pub(crate) fn elf_with(name: &'static str, frames: Frames) -> Vec<u8> {
    elf(&[CODE_SEGMENT], &[Section::plain(name, frames.bytes)])
}

/// Call frame information in the making.
pub(crate) struct Frames {
    pub(crate) bytes: Vec<u8>,
    debug: bool,
    augmented: bool,
}

impl Frames {
    /// Of `.eh_frame`.
    pub(crate) fn eh() -> Self {
        Self { bytes: Vec::new(), debug: false, augmented: false }
    }

    /// Of `.debug_frame`.
    pub(crate) fn debug() -> Self {
        Self { debug: true, ..Self::eh() }
    }

    /// What the entries after it share. Returns where it is.
    pub(crate) fn shared(&mut self, augmentation: &str, program: &[u8]) -> usize {
        self.augmented = augmentation.starts_with('z');
        let mut entry = if self.debug { [0xff; 4] } else { [0; 4] }.to_vec();
        entry.push(1);
        entry.extend(augmentation.as_bytes());
        // The end of the name, factors of 1 and -8, and the return address in column 16.
        entry.extend([0, 1, 0x78, 16]);
        entry.extend(self.augmented.then_some(0));
        entry.extend(program);
        self.entry(&entry)
    }

    /// What is said of some bytes of code, counted from its beginning.
    pub(crate) fn entry_of(&mut self, shared: usize, start: u64, length: u64, program: &[u8]) {
        let id = if self.debug { shared } else { self.bytes.len() + 4 - shared };
        let mut entry = u32::try_from(id).unwrap().to_le_bytes().to_vec();
        entry.extend(CODE.wrapping_add(start).to_le_bytes());
        entry.extend(length.to_le_bytes());
        entry.extend(self.augmented.then_some(0));
        entry.extend(program);
        self.entry(&entry);
    }

    fn entry(&mut self, entry: &[u8]) -> usize {
        let at = self.bytes.len();
        self.bytes.extend(u32::try_from(entry.len()).unwrap().to_le_bytes());
        self.bytes.extend(entry);
        at
    }
}
