//! Files that are not what they say, by chance or on purpose: a table or an error comes of each,
//! and a table keeps its word.
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test says where it failed, and why it is skipped"
)]

#[path = "support/promise.rs"]
mod promise;
mod support;
#[path = "support/vdso.rs"]
mod vdso;

use promise::{keeps_its_word, made};
use proptest::prelude::*;
use support::{AT_ENTRY, CODE_SEGMENT, Frames, Section, Segment, elf, elf_with};
use temblor_unwind::{executable_segments, table};

/// Every address there is.
const ALL: Segment = (1, 5, 0, 0, 0, u64::MAX);

fn read(file: &[u8]) {
    if let Ok(table) = table(file) {
        keeps_its_word(&table);
    }
    let _ = executable_segments(file);
}

/// Places in a file and what is written there.
fn damage(places: usize) -> impl Strategy<Value = Vec<(prop::sample::Index, u8)>> {
    prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..places)
}

fn damaged(mut file: Vec<u8>, damage: &[(prop::sample::Index, u8)], length: usize) -> Vec<u8> {
    for (at, byte) in damage {
        let at = at.index(file.len());
        file[at] = *byte;
    }
    file.truncate(length);
    file
}

/// One section compressed with zstd.
fn compressed() -> Vec<u8> {
    made(2, |bytes| zstd::stream::encode_all(bytes, 3).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes(file in prop::collection::vec(any::<u8>(), 0..512)) {
        read(&file);
    }

    #[test]
    fn any_bytes_behind_a_good_beginning(rest in prop::collection::vec(any::<u8>(), 0..512)) {
        read(&[&compressed()[..20], &rest].concat());
        read(&[&compressed()[..64], &rest].concat());
    }

    #[test]
    fn a_damaged_file(damage in damage(8), length in 0_usize..2000) {
        read(&damaged(compressed(), &damage, length));
    }

    #[test]
    fn any_section(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
        for (name, mut frames) in [(".eh_frame", Frames::eh()), (".debug_frame", Frames::debug())] {
            frames.bytes = bytes.clone();
            read(&elf_with(name, frames));
        }
    }

    #[test]
    fn any_program(
        shared in prop::collection::vec(any::<u8>(), 0..32),
        programs in prop::collection::vec(
            (0_u64..256, 0_u64..64, prop::collection::vec(any::<u8>(), 0..48)), 1..8),
        augmentation in prop::sample::select(vec!["", "z", "zR", "zS", "S", "zPLR"]),
        version in 0_u8..5,
        damage in damage(4),
        segment in prop::sample::select(vec![CODE_SEGMENT, ALL]),
    ) {
        for (name, mut frames) in [(".eh_frame", Frames::eh()), (".debug_frame", Frames::debug())] {
            let shared = frames.shared(augmentation, &[AT_ENTRY, &shared].concat());
            frames.bytes[8] = version;
            for (start, length, program) in &programs {
                frames.entry_of(shared, *start, *length, program);
            }
            let length = frames.bytes.len();
            read(&elf(&[segment], &[Section::plain(name, frames.bytes.clone())]));
            let bytes = damaged(frames.bytes, &damage, length);
            read(&elf(&[segment], &[Section::plain(name, bytes)]));
        }
    }

    #[test]
    fn a_damaged_vdso(damage in damage(64), length in 0_usize..0x4000) {
        if let Some(file) = vdso::vdso() {
            read(&damaged(file, &damage, length));
        }
    }
}

/// Each entry asks for what is shared at another place of the same bytes, which would be read to
/// its end each time, and is larger than all entries.
#[test]
fn time_grows_with_the_files_length_alone() {
    let mut frames = Frames::debug();
    let long = frames.shared("", &[AT_ENTRY, &[0; 1 << 20]].concat());
    for entry in 0..20_000 {
        frames.entry_of(long, entry * 16, 16, &[]);
    }
    // A megabyte for each of 20,000 entries would take minutes.
    let table = table(&elf_with(".debug_frame", frames)).unwrap();
    assert_eq!(table.missed.malformed, 20_000);
}
