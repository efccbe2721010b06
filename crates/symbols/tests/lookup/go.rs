//! Go programs without symbols and without debug information, as they are built to be small.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use temblor_symbols::{Files, Frame, Symbolizer, Symbols};

use crate::world::{Waiting, at, function, has, in_file};

const SOURCE: &str = r#"package main

import (
	"fmt"
	"os"
)

type Order struct{ n int }

var sink int

//go:noinline
func note(n int) {
	sink += n
}

func twice(n int) int {
	note(n)
	return n * 2
}

func price(n int) int {
	return twice(n) + sink
}

//go:noinline
func (o *Order) Price(n int) int {
	note(o.n)
	return price(n)
}

func main() {
	fmt.Printf("%p\n", (*Order).Price)
	var one [1]byte
	os.Stdin.Read(one[:])
	os.Exit((&Order{}).Price(2) & 1)
}
"#;

const STRIPPED: [&str; 2] = ["-ldflags", "-s -w"];

/// What is at each byte of its function.
fn symbols(dir: &Path, flags: &[&str], with_c: bool) -> Vec<Symbols> {
    fs::write(dir.join("go.mod"), "module shop\n").unwrap();
    fs::write(dir.join("main.go"), SOURCE).unwrap();
    let out = Command::new("go")
        .args(["build", "-o", "program"])
        .args(flags)
        .arg(".")
        .current_dir(dir)
        .env("HOME", dir)
        .env("GOCACHE", cache())
        .env("GOTOOLCHAIN", "local")
        .env("GOFLAGS", "-mod=mod")
        .env("CGO_ENABLED", if with_c { "1" } else { "0" })
        .output()
        .unwrap();
    assert!(out.status.success(), "{flags:?}: {}", String::from_utf8_lossy(&out.stderr));
    let waiting = Waiting::start(&mut Command::new(dir.join("program")));
    let mut files = Files::new(64);
    let space = files.snapshot(waiting.pid()).unwrap();
    let place = in_file(&space, waiting.address);
    waiting.end();
    let mut symbolizer = Symbolizer::new([]);
    let found = function(&mut symbolizer, &files, place);
    assert_eq!(symbolizer.trouble(place.0), None, "{flags:?}");
    found
}

/// Go builds its own library first, and keeps it there.
fn cache() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("go")
}

fn shown(frames: &[Frame]) -> Vec<String> {
    let show = |frame: &Frame| format!("{} {} {}", frame.name, at(frame), frame.is_inlined);
    frames.iter().map(show).collect()
}

fn check(found: &[Symbols], what: &str) {
    let all: Vec<Vec<String>> = found.iter().map(|symbols| shown(&symbols.frames)).collect();
    assert!(all.contains(&vec!["main.(*Order).Price main.go:28 false".into()]), "{what}: {all:?}");
    let inlined = [
        "main.twice main.go:18 true",
        "main.price main.go:23 true",
        "main.(*Order).Price main.go:29 false",
    ];
    assert!(all.contains(&inlined.map(str::to_owned).to_vec()), "{what}: {all:?}");
}

#[test]
fn a_stripped_go_program_has_names_lines_and_what_was_inlined() {
    if !has("go", "golang-go") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let stripped = symbols(dir.path(), &STRIPPED, false);
    check(&stripped, "stripped");
    // With symbols alone there are still lines.
    check(&symbols(dir.path(), &["-ldflags", "-w"], false), "symbols alone");
    // What debug information says, with the same code.
    let full = symbols(dir.path(), &[], false);
    check(&full, "debug information");
    let all = |found: &[Symbols]| -> Vec<Vec<String>> {
        let frames = found.iter().map(|symbols| shown(&symbols.frames));
        // What fills up to the next function has no line.
        frames.filter(|frames| !frames.iter().any(|frame| frame.contains("?:0"))).collect()
    };
    assert_eq!(all(&stripped), all(&full));
}

#[test]
fn so_has_one_that_may_lie_anywhere() {
    if !has("go", "golang-go") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let anywhere = [&["-buildmode=pie"], &STRIPPED[..]].concat();
    check(&symbols(dir.path(), &anywhere, false), "pie");
    if has("gcc", "gcc") {
        let by_gcc = ["-buildmode=pie", "-ldflags", "-s -w -linkmode=external"];
        check(&symbols(dir.path(), &by_gcc, true), "linked by gcc");
    }
}
