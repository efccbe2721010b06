//! Faults of processors.

use temblor_faults::cpu::{Amount, Quota};

use super::Faults;
use super::values::Values;
use crate::error::RunnerError;

pub(super) fn prepare(values: &Values<'_>) -> Result<Faults, RunnerError> {
    match values.name() {
        "cpu.quota" => {
            let to = match (values.number("to"), values.number("cpus")) {
                (Some(share), _) => Amount::Share(share),
                (None, Some(cpus)) => Amount::Cpus(cpus),
                (None, None) => return Err(values.lacks("to")),
            };
            values.on_each(|target| Ok(Quota { target, to }))
        }
        _ => Err(values.unknown()),
    }
}
