//! `disk.fsync` on a program that times its own syncs.
#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "all of it is tests, helpers too")]

mod disk_support;

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use disk_support::*;
use rustix::process::{Pid, Signal, kill_process};
use temblor_faults::disk::{Fsync, SyncError};
use temblor_faults::{Fault as _, Kind};
use temblor_host::cgroup::Group;
use temblor_host::netns::Netns;
use temblor_host::target::{Origin, Target};

const OFTEN: Duration = Duration::from_millis(5);
const DELAY: Duration = Duration::from_millis(20);

fn may_trace() -> bool {
    let may = rustix::process::geteuid().is_root() && temblor_host::kernel_at_least(5, 3);
    if !may {
        eprintln!("skipped: needs root and Linux 5.3 (it traces a program)");
    }
    may
}

/// The program: this file again, doing what it reads from its input and telling how it went.
#[test]
#[expect(clippy::disallowed_methods, reason = "it times itself, as a program would")]
fn program() {
    let Some(path) = std::env::var_os("TEMBLOR_TEST_PROGRAM") else { return };
    let file = File::create(&path).unwrap();
    let timed = |call: &dyn Fn() -> i32| {
        let began = Instant::now();
        let errno = call();
        println!("took {} {errno}", began.elapsed().as_nanos());
    };
    let sync = || file.sync_data().err().map_or(0, |e| e.raw_os_error().unwrap());
    for line in std::io::stdin().lines() {
        let line = line.unwrap();
        let (what, times) = line.split_once(' ').unwrap();
        let times: u32 = times.parse().unwrap();
        match what {
            "sync" => (0..times).for_each(|_| timed(&sync)),
            "threads" => (0..times).for_each(|_| {
                std::thread::scope(|scope| scope.spawn(|| timed(&sync)).join().unwrap());
            }),
            "children" => (0..times).for_each(|_| {
                timed(&|| {
                    let ended = Command::new("sync").arg("-d").arg(&path).status().unwrap();
                    i32::from(!ended.success())
                });
            }),
            "calls" => timed(&|| {
                for _ in 0..times {
                    // SAFETY: it takes nothing and cannot fail.
                    unsafe { libc::getppid() };
                }
                0
            }),
            _ => panic!("{what}"),
        }
        println!("done");
    }
}

struct Program {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    _dir: tempfile::TempDir,
}

