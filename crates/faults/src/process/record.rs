//! The changes of one fault that are on record.

use crate::undo::{Entry, Guard, Undo, Undoing as _};
use crate::{Error, Result};

/// Entries in the order in which their changes were made. Dropping it undoes them, the last
/// change first.
#[derive(Debug, Default)]
pub(crate) struct OnRecord {
    entries: Vec<Entry>,
}

impl OnRecord {
    /// Puts a change on record; when this returns it may be made.
    pub(crate) fn add(&mut self, guard: &Guard, undo: Undo) -> Result<()> {
        self.entries.push(guard.record(undo)?);
        Ok(())
    }

    /// Undoes every change, the last first, and asks of each whether anything is left. One that
    /// fails does not keep the others in place.
    pub(crate) fn undo(mut self) -> Result<Vec<Undo>> {
        let mut failed: Option<Error> = None;
        let mut undone = Vec::new();
        while let Some(entry) = self.entries.pop() {
            undone.extend(entry.recorded().cloned());
            if let Err(error) = entry.undo() {
                failed.get_or_insert(error);
            }
        }
        failed.map_or(Ok(undone), Err)
    }
}

/// Whether nothing of these changes is in place any more.
pub(crate) fn all_closed(undone: &[Undo]) -> Result<bool> {
    for undo in undone {
        if undo.is_open()? {
            return Ok(false);
        }
    }
    Ok(true)
}

impl Drop for OnRecord {
    fn drop(&mut self) {
        while let Some(entry) = self.entries.pop() {
            drop(entry);
        }
    }
}
