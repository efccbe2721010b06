//! Guards and guardians as processes: killed, hung, let go, and healed after.
//!
//! This program plays three parts: the tests, the owners that they kill, and those owners'
//! guardians. Nothing here needs root: what is changed are plain files.
#![expect(clippy::unwrap_used, reason = "all of it is tests, helpers too")]

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use temblor_event::clock::now_ns;
use temblor_faults::undo::{
    ControlFile, Guard, HealOutcome, Standing, Undo, Undone, heal, open_journals, stand_guard,
};
use temblor_host::process::Identity;

const PART: &str = "TEMBLOR_TEST_PART";
const DIR: &str = "TEMBLOR_TEST_DIR";
const DEADLINE_MS: &str = "TEMBLOR_TEST_DEADLINE_MS";
/// Longer than anything that works takes, on a machine with other things to do.
const BOUND: Duration = Duration::from_secs(20);

fn me(part: &str, test: &str) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.args(["--exact", test, "--nocapture"]).env(PART, part);
    command
}

fn guardian() -> Command {
    me("guardian", "as_guardian")
}

fn is(part: &str) -> bool {
    std::env::var(PART).is_ok_and(|is| is == part)
}

/// Not a test of its own: what a guardian that is started by an owner does.
#[test]
fn as_guardian() {
    if is("guardian") {
        let journal = std::env::args().next_back().unwrap();
        stand_guard(Path::new(&journal)).unwrap();
    }
}

/// Not a test of its own: an owner that changes two files and does as it is told on its standard
/// input, line by line.
#[test]
fn as_owner() {
    if !is("owner") {
        return;
    }
    let dir = PathBuf::from(std::env::var_os(DIR).unwrap());
    let deadline = Duration::from_millis(std::env::var(DEADLINE_MS).unwrap().parse().unwrap());
    let guard = Guard::start(&dir.join("undo"), guardian(), deadline).unwrap();
    let mut entries = Vec::new();
    let say = |what: &str| {
        let mut out = std::io::stdout().lock();
        writeln!(out, "said: {what}").unwrap();
        out.flush().unwrap();
    };
    say(&guard.guardian().unwrap().pid.to_string());
    for line in std::io::stdin().lock().lines() {
        match line.unwrap().split(' ').collect::<Vec<_>>()[..] {
            ["set", name, value] => {
                let undo = ControlFile::about_to_set(&dir.join(name), value).unwrap();
                entries.push(guard.record(Undo::ControlFile(undo.clone())).unwrap());
                undo.set().unwrap();
            }
            ["guarded"] => {
                say(&guard.is_guarded().to_string());
                continue;
            }
            ["ensure"] => {
                guard.ensure_guarded().unwrap();
                say(&guard.guardian().unwrap().pid.to_string());
                continue;
            }
            ["forget"] => drop(entries.drain(..).rev().collect::<Vec<_>>()),
            _ => break,
        }
        say("done");
    }
}

struct World {
    dir: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for name in ["a", "b"] {
            fs::write(dir.path().join(name), "100").unwrap();
        }
        Self { dir }
    }

    fn state(&self) -> PathBuf {
        self.dir.path().join("undo")
    }

    fn values(&self) -> [String; 2] {
        ["a", "b"].map(|name| fs::read_to_string(self.dir.path().join(name)).unwrap())
    }

    fn owner(&self, deadline: Duration) -> Owner {
        let mut child = me("owner", "as_owner")
            .env(DIR, self.dir.path())
            .env(DEADLINE_MS, deadline.as_millis().to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        let mut owner = Owner { child, lines, guardian: 0 };
        owner.guardian = owner.hear().parse().unwrap();
        owner
    }

    #[track_caller]
    fn is_healed(&self) {
        within("the files are as they were", || self.values() == ["100", "100"]);
        within("the journal is gone", || !self.state().exists());
    }
}

struct Owner {
    child: Child,
    lines: BufReader<std::process::ChildStdout>,
    guardian: u32,
}

impl Owner {
    fn hear(&mut self) -> String {
        let mut line = String::new();
        loop {
            line.clear();
            assert!(self.lines.read_line(&mut line).unwrap() > 0, "the owner has ended");
            // What stands before it is the test program's own talk.
            if let Some((_, said)) = line.split_once("said: ") {
                return said.trim().to_owned();
            }
        }
    }

