//! ELF files: how each frame's caller is found.

use temblor_unwind::{SEGMENTS_MAX, executable_segments};

#[path = "../../crates/unwind/tests/support/promise.rs"]
mod promise;
/// The files, and what is promised, are those of the crate's own tests.
#[path = "../../crates/unwind/tests/support/mod.rs"]
mod support;

use promise::{keeps_its_word, made};
use support::{AT_ENTRY, Frames, elf_with};

/// A table is in order and within its bounds, and each of its addresses has its rule.
pub(crate) fn table(bytes: &[u8]) {
    if let Ok(segments) = executable_segments(bytes) {
        assert!(segments.len() <= SEGMENTS_MAX);
    }
    if let Ok(table) = temblor_unwind::table(bytes) {
        keeps_its_word(&table);
    }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let mut debug = Frames::debug();
    let shared = debug.shared("", AT_ENTRY);
    debug.entry_of(shared, 0x30, 0x10, &[0x02, 4, 0x07, 16]);
    let both = made(1, |bytes| {
        let mut deflate = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut deflate, bytes).unwrap();
        deflate.finish().unwrap()
    });
    vec![both, elf_with(".debug_frame", debug)]
}
