//! Faults held for a while, with nothing around them: no load, no probe, no verdict.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use temblor_event::{Effect, clock};
use temblor_faults::undo::{Guard, open_journals};
use temblor_faults::{Described, Injected};
use temblor_lab::State as LabState;
use temblor_plan::Experiment;

use crate::error::RunnerError;
use crate::http::chain;
use crate::lock::RunLock;
use crate::prepare::{self, Faults, not_guarded, refused};
use crate::run::{UndoSettings, run_length, start_guard};
use crate::schedule::{Action, Schedule};
use crate::stop::Stop;
use crate::targets::Targets;

/// What is to be held, and how.
pub struct HoldSettings {
    /// An experiment; only its targets and the phase that injects are looked at.
    pub experiment: Experiment,
    /// Seeds every random choice.
    pub seed: u64,
    /// The lab, where one is up.
    pub lab: Option<LabState>,
    /// Where changes are written down, and who undoes them if this program dies.
    pub undo: UndoSettings,
    /// Where the locks lie that keep others off the targets.
    pub lock_dir: PathBuf,
    /// Ends it early.
    pub stop: Stop,
}

/// What happens to a fault that is held.
#[derive(Debug)]
pub enum Held<'a> {
    /// It is in place.
    InPlace(&'a Described),
    /// It is undone.
    Undone {
        /// What it was.
        described: &'a Described,
        /// What it did.
        effect: &'a Effect,
        /// Nothing of it is left; otherwise, why that is not known.
        left: Option<String>,
    },
}

/// How often the guardian is asked for and effects are read, nanoseconds.
const LOOK_EVERY_NS: u64 = 200_000_000;

/// Puts the faults of the phase that injects in place, holds them for its length, and undoes
/// them, whatever happens.
///
/// # Errors
/// A fault could not be put in place; nothing is.
pub fn hold(settings: &HoldSettings, tell: &mut dyn FnMut(Held<'_>)) -> Result<(), RunnerError> {
    refuse_open_journals(&settings.undo.dir)?;
    let experiment = &settings.experiment;
    let targets = Targets::find(experiment, settings.lab.as_ref(), settings.seed)?;
    let _locks = RunLock::take_all(&settings.lock_dir, &targets.lock_names(experiment))?;
    let Some(phase) = experiment.phases.iter().find(|phase| !phase.inject.is_empty()) else {
        return Ok(());
    };
    let faults = phase
        .inject
        .iter()
        .map(|fault| prepare::prepare(fault, &targets, settings.seed))
        .collect::<Result<Vec<Faults>, _>>()?;
    let guard = start_guard(&settings.undo, run_length(experiment))?;
    let mut holding = Holding { faults: &faults, guard: &guard, placed: Vec::new(), tell };
    let start_ns = clock::now_ns();
    let length_ns = u64::try_from(phase.length.as_nanos()).unwrap_or(u64::MAX);
    let end_ns = start_ns.saturating_add(length_ns);
    let mut schedule = Schedule::new(&phase.inject, start_ns, end_ns);
    let mut ended = Ok(());
    while ended.is_ok() && clock::now_ns() < end_ns {
        while ended.is_ok()
            && settings.stop.requested().is_none()
            && let Some(action) = schedule.due(clock::now_ns())
        {
            ended = holding.act(action);
        }
        if holding.placed.is_empty() && schedule.next_ns().is_none() {
            break;
        }
        let look_ns = clock::now_ns() + LOOK_EVERY_NS;
        let next_ns = schedule.next_ns().map_or(end_ns, |next_ns| next_ns.min(end_ns));
        if ended.is_ok() && settings.stop.wait_until(next_ns.min(look_ns)).is_some() {
            break;
        }
        holding.revert_over();
        // A guardian that somebody killed is replaced before it is missed.
        ended = ended.and(guard.ensure_guarded().map_err(not_guarded));
    }
    holding.revert(|_| true);
    ended
}

/// Refuses to change anything more while something of a run that died is still to be undone.
///
/// # Errors
/// There is an open journal, or the journals cannot be looked at.
pub fn refuse_open_journals(dir: &Path) -> Result<(), RunnerError> {
    let journals = open_journals(dir).map_err(not_guarded)?;
    let open: Vec<String> = journals
        .iter()
        .filter(|journal| journal.needs_healing())
        .map(|journal| journal.path.display().to_string())
        .collect();
    if open.is_empty() {
        return Ok(());
    }
    Err(RunnerError::Input(format!(
        "an earlier run died before everything it had changed was undone ({}): `temblor heal` \
         undoes it, `temblor heal --check` says what it is",
        open.join(", ")
    )))
}

struct Holding<'a> {
    faults: &'a [Faults],
    guard: &'a Guard,
    placed: Vec<(usize, Box<dyn Injected>)>,
    tell: &'a mut dyn FnMut(Held<'_>),
}

impl Holding<'_> {
    fn act(&mut self, action: Action) -> Result<(), RunnerError> {
        match action {
            Action::Inject(of) => {
                for fault in &self.faults[of] {
                    let injected =
                        fault.inject(self.guard).map_err(|error| refused(fault.name(), error))?;
                    (self.tell)(Held::InPlace(injected.describe()));
                    let over = injected.is_over();
                    self.placed.push((of, injected));
                    if over {
                        self.revert(|at| at == of);
                    }
                }
            }
            Action::Level(of, level) => {
                for (_, injected) in self.placed.iter_mut().filter(|(at, _)| *at == of) {
                    let name = injected.describe().name.clone();
                    injected.set_level(level).map_err(|error| refused(&name, error))?;
                }
            }
            Action::Revert(of) => self.revert(|at| at == of),
        }
        Ok(())
    }

    /// Undoes those that are over.
    fn revert_over(&mut self) {
        let over: BTreeSet<usize> = self
            .placed
            .iter()
            .filter(|(_, injected)| injected.is_over())
            .map(|(of, _)| *of)
            .collect();
        if !over.is_empty() {
            self.revert(|of| over.contains(&of));
        }
    }

    /// Undoes those chosen, the last one first.
    fn revert(&mut self, chosen: impl Fn(usize) -> bool) {
        while let Some(at) = self.placed.iter().rposition(|(of, _)| chosen(*of)) {
            let (_, injected) = self.placed.remove(at);
            let described = injected.describe().clone();
            let (effect, left) = match injected.revert() {
                Ok(reverted) => {
                    let left = (!reverted.verified).then(|| "it is still in place".to_owned());
                    (reverted.effect, left)
                }
                Err(error) => (Effect::default(), Some(chain(&error))),
            };
            (self.tell)(Held::Undone { described: &described, effect: &effect, left });
        }
    }
}
