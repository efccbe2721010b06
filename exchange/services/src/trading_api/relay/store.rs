//! Where the relay writes: a trait, so that tests can put a faulty store in its place.

use std::error::Error;
use std::future::Future;
use std::time::Duration;

use super::batch::Batch;

/// Why the store could not be written. After any of these the connection is thrown away.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No answer in time.
    #[error("{what}: no answer within {} s", after.as_secs_f32())]
    TimedOut {
        /// What was tried.
        what: &'static str,
        /// How long was waited.
        after: Duration,
    },
    /// An error from the database or the connection.
    #[error("{what} failed")]
    Failed {
        /// What was tried.
        what: &'static str,
        /// Why.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// The cursor was not where this relay left it, so nothing was written.
    #[error(
        "the cursor is no longer at {expected_seq}: another relay writes, or the batch had been written before"
    )]
    CursorMoved {
        /// Where it should have been.
        expected_seq: u64,
    },
    /// The tables are an earlier version's.
    #[error(
        "the tables in the database were made by an earlier version: drop orders, trades and relay_cursor, and \
         all of it is written again from the journal"
    )]
    Outdated,
    /// The tables belong to another journal.
    #[error(
        "the database belongs to journal {theirs}, this is journal {ours}: use the journal it belongs to, or an empty database"
    )]
    Foreign {
        /// The one in the database.
        theirs: String,
        /// The one here.
        ours: String,
    },
}

/// Something that keeps rows and a cursor, both or neither.
pub trait Store: Send + 'static {
    /// A connection to it.
    type Session: Session;

    /// Connects, makes the tables if need be, and tells where the cursor is.
    fn open(
        &mut self,
        journal_id: &str,
    ) -> impl Future<Output = Result<(Self::Session, u64), StoreError>> + Send;
}

/// A connection to a [`Store`]. Dropping it gives it up.
pub trait Session: Send {
    /// Writes a batch and moves the cursor, in one transaction.
    fn write(&mut self, batch: &Batch) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Tells where the cursor is; also a way to see whether the store still answers.
    fn cursor(&mut self) -> impl Future<Output = Result<u64, StoreError>> + Send;
}
