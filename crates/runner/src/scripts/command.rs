//! bpftrace as a program: where it is, how it is started, and what it says of a bad script.

use std::fs::File;
use std::io::{self, Seek as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::fs::{MemfdFlags, memfd_create};
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};
use rustix::thread::{UnshareFlags, unshare_unsafe};
use temblor_event::clock;

use super::as_ns;
use super::process::{Process, Stdout};
use super::source::ScriptText;
use crate::error::RunnerError;

/// How long bpftrace may take to compile a script on a machine that is busy.
const COMPILE_MAX: Duration = Duration::from_secs(60);
/// Of what bpftrace says of a bad script.
const SAID_LINES_MAX: usize = 20;
const SAID_CHARS_MAX: usize = 300;
/// What it calls a script that comes through its standard input.
const STDIN: &str = "stdin:";
/// Said on every start where the limit may not be raised; it has not mattered since Linux 5.11.
const ASIDE: &str = "couldn't set RLIMIT_MEMLOCK";

/// The program.
pub(super) struct Bpftrace {
    program: PathBuf,
}

impl Bpftrace {
    pub(super) fn find() -> Result<Self, RunnerError> {
        match temblor_host::programs::find("bpftrace") {
            Some(program) => Ok(Self { program }),
            None => Err(RunnerError::Missing {
                what: "the experiment has a bpftrace script, and bpftrace is not installed".into(),
                how: "install it (Debian, Ubuntu: apt-get install bpftrace), or take the script \
                      out of `observe`"
                    .into(),
            }),
        }
    }

    /// `bpftrace v0.17.0`.
    pub(super) fn version(&self) -> String {
        let mut command = Command::new(&self.program);
        command.arg("--version").stdin(Stdio::null());
        let started =
            bound_to_us(&mut command).and_then(|()| Process::start(command, Stdout::Read));
        let said = started.map(|process| {
            process.wait_ended(clock::now_ns() + as_ns(COMPILE_MAX));
            process.said(1)
        });
        let said = said.ok().and_then(|said| said.into_iter().next());
        said.unwrap_or_else(|| "bpftrace".to_owned())
    }

    /// Compiles a script, and attaches nothing.
    pub(super) fn compile(&self, script: &ScriptText) -> Result<(), RunnerError> {
        // Every version that has this option stops when the programs are made. They are not
        // wanted: its standard output goes nowhere, and is named through the process itself, so
        // that not even a version that replaces the file could harm another.
        let args = ["--emit-elf", "/proc/self/fd/1", "-"];
        let process = self.spawn(script, &args, Stdout::Discarded)?;
        if !process.wait_ended(clock::now_ns() + as_ns(COMPILE_MAX)) {
            let what = format!("the bpftrace script {} could not be compiled", script.path);
            let why = format!("bpftrace had not done so after {COMPILE_MAX:?}");
            return Err(RunnerError::failed(what)(why.into()));
        }
        if process.succeeded() { Ok(()) } else { Err(refused(script, &process)) }
    }

    /// Starts a script in bpftrace's safe mode. Each line is handed on as soon as it is there.
    pub(super) fn start(&self, script: &ScriptText) -> Result<Process, RunnerError> {
        self.spawn(script, &["-B", "line", "-"], Stdout::Read)
    }

    fn spawn(
        &self,
        script: &ScriptText,
        args: &[&str],
        stdout: Stdout,
    ) -> Result<Process, RunnerError> {
        let mut command = Command::new(&self.program);
        let started = in_memory(&script.text).and_then(|text| {
            command.args(args).current_dir(&script.folder).stdin(text);
            bound_to_us(&mut command)?;
            Process::start(command, stdout)
        });
        let what = format!("{} could not be started", self.program.display());
        started.map_err(|error| RunnerError::failed(what)(error.into()))
    }
}

/// What bpftrace says of a script that it does not take, with the line and column that it names.
pub(super) fn refused(script: &ScriptText, process: &Process) -> RunnerError {
    let lines = process.said(usize::MAX);
    let told: Vec<&String> = lines.iter().filter(|line| !line.contains(ASIDE)).collect();
    // It says nothing more where that is all.
    let told = if told.is_empty() { lines.iter().collect() } else { told };
    let mut said = format!("bpftrace does not take the script {}", script.path);
    if let Some(status) = process.ended() {
        said.push_str(&format!(" ({status})"));
    }
    said.push_str(if told.is_empty() { " and does not say why" } else { ":" });
    let skipped = told.len().saturating_sub(SAID_LINES_MAX);
    for line in told.iter().skip(skipped) {
        let line = match line.strip_prefix(STDIN) {
            Some(rest) => format!("{}:{rest}", script.path),
            None => (*line).clone(),
        };
        let line: String = line.chars().filter(|c| !c.is_control()).take(SAID_CHARS_MAX).collect();
        said.push_str("\n  ");
        said.push_str(&line);
    }
    RunnerError::Input(said)
}

/// A text as a file that has no name and goes with whoever holds it: what runs is what was read,
/// whatever becomes of the user's file meanwhile.
fn in_memory(text: &str) -> io::Result<Stdio> {
    let mut file = File::from(memfd_create(c"bpftrace script", MemfdFlags::CLOEXEC)?);
    file.write_all(text.as_bytes())?;
    file.rewind()?;
    Ok(file.into())
}

/// Before the program begins: a group of its own, so that Ctrl-C at the terminal is ours to pass
/// on; the kernel's SIGKILL when this thread dies, which starts scripts and waits for their ends;
/// and the kernel's tracepoints within its sight.
fn bound_to_us(command: &mut Command) -> io::Result<()> {
    let us = Pid::from_raw(i32::try_from(std::process::id()).unwrap_or_default());
    let lacks_tracefs = !["/sys/kernel/tracing/events", "/sys/kernel/debug/tracing/events"]
        .iter()
        .any(|path| Path::new(path).is_dir());
    command.process_group(0);
    // SAFETY: between fork and exec only system calls are made, on numbers and constant strings.
    unsafe {
        command.pre_exec(move || {
            set_parent_process_death_signal(Some(Signal::KILL))?;
            if getppid() != us {
                // We died before the kernel was told.
                return Err(io::Error::from_raw_os_error(libc::ESRCH));
            }
            if lacks_tracefs {
                // A script may well need none. One that does is told so by bpftrace itself.
                let _ = mount_tracefs();
            }
            Ok(())
        });
    }
    Ok(())
}

/// Mounts the kernel's list of tracepoints where bpftrace looks for it, in a mount namespace of
/// the calling process: nobody else sees it, and it goes with the process.
fn mount_tracefs() -> rustix::io::Result<()> {
    // SAFETY: the process has one thread, and shares neither descriptors nor memory with another
    // by this flag.
    unsafe { unshare_unsafe(UnshareFlags::NEWNS)? };
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change(c"/", private)?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount(c"tracefs", c"/sys/kernel/tracing", c"tracefs", flags, None)
}
