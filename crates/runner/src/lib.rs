//! Carries an experiment out: load, fault, probes, checks, into a run directory.
//!
//! This crate composes the others and decides nothing about a run's meaning: what it records is
//! judged by `temblor-judge`, now or later. What it does not know: how progress looks, how a
//! report is written.

mod abort;
mod agent;
mod ask;
mod counters;
mod error;
mod hold;
mod http;
mod injection;
mod ledger;
mod lock;
mod machine;
mod metrics;
mod pprof;
mod prepare;
mod probe;
mod profile;
mod profiles;
mod progress;
mod recorder;
mod run;
mod schedule;
mod scripts;
mod services;
mod stop;
mod targets;
mod trace;
mod watch;

use temblor_faults::PlannedChange;
pub use temblor_faults::undo::state_dir as undo_dir;
use temblor_lab::State as LabState;
use temblor_plan::Experiment;

pub use agent::{AgentSettings, Looked, Told, agent};
pub use ask::{Question, ask};
pub use error::RunnerError;
pub use hold::{Held, HoldSettings, hold, refuse_open_journals};
pub use lock::RunLock;
pub use machine::{capabilities, check_machine};
pub use pprof::{FetchSettings, PprofKind, fetch_pprof};
pub use probe::own_cost;
pub use profile::{ProfileSettings, profile};
pub use progress::{Standing, Update};
pub use run::{Out, Settings, UndoSettings, run};
pub use scripts::{ScriptText, compile_scripts, read_scripts};
pub use stop::Stop;
pub use temblor_probes::Budget;
pub use temblor_profiler::{Account, Collected, End, Settings as CollectSettings, Wanted};
pub use trace::{Sought, TraceSettings, trace};

/// Every change that a run of this experiment would make on this machine, with its undo. Changes
/// nothing.
///
/// # Errors
/// A target is not there, or a fault is refused.
pub fn planned_changes(
    experiment: &Experiment,
    lab: Option<&LabState>,
    seed: u64,
) -> Result<Vec<PlannedChange>, RunnerError> {
    let targets = targets::Targets::find(experiment, lab, seed)?;
    let mut changes = Vec::new();
    for fault in experiment.phases.iter().flat_map(|phase| &phase.inject) {
        changes.extend(prepare::changes(fault, &targets, seed)?);
    }
    Ok(changes)
}
