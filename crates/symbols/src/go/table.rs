//! The table that Go links into every program, to print its own stacks with: from places in code
//! to functions, files, lines and what was inlined. No option leaves it out.
//!
//! Its layout is Go's own affair and has changed with versions; the four of them are told apart by
//! their first bytes. What is read here is what `debug/gosym` and `runtime/symtab.go` of each
//! version read. The file is whatever a process had mapped, so that each read and each loop has a
//! bound.

use crate::resolver::Found;

/// More than any has in one function: its changes of line, one after the other.
const STEPS_MAX: usize = 1 << 18;
/// The optimizer stops far sooner.
const INLINED_MAX: usize = 1 << 8;
/// Names of generic functions are long; a hostile file could have one of megabytes.
const TEXT_BYTES_MAX: usize = 1 << 14;

/// Which of a function's tables of values says in which inlined call a place is
/// (`PCDATA_InlTreeIndex`), and which of its data is the list of these calls (`FUNCDATA_InlTree`).
const INLINED_AT: u64 = 2;
const INLINED_CALLS: u64 = 3;

/// `internal/abi/symtab.go` has the first bytes; each layout is of that version of Go and of those
/// after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Version {
    Go2,
    /// The parts of the table have places of their own.
    Go16,
    /// Functions are as far from where the code begins as is said, instead of at an address.
    Go18,
    /// What was inlined is said in fewer words.
    Go20,
}

/// The table, in a file of this machine's byte order.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Table<'bytes> {
    version: Version,
    /// What places are multiples of.
    quantum: u64,
    /// Of an address, in bytes: 4 or 8.
    pub(super) width: usize,
    /// Where the code begins, as the linker counts addresses; nought where the table does not say.
    text: u64,
    count: u64,
    /// Where the names begin in the table, which tells it from its likes.
    pub(super) names_at: u64,
    names: &'bytes [u8],
    units: &'bytes [u8],
    files: &'bytes [u8],
    values: &'bytes [u8],
    /// Places and functions in turns, and then the functions themselves.
    functions: &'bytes [u8],
    /// Where functions are said to be, from the beginning of this.
    data: &'bytes [u8],
    /// What was inlined, of all functions.
    inlined: &'bytes [u8],
}

/// One function's entry, and where the function is.
#[derive(Debug, Clone, Copy)]
struct Function<'bytes> {
    start: u64,
    entry: &'bytes [u8],
}

impl<'bytes> Table<'bytes> {
    /// Reads its first bytes; none where they are not this table's.
    pub(crate) fn parse(bytes: &'bytes [u8]) -> Option<Self> {
        let version = match u32::from_ne_bytes(*bytes.first_chunk()?) {
            0xffff_fffb => Version::Go2,
            0xffff_fffa => Version::Go16,
            0xffff_fff0 => Version::Go18,
            0xffff_fff1 => Version::Go20,
            _ => return None,
        };
        let &[0, 0, quantum @ (1 | 2 | 4), width @ (4 | 8)] = bytes.get(4..8)? else { return None };
        let width = usize::from(width);
        let word = |at: usize| uint(bytes, 8 + at as u64 * width as u64, width);
        let part = |at: usize| from(bytes, word(at)?);
        let count = word(0)?;
        let of = Self {
            version,
            quantum: quantum.into(),
            width,
            text: 0,
            count,
            names_at: 0,
            names: bytes,
            units: &[],
            files: bytes,
            values: bytes,
            functions: from(bytes, 8 + width as u64)?,
            data: bytes,
            inlined: &[],
        };
        if version == Version::Go2 {
            return of.with_list_of_files(bytes);
        }
        // From here on all of them are said in the same order; the beginning of the code is in
        // front of them from version 18 on.
        let first = if version == Version::Go16 { 2 } else { 3 };
        Some(Self {
            text: if version == Version::Go16 { 0 } else { word(2)? },
            names_at: word(first)?,
            names: part(first)?,
            units: part(first + 1)?,
            files: part(first + 2)?,
            values: part(first + 3)?,
            functions: part(first + 4)?,
            data: part(first + 4)?,
            ..of
        })
    }

