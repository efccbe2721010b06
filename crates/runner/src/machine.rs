//! Whether the machine can do what an experiment asks for.

use temblor_faults::{Kind, network};
use temblor_host::{Capability, State};
use temblor_plan::Experiment;
use temblor_probes::Error as ProbeError;

use crate::error::RunnerError;

const PARTITION: &str = "fault network.partition";

/// Tries the probes and the kinds of fault of an experiment, so that a run on a machine that
/// lacks something is refused before even its lab is started. No target is touched.
///
/// # Errors
/// What the machine lacks.
pub fn check_machine(experiment: &Experiment) -> Result<(), RunnerError> {
    let mut faults = experiment.phases.iter().flat_map(|phase| &phase.inject);
    if faults.any(|fault| fault.name() == "network.partition") {
        network::trial().map_err(|error| match error.kind() {
            Kind::Missing | Kind::Input => RunnerError::Missing {
                what: "the fault network.partition cannot be put in place here".into(),
                how: error.to_string(),
            },
            Kind::Failed => RunnerError::failed(
                "the fault network.partition cannot be put in place here",
            )(error.into()),
        })?;
    }
    for probe in &experiment.observe {
        temblor_probes::trial(probe).map_err(|error| match error {
            ProbeError::Missing { what, how } => RunnerError::Missing { what, how },
            error => {
                RunnerError::failed(format!("the {probe} probe cannot be used here"))(error.into())
            }
        })?;
    }
    Ok(())
}

/// What only an attempt tells of the faults, for `temblor doctor`. Without root there is nothing
/// to attempt.
#[must_use]
pub fn capabilities() -> Vec<Capability> {
    if !rustix::process::geteuid().is_root() {
        return Vec::new();
    }
    let state = match network::trial() {
        Ok(()) => State::Available { via: "one was made in an empty network namespace".into() },
        Err(error) => State::Missing {
            why: crate::http::chain(&error),
            how_to_get: "see above, or run with TEMBLOR_LOG=debug".into(),
        },
    };
    vec![Capability { name: "a partition", of: PARTITION, state }]
}
