//! Tables of files that are made here, each for one thing that files say.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail where they stand, as tests do")]

mod support;

use std::collections::BTreeMap;
use std::io::Write as _;

use support::{AT_ENTRY, CODE, CODE_BYTES, CODE_SEGMENT, Frames, Section, elf, elf_with};
use temblor_unwind::{
    Base, Cfa, Error, Frame, Missed, Reason, Row, Rule, SEGMENTS_MAX, Saved, Segment, Table,
    executable_segments, table,
};

const ENTRY: Frame = Frame {
    cfa: Cfa::At { base: Base::StackPointer, offset: 8 },
    frame_pointer: Saved::Unchanged,
    return_address: -8,
};

fn cfa(base: Base, offset: i32) -> Rule {
    Rule::Frame(Frame { cfa: Cfa::At { base, offset }, ..ENTRY })
}

/// Rows as offsets into the code.
fn rows(table: &Table) -> Vec<(u64, Option<Rule>)> {
    let rule = |row: &Row| row.rule.map(|rule| table.rules[usize::from(rule)]);
    table.rows.iter().map(|row| (row.address - CODE, rule(row))).collect()
}

#[test]
fn each_program_is_its_rule() {
    use Base::{FramePointer, StackPointer};
    let with = |cfa| Rule::Frame(Frame { cfa, ..ENTRY });
    let saved = |frame_pointer| Rule::Frame(Frame { frame_pointer, ..ENTRY });
    let unsupported = Rule::Unsupported;
    // The longest expression: 8 + (rip & 15 >= 11) * 8, counted from rsp.
    let plt = [0x0f, 11, 0x77, 8, 0x80, 0, 0x3f, 0x1a, 0x3b, 0x2a, 0x33, 0x24, 0x22];
    let plt_of_another_linker = {
        let mut plt = plt;
        plt[8] = 0x39;
        plt
    };
    let not_quite_a_plt = {
        let mut plt = plt;
        plt[10] = 0x34;
        plt
    };
    // The CFA, rbp and the return address of `__restore_rt`: 160, 120 and 168 above rsp.
    let signal = [
        &[0x0f, 4, 0x77, 0xa0, 1, 6][..],
        &[0x10, 6, 3, 0x77, 0xf8, 0],
        &[0x10, 16, 3, 0x77, 0xa8, 1],
    ]
    .concat();
    let not_the_kernels = [&signal[..], &[0x10, 6, 3, 0x77, 0xf0, 0]].concat();

    let cases: &[(&str, &[u8], Rule)] = &[
        ("", &[], Rule::Frame(ENTRY)),
        ("", &[0x0e, 0x80, 0x01], cfa(StackPointer, 128)),
        ("", &[0x0d, 6], cfa(FramePointer, 8)),
        ("", &[0x0c, 10, 0], with(Cfa::Register { register: 10, offset: 0 })),
        ("", &[0x0d, 17], unsupported(Reason::CfaRegister)),
        ("", &[0x0c, 7, 0x80, 0x80, 0x80, 0x80, 8], unsupported(Reason::FarOffset)),
        ("", &plt, with(Cfa::Plt { pushed_from: 11 })),
        ("", &plt_of_another_linker, with(Cfa::Plt { pushed_from: 9 })),
        ("", &not_quite_a_plt, unsupported(Reason::CfaExpression)),
        (
            "",
            &[0x0f, 3, 0x76, 0x78, 6],
            with(Cfa::Deref { base: FramePointer, offset: -8, plus: 0 }),
        ),
        (
            "",
            &[0x0f, 5, 0x77, 40, 6, 0x23, 8],
            with(Cfa::Deref { base: StackPointer, offset: 40, plus: 8 }),
        ),
        ("", &[0x0f, 3, 0x70, 0x78, 6], unsupported(Reason::CfaExpression)),
        ("", &[0x0f, 1, 0x06], unsupported(Reason::CfaExpression)),
        ("", &[0x0f, 0], unsupported(Reason::CfaExpression)),
        ("", &[0x0f, 2, 0x77, 8], unsupported(Reason::CfaExpression)),
        ("", &[0x86, 2], saved(Saved::AtCfa(-16))),
        ("", &[0x86, 2, 0xc6], saved(Saved::Unchanged)),
        ("", &[0x08, 6], saved(Saved::Unchanged)),
        ("", &[0x10, 6, 2, 0x76, 0], saved(Saved::At { base: FramePointer, offset: 0 })),
        ("", &[0x10, 6, 3, 0x77, 0xa0, 1], saved(Saved::At { base: StackPointer, offset: 160 })),
        ("", &[0x10, 6, 2, 0x70, 0], saved(Saved::Unsupported)),
        ("", &[0x09, 6, 11], saved(Saved::Unsupported)),
        ("", &[0x07, 6], saved(Saved::Unsupported)),
        ("", &[0x90, 3], Rule::Frame(Frame { return_address: -24, ..ENTRY })),
        ("", &[0x07, 16], Rule::Root),
        ("", &[0x09, 16, 5], unsupported(Reason::ReturnAddress)),
        ("", &[0x87, 2], unsupported(Reason::StackPointer)),
        ("", &[0x14, 7, 0], Rule::Frame(ENTRY)),
        ("", &[0x14, 7, 1], unsupported(Reason::StackPointer)),
        ("zS", &signal, Rule::Signal),
        ("zS", &[], Rule::Frame(ENTRY)),
        ("zS", &not_the_kernels, unsupported(Reason::SignalFrame)),
        ("", &signal, unsupported(Reason::ReturnAddress)),
    ];
    for (augmentation, program, rule) in cases {
        for (name, mut frames) in [(".eh_frame", Frames::eh()), (".debug_frame", Frames::debug())] {
            let shared = frames.shared(augmentation, AT_ENTRY);
            frames.entry_of(shared, 0x10, 0x20, program);
            let table = table(&elf_with(name, frames)).unwrap();
            let expected = [(0x10, Some(*rule)), (0x30, None)];
            assert_eq!(rows(&table), expected, "{name} {program:x?}");
            let counts = Missed {
                rows: match rule {
                    Rule::Unsupported(reason) => [(*reason, 1)].into(),
                    _ => BTreeMap::new(),
                },
                rows_innermost_only: u32::from(matches!(
                    rule,
                    Rule::Frame(Frame { cfa: Cfa::Register { .. }, .. })
                )),
                rows_without_frame_pointer: u32::from(matches!(
                    rule,
                    Rule::Frame(Frame { frame_pointer: Saved::Unsupported, .. })
                )),
                ..Missed::default()
            };
            assert_eq!(table.missed, counts, "{name} {program:x?}");
        }
    }
}

