//! From a fault of the plan to faults that can be put in place: one for each instance of its
//! target. Nothing is changed here; what can be refused is refused.

mod cpu;
mod disk;
mod engine;
mod memory;
mod network;
mod process;
mod resource;
mod time;
mod values;

use temblor_faults::{Fault, Kind, PlannedChange};
use temblor_plan::Fault as Planned;

use crate::error::RunnerError;
use crate::http::chain;
use crate::targets::Targets;
use values::Values;

/// What is made of one fault of the plan.
pub(crate) type Faults = Vec<Box<dyn Fault>>;

/// The plan's fault on each instance of its target, checked but not in place.
pub(crate) fn prepare(
    planned: &Planned,
    targets: &Targets,
    seed: u64,
) -> Result<Faults, RunnerError> {
    let values = Values::new(planned, targets, seed);
    let made = match planned.name().split_once('.') {
        Some(("network", _)) => network::prepare(&values),
        Some(("process", _)) => process::prepare(&values),
        Some(("cpu", _)) => cpu::prepare(&values),
        Some(("memory", _)) => memory::prepare(&values),
        Some(("time", _)) => time::prepare(&values),
        Some(("disk", _)) => disk::prepare(&values),
        Some(("resource", _)) => resource::prepare(&values),
        _ => Err(values.unknown()),
    }?;
    for fault in &made {
        fault.check().map_err(|error| refused(planned.name(), error))?;
    }
    Ok(made)
}

/// What would be changed, and how it would be undone.
pub(crate) fn changes(
    planned: &Planned,
    targets: &Targets,
    seed: u64,
) -> Result<Vec<PlannedChange>, RunnerError> {
    Ok(prepare(planned, targets, seed)?.iter().flat_map(|fault| fault.plan()).collect())
}

/// Why a fault is not put in place, as the kind of error that it is.
pub(crate) fn refused(name: &str, error: temblor_faults::Error) -> RunnerError {
    match error.kind() {
        Kind::Input => RunnerError::Input(format!("{name}: {}", chain(&error))),
        Kind::Missing => RunnerError::Missing {
            what: format!("the fault {name} cannot be put in place here"),
            how: chain(&error),
        },
        Kind::Failed => {
            RunnerError::failed(format!("the fault {name} could not be put in place"))(error.into())
        }
    }
}
