//! The user's own bpftrace scripts: read, compiled, run along, ended, and their output kept.
//!
//! A script is a program of somebody else's, so it is held on a short line: bpftrace's safe mode
//! (never `--unsafe`), a process group of its own, the kernel's signal at our death, a bound on
//! what of its output is kept and on how long it may take to begin and to end. Its text is read
//! once, and what was read is what is compiled, run and kept.

mod attached;
mod command;
mod output;
mod process;
mod source;

use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::process::Signal;
use temblor_event::{Event, ScriptEnd, ScriptStarted, clock};
use temblor_plan::Experiment;
use temblor_runs::{RunError, Writer};

use self::attached::Wait;
use self::command::Bpftrace;
use self::process::Process;
pub use self::source::{ScriptText, read_scripts};
use crate::error::RunnerError;
use crate::recorder::Recorder;
use crate::stop::Stop;

/// Compiling and attaching takes a second or so, and much longer on a machine that is busy.
const ATTACH_MAX: Duration = Duration::from_secs(90);
/// How long a moment is waited for in which no script prints, before they are asked to end.
const QUIET_MAX: Duration = Duration::from_secs(3);
/// How long a script may take to print its maps.
const END_MAX: Duration = Duration::from_secs(10);

/// Compiles each script, so that a bad one is refused before even a lab is started. Nothing is
/// attached.
///
/// # Errors
/// bpftrace is not installed, or does not take a script.
pub fn compile_scripts(scripts: &[ScriptText]) -> Result<(), RunnerError> {
    if scripts.is_empty() {
        return Ok(());
    }
    let bpftrace = Bpftrace::find()?;
    scripts.iter().try_for_each(|script| bpftrace.compile(script))
}

/// The experiment with its scripts where the run directory has them, so that what is kept of a run
/// can be run again from there.
pub(crate) fn resolved(experiment: &Experiment) -> Experiment {
    let mut experiment = experiment.clone();
    for script in &mut experiment.scripts {
        script.path = source_file(&script.name);
    }
    experiment
}

fn source_file(name: &str) -> String {
    format!("{name}.bt")
}

fn output_file(name: &str) -> String {
    format!("bpftrace-{name}.txt")
}

/// The scripts that run along. None outlives this.
#[derive(Default)]
pub(crate) struct Scripts {
    running: Vec<Script>,
    /// Keeps the kernel counting what their programs cost.
    run_time: Option<OwnedFd>,
}

struct Script {
    text: ScriptText,
    program: String,
    process: Process,
    attach_ns: u64,
    /// That it has ended has been said.
    told: bool,
}

impl Scripts {
    /// Starts every script and waits until their probes are attached.
    pub(crate) fn start(texts: &[ScriptText], stop: &Stop) -> Result<Self, RunnerError> {
        if texts.is_empty() {
            return Ok(Self::default());
        }
        let bpftrace = Bpftrace::find()?;
        let program = bpftrace.version();
        let run_time = temblor_probes::count_run_time()
            .inspect_err(|error| tracing::warn!(%error, "what the scripts cost is not known"))
            .ok();
        let began_ns = clock::now_ns();
        let mut scripts = Self { running: Vec::with_capacity(texts.len()), run_time };
        for text in texts {
            scripts.running.push(Script {
                text: text.clone(),
                program: program.clone(),
                process: bpftrace.start(text)?,
                attach_ns: 0,
                told: false,
            });
        }
        let last_ns = began_ns + as_ns(ATTACH_MAX);
        for script in &mut scripts.running {
            let why = match attached::wait(&script.process, last_ns, stop) {
                Wait::Attached => {
                    script.attach_ns = clock::now_ns() - began_ns;
                    continue;
                }
                Wait::Refused => return Err(command::refused(&script.text, &script.process)),
                Wait::Interrupted(why) => format!("{why} while its probes were being attached"),
                Wait::TooLong => format!("its probes were not attached within {ATTACH_MAX:?}"),
            };
            let what = format!("the bpftrace script {} was not started", script.text.path);
            return Err(RunnerError::failed(what)(why.into()));
        }
        Ok(scripts)
    }

    /// Puts their texts into the run directory, and from here on their output.
    pub(crate) fn keep(&self, writer: &Writer) -> Result<(), RunError> {
        for script in &self.running {
            let name = &script.text.name;
            writer.write_file(&source_file(name), script.text.text.as_bytes())?;
            script.process.keep_in(writer.create_file(&output_file(name))?);
        }
        Ok(())
    }

    /// Puts them on record; their ends will be as they come.
    pub(crate) fn record(&self, recorder: &Recorder) {
        for script in &self.running {
            let name = &script.text.name;
            recorder.record(Event::now(ScriptStarted {
                script: name.clone(),
                path: script.text.path.clone(),
                source: source_file(name),
                output: output_file(name),
                program: script.program.clone(),
                pid: script.process.pid(),
                attach_ns: script.attach_ns,
            }));
            let recorder = recorder.clone();
            script.process.on_end(name, move |event| recorder.record(event));
        }
    }

    /// The scripts that have ended since this was last asked, though nobody asked them to.
    pub(crate) fn ended_early(&mut self) -> Vec<String> {
        let mut said = Vec::new();
        for script in self.running.iter_mut().filter(|script| !script.told) {
            if let Some(status) = script.process.ended() {
                script.told = true;
                said.push(format!("the script {} ended by itself: {status}", script.text.name));
            }
        }
        said
    }

    /// Asks each to end, and does not wait for that: there may be other things to do meanwhile.
    pub(crate) fn ask_to_end(&self) {
        let last_ns = clock::now_ns() + as_ns(QUIET_MAX);
        for script in &self.running {
            attached::wait_for_quiet(&script.process, last_ns);
            let counted = self.run_time.is_some();
            script.process.end_by(Signal::INT, ScriptEnd::Asked, counted);
        }
    }

    /// Waits until they have ended, or ends them. Their ends are then on record.
    pub(crate) fn end(&mut self) {
        let last_ns = clock::now_ns() + as_ns(END_MAX);
        for script in &self.running {
            if !script.process.wait_ended(last_ns) {
                script.process.end_by(Signal::KILL, ScriptEnd::Killed, false);
            }
        }
        self.running.clear();
        self.run_time = None;
    }
}

fn as_ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
