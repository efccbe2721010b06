//! The network's faults.

use temblor_faults::network::{Action, Answer, Direction, Dns, Dose, Partition, Reset, Shape};

use super::Faults;
use super::values::Values;
use crate::error::RunnerError;

pub(super) fn prepare(values: &Values<'_>) -> Result<Faults, RunnerError> {
    match values.name() {
        "network.partition" => partition(values),
        "network.reset" => reset(values),
        "network.dns" => {
            let answer = match (values.text("answer"), values.duration("delay")) {
                (_, Some(delay)) => Answer::Late(delay),
                (Some("servfail"), _) => Answer::ServerFailed,
                (Some("refuse"), _) => Answer::Refused,
                (Some("drop"), _) => Answer::Drop,
                _ => Answer::NoSuchName,
            };
            let names = values.texts("names");
            values
                .on_each(|target| Ok(Dns { target, names: names.clone(), answer, resolver: None }))
        }
        "network.latency" => {
            let delay = values.duration("delay").ok_or_else(|| values.lacks("delay"))?;
            let jitter = values.duration("jitter").unwrap_or_default();
            shape(values, Dose::Latency { delay, jitter })
        }
        "network.loss" => shape(values, Dose::Loss { share: share(values)? }),
        "network.duplicate" => shape(values, Dose::Duplicate { share: share(values)? }),
        "network.reorder" => {
            let delay = values.duration("delay").ok_or_else(|| values.lacks("delay"))?;
            shape(values, Dose::Reorder { share: share(values)?, delay })
        }
        "network.corrupt" => shape(values, Dose::Corrupt { share: share(values)? }),
        "network.bandwidth" => {
            let bytes_per_second = values.count("rate").ok_or_else(|| values.lacks("rate"))?;
            shape(values, Dose::Bandwidth { bytes_per_second })
        }
        _ => Err(values.unknown()),
    }
}

fn share(values: &Values<'_>) -> Result<f64, RunnerError> {
    values.number("share").ok_or_else(|| values.lacks("share"))
}

fn shape(values: &Values<'_>, dose: Dose) -> Result<Faults, RunnerError> {
    let to = values.peers("to")?;
    let mut faults = Faults::new();
    for from in values.targets("from")? {
        faults.push(Box::new(Shape {
            from: from.clone(),
            to: to.clone(),
            ports: values.ports("ports"),
            direction: direction(values),
            dose,
            seed: Some(values.seed),
        }));
    }
    Ok(faults)
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
