//! Faults of processes.

use temblor_faults::process::{CrashLoop, Kill, Pause, Restart, Signo};

use super::Faults;
use super::values::Values;
use crate::error::RunnerError;

pub(super) fn prepare(values: &Values<'_>) -> Result<Faults, RunnerError> {
    match values.name() {
        "process.kill" => {
            let signal = signal(values)?;
            values.on_each(|target| Ok(Kill { target, signal, all: values.flag("all") }))
        }
        "process.pause" => values.on_each(|target| Ok(Pause { target })),
        "process.restart" => {
            let signal = signal(values)?;
            values.on_each(|target| Ok(Restart { signal, ..Restart::of(target) }))
        }
        "process.crash-loop" => {
            let alive = values.duration("alive").unwrap_or_default();
            values.on_each(|target| Ok(CrashLoop { target, alive }))
        }
        _ => Err(values.unknown()),
    }
}

fn signal(values: &Values<'_>) -> Result<Signo, RunnerError> {
    let number = values.count("signal").ok_or_else(|| values.lacks("signal"))?;
    let number = i32::try_from(number).unwrap_or_default();
    Signo::new(number)
        .map_err(|refusal| RunnerError::Input(format!("{}: {refusal}", values.name())))
}
