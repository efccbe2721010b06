//! What is promised of files that are not what they say, and one to damage.

use temblor_unwind::{ROWS_MAX, RULES_MAX, Table};

use super::support::{AT_ENTRY, CODE_SEGMENT, Frames, Section, elf};

/// What holds of every table, whatever it was made of.
pub(crate) fn keeps_its_word(table: &Table) {
    assert!(table.rows.len() <= ROWS_MAX && table.rules.len() <= RULES_MAX);
    for pair in table.rows.windows(2) {
        assert!(pair[0].address < pair[1].address, "{pair:?}");
        assert_ne!(pair[0].rule, pair[1].rule, "{pair:?}");
    }
    for row in &table.rows {
        let rule = row.rule.map(|rule| table.rules[usize::from(rule)]);
        assert_eq!(table.rule_at(row.address), rule);
    }
    assert!(table.rows.last().is_none_or(|last| last.rule.is_none()));
    let mut rules = table.rules.clone();
    rules.sort();
    rules.dedup();
    assert_eq!(rules.len(), table.rules.len());
    for pair in table.functions.windows(2) {
        assert!(pair[0].end <= pair[1].start, "{pair:?}");
    }
    assert!(table.functions.iter().all(|function| function.start < function.end));
}

/// A file with both sections, one compressed in a format by its number, and something of everything in
/// them.
pub(crate) fn made(format: u32, compress: impl FnOnce(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let mut eh = Frames::eh();
    let shared = eh.shared("zS", AT_ENTRY);
    eh.entry_of(shared, 0x10, 0x20, &[0x41, 0x0a, 0x0e, 16, 0x86, 2, 0x44, 0x0b, 0x42, 0x0d, 6]);
    eh.entry_of(shared, 0x40, 0x20, &[0x0f, 5, 0x77, 40, 6, 0x23, 8, 0x41, 0x10, 6, 2, 0x76, 0]);
    let mut debug = Frames::debug();
    let shared = debug.shared("", AT_ENTRY);
    debug.entry_of(shared, 0x30, 0x10, &[0x02, 4, 0x07, 16]);
    let compressed = compress(&debug.bytes);
    let debug = Section::compressed(".debug_frame", format, debug.bytes.len(), &compressed);
    elf(&[CODE_SEGMENT], &[Section::plain(".eh_frame", eh.bytes), debug])
}
