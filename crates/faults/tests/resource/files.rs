//! `resource.files`: what a process can still open, and what it can open afterwards.

use std::fs::{self, File};
use std::io::{self, BufRead as _, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};

use temblor_event::Effect;
use temblor_faults::resource::{FileLimit, Files};
use temblor_faults::undo::{FileLimits, Undo, Undoing as _, Undone};
use temblor_faults::{Fault as _, Kind};
use temblor_host::netns::Netns;
use temblor_host::target::Target;

use crate::world::*;

/// The soft and the hard limit, as the kernel shows them.
fn limits(pid: u32) -> (String, String) {
    let text = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
    let mut words = line.split_ascii_whitespace().map(str::to_owned);
    (words.next().unwrap(), words.next().unwrap())
}

fn here(pids: &[u32]) -> Target {
    target("opener", &Netns::of_this_thread().unwrap(), pids)
}

const CHILD: &str = "TEMBLOR_TEST_OPENER";

/// Not a test of its own: for each number it is told, it opens so many files, says how many it
/// could, and closes them at the next.
#[test]
fn child_that_opens_files() {
    if std::env::var(CHILD).is_err() {
        return;
    }
    let mut files = Vec::new();
    println!("\nready");
    for line in io::stdin().lines().map_while(Result::ok) {
        files.clear();
        let wanted: usize = line.parse().unwrap();
        files.extend((0..wanted).map_while(|_| File::open("/dev/null").ok()));
        println!("\nopened {}", files.len());
    }
}

struct Opener {
    child: Child,
    said: Box<dyn Iterator<Item = String>>,
}

impl Opener {
    fn start() -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "files::child_that_opens_files", "--nocapture"])
            .env(CHILD, "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let out = io::BufReader::new(child.stdout.take().unwrap());
        let mut opener = Self { child, said: Box::new(out.lines().map_while(Result::ok)) };
        assert!(opener.said.any(|line| line == "ready"));
        opener
    }

    /// How many of so many it can open.
    fn open(&mut self, wanted: u32) -> u32 {
        writeln!(self.child.stdin.as_mut().unwrap(), "{wanted}").unwrap();
        let answer = self.said.find_map(|line| line.strip_prefix("opened ")?.parse().ok());
        answer.expect("it answers")
    }

    fn target(&self) -> Target {
        here(&[self.child.id()])
    }
}

impl Drop for Opener {
    fn drop(&mut self) {
        self.child.stdin.take();
        self.child.wait().unwrap();
    }
}

fn part(effect: &Effect, end: &str) -> u64 {
    effect.parts.iter().find(|part| part.name.ends_with(end)).map_or(0, |part| part.count)
}

#[test]
fn a_process_is_left_as_many_as_it_is_spared() {
    let mut opener = Opener::start();
    let dir = tempfile::tempdir().unwrap();
    let before = limits(opener.child.id());
    for spare in [5, 0, 1] {
        let fault = Files { target: opener.target(), limit: FileLimit::Spare(spare) };
        fault.check().unwrap();
        assert!(fault.plan()[0].what.contains("soft limit of open files of process"));
        assert_eq!(limits(opener.child.id()), before, "neither changes anything");
        let mut injected = fault.inject(&guard(dir.path())).unwrap();
        let dose = &injected.effect().unwrap().doses[0];
        assert_eq!(dose.holds(), Some(true), "{dose:?}");
        if spare > 0 {
            assert!(within(BOUND, || part(&injected.effect().unwrap(), "looks") > 1));
            let effect = injected.effect().unwrap();
            assert_eq!(effect.count, 0, "it has some left");
            assert_eq!(part(&effect, "fewest left"), spare);
        }
        assert_eq!(u64::from(opener.open(50)), spare);
        assert!(within(BOUND, || injected.effect().unwrap().count > 0));
        let reverted = injected.revert().unwrap();
        assert!(reverted.verified && reverted.effect.count > 0);
        assert_eq!(limits(opener.child.id()), before);
        assert_eq!(opener.open(50), 50);
        assert_eq!(opener.open(0), 0);
    }
    // Without a revert, too.
    let fault = Files { target: opener.target(), limit: FileLimit::To(30) };
    drop(fault.inject(&guard(dir.path())).unwrap());
    assert_eq!(limits(opener.child.id()), before);
}

