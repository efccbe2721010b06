//! The network's faults.

use temblor_faults::network::{Action, Direction, Partition, Reset};

use super::Faults;
use super::values::Values;
use crate::error::RunnerError;

pub(super) fn prepare(values: &Values<'_>) -> Result<Faults, RunnerError> {
    match values.name() {
        "network.partition" => partition(values),
        "network.reset" => reset(values),
        _ => Err(values.unknown()),
    }
}

fn direction(values: &Values<'_>) -> Direction {
    match values.text("direction") {
        Some("out") => Direction::Out,
        Some("in") => Direction::In,
        _ => Direction::Both,
    }
}

fn partition(values: &Values<'_>) -> Result<Faults, RunnerError> {
    let to = values.peers("to")?;
    let mut faults = Faults::new();
    for from in values.targets("from")? {
        faults.push(Box::new(Partition {
            from: from.clone(),
            to: to.clone(),
            ports: values.ports("ports"),
            direction: direction(values),
            action: match values.text("action") {
                Some("reject") => Action::Reject,
                _ => Action::Drop,
            },
        }));
    }
    Ok(faults)
}

fn reset(values: &Values<'_>) -> Result<Faults, RunnerError> {
    let peers = values.peers("to")?;
    let mut faults = Faults::new();
    for target in values.targets("from")? {
        faults.push(Box::new(Reset {
            target: target.clone(),
            peers: peers.clone(),
            ports: values.ports("ports"),
            every: values.duration("every"),
        }));
    }
    Ok(faults)
}
