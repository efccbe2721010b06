//! Where a Go program says that its parts lie: `runtime.moduledata`, a list of addresses that the
//! linker made. Without symbols it is known by what it begins with, the addresses of the table and
//! of the names in it.

use std::ops::Range;

use object::elf::{SHF_ALLOC, SHF_WRITE};
use object::{Object as _, ObjectSection as _, RelocationTarget, SectionFlags};

use super::table::{Table, uint};

/// Its words up to what is read of it.
const WORDS: usize = 48;
/// Its word that says where the code begins: after the table's own address, six slices, one
/// address and a pair of them. So it is from Go 1.18 on, with which it is wanted.
const TEXT: usize = 22;
/// From Go 1.26 on what was inlined is part of the table, and the word after the one that says
/// where says where the table ends. It is word 40 in Go 1.26, and 43 in Go 1.27.
const IN_TABLE: Range<usize> = 38..WORDS - 1;
/// What looks like its beginning by chance.
const CANDIDATES_MAX: usize = 16;

/// Programs of a gigabyte have less that they write to, and fewer addresses in it. A hostile file
/// could say many times that all of it is so.
const WRITTEN_TO_BYTES_MAX: usize = 1 << 28;
const RELOCATIONS_MAX: usize = 1 << 23;

/// What is known of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Module {
    /// Where the code begins.
    pub(super) text: u64,
    /// Where what was inlined lies.
    pub(super) inlined: u64,
}

/// Finds the description of the program that has a table at these addresses.
pub(super) fn find(
    file: &object::File<'_>,
    table_at: &Range<u64>,
    table: &Table<'_>,
) -> Option<Module> {
    let beginning = [table_at.start, table_at.start.checked_add(table.names_at)?];
    let starts = in_place(file, beginning, table.width);
    let starts = starts.into_iter().chain(relocated_to(file, table_at.start));
    starts.take(2 * CANDIDATES_MAX).find_map(|start| {
        let words = words(file, start, table.width);
        if words[..2] != beginning {
            return None;
        }
        let part =
            IN_TABLE.clone().map(|word| [words[word], words[word + 1]]).find(|[part, end]| {
                *end == table_at.end && table_at.contains(part) && *part != table_at.start
            });
        let inlined = part.map_or(words[table.inlined_word()], |[part, _]| part);
        Some(Module { text: words[TEXT], inlined })
    })
}

/// Where two words stand one after the other in what the program may write to.
fn in_place(file: &object::File<'_>, beginning: [u64; 2], width: usize) -> Vec<u64> {
    let mut found = Vec::new();
    let mut bytes_left = WRITTEN_TO_BYTES_MAX;
    for section in file.sections() {
        let is_written_to = matches!(section.flags(), SectionFlags::Elf { sh_flags }
            if sh_flags & u64::from(SHF_ALLOC | SHF_WRITE) == u64::from(SHF_ALLOC | SHF_WRITE));
        let (true, Ok(bytes)) = (is_written_to, section.data()) else { continue };
        let bytes = bytes.get(..bytes_left).unwrap_or(bytes);
        bytes_left -= bytes.len();
        let step = width as u64;
        for at in (0..bytes.len() as u64).step_by(width) {
            let is_here = uint(bytes, at, width) == Some(beginning[0])
                && uint(bytes, at + step, width) == Some(beginning[1]);
            if is_here && found.len() < CANDIDATES_MAX {
                found.extend(section.address().checked_add(at));
            }
        }
    }
    found
}

/// Where the loader is told to write an address into a program that may lie anywhere.
fn relocated_to(file: &object::File<'_>, address: u64) -> Vec<u64> {
    let to = relocations(file).filter(|(_, to)| *to == address);
    to.map(|(at, _)| at).take(CANDIDATES_MAX).collect()
}

fn relocations<'file>(
    file: &'file object::File<'_>,
) -> impl Iterator<Item = (u64, u64)> + use<'file> {
    let all = file.dynamic_relocations().into_iter().flatten().take(RELOCATIONS_MAX);
    let absolute = all.filter(|(_, how)| how.target() == RelocationTarget::Absolute);
    absolute.map(|(at, how)| (at, how.addend().cast_unsigned()))
}

/// The words from an address on, as the loader leaves them where it puts the file at nought.
fn words(file: &object::File<'_>, start: u64, width: usize) -> [u64; WORDS] {
    let mut words = [0; WORDS];
    let bytes = bytes_from(file, start).unwrap_or_default();
    for (word, at) in words.iter_mut().zip((0..).step_by(width)) {
        *word = uint(bytes, at, width).unwrap_or_default();
    }
    for (at, to) in relocations(file) {
        let Some(at) = at.checked_sub(start) else { continue };
        let word = usize::try_from(at / width as u64).ok();
        if let Some(word) = word.and_then(|word| words.get_mut(word)) {
            *word = to;
        }
    }
    words
}

/// What lies at an address, up to the section's end.
pub(super) fn bytes_from<'bytes>(
    file: &object::File<'bytes>,
    address: u64,
) -> Option<&'bytes [u8]> {
    file.sections().find_map(|section| {
        let at = address.checked_sub(section.address()).filter(|at| *at < section.size())?;
        let is_in_memory = section.address() != 0;
        let bytes = if is_in_memory { section.data().ok()? } else { return None };
        bytes.get(usize::try_from(at).ok()?..)
    })
}
