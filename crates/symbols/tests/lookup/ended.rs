//! Processes that have ended, and files that were deleted.

use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::process::Command;

use temblor_symbols::{Files, Symbolizer, Unopened};

use crate::own::never_part_of_its_caller;
use crate::world::{Waiting, in_file, is_root, names, run};

const ASKED: &str = "TEMBLOR_TEST_WAITS";

/// Not a test but the program of the others: this one, started anew.
#[test]
fn waits_if_asked_to() {
    if std::env::var_os(ASKED).is_none() {
        return;
    }
    println!("{:#x}", never_part_of_its_caller as fn(u64) -> u64 as usize);
    let mut rest = Vec::new();
    std::io::stdin().read_to_end(&mut rest).unwrap();
}

fn waits(program: &Path) -> Waiting {
    let test = ["--exact", "ended::waits_if_asked_to", "--nocapture"];
    Waiting::start(Command::new(program).args(test).env(ASKED, "1"))
}

/// By another process: what a test beside this one starts meanwhile would inherit our descriptor,
/// and a file that somebody may write to is not executed.
fn copy_own(to: &Path) {
    run(Command::new("cp").arg(std::env::current_exe().unwrap()).arg(to));
}

#[test]
fn a_process_that_has_ended_still_has_names() {
    let mut files = Files::new(64);
    let waiting = waits(&std::env::current_exe().unwrap());
    let address = waiting.address;
    let space = files.snapshot(waiting.pid()).unwrap();
    let pid = waiting.pid();
    waiting.end();
    assert!(files.snapshot(pid).is_err());
    let found = names(&mut Symbolizer::default(), &files, &space, address);
    assert_eq!(found.last().unwrap(), "lookup::own::never_part_of_its_caller");
}

#[test]
fn a_program_that_was_deleted_still_has_names() {
    if !is_root() {
        eprintln!("skipped: needs root (a deleted file is reached through /proc/PID/map_files)");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("program");
    copy_own(&program);
    let waiting = waits(&program);
    fs::remove_file(&program).unwrap();
    // Another file with its name does not take its place.
    fs::write(&program, "no program").unwrap();
    let address = waiting.address;
    let mut files = Files::new(64);
    let space = files.snapshot(waiting.pid()).unwrap();
    waiting.end();
    let held = files.get(in_file(&space, address).0).unwrap();
    assert_eq!(held.path(), program);
    assert!(held.is_deleted());
    let found = names(&mut Symbolizer::default(), &files, &space, address);
    assert_eq!(found.last().unwrap(), "lookup::own::never_part_of_its_caller");
}

#[test]
fn without_root_a_deleted_program_has_no_names_and_the_reason_is_said() {
    if is_root() {
        eprintln!("skipped: needs a user other than root (root can open what was deleted)");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("program");
    copy_own(&program);
    let waiting = waits(&program);
    fs::remove_file(&program).unwrap();
    let mut files = Files::new(64);
    let space = files.snapshot(waiting.pid()).unwrap();
    let held = files.get(in_file(&space, waiting.address).0).unwrap();
    assert!(matches!(held.why_unopened(), Some(Unopened::Deleted)), "{held:?}");
}

#[test]
fn processes_of_one_program_share_what_is_open() {
    let mut files = Files::new(64);
    let [one, other] = [(); 2].map(|()| waits(&std::env::current_exe().unwrap()));
    let first = files.snapshot(one.pid()).unwrap();
    let open = files.open();
    let second = files.snapshot(other.pid()).unwrap();
    assert_eq!(files.open(), open);
    assert_eq!(in_file(&first, one.address), in_file(&second, other.address));
    assert_eq!(files.all().count(), open, "{:?}", files.all().collect::<Vec<_>>());
}

#[test]
fn a_file_that_was_written_over_has_no_wrong_names() {
    // Another program's contents under the same inode, as a careless copy does.
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("program");
    copy_own(&program);
    let mut files = Files::new(64);
    let waiting = waits(&program);
    let address = waiting.address;
    let space = files.snapshot(waiting.pid()).unwrap();
    waiting.end();
    let (file, offset) = in_file(&space, address);
    run(Command::new("sh").arg("-c").arg(format!("cat /bin/sleep > '{}'", program.display())));
    let found = Symbolizer::default().file(&files, file, &[offset]);
    assert_eq!(found[0].why_none.as_deref(), Some("it was written over since it was opened"));
}