    /// Up to version 15 files have numbers, and the list of them follows the functions.
    fn with_list_of_files(self, bytes: &'bytes [u8]) -> Option<Self> {
        let after = self.count.checked_mul(2)?.checked_add(1)?.checked_mul(self.width as u64)?;
        let list = uint(self.functions, after, 4)?;
        Some(Self { units: from(bytes, list)?, ..self })
    }

    /// Whether it says where code is by its distance from where all code begins.
    pub(crate) fn is_relative(&self) -> bool {
        self.version >= Version::Go18
    }

    /// Where the code begins, where the table says so: a program that may lie anywhere learns it
    /// when it is loaded, and from Go 1.26 on no table has it.
    pub(crate) fn text(&self) -> Option<u64> {
        (self.text != 0).then_some(self.text)
    }

    /// The word of the module's own description that says where what was inlined lies
    /// (`moduledata.gofunc`, up to Go 1.25).
    pub(super) fn inlined_word(&self) -> usize {
        if self.version == Version::Go18 { 38 } else { 40 }
    }

    /// The same, with what stands elsewhere in the file: where the code begins, and what was
    /// inlined.
    pub(crate) fn with(self, text: u64, inlined: &'bytes [u8]) -> Self {
        Self { text, inlined, ..self }
    }

    /// The functions at an address, the innermost first.
    pub(crate) fn look_up(&self, address: u64) -> Option<Vec<Found>> {
        let function = self.function(address)?;
        let calls = self.inlined_calls(&function);
        let mut found = Vec::new();
        let mut place = address;
        while found.len() < INLINED_MAX {
            let call = calls.and_then(|calls| self.inlined_call(&function, calls, place));
            let Some((name, parent)) = call else { break };
            found.push(Found { name, ..self.line(&function, place) });
            place = function.start.checked_add(parent)?;
        }
        let name = text(self.names, u64::from(function.field(self, 1)?))?;
        let start = Some(function.start);
        found.push(Found { name, start, ..self.line(&function, place) });
        Some(found)
    }

    /// A place of the list of functions; there is one more than functions, where the last one ends.
    fn start_of(&self, index: u64) -> Option<u64> {
        let width = self.list_width();
        let start = uint(self.functions, index.checked_mul(2 * width as u64)?, width)?;
        if self.is_relative() { self.text.checked_add(start) } else { Some(start) }
    }

    fn list_width(&self) -> usize {
        if self.is_relative() { 4 } else { self.width }
    }

    fn function(&self, address: u64) -> Option<Function<'bytes>> {
        if address >= self.start_of(self.count)? {
            return None;
        }
        // The last one that does not begin after the address.
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.start_of(middle)? <= address {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        let index = low.checked_sub(1)?;
        let width = self.list_width();
        let at = uint(self.functions, (2 * index + 1).checked_mul(width as u64)?, width)?;
        Some(Function { start: self.start_of(index)?, entry: from(self.data, at)? })
    }

    /// What holds at an address, of one of a function's tables: pairs of how much the value
    /// changes and how far it holds, each in as few bytes as it needs.
    fn value(&self, function: &Function<'_>, table: u32, address: u64) -> Option<u32> {
        // The first byte of all tables is no table's.
        let mut bytes = if table == 0 { return None } else { from(self.values, table.into())? };
        let mut value = u32::MAX;
        let mut place = function.start;
        for step in 0..STEPS_MAX {
            let change = varint(&mut bytes)?;
            if change == 0 && step > 0 {
                return None;
            }
            // The lowest bit says that it becomes less.
            let change = if change & 1 == 1 { !(change >> 1) } else { change >> 1 };
            value = value.wrapping_add(change);
            place = place.checked_add(u64::from(varint(&mut bytes)?) * self.quantum)?;
            if address < place {
                return (value.cast_signed() >= 0).then_some(value);
            }
        }
        None
    }

    /// The file and the line at an address, without a name.
    fn line(&self, function: &Function<'_>, address: u64) -> Found {
        let value = |field| self.value(function, function.field(self, field)?, address);
        let line = value(6).filter(|line| *line != 0);
        let file = value(5).and_then(|file| self.file(function, file));
        Found { file, line, ..Found::default() }
    }