#[test]
fn entries_are_sorted_gaps_stay_and_equal_neighbours_are_one_row() {
    let mut frames = Frames::eh();
    let shared = frames.shared("", AT_ENTRY);
    let push = [0x41, 0x0e, 16];
    frames.entry_of(shared, 0x40, 0x10, &push);
    frames.entry_of(shared, 0x10, 0x10, &[]);
    frames.entry_of(shared, 0x20, 0x10, &push);
    // Steps of no length, a state put back, and a step beyond the end.
    frames.entry_of(shared, 0x50, 0x10, &[0x0a, 0x0e, 32, 0x40, 0x0b, 0x44, 0x0e, 24, 0x7f, 0x0e]);
    let table = table(&elf_with(".eh_frame", frames)).unwrap();
    let sp = |offset| Some(cfa(Base::StackPointer, offset));
    let expected = [
        (0x10, sp(8)),
        (0x21, sp(16)),
        (0x30, None),
        (0x40, sp(8)),
        (0x41, sp(16)),
        (0x50, sp(8)),
        (0x54, sp(24)),
        (0x60, None),
    ];
    assert_eq!(rows(&table), expected);
    assert_eq!(table.rules.len(), 3);
    assert_eq!(table.missed, Missed::default());
    assert_eq!(table.rule_at(CODE + 0x0f), None);
    assert_eq!(table.rule_at(CODE + 0x2f), sp(16));
    assert_eq!(table.rule_at(CODE + 0x30), None);
}

#[test]
fn what_overlaps_or_is_no_code_is_counted() {
    let mut frames = Frames::eh();
    let shared = frames.shared("", AT_ENTRY);
    frames.entry_of(shared, 0x10, 0x10, &[]);
    frames.entry_of(shared, 0x10, 0x20, &[0x0e, 16]);
    frames.entry_of(shared, 0x1f, 0x10, &[0x0e, 16]);
    frames.entry_of(shared, 0x20, 0, &[0x0e, 16]);
    frames.entry_of(shared, 0_u64.wrapping_sub(CODE), 0x10, &[]);
    frames.entry_of(shared, CODE_BYTES - 8, 0x10, &[]);
    frames.entry_of(shared, 0x30, u64::MAX, &[]);
    let table = table(&elf_with(".eh_frame", frames)).unwrap();
    assert_eq!(rows(&table), [(0x10, Some(Rule::Frame(ENTRY))), (0x20, None)]);
    let expected = Missed { outside_code: 3, overlapping: 2, ..Missed::default() };
    assert_eq!(table.missed, expected);
}

