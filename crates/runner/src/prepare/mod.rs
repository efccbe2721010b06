//! From a fault of the plan to faults that can be put in place: one for each instance of its
//! target. Nothing is changed here; what can be refused is refused.

mod cpu;
mod disk;
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

/// Why nothing more is changed: it could not be made sure that it would be undone.
pub(crate) fn not_guarded(error: temblor_faults::Error) -> RunnerError {
    let what = "nothing more is changed, because it is not sure that it would be undone";
    match error.kind() {
        Kind::Input => RunnerError::Input(format!("{what}: {}", chain(&error))),
        Kind::Missing => RunnerError::Missing { what: what.into(), how: chain(&error) },
        Kind::Failed => RunnerError::failed(what)(error.into()),
    }
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

#[cfg(test)]
mod tests {
    use std::process::{Child, Command};

    use temblor_plan::Experiment;
    use temblor_plan::fault::FAULTS;

    use super::*;

    /// A process of our own to aim at; it ends with the test.
    struct Sleeper(Child);

    impl Drop for Sleeper {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    /// Whether it can be made here and of this target is another question; that there is somebody
    /// who makes it is what is asked.
    #[test]
    fn every_fault_of_the_table_is_known_here() {
        let sleeper = Sleeper(Command::new("sleep").arg("60").spawn().unwrap());
        let pid = sleeper.0.id();
        for spec in FAULTS {
            let text = format!(
                "apiVersion: temblor.dev/v1\nkind: Experiment\nmetadata: {{name: all}}\n\
                 targets: {{api: {{pid: {pid}}}, db: {{pid: {pid}}}}}\n\
                 safety: {{allow: [session, temblor]}}\n\
                 phases:\n  - {{name: before, for: 1s}}\n  \
                 - {{name: fault, for: 1s, inject: [{{{}: {{{}}}}}]}}\n",
                spec.name,
                spec.example()
            );
            let experiment = Experiment::parse("all.yaml", &text).unwrap();
            let targets = Targets::find(&experiment, None, 1).unwrap();
            let prepared = prepare(&experiment.phases[1].inject[0], &targets, 1);
            if let Err(error) = prepared {
                let told = error.to_string();
                assert!(!told.contains("by this program"), "{told}");
            }
        }
    }
}
