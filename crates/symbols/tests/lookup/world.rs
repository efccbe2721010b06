//! What the tests share: programs that say where a function of theirs is and wait.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use temblor_symbols::{FileId, Files, Frame, Place, Space, Symbolizer, Symbols};

/// More than the functions of these tests have.
pub(crate) const FUNCTION_BYTES_MAX: u64 = 256;

/// A program that waits until it is dropped.
pub(crate) struct Waiting {
    child: Child,
    /// Where its function is.
    pub(crate) address: u64,
}

impl Waiting {
    /// Starts a program that writes an address as its first line with `0x`, and then reads.
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let address = lines.map_while(Result::ok).find_map(|line| {
            u64::from_str_radix(line.split("0x").nth(1)?.split_whitespace().next()?, 16).ok()
        });
        let Some(address) = address else {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("{command:?} has said no address");
        };
        Self { child, address }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn end(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Whether a tool is there; says so where it is not.
pub(crate) fn has(tool: &str, package: &str) -> bool {
    let is_there = Command::new(tool).arg("--version").output().is_ok();
    if !is_there {
        eprintln!("skipped: needs {tool} (apt-get install {package})");
    }
    is_there
}

pub(crate) fn run(command: &mut Command) {
    let out = command.output().unwrap();
    assert!(out.status.success(), "{command:?}: {}", String::from_utf8_lossy(&out.stderr));
}

/// The file and the offset that an address must lead to.
pub(crate) fn in_file(space: &Space, address: u64) -> (FileId, u64) {
    match space.locate(address) {
        Place::File { file, offset } => (file, offset),
        other => panic!("{address:#x} is {other:?}"),
    }
}

/// What is at each byte of a function, as far as the first function goes.
pub(crate) fn function(
    symbolizer: &mut Symbolizer,
    files: &Files,
    (file, offset): (FileId, u64),
) -> Vec<Symbols> {
    let offsets: Vec<u64> = (offset..offset + FUNCTION_BYTES_MAX).collect();
    let mut found = symbolizer.file(files, file, &offsets);
    let start = |symbols: &Symbols| symbols.frames.last().and_then(|frame| frame.start);
    let first = start(&found[0]);
    found.retain(|symbols| start(symbols) == first);
    found
}

/// The names at an address.
pub(crate) fn names(
    symbolizer: &mut Symbolizer,
    files: &Files,
    space: &Space,
    address: u64,
) -> Vec<String> {
    let (file, offset) = in_file(space, address);
    let found = symbolizer.file(files, file, &[offset]);
    found[0].frames.iter().map(|frame| frame.name.to_string()).collect()
}

/// Where a frame is, as `file:line` with the file's own name.
pub(crate) fn at(frame: &Frame) -> String {
    let file = frame.file.as_deref().map_or("?", |file| {
        Path::new(file).file_name().and_then(|name| name.to_str()).unwrap_or("?")
    });
    format!("{file}:{}", frame.line.unwrap_or(0))
}
