//! The process that undoes what its owner left behind.
//!
//! It has a session of its own, ignores what a terminal or a polite supervisor sends, and holds
//! nothing but one socket, whose other end its owner has. It waits for the first of three things:
//!
//! - **The owner is dead.** The kernel says so of the whole process, threads with file tables of
//!   their own included, once none of them is in a system call any more. The end of the socket's
//!   stream would say less: it comes while a thread that does not share the file table may still
//!   be at a change, and it does not come while a process that was forked meanwhile holds a copy.
//! - **The owner lets go.** It writes a byte when it has no change left to undo by itself.
//! - **The deadline has passed,** with some grace. Then the owner hangs, and is killed first, so
//!   that the kernel undoes what dies with it and nobody undoes anything at the same time.
//!
//! Then it replays the journal, tries again what fails for a bounded time, and ends.
//!
//! It is there before the journal is: an owner that is killed while it begins leaves nothing. So
//! it is told over the socket, and not by the journal, whose guardian it is.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::Signal;
use temblor_event::clock::now_ns;
use temblor_host::process::{Identity, Process};

use super::journal::{Directory, Header, LOG_ENDING, Line, NEW_ENDING, Parsed, encode, parse};
use super::replay::{Bounds, Replayed, replay};
use super::{Undo, pid_namespace};
use crate::{Error, Result};

/// What the guardian says when it is ready.
const READY: u8 = b'r';
/// What its owner says when it lets go.
const BYE: u8 = b'b';
/// How long a guardian may take to be ready: a program is started, and this machine is being
/// shaken on purpose.
const READY_WITHIN: Duration = Duration::from_secs(10);
/// A header is a few hundred bytes.
const HEADER_BYTES_MAX: usize = 64 * 1024;
/// How long past the deadline the owner may take to undo its faults by itself.
const GRACE_NS: u64 = 5_000_000_000;
/// How long a process that was killed may take to die before what it did is undone nevertheless:
/// one that waits for a disk dies only when the disk answers.
const DIES_WITHIN_MS: u32 = 5_000;
/// How long after the end of the stream the owner may take to be dead.
const ENDS_WITHIN_MS: u32 = 500;
/// For how long the guardian tries again what it cannot undo.
const BOUNDS: Bounds = Bounds { lock_ms: 30_000, retry_ms: 30_000 };
/// How long the owner waits for a guardian that has nothing to do any more.
const GOES_WITHIN_MS: u32 = 1_000;

/// The owner's side: a guardian that was started, or is to be.
#[derive(Debug)]
pub(super) struct Guardian {
    command: Command,
    /// What it is told of its owner.
    header: Vec<u8>,
    running: Option<(Child, UnixStream)>,
}

impl Guardian {
    /// One that is not started yet, for the journal at this absolute path, which need not be
    /// there yet.
    pub(super) fn new(mut command: Command, journal: &Path, header: &Header) -> Result<Self> {
        command.arg(journal).stdout(Stdio::null()).stderr(Stdio::null());
        let header = encode::<Undo>(&Line::Header(header.clone())).map_err(failed)?;
        Ok(Self { command, header, running: None })
    }

    /// Starts it and waits until it is ready.
    pub(super) fn start(&mut self) -> Result<Identity> {
        let (ours, theirs) = UnixStream::pair().map_err(failed)?;
        self.command.stdin(Stdio::from(OwnedFd::from(theirs)));
        let child = self.command.spawn();
        // The command keeps its streams for the next start: without this the guardian's end would
        // stay open here, and its death would not be seen.
        self.command.stdin(Stdio::null());
        let mut child = child.map_err(failed)?;
        match ready(&ours, &self.header, &child) {
            Ok(identity) => {
                self.running = Some((child, ours));
                Ok(identity)
            }
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(failed(error))
            }
        }
    }

    /// Whether it lives.
    pub(super) fn is_alive(&mut self) -> bool {
        let Some((child, _)) = self.running.as_mut() else { return false };
        match child.try_wait() {
            Ok(None) => true,
            _ => {
                self.running = None;
                false
            }
        }
    }

    /// Which process it is.
    pub(super) fn identity(&self) -> Option<Identity> {
        Identity::of(self.running.as_ref()?.0.id()).ok()
    }

    /// Lets it go. With nothing left to undo it is gone when this returns; else it goes on by
    /// itself.
    pub(super) fn release(mut self, nothing_left: bool) {
        let Some((mut child, mut stream)) = self.running.take() else { return };
        let _ = stream.write_all(&[BYE]);
        drop(stream);
        if nothing_left {
            if let Ok(Some(process)) = Process::open(child.id()) {
                let _ = process.wait_ended(GOES_WITHIN_MS);
            }
            // Not waited for where it is late: it ends by itself, and is ours to collect no more.
            let _ = child.try_wait();
        }
    }
}

fn failed(error: io::Error) -> Error {
    Error::system("start the guardian, which undoes faults when this process dies", error)
}

/// Tells a guardian whose it is, and waits until it says that it is ready.
fn ready(stream: &UnixStream, header: &[u8], child: &Child) -> io::Result<Identity> {
    stream.set_read_timeout(Some(READY_WITHIN))?;
    stream.set_write_timeout(Some(READY_WITHIN))?;
    let mut said = [0];
    let mut reader = stream;
    // One that has ended does not listen; the read says so better.
    let _ = reader.write_all(header);
    reader.read_exact(&mut said).map_err(|e| match e.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => {
            io::Error::new(e.kind(), "it ended at once")
        }
        io::ErrorKind::WouldBlock => io::Error::new(io::ErrorKind::TimedOut, "it is not ready"),
        _ => e,
    })?;
    if said != [READY] {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "it is no guardian"));
    }
    Identity::of(child.id())
}

