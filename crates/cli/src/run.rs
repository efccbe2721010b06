//! `temblor run`.

use std::fs;
use std::io;
use std::os::unix::fs::lchown;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use temblor_lab::Options as LabOptions;
use temblor_plan::Experiment;
use temblor_runner::{Out, RunLock, RunnerError, Settings, Stop, UndoSettings};

use crate::args::Run;
use crate::exit::{Exit, Failure};
use crate::progress::Progress;
use crate::{experiments, report, terminal};

/// Where the locks lie that keep two runs apart, and two hands off one target.
pub(crate) const LOCKS: &str = "/run/temblor";

/// Carries out an experiment and writes its report.
pub(crate) fn run(args: &Run) -> Result<Exit, Failure> {
    let experiment = experiments::load(&args.experiment)?;
    let scripts = experiments::scripts(&args.experiment, &experiment)?;
    if args.plan {
        return plan(&experiment, args.seed.unwrap_or_else(drawn_seed));
    }
    need_root()?;
    if let Some(out) = &args.out {
        refuse_taken(out)?;
    }
    let _lock = RunLock::take(&Path::new(LOCKS).join("run.lock"))?;
    // Before a lab is started beside what a run that died has left.
    temblor_runner::refuse_open_journals(&undo_settings().dir)?;
    temblor_runner::check_machine(&experiment)?;
    temblor_runner::compile_scripts(&scripts)?;
    let stop = Stop::default();
    stop_on_signals(&stop)?;
    let mut progress = Progress::new(args.quiet);
    let lab = LabForRun::find(&experiment, &mut progress, args.quiet)?;
    let settings = Settings {
        experiment,
        scripts,
        out: args.out.clone().map_or_else(|| Out::Under("runs".into()), Out::At),
        seed: args.seed.unwrap_or_else(drawn_seed),
        lab: lab.state.clone(),
        lab_options: LabOptions::from_env().ok(),
        undo: undo_settings(),
        lock_dir: LOCKS.into(),
        stop,
    };
    let reported = match settings.stop.requested() {
        // Asked to end while the lab was starting: there is nothing to heal or to report.
        Some(why) => Err(Failure::other(anyhow::anyhow!("{why} before the run had begun"))),
        None => {
            let ran = temblor_runner::run(&settings, &mut |update| progress.show(&update));
            progress.close_line();
            ran.map_err(Failure::from).and_then(|dir| finish(&dir, &settings.out))
        }
    };
    // The report is written whether or not the lab goes down well, and what the lab leaves behind
    // weighs more than whatever went wrong before.
    match (reported, lab.take_down(args.quiet)) {
        (reported, Ok(())) => reported,
        (Ok(Exit::Leak), Err(down)) => {
            down.tell();
            Ok(Exit::Leak)
        }
        (Ok(_), Err(down)) => Err(down),
        (Err(failure), Err(down)) => {
            failure.tell();
            Err(down)
        }
    }
}

/// Nothing is begun that could not be ended.
pub(crate) fn need_root() -> Result<(), Failure> {
    if rustix::process::geteuid().is_root() {
        return Ok(());
    }
    Err(RunnerError::Missing {
        what: "only root may load probes and inject faults".into(),
        how: "run it as root, such as with sudo".into(),
    }
    .into())
}

/// Where changes are written down, and who undoes them if this program dies: this program again.
pub(crate) fn undo_settings() -> UndoSettings {
    UndoSettings {
        dir: temblor_runner::undo_dir(),
        guardian: || {
            let mut command = Command::new("/proc/self/exe");
            command.arg("guardian");
            command
        },
    }
}

