//! A bpftrace process: its output read by a thread of its own, which also learns of its end.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use temblor_event::{Event, ScriptCost, ScriptEnd, ScriptEnded, clock, signal_name};

use super::as_ns;
use super::output::Output;

const CHUNK_BYTES: usize = 64 << 10;
/// How long the kernel may take to end what got SIGKILL.
const KILL_MAX: Duration = Duration::from_secs(10);
/// Descriptors of a process that are looked at: bpftrace has one for each program.
const DESCRIPTORS_MAX: usize = 65_536;

/// A process. It ends when this is dropped.
pub(super) struct Process {
    pid: u32,
    pidfd: OwnedFd,
    shared: Arc<Shared>,
    reader: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    output: Output,
    /// How it was made to end, if it was.
    end: Option<ScriptEnd>,
    programs: Option<ScriptCost>,
    ended: Option<Ended>,
    /// Whom to tell of its end, and by which name.
    on_end: Option<(String, Tell)>,
}

type Tell = Box<dyn FnOnce(Event) + Send>;

#[derive(Debug, Clone, Copy)]
struct Ended {
    t_ns: u64,
    status: ExitStatus,
    user_ns: u64,
    system_ns: u64,
    memory_bytes_max: u64,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where a command's standard output goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stdout {
    /// To us, with its standard error.
    Read,
    /// Nowhere.
    Discarded,
}

impl Process {
    /// Starts a command and reads what it says.
    pub(super) fn start(mut command: Command, stdout: Stdout) -> io::Result<Self> {
        // One pipe for both, so that lines stay in the order in which they were written.
        let (from, to) = io::pipe()?;
        command.stdout(match stdout {
            Stdout::Read => Stdio::from(to.try_clone()?),
            Stdout::Discarded => Stdio::null(),
        });
        let child = command.stderr(to).spawn()?;
        // Our ends of what it writes to: as long as they are open, there is no end to read.
        drop(command);
        let pid = child.id();
        let raw = i32::try_from(pid).map_err(io::Error::other)?;
        let pidfd = Pid::from_raw(raw)
            .ok_or_else(|| io::ErrorKind::NotFound.into())
            .and_then(|pid| Ok(pidfd_open(pid, PidfdFlags::empty())?));
        let shared = Arc::new(Shared::default());
        let reader = std::thread::Builder::new().name("bpftrace".into()).spawn({
            let shared = Arc::clone(&shared);
            move || {
                read(from, &shared);
                reap(raw, &shared);
            }
        });
        match (pidfd, reader) {
            (Ok(pidfd), Ok(reader)) => Ok(Self { pid, pidfd, shared, reader: Some(reader) }),
            (Err(error), _) | (_, Err(error)) => {
                let mut child = child;
                // It is ours, and not waited for by anybody if there is no reader.
                let _ = child.kill();
                Err(error)
            }
        }
    }

    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    /// How it ended, in words; none while it runs.
    pub(super) fn ended(&self) -> Option<String> {
        self.shared.lock().ended.map(|ended| status_words(ended.status))
    }

    pub(super) fn has_ended(&self) -> bool {
        self.shared.lock().ended.is_some()
    }

    pub(super) fn succeeded(&self) -> bool {
        self.shared.lock().ended.is_some_and(|ended| ended.status.success())
    }

