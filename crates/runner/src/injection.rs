//! Faults of the plan, put in place, read, and undone.

use std::net::IpAddr;

use temblor_event::{Event, FaultEffect, LeftBehind};
use temblor_faults::network::{self, Peer, Prefix};
use temblor_faults::undo::Guard;
use temblor_faults::{Fault as _, Injected, Kind, PlannedChange};
use temblor_plan::{Action, Direction, Fault};

use crate::error::RunnerError;
use crate::http::chain;
use crate::recorder::Recorder;
use crate::targets::Targets;

/// The plan's fault with its targets, checked but not in place.
pub(crate) fn prepare(fault: &Fault, targets: &Targets) -> Result<network::Partition, RunnerError> {
    let Fault::Partition(plan) = fault;
    let mut to = Vec::new();
    for alias in &plan.to_targets {
        let target = targets.named(alias)?;
        if target.addresses.is_empty() {
            return Err(RunnerError::Input(format!("the target \"{alias}\" has no address")));
        }
        to.extend(target.addresses.iter().map(|a| peer(&target.service, *a)));
    }
    to.extend(plan.to_addresses.iter().map(|a| peer(&a.to_string(), *a)));
    let partition = network::Partition {
        from: targets.named(&plan.from)?.clone(),
        to,
        ports: plan.ports.clone(),
        direction: match plan.direction {
            Direction::Both => network::Direction::Both,
            Direction::Out => network::Direction::Out,
            Direction::In => network::Direction::In,
        },
        action: match plan.action {
            Action::Drop => network::Action::Drop,
            Action::Reject => network::Action::Reject,
        },
    };
    partition.check().map_err(|refusal| RunnerError::Input(refusal.to_string()))?;
    Ok(partition)
}

fn peer(name: &str, address: IpAddr) -> Peer {
    Peer { name: name.to_owned(), address: Prefix::from(address) }
}

/// What would be changed, and how it would be undone.
pub(crate) fn changes(fault: &Fault, targets: &Targets) -> Result<Vec<PlannedChange>, RunnerError> {
    Ok(prepare(fault, targets)?.plan())
}

/// Faults in place. Dropping it undoes them; [`InPlace::revert`] also proves that they are gone.
#[derive(Default)]
pub(crate) struct InPlace {
    faults: Vec<(u32, Box<dyn Injected>)>,
    last_id: u32,
}

impl InPlace {
    /// Puts a fault in place and records it.
    pub(crate) fn inject(
        &mut self,
        fault: &network::Partition,
        guard: &Guard,
        to: &Recorder,
    ) -> Result<(), RunnerError> {
        let injected = fault.inject(guard).map_err(|e| match e.kind() {
            Kind::Input => RunnerError::Input(chain(&e)),
            Kind::Missing => RunnerError::Missing {
                what: "the fault network.partition cannot be put in place".into(),
                how: chain(&e),
            },
            Kind::Failed => RunnerError::failed("the fault could not be put in place")(e.into()),
        })?;
        self.last_id += 1;
        let described = injected.describe();
        to.record(Event::at(described.ended_ns, described.event(self.last_id)));
        self.faults.push((self.last_id, injected));
        Ok(())
    }

    /// Records what the faults have done so far, and gives the whole count.
    pub(crate) fn read_effects(&mut self, to: &Recorder) -> Option<u64> {
        let mut sum = None;
        for (id, fault) in &mut self.faults {
            match fault.effect() {
                Ok(effect) => {
                    *sum.get_or_insert(0) += effect.count;
                    to.record(Event::now(FaultEffect { id: *id, effect }));
                }
                Err(error) => tracing::warn!(%error, "the fault's counters cannot be read"),
            }
        }
        sum
    }

    /// Undoes all faults, the last one first, and records what they did. One that cannot be
    /// proven to be gone is recorded as left behind.
    pub(crate) fn revert(&mut self, to: &Recorder) {
        while let Some((id, fault)) = self.faults.pop() {
            let name = fault.describe().name.clone();
            match fault.revert() {
                Ok(reverted) => {
                    to.record(Event::at(reverted.ended_ns, reverted.event(id)));
                    if !reverted.verified {
                        let what = format!("{name}: its table is still listed by the kernel");
                        to.record(Event::now(LeftBehind { what }));
                    }
                }
                Err(error) => {
                    let what =
                        format!("{name}: whether it is gone could not be found out: {error}");
                    to.record(Event::now(LeftBehind { what }));
                }
            }
        }
    }

    /// Whether anything is in place.
    pub(crate) fn is_empty(&self) -> bool {
        self.faults.is_empty()
    }
}

/// Tables of ours that are still there in any target's namespace.
pub(crate) fn leftovers(targets: &Targets) -> Vec<LeftBehind> {
    let mut left = Vec::new();
    for target in targets.all() {
        match temblor_faults::leftovers(&target.netns) {
            Ok(tables) => left.extend(tables.into_iter().map(|table| LeftBehind {
                what: format!(
                    "nftables table {table} in the network namespace of {}",
                    target.service
                ),
            })),
            Err(error) => tracing::warn!(service = target.service, %error, "not looked at"),
        }
    }
    left
}
