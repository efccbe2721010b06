//! Faults of memory.

use temblor_faults::memory::{Amount, Limit, Pressure, Victim};

use super::Faults;
use super::values::Values;
use crate::error::RunnerError;

pub(super) fn prepare(values: &Values<'_>) -> Result<Faults, RunnerError> {
    match values.name() {
        "memory.limit" => {
            let to = values.count("to").ok_or_else(|| values.lacks("to"))?;
            values.on_each(|target| Ok(Limit { target, to }))
        }
        "memory.pressure" => {
            let victim = match values.text("victim") {
                Some("stressor") => Victim::Stressor,
                _ => Victim::Service,
            };
            let size = || values.count("size").map_or(Amount::UntilKilled, Amount::Bytes);
            values.on_each(|target| Ok(Pressure { target, size: size(), victim }))
        }
        _ => Err(values.unknown()),
    }
}
