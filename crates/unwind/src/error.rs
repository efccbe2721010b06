//! Why there is no table.

use crate::{ENTRIES_MAX, ROWS_MAX, RULES_MAX, SEGMENTS_MAX};

/// Why there is no table of a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Something else.
    #[error("not an ELF file")]
    NotElf,
    /// An ELF file for i386 or the like.
    #[error("an ELF file of 32 bits, where only those for x86-64 can be unwound")]
    Bits32,
    /// Another processor's.
    #[error("an ELF file for machine {machine}, where only those for x86-64 (62) can be unwound")]
    Machine {
        /// As `e_machine` has it.
        machine: u16,
    },
    /// What should tell where everything is, does not.
    #[error("malformed ELF headers")]
    Headers(#[source] object::read::Error),
    /// No linker makes so many.
    #[error("more than {SEGMENTS_MAX} executable segments")]
    TooManySegments,
    /// More functions than a table is made for.
    #[error("more than {ENTRIES_MAX} entries of frame information")]
    TooManyEntries,
    /// More rows than a table is made for.
    #[error("more than {ROWS_MAX} rows of frame information")]
    TooManyRows,
    /// More rules than their numbers can tell apart.
    #[error("more than {RULES_MAX} distinct rules of frame information")]
    TooManyRules,
}
