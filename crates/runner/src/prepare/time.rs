//! Faults of clocks.

use temblor_faults::clock::Offset;

use super::Faults;
use super::values::Values;
use crate::error::RunnerError;

pub(super) fn prepare(values: &Values<'_>) -> Result<Faults, RunnerError> {
    match values.name() {
        "time.offset" => {
            let (by, back) = values.offset("by").ok_or_else(|| values.lacks("by"))?;
            let ns = i64::try_from(by.as_nanos()).unwrap_or(i64::MAX);
            let by_ns = if back { -ns } else { ns };
            values.on_each(|target| Ok(Offset { target, by_ns }))
        }
        _ => Err(values.unknown()),
    }
}