/// Whatever can be known of the run's directory before anything is started.
fn refuse_taken(out: &Path) -> Result<(), Failure> {
    let why = match fs::read_dir(out) {
        Ok(mut entries) => match entries.next() {
            None => return Ok(()),
            Some(_) => "is not empty: a run wants a directory of its own".to_owned(),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => format!("cannot be the run's directory: {error}"),
    };
    Err(Failure::input(anyhow::anyhow!("{} {why}", out.display())))
}

/// Writes the report and says the verdict.
fn finish(dir: &Path, out: &Out) -> Result<Exit, Failure> {
    // The run was made a moment ago: that it cannot be reported on is nobody's wrong input.
    let result = report::render(dir).map_err(|failure| failure.with(Exit::Aborted))?;
    give_to_user(dir, matches!(out, Out::Under(_)));
    report::tell(&result, dir);
    Ok(result.verdict.into())
}

/// What would be changed, without changing anything. Needs the lab to be up, because what is
/// changed depends on where the targets are.
fn plan(experiment: &Experiment, seed: u64) -> Result<Exit, Failure> {
    // A lab that happens to be up may have targets nevertheless.
    let lab = lab_that_is_up(&LabOptions::from_env()?)?;
    if experiment.lab.is_some() && lab.is_none() {
        return Err(Failure::input(anyhow::anyhow!(
            "the lab is down, so the targets are nowhere yet: start it with `temblor lab up`"
        )));
    }
    for change in temblor_runner::planned_changes(experiment, lab.as_ref(), seed)? {
        terminal::print(&format!("{}\n  undo: {}", change.what, change.undo));
    }
    Ok(Exit::Pass)
}

/// The lab a run uses, and whether the run started it: then the run takes it down again.
struct LabForRun {
    state: Option<temblor_lab::State>,
    ours: Option<LabOptions>,
}

impl LabForRun {
    fn find(
        experiment: &Experiment,
        progress: &mut Progress,
        quiet: bool,
    ) -> Result<Self, Failure> {
        if experiment.lab.is_none() {
            // A lab that happens to be up may be a target nevertheless.
            return Ok(Self { state: lab_that_is_up(&LabOptions::from_env()?)?, ours: None });
        }
        let options = LabOptions::from_env()?;
        if let Some(state) = lab_that_is_up(&options)? {
            return Ok(Self { state: Some(state), ours: None });
        }
        progress.close_line();
        if !quiet {
            terminal::say("the lab is down: starting it for this run");
        }
        let up = temblor_lab::up(&options)?;
        Ok(Self { state: Some(up.state), ours: Some(options) })
    }

    fn take_down(mut self, quiet: bool) -> Result<(), Failure> {
        if let Some(options) = self.ours.take() {
            if !quiet {
                terminal::say("taking the lab down again");
            }
            temblor_lab::down(&options)?;
        }
        Ok(())
    }
}

impl Drop for LabForRun {
    /// Only when the run panicked: otherwise the lab has been taken down, or is not ours.
    fn drop(&mut self) {
        if let Some(options) = self.ours.take()
            && let Err(error) = temblor_lab::down(&options)
        {
            Failure::from(error).tell();
        }
    }
}

/// One that starts, ends or has crashed has no targets.
pub(crate) fn lab_that_is_up(options: &LabOptions) -> Result<Option<temblor_lab::State>, Failure> {
    Ok(temblor_lab::status(options)?.filter(|state| state.phase == temblor_lab::Phase::Up))
}

/// Ctrl-C, SIGTERM and a closed terminal heal, report and end the run.
pub(crate) fn stop_on_signals(stop: &Stop) -> Result<(), Failure> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).map_err(Failure::other)?;
    let stop = stop.clone();
    thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            for signal in signals.forever() {
                let name = match signal {
                    SIGINT => "SIGINT",
                    SIGTERM => "SIGTERM",
                    _ => "SIGHUP",
                };
                stop.request(format!("interrupted by {name}"));
            }
        })
        .map_err(Failure::other)?;
    Ok(())
}

pub(crate) fn drawn_seed() -> u64 {
    // The low bits of the nanosecond clock are as good a draw as a seed needs: it is recorded.
    temblor_event::clock::wall_unix_ns() ^ temblor_event::clock::now_ns().rotate_left(32)
}

/// Under sudo, the run belongs to who asked for it. That it could not be given away is no reason
/// to fail: the run is there. `parent_too`: the directory of all runs, which we name, and not one
/// that the user named.
fn give_to_user(dir: &Path, parent_too: bool) {
    let id = |name: &str| std::env::var(name).ok()?.parse::<u32>().ok();
    let (Some(uid), Some(gid)) = (id("SUDO_UID"), id("SUDO_GID")) else { return };
    let mut paths: Vec<PathBuf> = vec![dir.to_owned()];
    if let Some(parent) = dir.parent().filter(|_| parent_too) {
        paths.push(parent.to_owned());
    }
    for path in [dir.to_owned(), dir.join("profiles")] {
        let entries = fs::read_dir(path).into_iter().flatten().flatten();
        paths.extend(entries.map(|entry| entry.path()));
    }
    for path in paths {
        let _ = lchown(&path, Some(uid), Some(gid));
    }
}