    /// Waits until it has ended, at most until `last_ns`; says whether it has.
    pub(super) fn wait_ended(&self, last_ns: u64) -> bool {
        let mut state = self.shared.lock();
        while state.ended.is_none() {
            let left_ns = last_ns.saturating_sub(clock::now_ns());
            if left_ns == 0 {
                return false;
            }
            let waited = self.shared.changed.wait_timeout(state, Duration::from_nanos(left_ns));
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// Its first lines, as long as nothing keeps them in a file.
    pub(super) fn said(&self, lines_max: usize) -> Vec<String> {
        let state = self.shared.lock();
        let lines = state.output.held().take(lines_max);
        lines.map(|line| String::from_utf8_lossy(line).into_owned()).collect()
    }

    /// Puts its output into a file: what there is, and from here on what comes.
    pub(super) fn keep_in(&self, file: File) {
        self.shared.lock().output.keep_in(file);
    }

    /// Tells of its end, when it comes or because it has come.
    pub(super) fn on_end(&self, script: &str, tell: impl FnOnce(Event) + Send + 'static) {
        let mut state = self.shared.lock();
        state.on_end = Some((script.to_owned(), Box::new(tell)));
        state.tell_end();
    }

    /// Sends it a signal that is to end it. `counted`: the kernel counts what its programs cost.
    pub(super) fn end_by(&self, signal: Signal, end: ScriptEnd, counted: bool) {
        let mut state = self.shared.lock();
        if state.ended.is_some() {
            return;
        }
        if counted {
            state.programs = programs_cost(self.pid);
        }
        state.end = Some(end);
        // It may have ended in this moment: then that is how.
        let _ = pidfd_send_signal(&self.pidfd, signal);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end_by(Signal::KILL, ScriptEnd::Killed, false);
        let ended = self.wait_ended(clock::now_ns() + as_ns(KILL_MAX));
        match self.reader.take() {
            // It does not panic, and would have nothing to say.
            Some(reader) if ended => drop(reader.join()),
            // It sits in the kernel and goes when that lets it.
            _ => tracing::warn!(pid = self.pid, "bpftrace has not ended yet, though killed"),
        }
    }
}

impl State {
    fn tell_end(&mut self) {
        let Some(ended) = self.ended else { return };
        let Some((script, tell)) = self.on_end.take() else { return };
        let counts = self.output.counts();
        let event = ScriptEnded {
            script,
            end: self.end.unwrap_or(ScriptEnd::ByItself),
            status: status_words(ended.status),
            lines: counts.lines,
            bytes: counts.bytes,
            lines_cut: counts.lines_cut,
            bytes_cut: counts.bytes_cut,
            unwritten: self.output.error().map(str::to_owned),
            events_lost: counts.events_lost,
            user_ns: ended.user_ns,
            system_ns: ended.system_ns,
            memory_bytes_max: ended.memory_bytes_max,
            programs: self.programs,
        };
        tell(Event::at(ended.t_ns, event));
    }
}

/// Reads until nobody can write any more.
fn read(mut from: io::PipeReader, shared: &Shared) {
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        match from.read(&mut chunk) {
            Ok(0) => return,
            Ok(n) => shared.lock().output.push(clock::now_ns(), &chunk[..n]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // A pipe does not fail; if it did, there would be nothing more to read.
            Err(_) => return,
        }
    }
}

/// Waits for the process' end, which follows that of its output, and tells of it.
fn reap(pid: i32, shared: &Shared) {
    let mut status = 0;
    // SAFETY: wait4 writes an integer and a plain struct of integers, which live for the call.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        while libc::wait4(pid, &raw mut status, 0, &raw mut usage) < 0
            && io::Error::last_os_error().kind() == io::ErrorKind::Interrupted
        {}
        usage
    };
    let mut state = shared.lock();
    state.output.finish();
    state.ended = Some(Ended {
        t_ns: clock::now_ns(),
        status: ExitStatus::from_raw(status),
        user_ns: timeval_ns(usage.ru_utime),
        system_ns: timeval_ns(usage.ru_stime),
        // The kernel counts it in KiB.
        memory_bytes_max: u64::try_from(usage.ru_maxrss).unwrap_or(0) * 1024,
    });
    state.tell_end();
    shared.changed.notify_all();
}

fn timeval_ns(t: libc::timeval) -> u64 {
    let (s, us) = (u64::try_from(t.tv_sec), u64::try_from(t.tv_usec));
    s.unwrap_or(0) * 1_000_000_000 + us.unwrap_or(0) * 1000
}

/// `exit code 0`, `signal 9 (SIGKILL)`.
fn status_words(status: ExitStatus) -> String {
    match status.signal() {
        None => format!("exit code {}", status.code().unwrap_or_default()),
        Some(signal) => {
            let (number, name) = (format!("signal {signal}"), signal_name(signal));
            if name == number { number } else { format!("{number} ({name})") }
        }
    }
}

/// What the kernel has counted of the eBPF programs that a process holds. None: it is gone.
fn programs_cost(pid: u32) -> Option<ScriptCost> {
    let descriptors = fs::read_dir(format!("/proc/{pid}/fdinfo")).ok()?;
    let texts = descriptors
        .take(DESCRIPTORS_MAX)
        .filter_map(|entry| fs::read_to_string(entry.ok()?.path()).ok());
    Some(programs_of(texts))
}

/// The same of the texts of its descriptors; one program may have several.
fn programs_of(texts: impl Iterator<Item = String>) -> ScriptCost {
    let mut seen = BTreeSet::new();
    let mut cost = ScriptCost { programs: 0, runs: 0, run_ns: 0 };
    for text in texts {
        let field = |name: &str| {
            let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            value.and_then(|value| value.trim().parse::<u64>().ok())
        };
        // A link's text names the program too, and has no figures.
        let (Some(id), Some(runs), Some(run_ns)) =
            (field("prog_id"), field("run_cnt"), field("run_time_ns"))
        else {
            continue;
        };
        if seen.insert(id) {
            cost.programs += 1;
            cost.runs += runs;
            cost.run_ns += run_ns;
        }
    }
    cost
}

#[cfg(test)]
mod tests {
    use super::*;

