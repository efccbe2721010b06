//! Faults put in place, read, changed, and undone.

use temblor_event::{Event, FaultAdjusted, FaultEffect, LeftBehind};
use temblor_faults::undo::Guard;
use temblor_faults::{Fault, Injected};

use crate::error::RunnerError;
use crate::http::chain;
use crate::prepare::refused;
use crate::recorder::Recorder;
use crate::targets::Targets;

/// One fault that is in place.
struct Placed {
    id: u32,
    /// Which fault of its phase it belongs to.
    of: usize,
    injected: Box<dyn Injected>,
}

/// Faults in place. Dropping it undoes them; [`InPlace::revert`] also proves that they are gone.
#[derive(Default)]
pub(crate) struct InPlace {
    faults: Vec<Placed>,
    last_id: u32,
}

impl InPlace {
    /// Puts a fault in place and records it; one that is over as soon as it is done is reverted
    /// at once. `of` is a number by which [`Self::revert_some`] and [`Self::set_level`] find it.
    pub(crate) fn inject(
        &mut self,
        of: usize,
        fault: &dyn Fault,
        guard: &Guard,
        to: &Recorder,
    ) -> Result<(), RunnerError> {
        let injected = fault.inject(guard).map_err(|error| refused(fault.name(), error))?;
        self.last_id += 1;
        let described = injected.describe();
        to.record(Event::at(described.ended_ns, described.event(self.last_id)));
        let placed = Placed { id: self.last_id, of, injected };
        if placed.injected.is_over() {
            revert(placed, to);
        } else {
            self.faults.push(placed);
        }
        Ok(())
    }

    /// Changes the share of the dose that is in place.
    pub(crate) fn set_level(
        &mut self,
        of: usize,
        level: f64,
        to: &Recorder,
    ) -> Result<(), RunnerError> {
        for placed in self.faults.iter_mut().filter(|placed| placed.of == of) {
            let name = placed.injected.describe().name.clone();
            placed.injected.set_level(level).map_err(|error| refused(&name, error))?;
            to.record(Event::now(FaultAdjusted { id: placed.id, level }));
        }
        Ok(())
    }

    /// Records what the faults have done so far, and gives it: how many of what.
    pub(crate) fn read_effects(&mut self, to: &Recorder) -> Vec<(u64, String)> {
        let mut sums: Vec<(u64, String)> = Vec::new();
        for placed in &mut self.faults {
            match placed.injected.effect() {
                Ok(effect) => {
                    match sums.iter_mut().find(|(_, what)| *what == effect.measure) {
                        Some((sum, _)) => *sum += effect.count,
                        None => sums.push((effect.count, effect.measure.clone())),
                    }
                    to.record(Event::now(FaultEffect { id: placed.id, effect }));
                }
                Err(error) => {
                    tracing::warn!(error = chain(&error), "the fault's counters cannot be read");
                }
            }
        }
        sums
    }

    /// Undoes those that are over: they had something to wait for when they were put in place. Says
    /// whether there was one.
    pub(crate) fn revert_over(&mut self, to: &Recorder) -> bool {
        let mut any = false;
        while let Some(at) = self.faults.iter().rposition(|placed| placed.injected.is_over()) {
            revert(self.faults.remove(at), to);
            any = true;
        }
        any
    }

    /// Undoes what one fault of the plan has put in place.
    pub(crate) fn revert_some(&mut self, of: usize, to: &Recorder) {
        while let Some(at) = self.faults.iter().rposition(|placed| placed.of == of) {
            revert(self.faults.remove(at), to);
        }
    }

    /// Undoes all faults, the last one first, and records what they did. One that cannot be
    /// proven to be gone is recorded as left behind.
    pub(crate) fn revert(&mut self, to: &Recorder) {
        while let Some(placed) = self.faults.pop() {
            revert(placed, to);
        }
    }

    /// Whether anything is in place.
    pub(crate) fn is_empty(&self) -> bool {
        self.faults.is_empty()
    }
}

fn revert(placed: Placed, to: &Recorder) {
    let name = placed.injected.describe().name.clone();
    let mechanism = placed.injected.describe().mechanism.clone();
    match placed.injected.revert() {
        Ok(reverted) => {
            to.record(Event::at(reverted.ended_ns, reverted.event(placed.id)));
            if !reverted.verified {
                let what = format!("{name}: it is still in place ({mechanism})");
                to.record(Event::now(LeftBehind { what }));
            }
        }
        Err(error) => {
            let what =
                format!("{name}: whether it is gone could not be found out: {}", chain(&error));
            to.record(Event::now(LeftBehind { what }));
        }
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
