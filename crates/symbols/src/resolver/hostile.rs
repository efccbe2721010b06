//! Files that nobody's linker made.

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::process::Command;

use rustix::fs::{MemfdFlags, memfd_create};

use super::*;

const SOURCE: &str = "static inline __attribute__((always_inline)) int twice(int n) { return 2 * n; }\n\
                      int main(int n, char **all) { return all ? twice(n) : 0; }\n";

/// A small program with debug information; none where there is no compiler.
fn program(flags: &[&str]) -> Option<Vec<u8>> {
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source.c");
    fs::write(&source, SOURCE).unwrap();
    let program = dir.path().join("program");
    let compile = Command::new("gcc").args(flags).arg("-o").arg(&program).arg(source).status();
    let Ok(status) = compile else {
        eprintln!("skipped: needs gcc (apt-get install gcc)");
        return None;
    };
    assert!(status.success());
    Some(fs::read(program).unwrap())
}

/// What a file with these bytes gives for some of its offsets: nothing but must not panic.
fn look_up(bytes: &[u8]) -> Option<(Vec<Looked>, Option<String>)> {
    let file = File::from(memfd_create("hostile", MemfdFlags::CLOEXEC).unwrap());
    file.write_all_at(bytes, 0).unwrap();
    let contents = Contents::new(file).ok()?;
    let addresses: Vec<u64> = (0..bytes.len() as u64)
        .step_by(3)
        .filter_map(|offset| contents.image.address_of(offset))
        .take(8192)
        .collect();
    let mut resolver = Resolver::new(&contents, &[], None);
    let found = resolver.look_up(&addresses);
    assert_eq!(found.len(), addresses.len());
    Some((found, resolver.trouble))
}

fn names(found: &[Looked]) -> Vec<&str> {
    found.iter().flatten().flatten().map(|found| &*found.name).collect()
}

/// Where a section's header is.
fn header(bytes: &[u8], name: &str) -> usize {
    let number = |at: usize, length: usize| {
        let mut all = [0; 8];
        all[..length].copy_from_slice(&bytes[at..at + length]);
        usize::try_from(u64::from_le_bytes(all)).unwrap()
    };
    let (table, names) = (number(0x28, 8), number(0x3e, 2));
    let names = number(table + names * 64 + 0x18, 8);
    (0..number(0x3c, 2))
        .map(|at| table + at * 64)
        .find(|at| bytes[names + number(*at, 4)..].starts_with(format!("{name}\0").as_bytes()))
        .unwrap()
}

#[test]
fn a_file_that_is_cut_off_gives_what_it_still_has() {
    let Some(bytes) = program(&["-g"]) else { return };
    let (found, trouble) = look_up(&bytes).unwrap();
    assert!(names(&found).contains(&"twice"));
    assert_eq!(trouble, None);
    for tenth in 0..10 {
        let length = bytes.len() * tenth / 10;
        let Some((found, trouble)) = look_up(&bytes[..length]) else { continue };
        assert!(names(&found).is_empty() && trouble.is_some(), "{length}: {trouble:?}");
        assert!(found.iter().all(|looked| looked.as_ref().is_err_and(|why| !why.is_empty())));
    }
}

#[test]
fn without_readable_debug_information_there_are_still_symbols() {
    let Some(mut bytes) = program(&["-g"]) else { return };
    // Its offset is past the file's end.
    let at = header(&bytes, ".debug_info") + 0x18;
    bytes[at..at + 8].fill(0x7f);
    let (found, trouble) = look_up(&bytes).unwrap();
    assert!(names(&found).contains(&"main") && trouble.is_some(), "{trouble:?}");
}

#[test]
fn what_says_that_it_decompresses_to_terabytes_is_not_decompressed() {
    let Some(mut bytes) = program(&["-g3", "-gz=zlib"]) else { return };
    let at = header(&bytes, ".debug_info");
    let offset =
        usize::try_from(u64::from_le_bytes(bytes[at + 0x18..at + 0x20].try_into().unwrap()));
    let size = offset.unwrap() + 8;
    bytes[size..size + 8].copy_from_slice(&(1_u64 << 42).to_le_bytes());
    let (found, trouble) = look_up(&bytes).unwrap();
    assert!(names(&found).contains(&"main"));
    assert_eq!(trouble.as_deref(), Some("its debug information has 4194304 MiB"));
}

/// A plain generator: the same files in each run.
fn random(state: &mut u64) -> usize {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    usize::try_from(*state >> 16).unwrap()
}

/// Some of these do make blazesym panic, on what it asserts in builds for tests.
#[test]
fn no_change_to_a_file_costs_more_than_its_names() {
    let mut state = 0x9e37_79b9_7f4a_7c15;
    for flags in [&["-g"][..], &["-gdwarf-4"], &["-g", "-gz=zlib"]] {
        let Some(bytes) = program(flags) else { return };
        let parts: Vec<usize> = [".debug_info", ".debug_abbrev", ".debug_line", ".symtab"]
            .iter()
            .map(|name| {
                let at = header(&bytes, name) + 0x18;
                usize::try_from(u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())).unwrap()
            })
            .chain([
                0,
                usize::try_from(u64::from_le_bytes(bytes[0x28..0x30].try_into().unwrap())).unwrap(),
            ])
            .collect();
        for _ in 0..60 {
            let mut changed = bytes.clone();
            for _ in 0..=random(&mut state) % 6 {
                let part = parts[random(&mut state) % parts.len()];
                let at = (part + random(&mut state) % 512).min(bytes.len() - 1);
                changed[at] = random(&mut state).to_le_bytes()[0];
            }
            let _ = look_up(&changed);
        }
    }
}
