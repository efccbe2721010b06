//! `temblor heal` and the guardian that it stands in for, as programs. Needs no root: what is
//! changed is a plain file.
#![expect(clippy::unwrap_used, reason = "all of it is tests, helpers too")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use temblor_faults::undo::{ControlFile, Guard, Undo, open_journals};
use temblor_host::process::Identity;

const TEMBLOR: &str = env!("CARGO_BIN_EXE_temblor");
const DIR: &str = "TEMBLOR_TEST_DIR";
/// `guardian`: the owner kills it before itself.
const KILL: &str = "TEMBLOR_TEST_KILL";

/// Not a test of its own: makes a change under the guard of the real program, and dies.
#[test]
fn as_owner() {
    let Some(dir) = std::env::var_os(DIR).map(PathBuf::from) else { return };
    let mut guardian = Command::new(TEMBLOR);
    guardian.arg("guardian");
    let guard = Guard::start(&dir.join("undo"), guardian, Duration::from_secs(600)).unwrap();
    let undo = ControlFile::about_to_set(&dir.join("a"), "200").unwrap();
    let entry = guard.record(Undo::ControlFile(undo.clone())).unwrap();
    undo.set().unwrap();
    if std::env::var_os(KILL).is_some() {
        let guardian = guard.guardian().unwrap().open().unwrap().unwrap();
        guardian.signal(rustix::process::Signal::KILL).unwrap();
        assert!(guardian.wait_ended(10_000).unwrap());
    } else if std::env::var_os("TEMBLOR_TEST_LOOK").is_some() {
        let out = heal(&dir, &["--check"]);
        let told = said(&out);
        assert_eq!(out.status.code(), Some(5), "{told}");
        assert!(told.contains("lives and is ended in"), "{told}");
        let out = heal(&dir, &[]);
        assert_eq!(out.status.code(), Some(0), "{}", said(&out));
        assert!(said(&out).contains("left to process"), "{}", said(&out));
        assert_eq!(value(&dir), "200");
    }
    // Dead before anything could be dropped: nobody here undoes it.
    let me = Identity::of_self().unwrap().open().unwrap().unwrap();
    me.signal(rustix::process::Signal::KILL).unwrap();
    std::thread::park();
    drop((entry, guard));
}

fn owner_dies(dir: &Path, with: &str) {
    fs::write(dir.join("a"), "100").unwrap();
    let ended = Command::new("/proc/self/exe")
        .args(["--exact", "as_owner", "--nocapture"])
        .env(DIR, dir)
        .env(with, "1")
        .output()
        .unwrap();
    assert!(!said(&ended).contains("panicked"), "{}", said(&ended));
}

fn heal(dir: &Path, args: &[&str]) -> Output {
    Command::new(TEMBLOR)
        .arg("heal")
        .args(args)
        .env("TEMBLOR_STATE_DIR", dir.join("undo"))
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn said(out: &Output) -> String {
    format!(
        "{}\n{}{}",
        out.status,
        String::from_utf8_lossy(&out.stdout),
        String::from_utf8_lossy(&out.stderr)
    )
}

fn value(dir: &Path) -> String {
    fs::read_to_string(dir.join("a")).unwrap()
}

#[test]
fn the_guardian_undoes_what_a_killed_run_left() {
    let dir = tempfile::tempdir().unwrap();
    owner_dies(dir.path(), "TEMBLOR_TEST_LOOK");
    // Heal waits for the guardian, or does its work.
    let out = heal(dir.path(), &[]);
    assert_eq!(out.status.code(), Some(0), "{}", said(&out));
    assert_eq!(value(dir.path()), "100");
    let out = heal(dir.path(), &["--check"]);
    assert_eq!(out.status.code(), Some(0), "{}", said(&out));
    assert!(said(&out).contains("nothing is open"));
}

#[test]
fn heal_lists_undoes_and_then_has_nothing_to_do() {
    let dir = tempfile::tempdir().unwrap();
    owner_dies(dir.path(), KILL);
    let file = dir.path().join("a").canonicalize().unwrap().display().to_string();
    for _ in 0..2 {
        let out = heal(dir.path(), &["--check"]);
        let told = said(&out);
        assert_eq!(out.status.code(), Some(5), "{told}");
        assert!(told.contains("are dead: run `temblor heal`"), "{told}");
        assert!(told.contains(&format!("to write 100 back to {file}: in place")), "{told}");
        assert_eq!(value(dir.path()), "200", "it changes nothing");
    }
    let out = heal(dir.path(), &[]);
    let told = said(&out);
    assert_eq!(out.status.code(), Some(0), "{told}");
    assert!(told.contains(&format!("write 100 back to {file}: undone")), "{told}");
    assert_eq!(value(dir.path()), "100");
    assert!(!dir.path().join("undo").exists());
    let out = heal(dir.path(), &[]);
    assert!(out.status.success() && said(&out).contains("nothing to heal"), "{}", said(&out));
}

#[test]
fn a_spoilt_journal_is_named_with_exit_5_and_stays() {
    let dir = tempfile::tempdir().unwrap();
    owner_dies(dir.path(), KILL);
    let journal = open_journals(&dir.path().join("undo")).unwrap().remove(0).path;
    let text = fs::read_to_string(&journal).unwrap();
    fs::write(&journal, text.replacen("100", "101", 1)).unwrap();
    for args in [&["--check"][..], &[], &[]] {
        let out = heal(dir.path(), args);
        let told = said(&out);
        assert_eq!(out.status.code(), Some(5), "{told}");
        assert!(told.contains("line 3 is spoilt"), "{told}");
        assert!(told.contains(&journal.display().to_string()), "{told}");
        assert!(journal.exists());
    }
    assert_eq!(value(dir.path()), "200", "nobody knows what it was");
}

#[test]
fn a_directory_that_others_may_write_is_wrong_input() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("undo");
    fs::create_dir(&state).unwrap();
    fs::set_permissions(&state, fs::Permissions::from_mode(0o777)).unwrap();
    for args in [&["--check"][..], &[]] {
        let out = heal(dir.path(), args);
        assert_eq!(out.status.code(), Some(2), "{}", said(&out));
        assert!(said(&out).contains("nobody but root or its owner may write"), "{}", said(&out));
    }
}

#[test]
fn who_may_not_read_the_journals_is_told_to_be_root() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: needs root (it becomes somebody else)");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::create_dir(dir.path().join("undo")).unwrap();
    fs::set_permissions(dir.path().join("undo"), fs::Permissions::from_mode(0o700)).unwrap();
    // A copy that anybody may run: the build's directory may be its builder's alone.
    let program = dir.path().join("temblor");
    fs::copy(TEMBLOR, &program).unwrap();
    for args in [&["heal", "--check"][..], &["heal"]] {
        let out = Command::new("setpriv")
            .args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "--inh-caps=-all"])
            .arg(&program)
            .args(args)
            .env("TEMBLOR_STATE_DIR", dir.path().join("undo"))
            .output()
            .unwrap();
        assert_eq!(out.status.code(), Some(6), "{}", said(&out));
        assert!(said(&out).contains("run it as root"), "{}", said(&out));
    }
}

#[test]
fn a_guardian_is_not_started_by_hand() {
    let out = Command::new(TEMBLOR)
        .args(["guardian", "/nonexistent"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(out.status.code(), Some(2), "{}", said(&out));
    assert!(said(&out).contains("not by hand"), "{}", said(&out));
}