    fn tell(&mut self, what: &str) -> String {
        writeln!(self.child.stdin.as_mut().unwrap(), "{what}").unwrap();
        self.hear()
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[track_caller]
fn within(what: &str, mut question: impl FnMut() -> bool) {
    let bound_ns = now_ns() + u64::try_from(BOUND.as_nanos()).unwrap();
    while !question() {
        assert!(now_ns() < bound_ns, "not within {BOUND:?}: {what}");
        std::thread::park_timeout(Duration::from_millis(2));
    }
}

fn send(pid: u32, signal: &str) {
    let sent = Command::new("sh").args(["-c", &format!("kill -{signal} {pid}")]).status();
    assert!(sent.unwrap().success());
}

fn is_alive(pid: u32) -> bool {
    Identity::of(pid).is_ok_and(|identity| identity.is_alive())
}

const LONG: Duration = Duration::from_secs(600);

#[test]
fn what_a_killed_owner_leaves_is_undone_in_reverse() {
    let world = World::new();
    let mut owner = world.owner(LONG);
    // Twice the same file: only in reverse does it get its first value back.
    for change in ["set a 200", "set b 300", "set a 400"] {
        owner.tell(change);
    }
    assert_eq!(world.values(), ["400", "300"]);
    let listed = open_journals(&world.state()).unwrap();
    assert_eq!(listed.len(), 1);
    let owner_pid = owner.child.id();
    assert!(
        matches!(listed[0].standing, Standing::Live { owner, ends_in_s: Some(580..=600) } if owner == owner_pid),
        "{listed:?}"
    );
    assert!(!listed[0].needs_healing());
    assert_eq!(listed[0].changes.len(), 3);
    assert_eq!(listed[0].changes[0].in_place, Some(true), "the last one is");
    assert_eq!(listed[0].changes[2].in_place, Some(false), "what is covered is not");
    // What lives is nobody else's to undo.
    let left = heal(&world.state()).unwrap();
    assert!(matches!(left[0].outcome, HealOutcome::Live { .. }) && left[0].is_well());
    assert_eq!(world.values(), ["400", "300"]);
    owner.kill();
    world.is_healed();
    within("the guardian is gone", || !is_alive(owner.guardian));
}

#[test]
fn an_owner_that_ends_leaves_neither_change_nor_journal_nor_guardian() {
    let world = World::new();
    let mut owner = world.owner(LONG);
    owner.tell("set a 200");
    assert_eq!(owner.tell("forget"), "done");
    assert_eq!(world.values(), ["100", "100"]);
    owner.tell("set b 200");
    drop(owner.child.stdin.take());
    assert!(owner.child.wait().unwrap().success());
    assert_eq!(world.values(), ["100", "100"]);
    assert!(!world.state().exists());
    assert!(!is_alive(owner.guardian), "it was waited for");
}

#[test]
fn a_guardian_that_was_killed_is_replaced_before_the_next_change() {
    let world = World::new();
    let mut owner = world.owner(LONG);
    owner.tell("set a 200");
    assert_eq!(owner.tell("guarded"), "true");
    send(owner.guardian, "KILL");
    within("its owner notices", || owner.tell("guarded") == "false");
    owner.tell("set b 300");
    assert_eq!(owner.tell("guarded"), "true");
    let second: u32 = owner.tell("ensure").parse().unwrap();
    assert_ne!(second, owner.guardian);
    owner.kill();
    world.is_healed();
}

#[test]
fn when_both_are_dead_heal_undoes_it_and_says_so() {
    let world = World::new();
    let mut owner = world.owner(LONG);
    owner.tell("set a 200");
    owner.tell("set b 300");
    send(owner.guardian, "KILL");
    within("it is dead", || !is_alive(owner.guardian));
    owner.kill();
    let listed = open_journals(&world.state()).unwrap();
    assert_eq!(listed[0].standing, Standing::Dead);
    assert!(listed[0].needs_healing());
    assert_eq!(world.values(), ["200", "300"], "looking changes nothing");
    let healed = heal(&world.state()).unwrap();
    assert!(healed[0].is_well(), "{healed:?}");
    let HealOutcome::Replayed(replayed) = &healed[0].outcome else { panic!("{healed:?}") };
    let words: Vec<&str> = replayed.changes.iter().map(|c| c.words.as_str()).collect();
    assert!(words[0].starts_with("write 100 back to") && words[0].ends_with("/b"), "{words:?}");
    assert!(replayed.changes.iter().all(|c| c.outcome.as_ref().unwrap() == &Undone::Restored));
    world.is_healed();
    assert!(heal(&world.state()).unwrap().is_empty());
}

#[test]
fn many_heal_at_once_and_beside_the_guardian() {
    let world = World::new();
    let mut owner = world.owner(LONG);
    owner.tell("set a 200");
    owner.kill();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let healed = heal(&world.state()).unwrap();
                assert!(healed.iter().all(|healed| healed.is_well()), "{healed:?}");
            });
        }
    });
    world.is_healed();
}

#[test]
fn an_owner_that_hangs_past_its_deadline_is_killed_and_undone() {
    let world = World::new();
    let mut owner = world.owner(Duration::from_millis(1));
    owner.tell("set a 200");
    send(owner.child.id(), "STOP");
    world.is_healed();
    assert!(!owner.child.wait().unwrap().success(), "it was killed");
}