#[test]
fn what_is_malformed_costs_no_more_than_itself() {
    let mut frames = Frames::eh();
    let bad = frames.shared("", &[0x3f]);
    let unknown = frames.shared("x", AT_ENTRY);
    let long = frames.shared("", &[AT_ENTRY, &[0; 600]].concat());
    let shared = frames.shared("", AT_ENTRY);
    frames.entry_of(bad, 0, 8, &[]);
    frames.entry_of(unknown, 0x10, 8, &[]);
    frames.entry_of(long, 0x20, 8, &[]);
    // Wrong from the second step on, from the third on, and from the first on.
    frames.entry_of(shared, 0x40, 8, &[0x41, 0x3f]);
    frames.entry_of(shared, 0x48, 8, &[0x41, 0x0e, 16, 0x41, 0x0b]);
    frames.entry_of(shared, 0x50, 8, &[0x3f]);
    frames.entry_of(shared + 1, 0x58, 8, &[]);
    frames.entry_of(shared, 0x60, 8, &[]);
    // A zero is the end for some, and not for all.
    frames.bytes.extend([0; 4]);
    frames.entry_of(shared, 0x70, 8, &[]);
    // An entry that is longer than what is left.
    frames.bytes.extend([200, 0, 0, 0, 0, 0]);
    let table = table(&elf_with(".eh_frame", frames)).unwrap();
    let entry = Some(Rule::Frame(ENTRY));
    let expected = [
        (0x40, entry),
        (0x41, None),
        (0x48, entry),
        (0x49, Some(cfa(Base::StackPointer, 16))),
        (0x4a, None),
        (0x60, entry),
        (0x68, None),
        (0x70, entry),
        (0x78, None),
    ];
    assert_eq!(rows(&table), expected);
    assert_eq!(table.missed, Missed { malformed: 7, sections: 1, ..Missed::default() });
}

#[test]
fn debug_frame_speaks_of_what_eh_frame_does_not_compressed_or_not() {
    let mut eh = Frames::eh();
    let shared = eh.shared("", AT_ENTRY);
    eh.entry_of(shared, 0x20, 0x10, &[]);
    let mut debug = Frames::debug();
    let shared = debug.shared("", AT_ENTRY);
    for start in [0x10, 0x20, 0x28, 0x30] {
        debug.entry_of(shared, start, 0x10, &[0x0e, 32]);
    }
    let zlib = {
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), Default::default());
        encoder.write_all(&debug.bytes).unwrap();
        encoder.finish().unwrap()
    };
    let zstd = zstd::stream::encode_all(&debug.bytes[..], 3).unwrap();
    let size = debug.bytes.len();
    let gnu = [b"ZLIB", &(size as u64).to_be_bytes()[..], &zlib].concat();
    let further = Some(cfa(Base::StackPointer, 32));
    let both = [(0x10, further), (0x20, Some(Rule::Frame(ENTRY))), (0x30, further), (0x40, None)];
    for section in [
        Section::plain(".debug_frame", debug.bytes.clone()),
        Section::compressed(".debug_frame", 1, size, &zlib),
        Section::compressed(".debug_frame", 2, size, &zstd),
        Section::plain(".zdebug_frame", gnu),
    ] {
        let name = section.name;
        let sections = [section, Section::plain(".eh_frame", eh.bytes.clone())];
        let table = table(&elf(&[CODE_SEGMENT], &sections)).unwrap();
        assert_eq!(rows(&table), both, "{name}");
        assert_eq!(table.missed, Missed::default(), "{name}");
    }
    let eh_only = [(0x20, Some(Rule::Frame(ENTRY))), (0x30, None)];
    for unreadable in [
        Section::compressed(".debug_frame", 1, size + 1, &zlib),
        Section::compressed(".debug_frame", 1, usize::MAX, &zlib),
        Section::compressed(".debug_frame", 3, size, &zlib),
        Section::plain(".zdebug_frame", debug.bytes),
    ] {
        let sections = [unreadable, Section::plain(".eh_frame", eh.bytes.clone())];
        let table = table(&elf(&[CODE_SEGMENT], &sections)).unwrap();
        assert_eq!(rows(&table), eh_only);
        assert_eq!(table.missed, Missed { sections: 1, ..Missed::default() });
    }
}

