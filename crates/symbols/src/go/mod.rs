//! Names of Go programs from what Go links into every one of them.

mod module;
mod table;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::ops::Range;

use memmap2::Mmap;
use object::{Object as _, ObjectSection as _};

use crate::resolver::Found;
use table::Table;

/// Where the table is; the second is that of programs which may lie anywhere, of some versions.
const SECTIONS: [&str; 2] = [".gopclntab", ".data.rel.ro.gopclntab"];

/// What other linkers than Go's own put the second one into, with more.
const MERGED: &str = ".data.rel.ro";
/// Go's linker aligns the table to this, in bytes.
const ALIGNMENT: usize = 32;
/// Each is looked for in the whole file.
const HEADS_MAX: usize = 4;

/// Looks names up in one Go program.
#[derive(Debug)]
pub(crate) struct Go {
    bytes: Mmap,
    parts: Parts,
}

/// Where in the file what is read of it lies: from these offsets up to these ends.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Parts {
    table: Range<usize>,
    inlined: Range<usize>,
    text: u64,
}

impl Go {
    /// Reads where the parts are; none where the file is no Go program, or of a version that is
    /// not known.
    pub(crate) fn open(file: &File) -> Option<Self> {
        // SAFETY: it is only read; what others write to it meanwhile shows as other bytes, which
        // the table's reader expects of any file.
        let bytes = unsafe { Mmap::map(file) }.ok()?;
        let parts = parts(&bytes)?;
        Some(Self { bytes, parts })
    }

    /// The functions at an address, the innermost first.
    pub(crate) fn look_up(&self, address: u64) -> Option<Vec<Found>> {
        look_up(&self.bytes, &self.parts, address)
    }
}

fn look_up(bytes: &[u8], parts: &Parts, address: u64) -> Option<Vec<Found>> {
    let table = Table::parse(bytes.get(parts.table.clone())?)?;
    let inlined = bytes.get(parts.inlined.clone()).unwrap_or_default();
    table.with(parts.text, inlined).look_up(address)
}

fn parts(bytes: &[u8]) -> Option<Parts> {
    let file = object::File::parse(bytes).ok()?;
    if let Some(section) = SECTIONS.iter().find_map(|name| file.section_by_name(name)) {
        let table = section.data().ok()?;
        // Without the description: where the table says, and else a guess that holds for programs
        // without C in them.
        let said = Table::parse(table)?.text();
        let first = || file.section_by_name(".text").map(|section| section.address());
        return parts_of(bytes, &file, (section.address(), table), said.or_else(first));
    }
    let section = file.section_by_name(MERGED)?;
    let all = section.data().ok()?;
    // Whatever looks like a table by chance, no description of a program leads to.
    let heads = (0..all.len()).step_by(ALIGNMENT).filter(|at| Table::parse(&all[*at..]).is_some());
    let mut heads = heads.take(HEADS_MAX);
    heads.find_map(|at| {
        let address = section.address().checked_add(at as u64)?;
        parts_of(bytes, &file, (address, &all[at..]), None)
    })
}

fn parts_of(
    bytes: &[u8],
    file: &object::File<'_>,
    (address, table_bytes): (u64, &[u8]),
    text: Option<u64>,
) -> Option<Parts> {
    let table = Table::parse(table_bytes)?;
    let mut parts = Parts { table: within(bytes, table_bytes)?, ..Parts::default() };
    if !table.is_relative() {
        return Some(parts);
    }
    let at = address..address.checked_add(table_bytes.len() as u64)?;
    let module = module::find(file, &at, &table);
    if let Some(inlined) = module.and_then(|module| module::bytes_from(file, module.inlined)) {
        parts.inlined = within(bytes, inlined)?;
    }
    parts.text = module.map(|module| module.text).or(text)?;
    Some(parts)
}

/// Where a part of some bytes lies in them.
fn within(all: &[u8], part: &[u8]) -> Option<Range<usize>> {
    let start = part.as_ptr().addr().checked_sub(all.as_ptr().addr())?;
    let end = start.checked_add(part.len()).filter(|end| *end <= all.len())?;
    Some(start..end)
}