/// Stands guard for the owner of a journal: what a guardian process does from its first line to
/// its end. Its standard input is the socket that [`super::Guard`] gave it.
///
/// This changes the whole process: it closes every descriptor but the standard streams, leaves
/// the session and the directory, and ignores signals. Call it from a process that does nothing
/// else.
///
/// # Errors
/// The journal cannot be read, the owner cannot be watched, or something could not be undone; then
/// it is also in a file beside the journal whose name ends in `log`.
pub fn stand_guard(journal: &Path) -> Result<()> {
    detach();
    let failed = |e: io::Error| Error::system(format!("stand guard over {}", journal.display()), e);
    let header = told().map_err(failed)?;
    if pid_namespace().map_err(failed)? != header.pid_namespace {
        return Err(failed(io::Error::other("its owner is in another pid namespace")));
    }
    // Opened before the word is given: from then on no death is missed.
    let owner = header.owner.open().map_err(failed)?;
    rustix::io::write(io::stdin(), &[READY]).map_err(|e| failed(e.into()))?;
    if let Some(owner) = &owner {
        wait(owner, &header).map_err(failed)?;
    }
    let replayed = replay(journal, BOUNDS);
    // What its owner had begun when it was killed: nothing is on record there.
    let _ = fs::remove_file(journal.with_extension(NEW_ENDING));
    if let Ok(Some(directory)) = Directory::find(journal.parent().unwrap_or(Path::new("/"))) {
        directory.tidy();
    }
    let why = match replayed {
        Ok(None) => return Ok(()),
        Ok(Some(replayed)) if replayed.finished => return Ok(()),
        Ok(Some(replayed)) => what_is_left(&replayed),
        Err(error) => error.to_string(),
    };
    note(journal, &why);
    Err(failed(io::Error::other(why)))
}

/// What the owner says of itself first.
fn told() -> io::Result<Header> {
    let mut line = Vec::new();
    while line.last() != Some(&b'\n') && line.len() < HEADER_BYTES_MAX {
        let mut byte = [0];
        match rustix::io::read(io::stdin(), &mut byte) {
            Ok(0) => return Err(io::Error::other("its owner has ended")),
            Ok(_) => line.extend_from_slice(&byte),
            Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
    let parsed: Parsed<Undo> = parse(&line);
    parsed.header.ok_or_else(|| io::Error::other("its owner does not say who it is"))
}

/// Waits until it is time to replay.
fn wait(owner: &Process, header: &Header) -> io::Result<()> {
    let deadline_ns = header.deadline_ns.map(|at| at.saturating_add(GRACE_NS));
    let stdin = io::stdin();
    loop {
        let left = deadline_ns.map(|at| Duration::from_nanos(at.saturating_sub(now_ns())));
        let timeout = left.map(|left| Timespec::try_from(left).unwrap_or_default());
        let mut polled = [
            PollFd::new(owner, PollFlags::IN),
            PollFd::from_borrowed_fd(stdin.as_fd(), PollFlags::IN),
        ];
        match poll(&mut polled, timeout.as_ref()) {
            Ok(0) => {
                owner.signal(Signal::KILL)?;
                owner.wait_ended(DIES_WITHIN_MS)?;
                return Ok(());
            }
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => continue,
            Err(e) => return Err(e.into()),
        }
        if !polled[0].revents().is_empty() {
            return Ok(());
        }
        if !polled[1].revents().is_empty() {
            let mut said = [0];
            match rustix::io::read(&stdin, &mut said) {
                Ok(1) if said == [BYE] => return Ok(()),
                Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) | Ok(1) => {}
                // The stream's end without a word: the owner is dying, or has thrown its end away
                // and cannot call us any more.
                Ok(_) | Err(_) => {
                    owner.wait_ended(ENDS_WITHIN_MS)?;
                    return Ok(());
                }
            }
        }
    }
}

/// Leaves everything that could end this process along with its owner.
fn detach() {
    // It fails where we lead a session already.
    let _ = rustix::process::setsid();
    for signal in [
        libc::SIGINT,
        libc::SIGTERM,
        libc::SIGHUP,
        libc::SIGQUIT,
        libc::SIGPIPE,
        libc::SIGTSTP,
        libc::SIGUSR1,
        libc::SIGUSR2,
        libc::SIGALRM,
    ] {
        // SAFETY: ignoring a signal runs no code of ours at any time.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
    let _ = std::env::set_current_dir("/");
    // SAFETY: nothing in this process uses a descriptor past the standard streams: it was started
    // for this and has opened none yet.
    unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, 0) };
    // It may not be allowed; then the process is as likely a victim as any other small one.
    for lowest in ["-1000", "-500", "-100"] {
        if fs::write("/proc/self/oom_score_adj", lowest).is_ok() {
            break;
        }
    }
}

fn what_is_left(replayed: &Replayed) -> String {
    let changes = replayed.changes.iter().filter_map(|change| {
        let error = change.outcome.as_ref().err()?;
        let cause = std::error::Error::source(error).map(|e| format!(": {e}")).unwrap_or_default();
        Some(format!("{}: {error}{cause}", change.words))
    });
    let damage = replayed.damage.iter().cloned();
    changes.chain(damage).collect::<Vec<_>>().join("; ")
}

/// Writes beside the journal what could not be undone. Nobody reads our standard error.
fn note(journal: &Path, what: &str) {
    let file = fs::OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(journal.with_extension(LOG_ENDING));
    if let Ok(mut file) = file {
        let _ = writeln!(file, "{what}");
    }
}
