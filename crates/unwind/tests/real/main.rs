//! Tables of this machine's files, held against what other readers make of the same files.
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test says where it failed, and why it is skipped"
)]
#![cfg(all(target_arch = "x86_64", target_os = "linux"))]

mod dwarfdump;
mod readelf;
#[path = "../support/vdso.rs"]
mod vdso;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use object::{Object as _, ObjectSymbol as _};
use temblor_unwind::{Base, Cfa, Frame, Row, Rule, Saved, Table, executable_segments, table};

/// The file of this process whose name begins so, wherever the distribution has it.
fn mapped(name: &str) -> Option<PathBuf> {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let paths = maps.lines().filter_map(|line| line.split_whitespace().nth(5)).map(Path::new);
    let has_name = |path: &&Path| {
        path.file_name().is_some_and(|file| file.to_string_lossy().starts_with(name))
    };
    paths.filter(has_name).map(Path::to_owned).next()
}

/// The C library's files, a shell, and this test: those that are there.
fn files() -> Vec<PathBuf> {
    let libc = mapped("libc.so");
    let beside = |name: &str| Some(libc.as_ref()?.parent()?.join(name));
    let files: Vec<PathBuf> = [
        libc.clone(),
        beside("libm.so.6"),
        beside("libgcc_s.so.1"),
        beside("libcrypto.so.3"),
        mapped("ld-linux"),
        Some("/bin/bash".into()),
        Some(std::env::current_exe().unwrap()),
    ]
    .into_iter()
    .flatten()
    .filter(|path| path.is_file())
    .collect();
    assert!(!files.is_empty());
    files
}

fn libc() -> Option<(Vec<u8>, Table)> {
    let Some(path) = mapped("libc.so.6") else {
        eprintln!("skipped: this test does not run with glibc");
        return None;
    };
    let bytes = fs::read(path).unwrap();
    let table = table(&bytes).unwrap();
    Some((bytes, table))
}

/// What another reader prints. None: it is not installed.
fn printed(tool: &str, argument: &str, file: &Path) -> Option<String> {
    let output = match Command::new(tool).arg(argument).arg(file).env("LC_ALL", "C").output() {
        Ok(output) => output,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            eprintln!("skipped: {tool} is not installed");
            return None;
        }
        Err(error) => panic!("{tool}: {error}"),
    };
    // readelf ends with 1 where a file names another one of debug information that is not there.
    assert!(!output.stdout.is_empty(), "{tool} of {}: {output:?}", file.display());
    Some(String::from_utf8(output.stdout).unwrap())
}

fn assert_agreement(file: &Path, compared: usize, disagreements: &[String]) {
    let first: Vec<&String> = disagreements.iter().take(10).collect();
    assert!(
        disagreements.is_empty(),
        "{} of {compared} rows of {} are not the same: {first:#?}",
        disagreements.len(),
        file.display(),
    );
}

#[test]
fn every_row_is_what_readelf_says() {
    for file in files() {
        let Some(text) = printed("readelf", "--debug-dump=frames-interp", &file) else { return };
        let table = table(&fs::read(&file).unwrap()).unwrap();
        let said = readelf::Said::parse(&text);
        assert_agreement(&file, said.rows(), &said.disagreements(&table));
        assert!(said.rows() > 100, "{} rows of {}", said.rows(), file.display());
        assert_eq!((table.missed.malformed, table.missed.sections), (0, 0), "{}", file.display());
    }
}

#[test]
fn every_expression_is_what_llvm_says() {
    for file in files() {
        let Some(text) = printed("llvm-dwarfdump", "--eh-frame", &file) else { return };
        let table = table(&fs::read(&file).unwrap()).unwrap();
        let (compared, disagreements) = dwarfdump::compare(&table, &text);
        assert_agreement(&file, compared, &disagreements);
    }
}

