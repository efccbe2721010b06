//! What must not be acted on without an explicit word is refused, with exit code 2 and the word.
//! `--plan` refuses what a real injection refuses, and changes nothing either way.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail where they stand, as tests do")]

use std::process::{Child, Command, Output};

const TEMBLOR: &str = env!("CARGO_BIN_EXE_temblor");

/// A process that ends with the test.
struct Process(Child);

impl Process {
    /// In a session of its own, so that it is nobody's whom we must not touch.
    fn stranger() -> Self {
        Self(Command::new("setsid").args(["sleep", "60"]).spawn().unwrap())
    }

    /// In our own session.
    fn of_our_session() -> Self {
        Self(Command::new("sleep").arg("60").spawn().unwrap())
    }

    fn selector(&self) -> String {
        format!("target=pid:{}", self.0.id())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn plan(args: &[&str]) -> Output {
    Command::new(TEMBLOR).arg("inject").args(args).args(["--for", "5s", "--plan"]).output().unwrap()
}

fn told(out: &Output) -> String {
    String::from_utf8_lossy(&out.stderr).into_owned() + &String::from_utf8_lossy(&out.stdout)
}

#[test]
fn who_must_not_be_touched_is_named_with_the_word_that_allows_it() {
    let ours = Process::of_our_session();
    let us = format!("target=pid:{}", std::process::id());
    for (selector, word) in
        [("target=pid:1", "pid1"), (&ours.selector(), "session"), (&us, "session")]
    {
        let out = plan(&["process.pause", selector]);
        let said = told(&out);
        assert_eq!(out.status.code(), Some(2), "{selector}: {said}");
        assert!(said.contains("is not acted on") && said.contains(word), "{selector}: {said}");
    }
}

#[test]
fn the_word_allows_it_and_the_plan_says_the_change_and_its_undo() {
    let ours = Process::of_our_session();
    let out = plan(&["process.pause", &ours.selector(), "--allow", "session"]);
    let said = told(&out);
    assert_eq!(out.status.code(), Some(0), "{said}");
    assert!(said.contains("undo: "), "{said}");
    // Looked at afterwards: nothing was stopped.
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", ours.0.id())).unwrap();
    assert!(!stat.contains(") T "), "{stat}");
}

#[test]
fn more_than_the_stated_share_is_refused() {
    // Three instances under a name that nobody else has.
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join(format!("nap{}", std::process::id()));
    std::fs::copy("/bin/sleep", &program).unwrap();
    let name = program.file_name().unwrap().to_str().unwrap();
    let naps: Vec<Process> = (0..3)
        .map(|_| Process(Command::new("setsid").arg(&program).arg("60").spawn().unwrap()))
        .collect();
    let selector = format!("target=process:{name}");
    // `setsid` becomes the program: wait until all three have.
    let all = |pid: u32| {
        std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm.trim() == name)
    };
    let became = (0..500).any(|_| {
        let there = naps.iter().all(|nap| all(nap.0.id()));
        if !there {
            let _ = Command::new("true").status();
        }
        there
    });
    assert!(became, "the programs did not start");
    let out = plan(&["process.pause", &selector]);
    let said = told(&out);
    assert_eq!(out.status.code(), Some(2), "{said}");
    assert!(said.contains("share") && said.contains('3'), "{said}");
    let out = plan(&["process.pause", &selector, "--allow", "share"]);
    assert_eq!(out.status.code(), Some(0), "{}", told(&out));
}

#[test]
fn nobody_there_is_told() {
    let gone = {
        let process = Process::stranger();
        process.0.id()
    };
    for selector in [&format!("target=pid:{gone}"), "target=process:no-such-program"] {
        let out = plan(&["process.pause", selector]);
        assert_eq!(out.status.code(), Some(2), "{}", told(&out));
        assert!(told(&out).contains("was not found"), "{}", told(&out));
    }
}

#[test]
fn a_word_that_allows_nothing_is_refused() {
    let out = plan(&["process.pause", "target=pid:1", "--allow", "everything"]);
    assert_eq!(out.status.code(), Some(2), "{}", told(&out));
    assert!(told(&out).contains("known: pid1"), "{}", told(&out));
}
