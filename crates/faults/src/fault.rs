//! What every kind of fault can do before it is in place.

use std::fmt::Debug;

use crate::undo::Guard;
use crate::{Injected, PlannedChange, Result};

/// A fault with its dose and its target, not in place.
pub trait Fault: Debug + Send + Sync {
    /// Its name in an experiment file: `network.partition`.
    fn name(&self) -> &'static str;

    /// Says whether it can be made: for this target, with this dose, on this machine. Changes
    /// nothing.
    ///
    /// # Errors
    /// The reason why not: [`crate::Error::Refused`] for what was asked,
    /// [`crate::Error::Missing`] for what the machine lacks.
    fn check(&self) -> Result<()>;

    /// What [`Self::inject`] would change, each with its undo, in words. Changes nothing.
    fn plan(&self) -> Vec<PlannedChange>;

    /// Puts it in place. What the kernel does not undo by itself when this process dies is
    /// recorded with `guard` before it is changed.
    ///
    /// # Errors
    /// It is refused, the machine lacks something, or the kernel said no. Then nothing is in
    /// place: what had been done is undone.
    fn inject(&self, guard: &Guard) -> Result<Box<dyn Injected>>;
}