/// A comparison that finds nothing wrong must find something where something is.
#[test]
fn a_table_that_is_wrong_somewhere_is_noticed() {
    let Some((_, good)) = libc() else { return };
    let file = mapped("libc.so.6").unwrap();
    let Some(text) = printed("readelf", "--debug-dump=frames-interp", &file) else { return };
    let said = readelf::Said::parse(&text);
    let disagreements = |table: &Table| said.disagreements(table).len();
    assert_eq!(disagreements(&good), 0);

    for number in 0..good.rules.len() {
        // Of the hundreds of ordinary frames, some.
        if number % 10 != 0 && matches!(good.rules[number], Rule::Frame(_)) {
            continue;
        }
        let mut altered = good.clone();
        let rule = &mut altered.rules[number];
        *rule = match *rule {
            Rule::Frame(Frame { cfa: Cfa::At { base, offset }, .. }) if number % 3 == 0 => {
                let Rule::Frame(frame) = *rule else { unreachable!() };
                Rule::Frame(Frame { cfa: Cfa::At { base, offset: offset + 8 }, ..frame })
            }
            Rule::Frame(frame) if number % 3 == 1 => {
                let frame_pointer = match frame.frame_pointer {
                    Saved::Unchanged => Saved::AtCfa(-16),
                    _ => Saved::Unchanged,
                };
                Rule::Frame(Frame { frame_pointer, ..frame })
            }
            Rule::Frame(frame) => Rule::Frame(Frame { return_address: -16, ..frame }),
            Rule::Root => Rule::Signal,
            Rule::Signal | Rule::Unsupported(_) => Rule::Root,
        };
        assert!(
            disagreements(&altered) > 0,
            "{:?} for {:?}",
            altered.rules[number],
            good.rules[number]
        );
    }

    let longest = (0..good.rows.len() - 1)
        .filter(|row| good.rows[*row].rule.is_none())
        .max_by_key(|row| good.rows[row + 1].address - good.rows[*row].address)
        .unwrap();
    let mut altered = good.clone();
    altered.rows[longest].rule = Some(0);
    assert!(disagreements(&altered) > 0, "a rule where there is none");
    let mut altered = good.clone();
    altered.rows.remove(good.rows.len() / 2);
    assert!(disagreements(&altered) > 0, "a row is missing");
    let mut altered = good.clone();
    altered.rows[good.rows.len() / 3].address += 1;
    assert!(disagreements(&altered) > 0, "a row begins too late");
}

#[test]
fn the_kernels_signal_frame_is_found_by_its_code() {
    let Some((bytes, table)) = libc() else { return };
    let signals: Vec<&Row> = table
        .rows
        .iter()
        .filter(|row| row.rule.is_some_and(|rule| table.rules[usize::from(rule)] == Rule::Signal))
        .collect();
    let [signal] = signals[..] else { panic!("{signals:?}") };
    // Its entry begins a byte early, for those who look up the byte before a return address.
    let address = signal.address + 1;
    let segment = executable_segments(&bytes)
        .unwrap()
        .into_iter()
        .find(|segment| (segment.address..segment.address + segment.size).contains(&address))
        .unwrap();
    let at = usize::try_from(address - segment.address + segment.file_offset).unwrap();
    // mov $15, %rax; syscall: `rt_sigreturn`.
    let code = [0x48, 0xc7, 0xc0, 15, 0, 0, 0, 0x0f, 0x05];
    assert_eq!(bytes[at..at + code.len()], code);
}

/// Every row of a function is asked for.
fn rules_of(bytes: &[u8], table: &Table, function: &str) -> Vec<Option<Rule>> {
    let file = object::read::elf::ElfFile64::<object::Endianness>::parse(bytes).unwrap();
    let symbol = file.dynamic_symbols().find(|symbol| symbol.name() == Ok(function)).unwrap();
    (symbol.address()..symbol.address() + symbol.size())
        .map(|address| table.rule_at(address))
        .collect()
}

#[test]
fn where_a_thread_begins_nobody_called() {
    let Some((bytes, table)) = libc() else { return };
    let clone = rules_of(&bytes, &table, "clone");
    assert!(clone.contains(&Some(Rule::Root)), "{clone:?}");
    let ordinary = Frame {
        cfa: Cfa::At { base: Base::StackPointer, offset: 8 },
        frame_pointer: Saved::Unchanged,
        return_address: -8,
    };
    assert_eq!(clone.first(), Some(&Some(Rule::Frame(ordinary))), "whoever calls it was called");
}

#[test]
fn where_a_program_begins_nobody_called() {
    let bytes = fs::read(std::env::current_exe().unwrap()).unwrap();
    let start =
        object::read::elf::ElfFile64::<object::Endianness>::parse(&bytes[..]).unwrap().entry();
    let table = table(&bytes).unwrap();
    assert_eq!(table.rule_at(start), Some(Rule::Root));
}

/// The kernel's own library, which no file has: it is read out of this process.
#[test]
fn the_vdso_has_a_table() {
    let Some(bytes) = vdso::vdso() else { return };
    let table = table(&bytes).unwrap();
    let rules = rules_of(&bytes, &table, "__vdso_clock_gettime");
    assert!(!rules.is_empty() && rules.iter().all(|rule| matches!(rule, Some(Rule::Frame(_)))));
    assert!(table.missed.rows.is_empty(), "{:?}", table.missed);
}
