//! Programs with their names in the places where distributions and build tools put them.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use temblor_symbols::{Files, Symbolizer, Symbols};

use crate::world::{Waiting, at, function, has, in_file, is_root, run};

const SOURCE: &str = r#"#include <cstdio>
namespace shop {
static volatile int sink;
static inline __attribute__((always_inline)) void twice(int n) {
    sink = n * 2;
}
struct Order {
    static void price(int n, const char *name);
};
__attribute__((noinline)) void Order::price(int n, const char *) {
    sink = n;
    twice(n);
    sink = 3;
}
}
extern "C" int main() {
    std::printf("%p\n", reinterpret_cast<void *>(&shop::Order::price));
    std::fflush(stdout);
    return std::getchar();
}
"#;
const CALLEE: &str = "source.cc:5";
const CALL: &str = "source.cc:12";

/// A program in a directory of its own.
struct Program {
    dir: tempfile::TempDir,
}

impl Program {
    fn new(flags: &[&str]) -> Self {
        let program = Self { dir: tempfile::tempdir().unwrap() };
        fs::write(program.path("source.cc"), SOURCE).unwrap();
        let compile = ["-O1", "-fPIE", "-pie", "-Wl,--build-id", "-o", "program", "source.cc"];
        program.run("g++", compile.iter().chain(flags));
        program
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn run(&self, tool: &str, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) {
        run(Command::new(tool).args(arguments).current_dir(self.dir.path()));
    }

    /// What is at each byte of its function, and what trouble there was.
    fn symbols(&self, debug_dirs: &[&Path]) -> (Vec<Symbols>, Option<String>) {
        let waiting = Waiting::start(&mut Command::new(self.path("program")));
        let mut files = Files::new(64);
        let space = files.snapshot(waiting.pid()).unwrap();
        let address = waiting.address;
        waiting.end();
        let place = in_file(&space, address);
        let mut symbolizer = Symbolizer::new(debug_dirs.iter().map(|dir| dir.to_path_buf()));
        let found = function(&mut symbolizer, &files, place);
        (found, symbolizer.trouble(place.0).map(str::to_owned))
    }
}

fn check_name(found: &[Symbols]) {
    let outer = found[0].frames.last().expect("a name");
    assert_eq!(&*outer.name, "shop::Order::price(int, char const*)");
    assert_eq!(&*outer.system_name, "_ZN4shop5Order5priceEiPKc");
    assert!(outer.start.is_some() && !outer.is_inlined);
}

fn check_lines(found: &[Symbols]) {
    check_name(found);
    let both = found.iter().find(|symbols| symbols.frames.len() == 2);
    let [inner, outer] = &*both.expect("two frames").frames else { unreachable!() };
    assert!(inner.name.contains("twice"), "{inner:?}");
    assert_eq!((at(inner).as_str(), at(outer).as_str()), (CALLEE, CALL));
    assert!(inner.is_inlined && inner.column.is_some());
}

#[test]
fn debug_information_gives_lines_and_what_was_inlined() {
    if !has("g++", "g++") {
        return;
    }
    for flags in [&["-g"][..], &["-g", "-gdwarf-4"], &["-g", "-gz=zlib"], &["-g1"]] {
        let (found, trouble) = Program::new(flags).symbols(&[]);
        assert_eq!(trouble, None, "{flags:?}");
        check_lines(&found);
    }
}

#[test]
fn symbols_alone_give_names() {
    if !has("g++", "g++") {
        return;
    }
    let (found, trouble) = Program::new(&[]).symbols(&[]);
    assert_eq!(trouble, None);
    check_name(&found);
    assert_eq!((found[0].frames[0].file.as_deref(), found[0].frames[0].line), (None, None));
}

#[test]
fn a_stripped_program_has_no_names_and_the_reason_is_said() {
    if !has("g++", "g++") {
        return;
    }
    let program = Program::new(&["-s"]);
    let (found, trouble) = program.symbols(&[]);
    assert_eq!(trouble, None);
    assert!(found[0].frames.is_empty());
    assert_eq!(found[0].why_none.as_deref(), Some("it has no symbols"));
}

#[test]
fn separate_debug_information_is_found_by_the_build_id() {
    if !has("g++", "g++") {
        return;
    }
    let program = Program::new(&["-g"]);
    program
        .run("objcopy", ["--only-keep-debug", "--compress-debug-sections=zlib", "program", "it"]);
    let notes = Command::new("readelf").arg("-n").arg(program.path("it")).output().unwrap();
    let notes = String::from_utf8(notes.stdout).unwrap();
    let id = notes.split("Build ID: ").nth(1).unwrap().split_whitespace().next().unwrap();
    program.run("strip", ["program"]);
    let dir = program.path("debug").join(".build-id").join(&id[..2]);
    fs::create_dir_all(&dir).unwrap();
    let debug = dir.join(format!("{}.debug", &id[2..]));
    fs::rename(program.path("it"), &debug).unwrap();
    let (found, trouble) = program.symbols(&[&program.path("none"), &program.path("debug")]);
    assert_eq!(trouble, None);
    check_lines(&found);
    // Another build's under this one's id would give wrong names.
    fs::copy("/bin/sleep", &debug).unwrap();
    assert!(program.symbols(&[&program.path("debug")]).0[0].frames.is_empty());
}

#[test]
fn separate_debug_information_is_found_by_its_link() {
    if !has("g++", "g++") {
        return;
    }
    let program = Program::new(&["-g"]);
    program.run("objcopy", ["--only-keep-debug", "program", "program.debug"]);
    program.run("strip", ["program"]);
    program.run("objcopy", ["--add-gnu-debuglink=program.debug", "program"]);
    let (found, trouble) = program.symbols(&[]);
    assert_eq!(trouble, None);
    check_lines(&found);
    // In the directory of debug files, where packages have it.
    let debug = program.path("debug");
    fs::create_dir(&debug).unwrap();
    fs::rename(program.path("program.debug"), debug.join("program.debug")).unwrap();
    check_lines(&program.symbols(&[&debug]).0);
    // One of another build is refused by its checksum.
    fs::copy("/bin/sleep", debug.join("program.debug")).unwrap();
    let (found, trouble) = program.symbols(&[&debug]);
    assert!(found[0].frames.is_empty());
    assert!(trouble.unwrap().contains("checksum"));
}

#[test]
fn the_small_table_of_symbols_that_fedora_keeps_is_read() {
    if !has("g++", "g++") || !has("xz", "xz-utils") {
        return;
    }
    let program = Program::new(&[]);
    program.run("objcopy", ["--only-keep-debug", "program", "mini"]);
    program.run("xz", ["mini"]);
    program.run("strip", ["program"]);
    program.run("objcopy", ["--add-section", ".gnu_debugdata=mini.xz", "program"]);
    let (found, _) = program.symbols(&[]);
    check_name(&found);
}

#[test]
fn a_file_of_another_mount_namespace_is_the_right_one() {
    if !is_root() || !has("g++", "g++") {
        eprintln!("skipped: needs root (it makes a mount namespace) and g++");
        return;
    }
    // Here the path leads to a program without a name; there, to one with.
    let here = Program::new(&["-s"]);
    let there = Program::new(&["-g"]);
    let script = format!(
        "mount --bind '{0}/program' '{1}/program' && exec '{1}/program'",
        there.dir.path().display(),
        here.dir.path().display()
    );
    let waiting = Waiting::start(Command::new("unshare").args(["-m", "sh", "-c", &script]));
    let mut files = Files::new(64);
    let space = files.snapshot(waiting.pid()).unwrap();
    let place = in_file(&space, waiting.address);
    assert_eq!(files.get(place.0).unwrap().path(), here.path("program"));
    waiting.end();
    check_lines(&function(&mut Symbolizer::new([]), &files, place));
}
