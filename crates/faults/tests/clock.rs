//! `time.offset` on processes of these tests: what they are told, and what they are told after.
#![cfg(target_arch = "x86_64")]
#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "all of it is tests, helpers too")]

use std::io::{self, BufRead as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use temblor_faults::clock::{MAX_OFFSET_NS, Offset};
use temblor_faults::undo::{Guard, heal, open_journals};
use temblor_faults::{Error, Fault as _, Injected, Kind};
use temblor_host::netns::Netns;
use temblor_host::target::Target;

const S: i64 = 1_000_000_000;
/// Two looks at a clock on a busy machine lie no further apart.
const NEAR_NS: i64 = 2 * S;

fn target(pids: &[u32]) -> Target {
    let netns = Netns::of_this_thread().unwrap();
    Target { pids: pids.into(), ..Target::of_namespace("teller", netns, Vec::new()) }
}

fn guard(dir: &Path) -> Guard {
    Guard::without_guardian(&dir.join("journal")).unwrap()
}

fn offset(child: &Child, by_ns: i64) -> Offset {
    Offset { target: target(&[child.id()]), by_ns }
}

/// Says why a test is skipped where it cannot run: a child may be traced by its parent, but its
/// memory is written by whoever may trace anybody.
fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("skipped: needs root (it traces processes)");
    }
    root
}

/// Every way of asking the time, in nanoseconds: three wall clocks, two older ways, and the
/// monotonic clock last.
fn all_clocks() -> [i64; 6] {
    let clock = |id| {
        let mut t = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: it is written to.
        assert_eq!(unsafe { libc::clock_gettime(id, &raw mut t) }, 0);
        assert!((0..S).contains(&t.tv_nsec), "{}", t.tv_nsec);
        t.tv_sec * S + t.tv_nsec
    };
    let mut tv = libc::timeval { tv_sec: 0, tv_usec: 0 };
    // SAFETY: they are written to.
    let (of_day, s) = unsafe {
        let mut s = 0;
        assert_eq!(libc::gettimeofday(&raw mut tv, std::ptr::null_mut()), 0);
        assert_eq!(libc::time(&raw mut s), s);
        (tv, s)
    };
    assert!((0..1_000_000).contains(&of_day.tv_usec));
    [
        clock(libc::CLOCK_REALTIME),
        clock(libc::CLOCK_REALTIME_COARSE),
        clock(libc::CLOCK_TAI),
        of_day.tv_sec * S + of_day.tv_usec * 1000,
        s * S,
        clock(libc::CLOCK_MONOTONIC),
    ]
}

const CHILD: &str = "TEMBLOR_TEST_TELLER";

/// How often the busy threads and the signal handler of a child have asked.
static ASKED: AtomicU64 = AtomicU64::new(0);

extern "C" fn on_signal(_: i32) {
    let mut t = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: it may be called in a handler, and writes to `t`.
    unsafe { libc::clock_gettime(libc::CLOCK_REALTIME, &raw mut t) };
    ASKED.fetch_add(1, Ordering::Relaxed);
}

