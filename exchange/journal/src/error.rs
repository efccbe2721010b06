//! What can go wrong, for people.

use std::io;
use std::sync::Arc;

/// The write or sync after which the journal took nothing more.
#[derive(Debug, thiserror::Error)]
#[error("the journal could not {action} {file} and takes nothing more until it is opened again")]
pub struct Failure {
    /// What was attempted.
    pub action: &'static str,
    /// On which file of the journal.
    pub file: String,
    /// Why it failed.
    #[source]
    pub source: io::Error,
}

/// Why a record was not acknowledged.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AppendError {
    /// The record is larger than [`crate::Options::payload_bytes_max`]; nothing was written.
    #[error("a record of {len_bytes} bytes is above the largest, {payload_bytes_max} bytes")]
    TooLarge {
        /// The record's size.
        len_bytes: usize,
        /// The bound.
        payload_bytes_max: usize,
    },
    /// The queue is full; nothing was written, and it may be tried again.
    #[error("the journal's queue is full")]
    Full,
    /// The journal was closed; nothing was written.
    #[error("the journal is closed")]
    Closed,
    /// A write or sync failed. The record may be found after the journal is opened again, or not.
    #[error("the journal has failed")]
    Failed(#[source] Arc<Failure>),
}

/// Why a journal could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The storage refused.
    #[error("could not {action} {file}")]
    Storage {
        /// What was attempted.
        action: &'static str,
        /// On which file, or the directory.
        file: String,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// Records are damaged that were once acknowledged. Nothing was changed; restore the file from a copy.
    #[error("the journal is damaged: {file}, byte {offset}: {damage}")]
    Damaged {
        /// Which file.
        file: String,
        /// Where in it the first bad byte may be.
        offset: u64,
        /// What is wrong there.
        damage: &'static str,
    },
    /// A whole file of records is missing, or two files overlap.
    #[error(
        "the journal has a gap: {file} should begin with record {expected_seq}, not {found_seq}"
    )]
    Gap {
        /// The file after the gap.
        file: String,
        /// The record that should come next.
        expected_seq: u64,
        /// The record that comes next.
        found_seq: u64,
    },
    /// The options contradict one another.
    #[error("the journal's options are wrong: {0}")]
    Options(&'static str),
}

/// Why a record could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The storage refused.
    #[error("could not read {file}")]
    Storage {
        /// Which file.
        file: String,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// The bytes are not the record that was written there.
    #[error("the journal is damaged: {file}, byte {offset}: {damage}")]
    Damaged {
        /// Which file.
        file: String,
        /// Where the bad record begins.
        offset: u64,
        /// What is wrong there.
        damage: &'static str,
    },
    /// The journal holds neither the record asked for nor the one before it: the asker follows another journal.
    #[error("record {seq} was asked for, but the journal holds {first_seq} to {last_seq}")]
    OutOfRange {
        /// The record asked for.
        seq: u64,
        /// The first record held.
        first_seq: u64,
        /// The last durable record.
        last_seq: u64,
    },
}
