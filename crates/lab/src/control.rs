//! What a person asks of a lab: up, down, status.

use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, WaitOptions, setsid, waitpid};
use temblor_event::clock::now_ns;

use crate::cleanup;
use crate::error::{Doing, Error, Result};
use crate::launch;
use crate::lock::Lock;
use crate::network;
use crate::options::Options;
use crate::plan::Plan;
use crate::range::{CANDIDATES, Range, choose, conflict};
use crate::spec::Lab;
use crate::state::{Phase, State};
use crate::supervisor::Outcome;

/// How much longer a second command waits for a first one than that may take to start the lab: a
/// start that fails is taken down, too.
const LOCK_BEYOND_START_MS: u64 = 40_000;
/// For the services to end one after another, each with its own bound.
const DOWN_WITHIN_MS: u32 = 60_000;
/// What a failed start may take beyond its bound, to be taken down and told.
const FAILING_MS: u64 = 60_000;
/// One line of the supervisor's is far shorter.
const OUTCOME_BYTES_MAX: usize = 1 << 20;

/// A lab that is up.
#[derive(Debug)]
pub struct Up {
    /// The lab.
    pub state: State,
    /// It was up before.
    pub already_up: bool,
    /// What an earlier lab had left behind, and was removed first.
    pub cleaned: Vec<String>,
}

/// A lab that is down.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct DownReport {
    /// There was a lab to take down.
    pub was_up: bool,
    /// The services that were stopped.
    pub stopped: Vec<String>,
    /// What a supervisor that had died had left behind.
    pub cleaned: Vec<String>,
}

/// Starts the lab and returns when every service is healthy. A lab that is up is left as it is;
/// what a crashed one left is removed first.
///
/// # Errors
/// Something is missing, taken or wrong, or a service did not become healthy; then nothing is left.
pub fn up(options: &Options) -> Result<Up> {
    options.check()?;
    need_root()?;
    let lab = options.read_lab()?;
    let lock = Lock::take(&options.runtime_dir, lock_within_ms(options))?;
    if let Some(state) = State::read(&options.state_file())? {
        if let Some(state) = settled(options, state)? {
            return Ok(Up { state, already_up: true, cleaned: Vec::new() });
        }
        let cleaned = clean_stale(options)?;
        // The lock went with the directory.
        drop(lock);
        return up(options).map(|up| Up { cleaned, ..up });
    }
    let started = prepare(options, &lab).and_then(|options| start(&options));
    if started.is_err() {
        cleanup::unclaim(options);
    }
    Ok(Up { state: started?, already_up: false, cleaned: Vec::new() })
}

fn lock_within_ms(options: &Options) -> u64 {
    options.start_within_ms.saturating_add(LOCK_BEYOND_START_MS)
}

/// The lab when it is up; `None` when its supervisor has ended. One that is neither was left alone
/// by an `up` that was killed, and is on its way down: that is waited for.
fn settled(options: &Options, mut state: State) -> Result<Option<State>> {
    let bound_ms = options.start_within_ms.saturating_add(FAILING_MS);
    let deadline_ns = now_ns().saturating_add(bound_ms.saturating_mul(1_000_000));
    let doing = || "get a handle on the lab's supervisor".to_owned();
    let Some(supervisor) = state.supervisor.open().doing(doing)? else { return Ok(None) };
    while state.phase != Phase::Up && now_ns() < deadline_ns {
        if supervisor.wait_ended(100).doing(doing)? {
            return Ok(None);
        }
        match State::read(&options.state_file())? {
            Some(now) => state = now,
            None => return Ok(None),
        }
    }
    if state.phase == Phase::Up {
        return Ok(Some(state));
    }
    Err(Error::Busy(options.runtime_dir.clone()))
}

/// Everything that can be refused before something is started; the options that come back name
/// the range.
fn prepare(options: &Options, lab: &Lab) -> Result<Options> {
    refuse_taken_names(options)?;
    let range = choose_range(options)?;
    // For its errors: all that is missing is named at once.
    Plan::new(lab, options, range)?;
    network::trial()?;
    cleanup::claim(&options.runtime_dir)?;
    cleanup::claim(&options.data_dir)?;
    // The supervisor works in another directory.
    let absolute = |path: &Option<PathBuf>| path.as_ref().map(std::path::absolute).transpose();
    let doing = || "find the current directory".to_owned();
    Ok(Options {
        network: Some(range),
        lab: absolute(&options.lab).doing(doing)?,
        exchange_bin: absolute(&options.exchange_bin).doing(doing)?,
        ..options.clone()
    })
}