    fn file(&self, function: &Function<'_>, file: u32) -> Option<String> {
        if self.version == Version::Go2 {
            // The list's first word is its length.
            let count = uint(self.units, 0, 4)?;
            let is_there = file != 0 && u64::from(file) < count;
            let at =
                if is_there { uint(self.units, u64::from(file) * 4, 4)? } else { return None };
            return text(self.files, at);
        }
        let unit = u64::from(function.field(self, 8)?);
        let at = uint(self.units, (unit + u64::from(file)) * 4, 4)?;
        if at == u64::from(u32::MAX) { None } else { text(self.files, at) }
    }

    /// A function's list of inlined calls, where it has one.
    fn inlined_calls(&self, function: &Function<'_>) -> Option<&'bytes [u8]> {
        let (tables, lists) = (self.tables(function)?, self.lists(function)?);
        let at = uint(function.entry, self.entry_bytes() + (tables + INLINED_CALLS) * 4, 4)?;
        let is_there = INLINED_CALLS < lists && at != u64::from(u32::MAX);
        if is_there { from(self.inlined, at) } else { None }
    }

    /// The function that was inlined at a place, and the place in its caller, from the function's
    /// beginning on.
    fn inlined_call(
        &self,
        function: &Function<'_>,
        calls: &[u8],
        place: u64,
    ) -> Option<(String, u64)> {
        if INLINED_AT >= self.tables(function)? {
            return None;
        }
        let table = uint(function.entry, self.entry_bytes() + INLINED_AT * 4, 4)?;
        let call = u64::from(self.value(function, u32::try_from(table).ok()?, place)?);
        // `runtime/symtabinl.go`; before Go 1.20 the call's own place stands between.
        let (bytes, name, parent) =
            if self.version == Version::Go18 { (20, 12, 16) } else { (16, 4, 8) };
        let call = from(calls, call * bytes)?;
        Some((text(self.names, uint(call, name, 4)?)?, uint(call, parent, 4)?))
    }

    /// How many bytes a function's entry has before its tables and lists (`runtime._func`).
    fn entry_bytes(&self) -> u64 {
        if self.version == Version::Go18 { 40 } else { 44 }
    }

    fn tables(&self, function: &Function<'_>) -> Option<u64> {
        // Older entries have addresses instead of distances there.
        if self.is_relative() { Some(function.field(self, 7)?.into()) } else { None }
    }

    fn lists(&self, function: &Function<'_>) -> Option<u64> {
        uint(function.entry, self.entry_bytes() - 1, 1)
    }
}

impl Function<'_> {
    /// The fields of an entry from the second on; the first one is where the function is.
    fn field(&self, table: &Table<'_>, number: u64) -> Option<u32> {
        let at = table.list_width() as u64 + (number - 1) * 4;
        u32::try_from(uint(self.entry, at, 4)?).ok()
    }
}

fn from(bytes: &[u8], at: u64) -> Option<&[u8]> {
    bytes.get(usize::try_from(at).ok()?..)
}

/// A number of so many bytes: 1, 4 or 8.
pub(super) fn uint(bytes: &[u8], at: u64, width: usize) -> Option<u64> {
    let bytes = from(bytes, at)?;
    Some(match width {
        1 => u64::from(*bytes.first()?),
        4 => u64::from(u32::from_ne_bytes(*bytes.first_chunk()?)),
        _ => u64::from_ne_bytes(*bytes.first_chunk()?),
    })
}

/// Seven bits a byte, the lowest first, up to a byte without its highest bit.
fn varint(bytes: &mut &[u8]) -> Option<u32> {
    let mut value = 0;
    for shift in (0..35).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u32::from(byte & 0x7f).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// What is there up to the next nought.
fn text(bytes: &[u8], at: u64) -> Option<String> {
    let bytes = from(bytes, at)?;
    let bytes = bytes.get(..TEXT_BYTES_MAX).unwrap_or(bytes);
    let end = bytes.iter().position(|byte| *byte == 0)?;
    Some(String::from_utf8_lossy(&bytes[..end]).into_owned())
}

#[cfg(test)]
pub(super) mod tests;