impl Program {
    /// On a filesystem in memory, where a sync takes no time.
    fn new() -> Self {
        let dir = tempfile::tempdir_in("/dev/shm").unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "program", "--nocapture"])
            .env("TEMBLOR_TEST_PROGRAM", dir.path().join("file"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (input, output) = (child.stdin.take(), child.stdout.take().unwrap());
        Self { child, input, output: BufReader::new(output), _dir: dir }
    }

    fn begin(&mut self, what: &str) {
        writeln!(self.input.as_mut().unwrap(), "{what}").unwrap();
    }

    /// How long each took in milliseconds, and its error.
    fn end(&mut self) -> Vec<(f64, i32)> {
        let mut took = Vec::new();
        loop {
            let mut line = String::new();
            assert_ne!(self.output.read_line(&mut line).unwrap(), 0, "it has ended");
            let words: Vec<&str> = line.split_whitespace().collect();
            match words.as_slice() {
                ["took", ns, errno] => {
                    took.push((ns.parse::<f64>().unwrap() / 1e6, errno.parse().unwrap()));
                }
                ["done"] => return took,
                _ => {}
            }
        }
    }

    fn ask(&mut self, what: &str) -> Vec<(f64, i32)> {
        self.begin(what);
        self.end()
    }

    fn pid(&self) -> u32 {
        self.child.id()
    }

    fn target(&self) -> Target {
        target(self.pid())
    }

    fn fault(&self) -> Fsync {
        Fsync { target: self.target(), delay: None, fail: None, share: 1.0 }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn target(pid: u32) -> Target {
    Target {
        service: "syncer".into(),
        pids: vec![pid],
        netns: Netns::of_this_thread().unwrap(),
        addresses: Vec::new(),
        group: Group::default(),
        origin: Origin::Processes,
    }
}

fn median(took: &[(f64, i32)]) -> f64 {
    let mut took: Vec<f64> = took.iter().map(|(ms, _)| *ms).collect();
    took.sort_by(f64::total_cmp);
    took[took.len() / 2]
}

/// The `Name:` lines of all threads of a process.
fn status(pid: u32, name: &str) -> Vec<String> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    tasks
        .filter_map(|task| std::fs::read_to_string(task.unwrap().path().join("status")).ok())
        .filter_map(|text| {
            text.lines().find_map(|line| Some(line.strip_prefix(name)?.trim().to_owned()))
        })
        .collect()
}

#[test]
fn a_sync_takes_as_much_longer_as_was_asked() {
    if !may_trace() {
        return;
    }
    let mut program = Program::new();
    let before = median(&program.ask("sync 50"));
    let fault = Fsync { delay: Some(DELAY), ..program.fault() };
    fault.check().unwrap();
    let mut injected = fault.inject(&guard()).unwrap();
    assert_eq!(injected.effect().unwrap().count, 0, "nothing was synced yet");
    let during = median(&program.ask("sync 50"));
    let seen = injected.effect().unwrap();
    let more = during - before;
    let described = injected.describe();
    eprintln!(
        "asked 20 ms, the program saw {more:.3} ms more, the fault {:?} ms; in place in {} µs",
        seen.doses[0].observed,
        (described.ended_ns - described.began_ns) / 1000
    );
    assert!((more - 20.0).abs() <= 1.0, "{more} ms");
    assert_eq!((seen.count, seen.parts[0].name.as_str()), (50, "fdatasync"));
    assert_eq!(seen.doses[0].holds(), Some(true), "{seen:?}");
    let reverted = injected.revert().unwrap();
    eprintln!("undone in {} µs", (reverted.ended_ns - reverted.began_ns) / 1000);
    assert!(reverted.verified);
    assert!(status(program.pid(), "TracerPid:").iter().all(|by| by == "0"));
    assert!(median(&program.ask("sync 50")) < 10.0);
}

#[test]
fn a_share_of_the_syncs_fails_and_none_afterwards() {
    if !may_trace() {
        return;
    }
    let mut program = Program::new();
    for (fail, errno) in [(SyncError::Eio, libc::EIO), (SyncError::Enospc, libc::ENOSPC)] {
        let fault = Fsync { fail: Some(fail), share: 0.5, ..program.fault() };
        let mut injected = fault.inject(&guard()).unwrap();
        let took = program.ask("sync 400");
        let failed = took.iter().filter(|(_, e)| *e == errno).count();
        assert!(took.iter().all(|(_, e)| [0, errno].contains(e)), "{took:?}");
        // Four standard deviations of 400 draws.
        assert!((160..=240).contains(&failed), "{failed}");
        let seen = injected.effect().unwrap();
        assert_eq!(seen.count, failed as u64);
        assert_eq!(seen.doses[0].holds(), Some(true), "{seen:?}");
        assert!(injected.revert().unwrap().verified);
        assert!(program.ask("sync 50").iter().all(|(_, errno)| *errno == 0));
    }
}

#[test]
fn threads_and_processes_that_begin_later_are_hit_too() {
    if !may_trace() {
        return;
    }
    let mut program = Program::new();
    let fault = Fsync { delay: Some(DELAY), fail: Some(SyncError::Edquot), ..program.fault() };
    let mut injected = fault.inject(&guard()).unwrap();
    for (ms, errno) in program.ask("threads 5") {
        assert!(ms >= 20.0 && errno == libc::EDQUOT, "{ms} {errno}");
    }
    for (ms, failed) in program.ask("children 3") {
        assert!(ms >= 20.0 && failed == 1, "{ms} {failed}");
    }
    assert_eq!(injected.effect().unwrap().count, 8);
    assert!(injected.revert().unwrap().verified);
    assert!(program.ask("children 1")[0].1 == 0);
}

#[test]
fn a_held_sync_goes_on_when_the_fault_ends() {
    if !may_trace() {
        return;
    }
    let mut program = Program::new();
    let fault = Fsync { delay: Some(Duration::from_secs(60)), ..program.fault() };
    for reverted in [true, false] {
        let injected = fault.inject(&guard()).unwrap();
        program.begin("sync 1");
        wait_until("it is held", OFTEN, || {
            status(program.pid(), "State:").iter().any(|state| state.starts_with('t'))
        });
        if reverted {
            let reverted = injected.revert().unwrap();
            assert!(reverted.verified);
            assert_eq!(reverted.effect.count, 0, "it was not held for as long as was asked");
        } else {
            drop(injected);
        }
        let took = program.end()[0];
        assert!(took.0 < 20_000.0 && took.1 == 0, "{took:?}");
    }
}

#[test]
fn a_target_is_stopped_continued_and_killed_as_ever() {
    if !may_trace() {
        return;
    }
    let mut program = Program::new();
    program.ask("sync 1");
    let pid = Pid::from_raw(program.pid().cast_signed()).unwrap();
    let states = |pid: u32| status(pid, "State:");
    let fault = Fsync { delay: Some(DELAY), ..program.fault() };
    let injected = fault.inject(&guard()).unwrap();
    kill_process(pid, Signal::STOP).unwrap();
    wait_until("it has stopped", OFTEN, || {
        states(program.pid()).iter().all(|state| state.starts_with(['T', 't']))
    });
    program.begin("sync 1");
    kill_process(pid, Signal::CONT).unwrap();
    assert!(program.end()[0].0 >= 20.0);
    // Stopped when the fault ends: it stays stopped, by its own signal.
    kill_process(pid, Signal::STOP).unwrap();
    wait_until("it has stopped", OFTEN, || {
        states(program.pid()).iter().all(|state| state.starts_with(['T', 't']))
    });
    assert!(injected.revert().unwrap().verified);
    wait_until("it is stopped", OFTEN, || {
        states(program.pid()).iter().all(|state| state.starts_with('T'))
    });
    // And stopped when it begins.
    let injected = fault.inject(&guard()).unwrap();
    program.begin("sync 1");
    kill_process(pid, Signal::CONT).unwrap();
    assert!(program.end()[0].0 >= 20.0);
    kill_process(pid, Signal::KILL).unwrap();
    wait_until("it has ended", OFTEN, || {
        std::fs::read_to_string(format!("/proc/{}/stat", program.pid()))
            .map_or(true, |stat| stat.contains(") Z "))
    });
    let reverted = injected.revert().unwrap();
    assert!(reverted.verified && reverted.effect.count == 1, "{reverted:?}");
}

#[test]
fn it_comes_and_goes_on_a_busy_program_that_notices_nothing() {
    if !may_trace() {
        return;
    }
    let mut program = Program::new();
    let fault = Fsync { delay: Some(Duration::from_micros(200)), ..program.fault() };
    program.begin("threads 3000");
    let mut longest = [0; 2];
    for _ in 0..50 {
        let injected = fault.inject(&guard()).unwrap();
        let described = injected.describe().clone();
        let reverted = injected.revert().unwrap();
        assert!(reverted.verified);
        longest[0] = longest[0].max(described.ended_ns - described.began_ns);
        longest[1] = longest[1].max(reverted.ended_ns - reverted.began_ns);
    }
    eprintln!("in place within {} µs, undone within {} µs", longest[0] / 1000, longest[1] / 1000);
    let took = program.end();
    assert_eq!(took.len(), 3000);
    assert!(took.iter().all(|(_, errno)| *errno == 0));
}

/// A program that puts the fault in place and waits.
#[test]
fn breaker() {
    let Some(pid) = std::env::var_os("TEMBLOR_TEST_BREAKER") else { return };
    let pid = pid.to_str().unwrap().parse().unwrap();
    let delay = Some(Duration::from_secs(60));
    let fault = Fsync { target: target(pid), delay, fail: Some(SyncError::Eio), share: 1.0 };
    let injected = fault.inject(&guard()).unwrap();
    loop {
        // Until it is killed.
        std::thread::park();
        let _ = injected.describe();
    }
}

#[test]
fn a_killed_program_lets_go() {
    if !may_trace() {
        return;
    }
    let mut program = Program::new();
    let journal = tempfile::tempdir().unwrap();
    let mut breaker = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "breaker", "--nocapture"])
        .env("TEMBLOR_TEST_BREAKER", program.pid().to_string())
        .env(JOURNAL, journal.path())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let pid = program.pid();
    wait_until("it is traced", OFTEN, || status(pid, "TracerPid:").iter().all(|by| by != "0"));
    let refused = program.fault();
    let refused = Fsync { delay: Some(DELAY), ..refused }.check().unwrap_err();
    assert_eq!(refused.kind(), Kind::Input);
    assert!(refused.to_string().contains("is traced by temblor-fsync ("), "{refused}");
    program.begin("sync 1");
    wait_until("it is held", OFTEN, || {
        status(pid, "State:").iter().any(|state| state.starts_with('t'))
    });
    breaker.kill().unwrap();
    breaker.wait().unwrap();
    let took = program.end()[0];
    assert!(took.0 < 20_000.0 && took.1 == 0, "the held call went on and was not failed: {took:?}");
    assert!(status(pid, "TracerPid:").iter().all(|by| by == "0"));
}