/// Not a test of its own: it tells the time for each line that it reads; a busy one does nothing
/// else in two threads, and a thousand times a second in a signal handler.
#[test]
fn child_that_tells_the_time() {
    let Ok(kind) = std::env::var(CHILD) else { return };
    if kind == "busy" {
        for _ in 0..2 {
            std::thread::spawn(|| {
                loop {
                    std::hint::black_box(all_clocks());
                    ASKED.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let every = libc::timeval { tv_sec: 0, tv_usec: 1000 };
        let timer = libc::itimerval { it_interval: every, it_value: every };
        // SAFETY: the handler does only what handlers may.
        unsafe {
            libc::signal(libc::SIGALRM, on_signal as *const () as libc::sighandler_t);
            assert_eq!(
                libc::setitimer(libc::ITIMER_REAL, &raw const timer, std::ptr::null_mut()),
                0
            );
        }
    }
    println!("\nready");
    for line in io::stdin().lines() {
        line.unwrap();
        let clocks = all_clocks().map(|ns| ns.to_string());
        println!("\ntold {} {}", clocks.join(" "), ASKED.load(Ordering::Relaxed));
    }
}

/// A child that answers a line with a line.
struct Teller {
    child: Child,
    stdin: Option<ChildStdin>,
    said: Box<dyn Iterator<Item = String>>,
}

impl Teller {
    fn of(mut command: Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let said = io::BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut teller = Self { stdin: child.stdin.take(), child, said: Box::new(said) };
        assert!(teller.said.any(|line| line == "ready"));
        teller
    }

    fn start(kind: &str) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "child_that_tells_the_time", "--nocapture"]).env(CHILD, kind);
        Self::of(command)
    }

    fn answer(&mut self, line: &str, beginning: &str) -> String {
        writeln!(self.stdin.as_mut().unwrap(), "{line}").unwrap();
        let found = self.said.find_map(|said| Some(said.strip_prefix(beginning)?.to_owned()));
        found.expect("it lives and answers")
    }

    /// By how much each clock differs from ours, and how often its busy parts have asked.
    fn offsets(&mut self) -> (Vec<i64>, u64) {
        let told = self.answer("", "told ");
        let mut numbers: Vec<i64> = told.split(' ').map(|n| n.parse().unwrap()).collect();
        let asked = numbers.pop().unwrap().unsigned_abs();
        (numbers.iter().zip(all_clocks()).map(|(theirs, ours)| theirs - ours).collect(), asked)
    }

    #[track_caller]
    fn assert_off_by(&mut self, by_ns: i64) {
        let (offsets, _) = self.offsets();
        for wall in &offsets[..5] {
            assert!((wall - by_ns).abs() < NEAR_NS, "{offsets:?} instead of {by_ns}");
        }
        assert!(offsets[5].abs() < NEAR_NS, "the monotonic clock: {offsets:?}");
    }
}

impl Drop for Teller {
    fn drop(&mut self) {
        self.stdin.take();
        let _ = self.child.wait();
    }
}

#[track_caller]
fn revert(injected: Box<dyn Injected>) -> temblor_event::Effect {
    let reverted = injected.revert().unwrap();
    assert!(reverted.verified);
    assert_eq!(reverted.effect_unread, None);
    reverted.effect
}

#[test]
fn every_way_of_asking_for_wall_time_is_off_and_true_again() {
    if !is_root() {
        return;
    }
    let (mut teller, dir) = (Teller::start("calm"), tempfile::tempdir().unwrap());
    teller.assert_off_by(0);
    for by_ns in
        [3600 * S, -3600 * S, 86_400 * S + 1, -(7 * S + S / 2), MAX_OFFSET_NS, -MAX_OFFSET_NS]
    {
        let fault = offset(&teller.child, by_ns);
        fault.check().unwrap();
        assert_eq!(fault.plan().len(), 1);
        teller.assert_off_by(0);
        let mut injected = fault.inject(&guard(dir.path())).unwrap();
        teller.assert_off_by(by_ns);
        let effect = injected.effect().unwrap();
        assert_eq!(effect.count, 1);
        assert_eq!(effect.parts[0].count, 1);
        assert_eq!(effect.parts[1].count, 0);
        let dose = &effect.doses[0];
        assert_eq!(dose.holds(), Some(true), "{dose:?}");
        let effect = revert(injected);
        assert_eq!((effect.count, effect.doses[0].samples), (2, 2));
        teller.assert_off_by(0);
    }
    // Without a revert, too.
    drop(offset(&teller.child, 3600 * S).inject(&guard(dir.path())).unwrap());
    teller.assert_off_by(0);
    assert_eq!(open_journals(&dir.path().join("journal")).unwrap().len(), 0);
}

#[test]
fn a_level_is_a_share_of_the_offset() {
    if !is_root() {
        return;
    }
    let (mut teller, dir) = (Teller::start("calm"), tempfile::tempdir().unwrap());
    let mut injected = offset(&teller.child, -1000 * S).inject(&guard(dir.path())).unwrap();
    for (level, by_s) in [(0.5, -500), (0.0, 0), (0.25, -250), (1.0, -1000)] {
        injected.set_level(level).unwrap();
        teller.assert_off_by(by_s * S);
        let dose = &injected.effect().unwrap().doses[0];
        assert_eq!(dose.holds(), Some(true), "{dose:?}");
    }
    assert!(injected.set_level(-0.1).unwrap_err().to_string().contains("level of -0.1"));
    revert(injected);
    teller.assert_off_by(0);
}

#[test]
#[expect(clippy::disallowed_methods, reason = "only durations are wanted")]
fn threads_and_signal_handlers_that_never_stop_asking_survive_it() {
    if !is_root() {
        return;
    }
    let (mut teller, dir) = (Teller::start("busy"), tempfile::tempdir().unwrap());
    let guard = guard(dir.path());
    let mut asked = 0;
    let (mut applied, mut reverted) = (Vec::new(), Vec::new());
    for round in 1..=40_i64 {
        let by_ns = if round % 2 == 0 { round * 3600 * S } else { -round * 60 * S };
        let began = Instant::now();
        let injected = offset(&teller.child, by_ns).inject(&guard).unwrap();
        applied.push(began.elapsed());
        teller.assert_off_by(by_ns);
        let began = Instant::now();
        let effect = revert(injected);
        reverted.push(began.elapsed());
        assert_eq!(effect.doses[0].holds(), Some(true), "{effect:?}");
        teller.assert_off_by(0);
        let (_, now) = teller.offsets();
        assert!(now > asked, "they go on asking");
        asked = now;
    }
    for times in [&mut applied, &mut reverted] {
        times.sort_unstable();
    }
    println!(
        "apply {:?} to {:?}, revert {:?} to {:?}",
        applied[20], applied[39], reverted[20], reverted[39]
    );
}

#[test]
fn what_is_forked_meanwhile_is_healed_with_its_parent() {
    if !is_root() || !Path::new("/bin/bash").exists() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let pipe = dir.path().join("pipe");
    let made = Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    // A subshell is a fork without an exec; `date` is one with.
    let script = r#"
        echo ready
        while read -r what; do
            case $what in
                fork) ( exec 5<>"$PIPE"; while read -r -u 5 _; do printf 'told %(%s)T\n' -1; done ) &
                      echo told 0 ;;
                date) echo "told $(date +%s)" ;;
                *) printf 'told %(%s)T\n' -1 ;;
            esac
        done
        kill $(jobs -p)"#;
    let mut command = Command::new("/bin/bash");
    command.args(["-c", script]).env("PIPE", &pipe);
    let mut shell = Teller::of(command);
    let is_off_by = |told: &str, by_ns: i64| {
        let by = told.parse::<i64>().unwrap() * S - all_clocks()[0];
        (by - by_ns).abs() < NEAR_NS
    };
    let by_ns = -50_000 * S;
    let injected = offset(&shell.child, by_ns).inject(&guard(dir.path())).unwrap();
    assert!(is_off_by(&shell.answer("time", "told "), by_ns));
    assert!(is_off_by(&shell.answer("date", "told "), 0), "another program has a clock of its own");
    shell.answer("fork", "told ");
    let mut to_forked = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_CLOEXEC)
        .open(&pipe)
        .unwrap();
    let mut ask_forked = |shell: &mut Teller| {
        to_forked.write_all(b"\n").unwrap();
        shell.said.find_map(|said| Some(said.strip_prefix("told ")?.to_owned())).unwrap()
    };
    assert!(is_off_by(&ask_forked(&mut shell), by_ns), "it has inherited the clock");
    revert(injected);
    assert!(is_off_by(&ask_forked(&mut shell), 0));
    assert!(is_off_by(&shell.answer("time", "told "), 0));
}