fn start(options: &Options) -> Result<State> {
    let mut supervisor = spawn_supervisor(options)?;
    let outcome = hand_over(&mut supervisor, options).and_then(|stdout| {
        read_outcome(stdout, options.start_within_ms.saturating_add(FAILING_MS))
    });
    match outcome {
        Ok(Some(Outcome::Ready)) => {
            let state = State::read(&options.state_file())?;
            state.ok_or_else(|| failed("its state is not there"))
        }
        Ok(Some(Outcome::Failed { service, reason, log, left_behind })) => {
            supervisor.wait().doing(|| "wait for the supervisor's end".into())?;
            if left_behind.is_empty() {
                return Err(Error::StartFailed { service, reason, log });
            }
            tracing::error!(reason, "the lab did not start");
            Err(Error::LeftBehind(left_behind))
        }
        outcome => {
            // It said nothing: it died, or hangs. What it started dies with it.
            let _ = supervisor.kill();
            supervisor.wait().doing(|| "wait for the supervisor's end".into())?;
            let log = launch::last_lines(&options.log_dir().join("supervisor.log"), 15);
            let left = cleanup::everything(options);
            if !left.is_empty() {
                return Err(Error::LeftBehind(left));
            }
            outcome?;
            let reason = "its supervisor ended without a word".into();
            Err(Error::StartFailed { service: None, reason, log })
        }
    }
}

/// Takes the lab down, and makes sure that nothing of it is left.
///
/// # Errors
/// Something is left, and is named.
pub fn down(options: &Options) -> Result<DownReport> {
    options.check()?;
    need_root()?;
    if !cleanup::is_claimed(options) {
        return Ok(DownReport::default());
    }
    let _lock = Lock::take(&options.runtime_dir, lock_within_ms(options))?;
    let Some(state) = State::read(&options.state_file())? else {
        let left = cleanup::everything(options);
        return if left.is_empty() {
            Ok(DownReport::default())
        } else {
            Err(Error::LeftBehind(left))
        };
    };
    let mut report = DownReport { was_up: true, ..DownReport::default() };
    let supervisor =
        state.supervisor.open().doing(|| "get a handle on the lab's supervisor".into())?;
    if let Some(supervisor) = supervisor {
        let pid = state.supervisor.pid;
        supervisor.signal(Signal::TERM).doing(|| format!("end the lab's supervisor ({pid})"))?;
        let ended = supervisor.wait_ended(DOWN_WITHIN_MS);
        if !ended.doing(|| format!("wait for the lab's supervisor ({pid})"))? {
            supervisor.signal(Signal::KILL).doing(|| format!("kill the supervisor ({pid})"))?;
            report.cleaned.push(format!("the supervisor {pid} had to be killed"));
        }
        reap(pid);
        report.stopped = state.services.iter().map(|service| service.name.clone()).collect();
        // The supervisor removes all of it; what it could not, it left with its state.
        let left = cleanup::everything(options);
        return if left.is_empty() { Ok(report) } else { Err(Error::LeftBehind(left)) };
    }
    report.cleaned = clean_stale(options)?;
    Ok(report)
}

/// What the lab's supervisor last wrote, and whether there is one; `None` when there is no lab.
///
/// # Errors
/// The state cannot be read.
pub fn status(options: &Options) -> Result<Option<State>> {
    options.check()?;
    let mut state = State::read(&options.state_file())?;
    if let Some(state) = state.as_mut().filter(|state| !state.supervisor.is_alive()) {
        state.phase = Phase::Stale;
    }
    Ok(state)
}

/// Removes what a supervisor that died has left, and says what that was.
fn clean_stale(options: &Options) -> Result<Vec<String>> {
    let found = cleanup::remains(options);
    let left = cleanup::everything(options);
    if left.is_empty() { Ok(found) } else { Err(Error::LeftBehind(left)) }
}

fn need_root() -> Result<()> {
    if rustix::process::geteuid().is_root() {
        return Ok(());
    }
    Err(Error::Missing {
        what: "root (it makes network namespaces and cgroups)".into(),
        how: "run it with sudo".into(),
    })
}

