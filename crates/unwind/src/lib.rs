//! From an ELF file's bytes to a table of how each frame's caller is found.
//!
//! Compilers leave frame pointers out, and write down instead, for every address of the code,
//! where the return address is (`.eh_frame`, `.debug_frame`). That form is a program for each
//! function; no eBPF program can run it. Here it is run beforehand, and what comes out is a sorted
//! list of addresses, each with the number of one of a few hundred rules.
//!
//! Bytes in, rows out: no I/O, no clock. The bytes are somebody else's and may mean harm: what
//! cannot be read is counted, what would be too much is refused, and the time taken grows with the
//! file's length alone.
//!
//! The stages stand in the order in which the data passes them: `elf` finds the sections, `bytes`
//! decompresses them, `frames` runs the programs, `translate` makes a rule of what they say,
//! `assemble` puts the rows in order.

mod assemble;
mod bytes;
mod elf;
mod error;
mod frames;
mod rule;
mod table;
mod translate;

pub use elf::{SEGMENTS_MAX, Segment};
pub use error::Error;
pub use frames::ENTRIES_MAX;
pub use rule::{Base, Cfa, Frame, Reason, Rule, Saved, signal};
pub use table::{Missed, ROWS_MAX, RULES_MAX, Row, Table};

use crate::bytes::Unreadable;
use crate::elf::Elf;
use crate::frames::Reader;

/// Makes the table of a file for x86-64: of `.eh_frame`, and of `.debug_frame` for the code that
/// the former does not cover.
pub fn table(elf: &[u8]) -> Result<Table, Error> {
    let elf = Elf::parse(elf)?;
    let segments = elf.executable_segments()?;
    let mut reader = Reader::new(&segments);
    match elf.eh_frame() {
        Ok(Some(section)) => reader.read_eh_frame(&section)?,
        Ok(None) => {}
        Err(Unreadable) => reader.miss_section(),
    }
    match elf.debug_frame() {
        Ok(Some(section)) => reader.read_debug_frame(&section)?,
        Ok(None) => {}
        Err(Unreadable) => reader.miss_section(),
    }
    assemble::table(reader.finish())
}

/// The parts of a file for x86-64 that are mapped to be executed, in the file's order.
///
/// In a process the code of a segment is mapped from the segment's place in the file on: an
/// address of the process, less the start of its mapping, plus the mapping's offset in the file,
/// less [`Segment::file_offset`], plus [`Segment::address`] is the address in the table.
pub fn executable_segments(elf: &[u8]) -> Result<Vec<Segment>, Error> {
    Elf::parse(elf)?.executable_segments()
}
