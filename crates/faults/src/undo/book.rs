//! What is on record, and what was asked to be undone and is not yet.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io;

use serde::Serialize;

use super::journal::{Journal, Store};
use super::{Undoing, Undone};
use crate::Result;

/// The owner's book: its journal, and the changes that wait there for another try.
#[derive(Debug)]
pub(super) struct Book<U, S> {
    journal: Journal<U, S>,
    /// Those that could not be undone, and those that a later change of ours covers.
    waiting: BTreeMap<u64, U>,
}

impl<U: Undoing + Serialize + Debug, S: Store> Book<U, S> {
    pub(super) fn new(journal: Journal<U, S>) -> Self {
        Self { journal, waiting: BTreeMap::new() }
    }

    pub(super) fn journal(&mut self) -> &mut Journal<U, S> {
        &mut self.journal
    }

    /// Puts a change on record. When this returns it is on the disk.
    pub(super) fn record(&mut self, undo: U) -> io::Result<u64> {
        self.journal.record(undo)
    }

    /// Takes note of what became of an undoing, and tries again what waited for it.
    pub(super) fn tried(&mut self, id: u64, undo: U, outcome: &Result<Undone>) {
        if self.is_final(id, outcome) {
            self.journal.done(id);
            self.retry();
        } else {
            self.waiting.insert(id, undo);
        }
    }

    /// Tries again what is waiting, and removes the journal if nothing is left; says whether it
    /// is gone.
    pub(super) fn end(&mut self) -> bool {
        self.retry();
        self.journal.end()
    }

    /// Tries again what is waiting, the last change first.
    fn retry(&mut self) {
        let ids: Vec<u64> = self.waiting.keys().rev().copied().collect();
        for id in ids {
            let Some(undo) = self.waiting.get(&id) else { continue };
            if self.is_final(id, &undo.undo()) {
                self.waiting.remove(&id);
                self.journal.done(id);
            }
        }
    }

    /// Whether a change need not be looked at again. One that is not in place any more, although
    /// we have not undone it, may be covered by a later one of ours.
    fn is_final(&self, id: u64, outcome: &Result<Undone>) -> bool {
        match outcome {
            Ok(Undone::Restored) => true,
            Ok(_) => !self.journal.is_covered(id),
            Err(_) => false,
        }
    }
}