#[test]
fn another_users_process_and_what_it_forks_get_their_limits_back() {
    if !is_root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    // Each line it reads makes it start a sleeper.
    let mut shell = Command::new("sh")
        .arg("-c")
        .arg("echo ready; while read line; do sleep 60 & echo $!; pids=\"$pids $!\"; done; kill $pids")
        .uid(65534)
        .gid(65534)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = io::BufReader::new(shell.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert_eq!(said.next().unwrap(), "ready");
    let mut fork = |shell: &mut Child| -> u32 {
        shell.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
        said.next().unwrap().parse().unwrap()
    };
    let before = limits(shell.id());
    let earlier = fork(&mut shell);
    let fault = Files { target: here(&[shell.id()]), limit: FileLimit::To(40) };
    let injected = fault.inject(&guard(dir.path())).unwrap();
    assert_eq!(limits(shell.id()), ("40".into(), before.1.clone()), "the hard limit is not ours");
    let heir = fork(&mut shell);
    assert_eq!(limits(heir).0, "40");
    assert_eq!(limits(earlier), before, "it was forked before");
    assert!(injected.revert().unwrap().verified);
    for pid in [shell.id(), heir, earlier] {
        assert_eq!(limits(pid), before);
    }
    // From what was written down, by whoever is left, and again and again.
    let undo = FileLimits::about_to_lower(&here(&[shell.id()]), &[(shell.id(), 41)]).unwrap();
    let written = serde_json::to_string(&Undo::FileLimits(undo.clone())).unwrap();
    let read: Undo = serde_json::from_str(&written).unwrap();
    assert_eq!(read.undo().unwrap(), Undone::Nothing, "right before the change");
    undo.lower().unwrap();
    let heir = fork(&mut shell);
    assert!(read.is_open().unwrap());
    assert_eq!(read.undo().unwrap(), Undone::Restored);
    assert_eq!((limits(shell.id()), limits(heir)), (before.clone(), before.clone()));
    assert_eq!(read.undo().unwrap(), Undone::Nothing);
    assert!(!read.is_open().unwrap());
    // A third value is somebody else's.
    undo.lower().unwrap();
    FileLimits::about_to_lower(&here(&[shell.id()]), &[(shell.id(), 50)]).unwrap().lower().unwrap();
    let Undone::NotOurs(why) = read.undo().unwrap() else { panic!("it was not ours") };
    assert!(why.contains("a limit of 50, which is not ours"), "{why}");
    shell.stdin.take();
    shell.wait().unwrap();
    let Undone::NotOurs(why) = read.undo().unwrap() else { panic!("there is nobody") };
    assert!(why.contains("has ended"), "{why}");
}

#[test]
fn connections_wait_at_a_server_that_cannot_accept_them() {
    let Some(server) = is_root().then(|| redis(1000)).flatten() else { return };
    let connect = || server.netns.run(|| TcpStream::connect("127.0.0.1:6379")).unwrap();
    let answers = |mut stream: &TcpStream| {
        stream.set_read_timeout(Some(std::time::Duration::from_millis(300))).unwrap();
        stream.write_all(b"PING\r\n").and_then(|()| stream.read_exact(&mut [0; 7])).is_ok()
    };
    assert!(within(BOUND, || connect().is_ok_and(|stream| answers(&stream))));
    let target = target("redis", &server.netns, &[server.child.id()]);
    let fault = Files { target, limit: FileLimit::Spare(4) };
    let mut injected = fault.inject(&guard(server.dir.path())).unwrap();
    let streams: Vec<TcpStream> = (0..10).map(|_| connect().unwrap()).collect();
    assert!(within(BOUND, || {
        let effect = injected.effect().unwrap();
        effect.count > 0
            && part(&effect, "connections that waited to be accepted, more than before") >= 6
    }));
    assert!(answers(&streams[0]) && !answers(&streams[9]));
    assert!(injected.revert().unwrap().verified);
    assert!(within(BOUND, || connect().is_ok_and(|stream| answers(&stream))));
}

#[test]
fn what_cannot_be_limited_is_refused_with_the_reason() {
    let opener = Opener::start();
    let dir = tempfile::tempdir().unwrap();
    let good = Files { target: opener.target(), limit: FileLimit::Spare(0) };
    good.check().unwrap();
    let me = here(&[std::process::id()]);
    for (fault, says) in [
        (Files { limit: FileLimit::To(0), ..good.clone() }, "a limit of 0 open files is none"),
        (Files { limit: FileLimit::To(2), ..good.clone() }, "to give it no more than it has"),
        (Files { limit: FileLimit::To(1 << 40), ..good.clone() }, "would not be lower"),
        (Files { limit: FileLimit::Spare(1 << 40), ..good.clone() }, "would not be lower"),
        (Files { target: here(&[]), ..good.clone() }, "has no process"),
        (Files { target: me, ..good.clone() }, "is this program itself"),
    ] {
        let error = fault.check().unwrap_err();
        assert_eq!(error.kind(), Kind::Input);
        assert!(error.to_string().contains(says), "{error}");
        assert!(fault.inject(&guard(dir.path())).is_err());
    }
}
