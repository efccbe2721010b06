//! Our end of a stressor: started waiting, put on record, moved, told to begin.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::{self, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError, mpsc};

use rustix::process::{Signal, set_parent_process_death_signal};
use temblor_host::cgroup::Group;

use super::work::Job;
use crate::process::record::OnRecord;
use crate::undo::{EndProcess, Guard, Undo};
use crate::{Error, Result};

static PROGRAM: OnceLock<(PathBuf, Vec<OsString>)> = OnceLock::new();
/// The pids of the stressors that run. They are not the target's, although they are in its group.
static OURS: Mutex<BTreeSet<u32>> = Mutex::new(BTreeSet::new());

/// Says which program calls [`super::main`] when it is run with these first arguments. Without it
/// this is `/proc/self/exe` with `stressor`. The first call counts.
pub fn set_program(program: PathBuf, args: Vec<OsString>) {
    let _ = PROGRAM.set((program, args));
}

/// Whether a process is a stressor of ours.
pub(crate) fn is_ours(pid: u32) -> bool {
    OURS.lock().unwrap_or_else(PoisonError::into_inner).contains(&pid)
}

/// A stressor that runs. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    /// What it listens to; its end is the stressor's.
    level: Option<ChildStdin>,
}

impl Running {
    /// Starts a stressor in a cgroup, on record before it does anything; `what` says in words
    /// what it is for. It does nothing before it is told a level.
    pub(crate) fn start(
        job: &Job,
        dirs: &[PathBuf],
        what: &str,
        guard: &Guard,
        record: &mut OnRecord,
    ) -> Result<Self> {
        Self::start_on(Stdio::null(), job, dirs, what, guard, record)
    }

    /// The same with this output: the file that a disk's stressor works in.
    pub(crate) fn start_on(
        output: Stdio,
        job: &Job,
        dirs: &[PathBuf],
        what: &str,
        guard: &Guard,
        record: &mut OnRecord,
    ) -> Result<Self> {
        let failed = |e| Error::system(format!("start {what}"), e);
        let mut child = spawn(job, output).map_err(failed)?;
        let pid = child.id();
        OURS.lock().unwrap_or_else(PoisonError::into_inner).insert(pid);
        let level = child.stdin.take();
        // From here on dropping it ends the process.
        let running = Self { child, level };
        record.add(guard, Undo::EndProcess(EndProcess::of(pid, what)?))?;
        Group::recorded(dirs.to_vec())
            .attach(pid)
            .map_err(|e| Error::system(format!("move {what} into the cgroup of the target"), e))?;
        Ok(running)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Tells it which share of its dose to take.
    pub(crate) fn set_level(&mut self, level: f64) -> Result<()> {
        let told = self.level.as_mut().map_or(Ok(()), |pipe| pipe.write_all(&level.to_le_bytes()));
        told.map_err(|e| Error::system(format!("speak to the stressor {}", self.child.id()), e))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

fn end(child: &mut Child) {
    // It has ended already, or does so now.
    let _ = child.kill();
    let _ = child.wait();
    OURS.lock().unwrap_or_else(PoisonError::into_inner).remove(&child.id());
}

fn spawn(job: &Job, output: Stdio) -> io::Result<Child> {
    let default = (PathBuf::from("/proc/self/exe"), vec![OsString::from("stressor")]);
    let (program, args) = PROGRAM.get().unwrap_or(&default);
    let mut command = Command::new(program);
    command.args(args).args(job.args());
    command.stdin(Stdio::piped()).stdout(output).stderr(Stdio::null());
    // SAFETY: prctl is all that is called between fork and exec.
    unsafe {
        command.pre_exec(|| Ok(set_parent_process_death_signal(Some(Signal::KILL))?));
    }
    on_the_living_thread(command)
}

type Started = io::Result<Child>;
/// A command, and whom to tell.
type Ask = (Command, mpsc::Sender<Started>);

/// Starts a command on a thread that ends with this process and not before: the kernel's signal
/// at a parent's death means the thread that forked.
fn on_the_living_thread(command: Command) -> Started {
    static THREAD: Mutex<Option<mpsc::Sender<Ask>>> = Mutex::new(None);
    let (answer, answered) = mpsc::channel();
    let mut thread = THREAD.lock().unwrap_or_else(PoisonError::into_inner);
    if thread.is_none() {
        let (ask, asked) = mpsc::channel::<Ask>();
        std::thread::Builder::new().name("stressors".into()).spawn(move || {
            for (mut command, answer) in asked {
                // Whoever asked waits for it.
                let _ = answer.send(command.spawn());
            }
        })?;
        *thread = Some(ask);
    }
    let gone = || io::Error::other("the thread that starts stressors has ended");
    let ask = thread.as_ref().ok_or_else(gone)?;
    ask.send((command, answer)).map_err(|_| gone())?;
    answered.recv().map_err(|_| gone())?
}
