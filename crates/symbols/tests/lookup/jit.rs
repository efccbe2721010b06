//! Code that was made while a process ran.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use temblor_symbols::{Files, PerfMap, Place};

use crate::world::{Waiting, has, is_root, run};

/// Maps memory to execute, and says where.
const SOURCE: &str = r#"#define _GNU_SOURCE
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>
int main(int argc, char **argv) {
    int fd = argc > 1 ? memfd_create("doublemapper", 0) : -1;
    if (fd >= 0 && ftruncate(fd, 4096) != 0)
        return 1;
    int flags = fd >= 0 ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS;
    printf("%p\n", mmap(0, 4096, PROT_READ | PROT_EXEC, flags, fd, 0));
    fflush(stdout);
    return getchar();
}
"#;

fn program() -> Option<(tempfile::TempDir, PathBuf)> {
    if !has("gcc", "gcc") {
        return None;
    }
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source.c");
    fs::write(&source, SOURCE).unwrap();
    let program = dir.path().join("program");
    run(Command::new("gcc").arg("-o").arg(&program).arg(source));
    Some((dir, program))
}

/// Removes the file when the test is over.
struct Removed(PathBuf);

impl Drop for Removed {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[test]
fn code_in_memory_has_the_names_of_the_perf_map() {
    let Some((_dir, program)) = program() else { return };
    for arguments in [&[][..], &["memfd"]] {
        let waiting = Waiting::start(Command::new(&program).args(arguments));
        let space = Files::new(64).snapshot(waiting.pid()).unwrap();
        assert_eq!(space.locate(waiting.address), Place::Jit, "{arguments:?}");
        assert_eq!(PerfMap::read(waiting.pid()).unwrap(), None);
        let path = Removed(format!("/tmp/perf-{}.map", waiting.pid()).into());
        let start = waiting.address;
        let text = format!("{start:x} 40 old\n{start:x} 20 LazyCompile:~add x.js:1\nhalf a li");
        fs::write(&path.0, text).unwrap();
        let map = PerfMap::read(waiting.pid()).unwrap().unwrap();
        assert_eq!(map.name(start + 1), Some("LazyCompile:~add x.js:1"));
        assert_eq!(map.name(start + 0x20), Some("old"));
        assert_eq!((map.name(start + 0x40), map.unread()), (None, 1));
    }
}

#[test]
fn the_perf_map_is_the_one_of_the_process_namespaces() {
    if !is_root() {
        eprintln!("skipped: needs root (it makes namespaces of mounts and pids)");
        return;
    }
    let Some((_dir, program)) = program() else { return };
    // Its own /tmp goes with its namespace, and the program has been started before from ours.
    let script = format!(
        "exec 3< '{}' && mount -t tmpfs tmpfs /tmp && /proc/self/fd/3; true",
        program.display()
    );
    let waiting = Waiting::start(Command::new("unshare").args([
        "-m",
        "-p",
        "-f",
        "--kill-child",
        "sh",
        "-c",
        &script,
    ]));
    let inside = descendant(waiting.pid()).expect("it runs");
    let expected = fs::read_to_string(format!("/proc/{inside}/status")).unwrap();
    let own = expected.lines().find(|line| line.starts_with("NSpid:")).unwrap();
    let own = own.split_whitespace().next_back().unwrap();
    fs::write(format!("/proc/{inside}/root/tmp/perf-{own}.map"), "10 10 inside\n").unwrap();
    let map = PerfMap::read(inside).unwrap().unwrap();
    assert_eq!(map.name(0x18), Some("inside"));
    // Somebody else's file with the right name.
    let path = format!("/proc/{inside}/root/tmp/perf-{own}.map");
    std::os::unix::fs::chown(&path, Some(65534), None).unwrap();
    let error = PerfMap::read(inside).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::PermissionDenied);
    // A link leads where it leads inside, where there is nothing.
    fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink("/nowhere", &path).unwrap();
    assert_eq!(PerfMap::read(inside).unwrap(), None);
}

/// The last one of a line of processes, each the only child of the one before.
fn descendant(pid: u32) -> Option<u32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
    match children.split_whitespace().next() {
        Some(child) => descendant(child.parse().ok()?),
        None => Some(pid),
    }
}
