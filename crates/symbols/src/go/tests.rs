//! Programs that have a table as Go's programs do, made by a C compiler.

use std::fmt::Write as _;
use std::fs;
use std::process::Command;

use proptest::prelude::*;

use super::table::Version;
use super::table::tests::{SECOND, TEXT, table};
use super::*;

/// A program with a small table; its description of itself has what was inlined in that word, and
/// the table's end in the next where it is a part of it. None where there is no compiler.
fn program(flags: &[&str], section: &str, word: usize, is_part: bool) -> Option<Vec<u8>> {
    let (mut bytes, inlined) = table(Version::Go20);
    // As Go 1.26 and later have it.
    bytes[24..32].fill(0);
    let names_at = u64::from_ne_bytes(*bytes[32..].first_chunk().unwrap());
    let part = bytes.len();
    let array = |bytes: &[u8]| {
        bytes.iter().fold(String::new(), |mut text, byte| {
            write!(text, "{byte},").unwrap();
            text
        })
    };
    let lies_at = if is_part {
        bytes.extend(&inlined);
        format!("table + {part}")
    } else {
        "inlined".to_owned()
    };
    // The linker may end the section later than the table.
    let source = format!(
        "__attribute__((aligned(32), section(\"{section}\"))) {0} char table[] = {{{1}}};\n\
         const char inlined[] = {{{2}}};\n\
         const void *module[48] = {{table, table + {names_at}, [22] = (void *){TEXT}, \
         [{word}] = {lies_at}, [{word} + 1] = table + {3}}};\n\
         int main(void) {{ return module[1] == 0; }}\n",
        if section.starts_with(".data") { "" } else { "const" },
        array(&bytes),
        array(&inlined),
        bytes.len(),
    );
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("source.c"), source).unwrap();
    let mut compile = Command::new("gcc");
    compile.args(flags).args(["-o", "program", "source.c"]).current_dir(dir.path());
    let Ok(status) = compile.status() else {
        eprintln!("skipped: needs gcc (apt-get install gcc)");
        return None;
    };
    assert!(status.success());
    Some(fs::read(dir.path().join("program")).unwrap())
}

fn names(bytes: &[u8]) -> Option<Vec<String>> {
    let parts = parts(bytes)?;
    let found = look_up(bytes, &parts, SECOND + 20)?;
    Some(found.into_iter().map(|found| found.name).collect())
}

#[test]
fn the_program_says_where_its_parts_are() {
    for (flags, section, word, is_part) in [
        // Go 1.20 to 1.25, 1.26, and 1.27.
        (&["-no-pie"][..], ".gopclntab", 40, false),
        (&["-no-pie"], ".gopclntab", 40, true),
        (&["-no-pie"], ".gopclntab", 43, true),
        // Where the loader is told to write the addresses.
        (&["-fPIE", "-pie"], ".gopclntab", 43, true),
        (&["-fPIE", "-pie"], ".data.rel.ro.gopclntab", 40, false),
    ] {
        let Some(bytes) = program(flags, section, word, is_part) else { return };
        let found = names(&bytes).unwrap();
        assert_eq!(found, ["inner", "middle", "second"], "{flags:?} {section} {word} {is_part}");
    }
}

#[test]
fn without_its_word_the_code_is_taken_to_begin_where_the_section_does() {
    let Some(mut bytes) = program(&["-no-pie"], ".gopclntab", 40, false) else { return };
    // The description is known by what it begins with.
    let table = parts(&bytes).unwrap().table.start as u64;
    let at = bytes.chunks_exact(8).rposition(|word| word == (0x40_0000 + table).to_ne_bytes());
    bytes[8 * at.unwrap()] ^= 0xff;
    let text = {
        let file = object::File::parse(&*bytes).unwrap();
        file.section_by_name(".text").unwrap().address()
    };
    let parts = parts(&bytes).unwrap();
    assert_eq!((parts.text, &parts.inlined), (text, &(0..0)));
}

#[test]
fn a_program_of_another_language_has_none() {
    assert!(parts(&fs::read("/proc/self/exe").unwrap()).is_none());
    assert!(parts(b"").is_none());
}

#[test]
fn no_changed_program_panics() {
    for flags in [&["-no-pie"][..], &["-fPIE", "-pie"]] {
        let Some(bytes) = program(flags, ".gopclntab", 43, true) else { return };
        let places = (any::<prop::sample::Index>(), any::<bool>(), any::<u8>());
        let mut runner = proptest::test_runner::TestRunner::default();
        let changes = prop::collection::vec(places, 1..20);
        runner
            .run(&changes, |changes| {
                let mut changed = bytes.clone();
                // The headers of the file and of its sections are at its ends.
                let tail = changed.len() - 2500;
                for (at, is_tail, byte) in changes {
                    let at = if is_tail { tail + at.index(2500) } else { at.index(changed.len()) };
                    changed[at] = byte;
                }
                let _ = names(&changed);
                Ok(())
            })
            .unwrap();
    }
}
