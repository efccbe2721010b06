//! `temblor profile` on files: what it writes, and what it refuses.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail where they stand, as tests do")]

mod common;

use std::fs;
use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use self::common::{Process, TEMBLOR, possible};

const BEFORE: &str = "main;accept 10\nmain;accept;parse 20\nmain;work 70\n";
const AFTER: &str = "main;accept 10\nmain;accept;parse 50\nmain;work 70\n";

fn temblor(args: &[&str], input: &str) -> Output {
    let mut child = Command::new(TEMBLOR)
        .arg("profile")
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It may have refused already.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

/// What it prints where it succeeds.
fn printed(args: &[&str], input: &str) -> String {
    let output = temblor(args, input);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!((output.status.code(), said.as_str()), (Some(0), ""), "{args:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_profile_goes_through_every_format_and_stays_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (stacks, pprof, sum) = (path("stacks.folded"), path("stacks.pb.gz"), path("sum.pb.gz"));
    fs::write(&stacks, BEFORE).unwrap();
    printed(&["convert", &stacks, "--to", "pprof", "-o", &pprof], "");
    assert_eq!(printed(&["convert", &pprof, "--to", "folded"], ""), BEFORE);
    printed(&["merge", &pprof, &stacks, "-o", &sum], "");
    let told = printed(&["top", &sum, "--all", "-n", "1"], "");
    assert!(told.contains("       140 70.00% 70.00%        140 70.00%  work"), "{told}");
    let told = printed(&["top", "-", "--cum"], BEFORE);
    assert!(told.lines().nth(3).unwrap().ends_with("100   100%  main"), "{told}");
    assert!(printed(&["convert", &pprof, "--to", "speedscope"], "").contains("speedscope.app"));
    let picture = printed(&["svg", &stacks, "--title", "before", "--icicle"], "");
    assert!(picture.contains("accept (30 samples, 30.00%)") && picture.contains(">before<"));
}

#[test]
fn two_profiles_are_compared() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str, text: &str| {
        let path = dir.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (before, after) = (path("before.folded", BEFORE), path("after.folded", AFTER));
    let told = printed(&["diff", &before, &after], "");
    assert!(told.contains("        30 30.00% 30.00%         30 30.00%  parse"), "{told}");
    let picture = printed(&["diff", &before, &after, "--svg"], "");
    assert!(picture.contains("after.folded compared with before.folded"));
    assert!(picture.contains("parse (50 samples, 38.46%; +23.08%)"));
}

#[test]
fn what_is_no_profile_is_refused_with_the_reason() {
    for (args, input, said) in [
        (&["top", "nosuch"][..], "", "temblor: nosuch: No such file or directory"),
        (&["top", "-"], "main;work\n", "temblor: standard input: line 1 is no folded stack"),
        (&["top", "-", "--type", "cpu"], BEFORE, "no values of type \"cpu\"; it has samples"),
        (&["svg", "-"], "", "temblor: standard input: the profile is empty"),
        (&["svg", "-"], "\u{1}\u{2}", "temblor: standard input: not a valid pprof profile"),
    ] {
        let output = temblor(args, input);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{args:?}: {told}");
        assert!(told.contains(said) && told.lines().count() == 1, "{args:?}: {told}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn a_running_process_is_profiled_into_any_format() {
    if !possible() {
        return;
    }
    let busy = Process::busy();
    let dir = tempfile::tempdir().unwrap();
    for (name, begins) in
        [("shell.pb.gz", &b"\x1f\x8b"[..]), ("shell.svg", b"<?xml"), ("shell.folded", b"")]
    {
        let path = dir.path().join(name);
        let path = path.to_str().unwrap();
        let pid = busy.pid();
        let output =
            temblor(&["cpu", "--pid", &pid, "--for", "1s", "--rate", "499", "-o", path], "");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(0), "{told}");
        assert!(told.contains(" samples in 1.") && told.contains("0 lost"), "{told}");
        assert!(fs::read(path).unwrap().starts_with(begins), "{name}");
    }
    let pprof = dir.path().join("shell.pb.gz");
    let told = printed(&["top", pprof.to_str().unwrap(), "--all"], "");
    // The shell has no names of its own but what its library needs of it.
    assert!(told.contains("Type: cpu") && told.contains("__libc_start_main"), "{told}");
}

#[test]
fn what_cannot_be_profiled_is_said_before_anything_is_attached() {
    for (args, said) in [
        (&["cpu"][..], "required arguments were not provided"),
        (&["cpu", "--all", "--for", "0s"], "--for 0s: give more than 0"),
        (&["cpu", "--all", "--rate", "0"], "0 is not in 1..=10000"),
        (&["cpu", "--all", "-o", "x.png"], "x.png: say with --format what to write"),
    ] {
        let output = temblor(args, "");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{args:?}: {told}");
        assert!(told.contains(said), "{args:?}: {told}");
    }
}

#[test]
fn an_empty_profile_is_said_to_be_empty() {
    let output = temblor(&["top", "-"], "");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0));
    assert!(told.contains("put load on the program, or collect for longer"), "{told}");
}