    const WITHIN: u64 = 30_000_000_000;

    fn sh(script: &str) -> Process {
        let mut command = Command::new("sh");
        command.args(["-c", script]).stdin(Stdio::null());
        Process::start(command, Stdout::Read).unwrap()
    }

    #[test]
    fn an_end_is_told_with_what_it_cost_whenever_one_asks() {
        let process = sh("echo one; echo two >&2; exit 3");
        assert!(process.wait_ended(clock::now_ns() + WITHIN));
        assert_eq!(process.said(9), ["one", "two"]);
        assert_eq!(process.ended().as_deref(), Some("exit code 3"));
        assert!(!process.succeeded());
        let (to, told) = std::sync::mpsc::channel();
        process.on_end("x", move |event| to.send(event).unwrap());
        let temblor_event::Body::ScriptEnded(ended) = told.recv().unwrap().body else { panic!() };
        assert_eq!((ended.end, ended.lines, ended.bytes), (ScriptEnd::ByItself, 2, 8));
        assert_eq!((ended.script.as_str(), ended.programs), ("x", None));
        assert!(ended.memory_bytes_max > 0);
    }

    #[test]
    fn what_does_not_end_when_asked_is_killed_and_none_is_left() {
        let process = sh("trap '' INT; echo ready; while :; do sleep 0.05; done");
        let last_ns = clock::now_ns() + WITHIN;
        while process.said(1).is_empty() {
            assert!(clock::now_ns() < last_ns);
            process.wait_ended(clock::now_ns() + 5_000_000);
        }
        process.end_by(Signal::INT, ScriptEnd::Asked, true);
        assert!(!process.wait_ended(clock::now_ns() + 200_000_000));
        let (to, told) = std::sync::mpsc::channel();
        process.on_end("x", move |event| to.send(event).unwrap());
        let pid = process.pid();
        drop(process);
        let temblor_event::Body::ScriptEnded(ended) = told.recv().unwrap().body else { panic!() };
        assert_eq!((ended.end, ended.status.as_str()), (ScriptEnd::Killed, "signal 9 (SIGKILL)"));
        let none = ScriptCost { programs: 0, runs: 0, run_ns: 0 };
        assert_eq!(ended.programs, Some(none), "a shell has no programs, and that is known");
        assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
    }

    #[test]
    fn a_program_is_counted_once_however_many_descriptors_it_has() {
        let texts = [
            "pos:\t0\nprog_type:\t5\nprog_id:\t7\nrun_time_ns:\t40\nrun_cnt:\t4\n",
            "pos:\t0\nprog_type:\t5\nprog_id:\t7\nrun_time_ns:\t40\nrun_cnt:\t4\n",
            "prog_id:\t8\nrun_time_ns:\t2\nrun_cnt:\t1\n",
            "link_type:\tperf\nlink_id:\t3\nprog_id:\t9\n",
            "pos:\t0\nflags:\t02\n",
        ];
        let cost = programs_of(texts.map(str::to_owned).into_iter());
        assert_eq!(cost, ScriptCost { programs: 2, runs: 5, run_ns: 42 });
    }
}
