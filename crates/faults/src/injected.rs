//! What the runner holds while a fault is in place.

use std::collections::BTreeMap;

use temblor_event::{Effect, FaultInjected, FaultReverted};

use crate::Result;

/// A fault that is in place. Dropping it undoes it too, without proof: a caller that fails half
/// way, or panics, leaves nothing.
pub trait Injected: Send {
    /// What was done, to whom, and who undoes it.
    fn describe(&self) -> &Described;

    /// What the fault has done so far, by a counter that is not the fault's own claim.
    ///
    /// # Errors
    /// The counter cannot be read.
    fn effect(&mut self) -> Result<Effect>;

    /// Changes the share of the dose that is in place, 0 to 1: what ramps and steps are made of. A
    /// fault is put in place with the whole dose.
    ///
    /// # Errors
    /// The fault has no dose that can be changed, or the change did not succeed; then what was in
    /// place still is.
    fn set_level(&mut self, _level: f64) -> Result<()> {
        Err(crate::Refusal::NoLevels { fault: self.describe().name.clone() }.into())
    }

    /// Whether the fault was over as soon as it was done (a process was killed): it is reverted
    /// at once, and recovery counts from there.
    fn is_over(&self) -> bool {
        false
    }

    /// Undoes the fault and asks the kernel whether anything of it is left.
    ///
    /// # Errors
    /// The kernel could not be asked. The fault is undone nevertheless as far as this process
    /// can undo it; look for leftovers.
    fn revert(self: Box<Self>) -> Result<Reverted>;
}

/// What was done, to whom, and who undoes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    /// `network.partition`.
    pub name: String,
    /// What was asked, in words.
    pub dose: BTreeMap<String, String>,
    /// How it is done, in words.
    pub mechanism: String,
    /// Who undoes it if this process dies.
    pub undone_by: String,
    /// When the change was begun, CLOCK_MONOTONIC nanoseconds.
    pub began_ns: u64,
    /// When the change had been made: the time of the event.
    pub ended_ns: u64,
}

impl Described {
    /// The event's body; the event's time is [`Self::ended_ns`].
    #[must_use]
    pub fn event(&self, id: u32) -> FaultInjected {
        FaultInjected {
            id,
            name: self.name.clone(),
            dose: self.dose.clone(),
            mechanism: self.mechanism.clone(),
            undone_by: self.undone_by.clone(),
            began_ns: self.began_ns,
        }
    }
}

/// A fault that is no longer in place.
#[derive(Debug, Clone, PartialEq)]
pub struct Reverted {
    /// When the undoing was begun, CLOCK_MONOTONIC nanoseconds.
    pub began_ns: u64,
    /// When it was done: the time of the event. Asking the kernel about leftovers came after.
    pub ended_ns: u64,
    /// The last reading before the undoing.
    pub effect: Effect,
    /// Why the reading is an older one, where the last could not be taken.
    pub effect_unread: Option<String>,
    /// The kernel was asked afterwards, and nothing of the fault was there any more.
    pub verified: bool,
}

impl Reverted {
    /// The event's body; the event's time is [`Self::ended_ns`].
    #[must_use]
    pub fn event(&self, id: u32) -> FaultReverted {
        FaultReverted {
            id,
            began_ns: self.began_ns,
            effect: self.effect.clone(),
            verified: self.verified,
        }
    }
}

/// One change that a fault would make, for a dry run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedChange {
    /// What, where.
    pub what: String,
    /// Who undoes it, and when.
    pub undo: String,
}
