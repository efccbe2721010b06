//! What a fault records its undo with.

use std::io;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use temblor_event::clock::{now_ns, wall_unix_ns};
use temblor_host::process::Identity;

use super::book::Book;
use super::guardian::Guardian;
use super::journal::{Directory, Header, Journal, VERSION};
use super::{Undo, Undoing as _, Undone, pid_namespace};
use crate::{Error, Result};

/// The journal of one run's changes, and the guardian that waits for this process's end.
///
/// Dropping it when every [`Entry`] is gone ends the guardian and removes the journal; what could
/// not be undone stays on record, and the guardian tries it again. A clone is the same guard: a
/// fault whose dose changes while it is in place keeps one.
#[derive(Debug, Clone)]
pub struct Guard {
    shared: Arc<Shared>,
}

impl Guard {
    /// Opens a journal of its own in `dir` and starts the guardian, which replays the journal when
    /// this process ends, however it ends, or when `deadline` has passed since. `guardian` is
    /// given the journal's path as its last argument and is to call [`super::stand_guard`].
    ///
    /// # Errors
    /// The journal cannot be written, or the guardian cannot be started.
    pub fn start(dir: &Path, guardian: Command, deadline: Duration) -> Result<Self> {
        let shared = Shared::new(dir, Some(deadline))?;
        let guardian = {
            let mut book = shared.book();
            let journal = book.journal();
            let path = shared.directory.path().join(journal.file_name());
            Guardian::new(guardian, &path, journal.header())?
        };
        *shared.guardian() = Some(guardian);
        // The guardian first, then the journal: what is begun is watched from its beginning.
        shared.ensure_guarded()?;
        Ok(Self { shared: Arc::new(shared) })
    }

    /// A journal without a guardian: for tests and benchmarks of single faults. The file is made
    /// with the first record.
    ///
    /// # Errors
    /// The journal's directory cannot be made.
    pub fn without_guardian(dir: &Path) -> Result<Self> {
        Ok(Self { shared: Arc::new(Shared::new(dir, None)?) })
    }

    /// Writes down how a change is undone; when this returns, it is on the disk, and the change
    /// may be made.
    ///
    /// # Errors
    /// It could not be written, or the guardian is dead and could not be started again; the change
    /// must not be made.
    pub fn record(&self, undo: Undo) -> Result<Entry> {
        self.shared.ensure_guarded()?;
        let id = self
            .shared
            .book()
            .record(undo.clone())
            .map_err(|e| not_written(self.shared.directory.path(), e))?;
        Ok(Entry { id, undo: Some(undo), shared: Arc::clone(&self.shared) })
    }

    /// Whether the guardian lives; where it does not, another one is started. To be asked now and
    /// then while a fault is in place. True without a guardian.
    ///
    /// # Errors
    /// Another one cannot be started: nobody would undo what is in place if this process died.
    pub fn ensure_guarded(&self) -> Result<()> {
        self.shared.ensure_guarded()
    }

    /// Whether a guardian waits for this process's end right now.
    #[must_use]
    pub fn is_guarded(&self) -> bool {
        self.shared.guardian().as_mut().is_some_and(Guardian::is_alive)
    }

    /// Who the guardian is, if there is one and it lives.
    #[must_use]
    pub fn guardian(&self) -> Option<Identity> {
        let mut guardian = self.shared.guardian();
        let guardian = guardian.as_mut()?;
        guardian.is_alive().then(|| guardian.identity())?
    }
}

/// A change on record. Dropping it undoes the change.
#[derive(Debug)]
pub struct Entry {
    id: u64,
    undo: Option<Undo>,
    shared: Arc<Shared>,
}

impl Entry {
    /// Undoes the change and says so in the journal.
    ///
    /// # Errors
    /// It is still in place; it stays on record, for the guardian and for `temblor heal`.
    pub fn undo(mut self) -> Result<Undone> {
        self.undo.take().map_or(Ok(Undone::Nothing), |undo| self.shared.undo(self.id, undo))
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
            // What could not be undone stays on record.
            let _ = self.shared.undo(self.id, undo);
        }
    }
}

/// What the guard and all entries hold together.
#[derive(Debug)]
struct Shared {
    directory: Directory,
    book: Mutex<Book<Undo, Directory>>,
    guardian: Mutex<Option<Guardian>>,
    /// A process that this one forked has a copy of all this, which is not its to act on.
    owner_pid: u32,
}

impl Shared {
    fn new(dir: &Path, deadline: Option<Duration>) -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let directory = Directory::make(dir).map_err(|e| not_written(dir, e))?;
        let owner = Identity::of_self().map_err(|e| Error::system("look at this process", e))?;
        let pid_namespace = pid_namespace().map_err(|e| Error::system("look at /proc/self", e))?;
        let unix_ns = wall_unix_ns();
        let nanoseconds = |d: Duration| u64::try_from(d.as_nanos()).unwrap_or(u64::MAX);
        let name = format!(
            "{}-{}-{}-{}",
            unix_ns / 1_000_000_000,
            owner.pid,
            owner.start_ticks,
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let owner_pid = owner.pid;
        let header = Header {
            version: VERSION,
            owner,
            pid_namespace,
            deadline_ns: deadline.map(|d| now_ns().saturating_add(nanoseconds(d))),
            deadline_unix_ns: deadline.map(|d| unix_ns.saturating_add(nanoseconds(d))),
        };
        Ok(Self {
            book: Mutex::new(Book::new(Journal::new(directory.clone(), name, header))),
            directory,
            guardian: Mutex::new(None),
            owner_pid,
        })
    }

    fn book(&self) -> MutexGuard<'_, Book<Undo, Directory>> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn guardian(&self) -> MutexGuard<'_, Option<Guardian>> {
        self.guardian.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ensure_guarded(&self) -> Result<()> {
        let mut guardian = self.guardian();
        let Some(guardian) = guardian.as_mut() else { return Ok(()) };
        if guardian.is_alive() {
            return Ok(());
        }
        let identity = guardian.start()?;
        self.book()
            .journal()
            .guarded_by(identity)
            .map_err(|e| not_written(self.directory.path(), e))
    }

    fn undo(&self, id: u64, undo: Undo) -> Result<Undone> {
        if self.owner_pid != std::process::id() {
            return Ok(Undone::NotOurs("it is another process's to undo".into()));
        }
        let undone = undo.undo();
        self.book().tried(id, undo, &undone);
        undone
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if self.owner_pid != std::process::id() {
            return;
        }
        let ended = self.book().end();
        // The guardian is told after the file is gone: then there is nothing for it to do.
        if let Some(guardian) = self.guardian().take() {
            guardian.release(ended);
        }
        if ended {
            self.directory.tidy();
        }
    }
}

fn not_written(dir: &Path, error: io::Error) -> Error {
    Error::system(
        format!("write down in {} how to undo what is about to be done", dir.display()),
        error,
    )
}
