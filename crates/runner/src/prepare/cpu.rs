//! Faults of processors.

use temblor_faults::cpu::{Amount, Quota, Stress};

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
        "cpu.stress" => {
            let workers = values.count("workers").and_then(|n| u32::try_from(n).ok());
            let load = values.number("load").unwrap_or(1.0);
            values.on_each(|target| Ok(Stress { target, workers, load }))
        }
        _ => Err(values.unknown()),
    }
}
