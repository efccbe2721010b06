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

    /// Undoes every change, the last first, and gives them to be asked whether anything is left.
    /// One that fails does not keep the others in place, and it may be that it can only be undone
    /// when they are: then it has been by the end.
    pub(crate) fn undo(mut self) -> Result<Vec<Undo>> {
        let mut failed: Vec<(Undo, Error)> = Vec::new();
        let mut undone = Vec::new();
        while let Some(entry) = self.entries.pop() {
            let Some(undo) = entry.recorded().cloned() else { continue };
            if let Err(error) = entry.undo() {
                failed.push((undo.clone(), error));
            }
            undone.push(undo);
        }
        let still = failed.into_iter().find(|(undo, _)| undo.is_open().unwrap_or(true));
        still.map_or(Ok(undone), |(_, error)| Err(error))
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