/// As the dynamic loader sees it: there is a segment that says where it is, and no section.
#[test]
fn a_file_without_sections_is_read_by_its_segments() {
    let mut frames = Frames::eh();
    let shared = frames.shared("", AT_ENTRY);
    frames.entry_of(shared, 0x10, 0x10, &[]);
    frames.bytes.extend([0; 4]);
    // What follows in memory would be a malformed entry.
    frames.bytes.extend([0xff; 40]);
    // Version 1; a pointer of four bytes, counted from itself; no table.
    let header = [&[1, 0x1b, 0xff, 0xff][..], &4_i32.to_le_bytes()].concat();
    let mapped = [header, frames.bytes].concat();
    let at = 64 + 3 * 56;
    let length = mapped.len() as u64;
    let segments = [CODE_SEGMENT, (1, 4, at, at, length, length), (0x6474_e550, 4, at, at, 8, 8)];
    let mut file = elf(&segments, &[Section::plain("whatever", mapped)]);
    // Where the section headers are, how large and how many.
    file[40..48].fill(0);
    file[58..64].fill(0);
    let table = table(&file).unwrap();
    assert_eq!(rows(&table), [(0x10, Some(Rule::Frame(ENTRY))), (0x20, None)]);
    assert_eq!(table.missed, Missed::default());
}

#[test]
fn too_much_is_an_error() {
    let mut frames = Frames::eh();
    let shared = frames.shared("", AT_ENTRY);
    let rules: Vec<u8> = (0..=1_u32 << 16)
        .flat_map(|n| {
            let byte = |shift: u32| u8::try_from(n >> shift & 0x7f).unwrap();
            [0x41, 0x0e, byte(0) | 0x80, byte(7) | 0x80, byte(14)]
        })
        .collect();
    frames.entry_of(shared, 0, CODE_BYTES, &rules);
    assert_eq!(table(&elf_with(".eh_frame", frames)), Err(Error::TooManyRules));

    let mut frames = Frames::eh();
    let shared = frames.shared("", AT_ENTRY);
    let rows = [0x41, 0x0e, 8, 0x41, 0x0e, 16].repeat(1 << 21);
    frames.entry_of(shared, 0, CODE_BYTES, &rows);
    assert_eq!(table(&elf_with(".eh_frame", frames)), Err(Error::TooManyRows));

    let segments = [CODE_SEGMENT; SEGMENTS_MAX + 1];
    assert_eq!(table(&elf(&segments, &[])), Err(Error::TooManySegments));
    assert!(table(&elf(&segments[1..], &[])).is_ok());
}

#[test]
fn another_machines_file_is_an_error_that_says_so() {
    let good = elf(&[CODE_SEGMENT], &[]);
    assert_eq!(table(&good), Ok(Table::default()));
    let changed = |at: usize, byte: u8| {
        let mut file = good.clone();
        file[at] = byte;
        file
    };
    let cases: &[(Vec<u8>, &str)] = &[
        (b"#!/bin/sh".to_vec(), "not an ELF file"),
        (Vec::new(), "not an ELF file"),
        (changed(4, 1), "an ELF file of 32 bits"),
        (changed(18, 183), "for machine 183"),
        (changed(54, 1), "malformed ELF headers"),
        (good[..40].to_vec(), "malformed ELF headers"),
        (good[..100].to_vec(), "malformed ELF headers"),
    ];
    for (file, message) in cases {
        let error = table(file).unwrap_err();
        assert!(error.to_string().contains(message), "{error} has not {message}");
        assert_eq!(executable_segments(file), Err(error));
    }
    let big_endian = {
        let mut file = changed(5, 2);
        file[18..20].copy_from_slice(&[0, 22]);
        file
    };
    assert_eq!(table(&big_endian), Err(Error::Machine { machine: 22 }));
}

#[test]
fn the_segments_are_those_that_are_executable() {
    let data = (1, 6, 0x2000, 0x8000, 0x100, 0x200);
    let far = (1, 1, 0x3000, 0x9000_0000, 0x100, 0x300);
    let note = (4, 5, 0, 0, 0x10, 0x10);
    assert_eq!(
        executable_segments(&elf(&[data, CODE_SEGMENT, note, far], &[])).unwrap(),
        [
            Segment { file_offset: CODE, address: CODE, size: CODE_BYTES },
            Segment { file_offset: 0x3000, address: 0x9000_0000, size: 0x300 },
        ]
    );
}