#[test]
fn a_guardian_has_nothing_in_common_with_its_owner_that_could_end_it() {
    let world = World::new();
    let mut owner = world.owner(LONG);
    owner.tell("set a 200");
    let proc = PathBuf::from(format!("/proc/{}", owner.guardian));
    let stat = fs::read_to_string(proc.join("stat")).unwrap();
    let session = stat.rsplit_once(") ").unwrap().1.split(' ').nth(3).unwrap();
    assert_eq!(session, owner.guardian.to_string());
    assert_eq!(fs::read_link(proc.join("cwd")).unwrap(), Path::new("/"));
    let open: Vec<String> = fs::read_dir(proc.join("fd"))
        .unwrap()
        .map(|fd| fs::read_link(fd.unwrap().path()).unwrap().display().to_string())
        .collect();
    let ours = |link: &String| {
        link == "/dev/null" || link.starts_with("socket:") || link.contains("pidfd")
    };
    assert!(open.len() <= 4 && open.iter().all(ours), "{open:?}");
    for signal in ["INT", "TERM", "HUP", "QUIT", "PIPE"] {
        send(owner.guardian, signal);
    }
    assert_eq!(owner.tell("guarded"), "true");
    owner.kill();
    world.is_healed();
}

#[test]
fn a_guardian_that_is_none_is_an_error_and_leaves_no_journal() {
    let world = World::new();
    for program in ["/nonexistent", "true"] {
        let error = Guard::start(&world.state(), Command::new(program), LONG).unwrap_err();
        assert!(error.to_string().contains("start the guardian"), "{error}");
        assert!(!world.state().exists());
    }
}

#[test]
fn what_others_could_have_written_is_neither_used_nor_obeyed() {
    let world = World::new();
    fs::create_dir(world.state()).unwrap();
    fs::set_permissions(world.state(), fs::Permissions::from_mode(0o777)).unwrap();
    assert!(Guard::without_guardian(&world.state()).is_err());
    assert!(open_journals(&world.state()).is_err());
    assert!(heal(&world.state()).is_err());
    fs::set_permissions(world.state(), fs::Permissions::from_mode(0o700)).unwrap();
    let guard = Guard::without_guardian(&world.state()).unwrap();
    let undo = ControlFile::about_to_set(&world.dir.path().join("a"), "200").unwrap();
    let entry = guard.record(Undo::ControlFile(undo)).unwrap();
    let journal = open_journals(&world.state()).unwrap().remove(0).path;
    assert_eq!(fs::metadata(&journal).unwrap().permissions().mode() & 0o777, 0o600);
    fs::set_permissions(&journal, fs::Permissions::from_mode(0o666)).unwrap();
    let listed = open_journals(&world.state()).unwrap();
    assert!(listed[0].standing == Standing::Unknown && listed[0].needs_healing(), "{listed:?}");
    let left = heal(&world.state()).unwrap();
    assert!(!left[0].is_well(), "{left:?}");
    drop(entry);
    drop(guard);
    assert!(!world.state().exists());
}

#[test]
fn a_spoilt_journal_is_named_and_stays() {
    let world = World::new();
    let mut owner = world.owner(LONG);
    owner.tell("set a 200");
    owner.tell("set b 300");
    send(owner.guardian, "KILL");
    within("it is dead", || !is_alive(owner.guardian));
    owner.kill();
    let journal = open_journals(&world.state()).unwrap().remove(0).path;
    let text = fs::read_to_string(&journal).unwrap();
    fs::write(&journal, text.replacen("\"200\"", "\"201\"", 1)).unwrap();
    for _ in 0..2 {
        let listed = open_journals(&world.state()).unwrap();
        assert!(listed[0].needs_healing());
        assert_eq!(listed[0].damage, ["line 3 is spoilt"]);
        let healed = heal(&world.state()).unwrap();
        assert!(!healed[0].is_well(), "{healed:?}");
        assert!(journal.exists());
        assert_eq!(world.values(), ["200", "100"], "what can be read is undone");
    }
    fs::write(&journal, "no journal at all\n").unwrap();
    assert!(matches!(heal(&world.state()).unwrap()[0].outcome, HealOutcome::Left(_)));
    assert!(journal.exists());
    // Cut short at any byte it is no error: the change of that line was not made.
    fs::write(&journal, &text[..text.len() - 3]).unwrap();
    let healed = heal(&world.state()).unwrap();
    assert!(healed[0].is_well(), "{healed:?}");
    assert_eq!(world.values(), ["100", "100"]);
}

#[test]
fn overlapping_changes_may_end_in_any_order() {
    let world = World::new();
    let file = world.dir.path().join("a");
    let guard = Guard::without_guardian(&world.state()).unwrap();
    let change = |value: &str| {
        let undo = ControlFile::about_to_set(&file, value).unwrap();
        let entry = guard.record(Undo::ControlFile(undo.clone())).unwrap();
        undo.set().unwrap();
        entry
    };
    let first = change("200");
    let second = change("300");
    assert!(matches!(first.undo().unwrap(), Undone::NotOurs(_)), "the second covers it");
    assert_eq!(world.values()[0], "300");
    assert_eq!(second.undo().unwrap(), Undone::Restored);
    assert_eq!(world.values()[0], "100", "and so the first is undone after it");
    drop(guard);
    assert!(!world.state().exists());
}