const CHILD_PID: &str = "TEMBLOR_TEST_OFFSET_OF";
const CHILD_DIR: &str = "TEMBLOR_TEST_OFFSET_DIR";

/// Not a test of its own: what [`after_sigkill_the_journal_heals`] runs in another process, and
/// kills there.
#[test]
fn child_that_holds_an_offset() {
    let (Ok(pid), Ok(dir)) = (std::env::var(CHILD_PID), std::env::var(CHILD_DIR)) else { return };
    let fault = Offset { target: target(&[pid.parse().unwrap()]), by_ns: 3600 * S };
    let _injected = fault.inject(&guard(Path::new(&dir))).unwrap();
    println!("\nin place");
    io::stdin().read_line(&mut String::new()).unwrap();
}

#[test]
fn after_sigkill_the_journal_heals() {
    if !is_root() {
        return;
    }
    let (mut teller, dir) = (Teller::start("busy"), tempfile::tempdir().unwrap());
    let mut holder = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_that_holds_an_offset", "--nocapture"])
        .env(CHILD_PID, teller.child.id().to_string())
        .env(CHILD_DIR, dir.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = io::BufReader::new(holder.stdout.take().unwrap()).lines();
    assert!(lines.map_while(Result::ok).any(|line| line == "in place"));
    holder.kill().unwrap();
    holder.wait().unwrap();
    teller.assert_off_by(3600 * S);
    let journal = dir.path().join("journal");
    let open = open_journals(&journal).unwrap();
    assert!(open[0].needs_healing());
    assert_eq!(open[0].changes[0].in_place, Some(true));
    assert!(open[0].changes[0].words.contains("the kernel's own again"));
    assert!(heal(&journal).unwrap().iter().all(temblor_faults::undo::Healed::is_well));
    teller.assert_off_by(0);
    assert!(heal(&journal).unwrap().is_empty());
}

#[test]
fn a_process_that_stands_still_stays_so() {
    if !is_root() {
        return;
    }
    let (mut teller, dir) = (Teller::start("calm"), tempfile::tempdir().unwrap());
    let pid = rustix::process::Pid::from_child(&teller.child);
    let state = || {
        let line = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap();
        line.rsplit_once(") ").unwrap().1.chars().next().unwrap()
    };
    rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
    assert!(within(|| state() == 'T'));
    let mut injected = offset(&teller.child, 3600 * S).inject(&guard(dir.path())).unwrap();
    assert!(within(|| state() == 'T'));
    assert_eq!(injected.effect().unwrap().count, 1, "read without it");
    assert!(within(|| state() == 'T'));
    rustix::process::kill_process(pid, rustix::process::Signal::CONT).unwrap();
    teller.assert_off_by(3600 * S);
    assert_eq!(revert(injected).count, 2);
    teller.assert_off_by(0);
}

#[expect(clippy::disallowed_methods, reason = "only a bound is wanted")]
fn within(mut question: impl FnMut() -> bool) -> bool {
    let began = Instant::now();
    while !question() {
        if began.elapsed() > Duration::from_secs(10) {
            return false;
        }
        std::thread::park_timeout(Duration::from_millis(5));
    }
    true
}

/// A 32-bit program that waits for a signal, and does nothing else.
fn program_of_32_bits(path: &Path) {
    let code = [0xb8, 29, 0, 0, 0, 0xcd, 0x80, 0xeb, 0xf7];
    let (base, size) = (0x0804_8000_u32, 84 + 9_u32);
    let mut file: Vec<u8> = b"\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x03\0\x01\0\0\0".to_vec();
    for word in [base + 84, 52, 0, 0, 0x0020_0034, 1, 0] {
        file.extend(word.to_le_bytes());
    }
    for word in [1, 0, base, base, size, size, 5, 0x1000] {
        file.extend(word.to_le_bytes());
    }
    file.extend(code);
    std::fs::write(path, file).unwrap();
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
}

#[test]
fn what_cannot_be_moved_is_refused_with_the_reason() {
    if !is_root() {
        return;
    }
    let (teller, dir) = (Teller::start("calm"), tempfile::tempdir().unwrap());
    let guard = guard(dir.path());
    let good = offset(&teller.child, S);
    good.check().unwrap();
    let of = |pids: &[u32]| Offset { target: target(pids), by_ns: S };
    let refused = |fault: &Offset, says: &str| {
        let error = fault.check().unwrap_err();
        assert!(matches!(error, Error::Refused(_)), "{error:?}");
        assert_eq!(error.kind(), Kind::Input);
        assert!(error.to_string().contains(says), "{error}");
        assert!(fault.inject(&guard).is_err());
    };
    refused(&Offset { by_ns: 0, ..good.clone() }, "an offset of 0");
    refused(&Offset { by_ns: MAX_OFFSET_NS + 1, ..good.clone() }, "further than 10 years");
    refused(&Offset { by_ns: i64::MIN, ..good.clone() }, "further than 10 years");
    refused(&of(&[]), "has no process");
    refused(&of(&[std::process::id()]), "is this program itself");
    if temblor_host::process::name(2).is_some_and(|name| name == "kthreadd") {
        refused(&of(&[2]), "has no vDSO");
    }
    let injected = good.inject(&guard).unwrap();
    refused(&good, "has been changed already");
    drop(injected);
    good.check().unwrap();
    let path = dir.path().join("small");
    program_of_32_bits(&path);
    match Command::new(&path).spawn() {
        Ok(mut small) => {
            refused(&of(&[small.id()]), "is a 32-bit program");
            small.kill().unwrap();
            small.wait().unwrap();
        }
        Err(error) => eprintln!("not tried: this kernel runs no 32-bit programs ({error})"),
    }
    let pid = teller.child.id().cast_signed();
    // SAFETY: neither request reads or writes memory of this process.
    unsafe {
        assert_eq!(libc::ptrace(libc::PTRACE_SEIZE, pid, 0, 0), 0);
        refused(&good, "is traced by process");
        assert_eq!(libc::ptrace(libc::PTRACE_INTERRUPT, pid, 0, 0), 0);
        assert_eq!(libc::waitpid(pid, std::ptr::null_mut(), libc::__WALL), pid);
        assert_eq!(libc::ptrace(libc::PTRACE_DETACH, pid, 0, 0), 0);
    }
    good.check().unwrap();
}
