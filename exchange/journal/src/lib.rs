//! An append-only journal with group commit: bytes in, bytes out.
//!
//! A record is acknowledged when, and only when, `fdatasync` has returned for it. While one sync is
//! under way the next records gather, so that the cost of a sync is shared by all that came meanwhile;
//! no timer is involved.
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use exchange_journal::{Journal, Options, sim::SimStorage};
//! use std::sync::Arc;
//!
//! let (journal, recovered) = Journal::open(Arc::new(SimStorage::new()), Options::default())?;
//! assert_eq!(recovered.last_seq, 0);
//! assert_eq!(journal.append_wait(b"first".to_vec())?, 1);
//! let mut reader = journal.reader(1)?;
//! assert_eq!(reader.next_record()?.map(|record| record.payload), Some(b"first".to_vec()));
//! # Ok(())
//! # }
//! ```
//!
//! What holds:
//! - Records are numbered from 1 without gaps, in the order they were appended.
//! - What was acknowledged, and what a reader has shown, is there after any crash.
//! - What was never acknowledged may be there after a crash or not, but always as a prefix: no record is
//!   there without all before it.
//! - What a crash tore off at the end is cut away and reported. Damage anywhere else is an error that
//!   names file and offset; nothing is dropped silently.
//! - After a failed write or sync the journal takes nothing more, for good: what the page cache holds can
//!   not be trusted then. The service has to stop and open the journal again.
//!
//! What this crate does not know: what the records mean.

mod committer;
mod error;
mod fs;
mod journal;
mod look;
mod reader;
mod record;
mod recover;
mod scan;
mod segment;
mod shared;
pub mod sim;
mod storage;
mod writer;

pub use error::{AppendError, Failure, OpenError, ReadError};
pub use fs::FsStorage;
pub use journal::{Journal, Options, Stats};
pub use look::look;
pub use reader::{Reader, Record};
pub use recover::Recovered;
pub use storage::{SegmentFile, Storage};
