//! ELF files: how each frame's caller is found.

use temblor_unwind::{ROWS_MAX, RULES_MAX, SEGMENTS_MAX, executable_segments};

/// The files are those of the crate's own tests.
#[path = "../../crates/unwind/tests/support/mod.rs"]
mod support;

use support::{AT_ENTRY, CODE_SEGMENT, Frames, Section, elf, elf_with};

/// A table is in order and within its bounds, and each of its addresses has its rule.
pub(crate) fn table(bytes: &[u8]) {
    if let Ok(segments) = executable_segments(bytes) {
        assert!(segments.len() <= SEGMENTS_MAX);
    }
    let Ok(table) = temblor_unwind::table(bytes) else { return };
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
    for pair in table.functions.windows(2) {
        assert!(pair[0].end <= pair[1].start, "{pair:?}");
    }
    assert!(table.functions.iter().all(|function| function.start < function.end));
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let mut eh = Frames::eh();
    let shared = eh.shared("zS", AT_ENTRY);
    eh.entry_of(shared, 0x10, 0x20, &[0x41, 0x0a, 0x0e, 16, 0x86, 2, 0x44, 0x0b, 0x42, 0x0d, 6]);
    eh.entry_of(shared, 0x40, 0x20, &[0x0f, 5, 0x77, 40, 6, 0x23, 8, 0x41, 0x10, 6, 2, 0x76, 0]);
    let mut debug = Frames::debug();
    let shared = debug.shared("", AT_ENTRY);
    debug.entry_of(shared, 0x30, 0x10, &[0x02, 4, 0x07, 16]);
    let mut deflate = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut deflate, &debug.bytes).unwrap();
    let deflated = deflate.finish().unwrap();
    let compressed = Section::compressed(".debug_frame", 1, debug.bytes.len(), &deflated);
    let both = elf(&[CODE_SEGMENT], &[Section::plain(".eh_frame", eh.bytes), compressed]);
    vec![both, elf_with(".debug_frame", debug)]
}