/// Without a state there is no lab of ours: whatever has its names is somebody else's.
fn refuse_taken_names(options: &Options) -> Result<()> {
    if network::link_exists(&options.link)? {
        return Err(network::link_taken(&options.link));
    }
    let groups = cleanup::lab_groups(options);
    let pids: Vec<_> = groups.iter().flat_map(|group| group.processes()).collect();
    if pids.is_empty() {
        return Ok(());
    }
    Err(Error::NameTaken(format!(
        "the cgroup {} has processes ({pids:?}), and no lab's state in {} tells of them; is \
         there a lab with other directories? choose another name with TEMBLOR_LAB_LINK",
        options.cgroup(),
        options.runtime_dir.display()
    )))
}

fn choose_range(options: &Options) -> Result<Range> {
    let taken = network::taken()?;
    match options.network {
        None => choose(&taken).ok_or_else(|| Error::RangeTaken {
            range: CANDIDATES
                .iter()
                .map(|(a, p)| format!("{a}/{p}"))
                .collect::<Vec<_>>()
                .join(", "),
            by: "the host has routes into every one of them".into(),
        }),
        Some(range) => match conflict(range, &taken) {
            None => Ok(range),
            Some(other) => {
                Err(Error::RangeTaken { range: range.to_string(), by: other.by.clone() })
            }
        },
    }
}

fn failed(reason: &str) -> Error {
    Error::StartFailed { service: None, reason: reason.to_owned(), log: Vec::new() }
}

/// Starts the supervisor in a session of its own: no terminal's hang-up or Ctrl-C reaches it.
fn spawn_supervisor(options: &Options) -> Result<Child> {
    let program = match &options.supervisor.program {
        Some(program) => program.clone(),
        None => std::env::current_exe().doing(|| "find this program".into())?,
    };
    crate::lock::make_dir(&options.log_dir())?;
    let log = options.log_dir().join("supervisor.log");
    let stderr = launch::open_log(&log).doing(|| format!("open {}", log.display()))?;
    let mut command = Command::new(&program);
    command
        .args(&options.supervisor.args)
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(stderr);
    // SAFETY: between fork and exec only a system call is made.
    unsafe { command.pre_exec(|| setsid().map(|_| ()).map_err(Into::into)) };
    command.spawn().doing(|| format!("start the supervisor {}", program.display()))
}

fn hand_over(supervisor: &mut Child, options: &Options) -> Result<ChildStdout> {
    let text = serde_json::to_vec(options).map_err(std::io::Error::from);
    let written = text.and_then(|text| match supervisor.stdin.take() {
        Some(mut stdin) => stdin.write_all(&text),
        None => Err(std::io::ErrorKind::BrokenPipe.into()),
    });
    written.doing(|| "give the supervisor its options".into())?;
    supervisor.stdout.take().ok_or_else(|| failed("its supervisor has no output"))
}

/// The first line that is an outcome; `None` when the output ends without one, or the bound is
/// reached.
fn read_outcome(mut stdout: ChildStdout, bound_ms: u64) -> Result<Option<Outcome>> {
    let deadline_ns = now_ns().saturating_add(bound_ms.saturating_mul(1_000_000));
    let (mut text, mut chunk) = (Vec::new(), [0; 4096]);
    while text.len() < OUTCOME_BYTES_MAX {
        let left_ns = deadline_ns.saturating_sub(now_ns());
        let timeout = Timespec {
            tv_sec: i64::try_from(left_ns / 1_000_000_000).unwrap_or(i64::MAX),
            tv_nsec: i64::try_from(left_ns % 1_000_000_000).unwrap_or(0),
        };
        match poll(&mut [PollFd::new(&stdout, PollFlags::IN)], Some(&timeout)) {
            Ok(0) => return Ok(None),
            Err(rustix::io::Errno::INTR) => continue,
            ready => ready.doing(|| "wait for the supervisor".into())?,
        };
        let read = stdout.read(&mut chunk).doing(|| "listen to the supervisor".into())?;
        if read == 0 {
            return Ok(None);
        }
        text.extend_from_slice(&chunk[..read]);
        let lines = text.split_inclusive(|byte| *byte == b'\n').filter(|l| l.ends_with(b"\n"));
        if let Some(outcome) = lines.filter_map(|line| serde_json::from_slice(line).ok()).next() {
            return Ok(Some(outcome));
        }
    }
    Ok(None)
}

/// Takes the supervisor's exit status when it is this process's child, so that no zombie stays.
fn reap(pid: u32) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // It is somebody else's child when another command started it.
        let _ = waitpid(Some(pid), WaitOptions::NOHANG);
    }
}