#[test]
fn what_it_costs_every_call_is_measured() {
    if !may_trace() {
        return;
    }
    let mut program = Program::new();
    let calls = 20_000;
    let each = |program: &mut Program| {
        let took: Vec<_> = (0..3).map(|_| program.ask(&format!("calls {calls}"))[0]).collect();
        median(&took) * 1e6 / f64::from(calls)
    };
    let before = each(&mut program);
    let fault = Fsync { delay: Some(DELAY), ..program.fault() };
    let injected = fault.inject(&guard()).unwrap();
    let during = each(&mut program);
    assert!(injected.revert().unwrap().verified);
    let after = each(&mut program);
    eprintln!("a getppid: {before:.0} ns before, {during:.0} ns while traced, {after:.0} ns after");
    assert!(during > before && after < during);
}

#[test]
fn a_bad_dose_and_a_missing_target_are_refused() {
    if !may_trace() {
        return;
    }
    let program = Program::new();
    let refused = |fault: Fsync| {
        let error = fault.check().unwrap_err();
        assert_eq!(error.kind(), Kind::Input, "{error}");
        assert_eq!(error.to_string(), fault.inject(&guard()).map(drop).unwrap_err().to_string());
        error.to_string()
    };
    assert!(refused(program.fault()).contains("does nothing"));
    for delay in [Duration::ZERO, Duration::from_secs(61)] {
        assert!(refused(Fsync { delay: Some(delay), ..program.fault() }).contains("above 0"));
    }
    for share in [0.0, -0.5, 1.1, f64::NAN] {
        let fault = Fsync { delay: Some(DELAY), share, ..program.fault() };
        assert!(refused(fault).contains("`share` is"));
    }
    let nobody = Fsync { target: target(u32::MAX), delay: Some(DELAY), ..program.fault() };
    assert!(refused(nobody).contains("has no process"));
    let me = Fsync { target: target(std::process::id()), delay: Some(DELAY), ..program.fault() };
    assert!(refused(me).contains("cannot trace itself"));
    assert!(
        "EPERM".parse::<SyncError>().unwrap_err().to_string().contains("EIO, ENOSPC or EDQUOT")
    );
    assert_eq!("ENOSPC".parse::<SyncError>().unwrap(), SyncError::Enospc);
}
