//! The journal as its users see it.

use crate::committer;
use crate::error::{AppendError, Failure, OpenError, ReadError};
use crate::reader::Reader;
use crate::record::{PAYLOAD_BYTES_LIMIT, RECORD_HEADER_BYTES};
use crate::recover::{Recovered, SEGMENT_BYTES_LIMIT, recover};
use crate::shared::{Completion, Entry, Shared};
use crate::storage::Storage;
use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Bounds. They may differ from one opening of a journal to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// The largest record; at most 16 MiB.
    pub payload_bytes_max: usize,
    /// How many records may wait for the committer.
    pub queue_records_max: usize,
    /// How many bytes may wait for the committer; a single record may be larger.
    pub queue_bytes_max: usize,
    /// How many bytes are written and synced at once; a single record may be larger.
    pub batch_bytes_max: usize,
    /// A file that has reached this size is followed by another. It may exceed it by one batch.
    pub segment_bytes_max: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            payload_bytes_max: 64 * 1024,
            queue_records_max: 16 * 1024,
            queue_bytes_max: 16 * 1024 * 1024,
            batch_bytes_max: 1024 * 1024,
            segment_bytes_max: 64 * 1024 * 1024,
        }
    }
}

impl Options {
    fn validate(&self) -> Result<(), OpenError> {
        let batch_bytes = self.batch_bytes_max.max(self.payload_bytes_max);
        // Records without payload are all header; a batch of them is bounded by the queue.
        let headers_bytes = self.queue_records_max.saturating_mul(RECORD_HEADER_BYTES);
        let largest = self
            .segment_bytes_max
            .saturating_add(batch_bytes as u64)
            .saturating_add(headers_bytes as u64);
        if self.queue_records_max == 0 {
            Err(OpenError::Options("queue_records_max must be at least 1"))
        } else if self.payload_bytes_max > PAYLOAD_BYTES_LIMIT {
            Err(OpenError::Options("payload_bytes_max must be at most 16 MiB"))
        } else if largest > SEGMENT_BYTES_LIMIT {
            Err(OpenError::Options("a file with its last batch must stay below 1 GiB"))
        } else {
            Ok(())
        }
    }
}

/// What the journal did since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Batches written and synced: one `fdatasync` each.
    pub batches: u64,
    /// Bytes written and synced, headers included.
    pub bytes: u64,
    /// Records waiting for the committer now.
    pub queued: usize,
}

/// An open journal. Share it behind an [`Arc`]. Dropping it commits what is queued and then closes it.
pub struct Journal {
    shared: Arc<Shared>,
    committer: Option<JoinHandle<()>>,
}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Journal").field("durable_seq", &self.durable_seq()).finish_non_exhaustive()
    }
}

impl Journal {
    /// Opens the journal, making an empty one where there is none: checks every record, cuts away what a
    /// crash tore off, and makes certain that all the rest is durable.
    ///
    /// # Errors
    /// When the storage refuses, or records that had been synced are damaged or missing.
    pub fn open(
        storage: Arc<dyn Storage>,
        options: Options,
    ) -> Result<(Self, Recovered), OpenError> {
        options.validate()?;
        let (writer, recovered) = recover(Arc::clone(&storage), options)?;
        let shared = Arc::new(Shared::new(storage, options, recovered.first_seq, writer.end()));
        let for_thread = Arc::clone(&shared);
        let committer = thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || committer::run(&for_thread, writer))
            .map_err(|source| OpenError::Storage {
                action: "start the committing thread of",
                file: "the journal".to_owned(),
                source,
            })?;
        Ok((Self { shared, committer: Some(committer) }, recovered))
    }

    /// Queues a record and gives its number; waits while the queue is full. Records are numbered and
    /// written in the order in which these calls are made.
    ///
    /// `done` is called exactly once, on the committing thread and in the order of the numbers: with the
    /// number once the record is durable, or with the error. It must be quick and must not append. It may
    /// be called before this returns, and is never called when this returns an error.
    ///
    /// # Errors
    /// When the record is too large, or the journal is closed or has failed.
    pub fn append(
        &self,
        payload: Vec<u8>,
        done: impl FnOnce(Result<u64, AppendError>) + Send + 'static,
    ) -> Result<u64, AppendError> {
        self.shared.push(Entry { payload, done: Completion::new(Box::new(done)) }, true)
    }

    /// Like [`Journal::append`], but a full queue is an error instead of a wait: for asynchronous callers.
    ///
    /// # Errors
    /// As [`Journal::append`], and [`AppendError::Full`].
    pub fn try_append(
        &self,
        payload: Vec<u8>,
        done: impl FnOnce(Result<u64, AppendError>) + Send + 'static,
    ) -> Result<u64, AppendError> {
        self.shared.push(Entry { payload, done: Completion::new(Box::new(done)) }, false)
    }

    /// Appends a record and waits until it is durable.
    ///
    /// # Errors
    /// When it is not, or not certainly.
    pub fn append_wait(&self, payload: Vec<u8>) -> Result<u64, AppendError> {
        let (sender, receiver) = mpsc::sync_channel(1);
        self.append(payload, move |result| {
            let _ = sender.send(result);
        })?;
        receiver.recv().unwrap_or(Err(AppendError::Closed))
    }

    /// The number of the last durable record, 0 if there is none.
    #[must_use]
    pub fn durable_seq(&self) -> u64 {
        self.shared.durable_seq()
    }

    /// The first record held.
    #[must_use]
    pub fn first_seq(&self) -> u64 {
        self.shared.first_seq
    }

    /// Waits until a record after `seq` is durable, for at most `timeout`, and gives the last durable one's
    /// number, which is still `seq` or less when the time was up.
    ///
    /// # Errors
    /// When the journal has failed and no record after `seq` will come.
    pub fn wait_durable_after(&self, seq: u64, timeout: Duration) -> Result<u64, Arc<Failure>> {
        let durable_seq = self.shared.wait_durable_after(seq, timeout);
        match self.shared.failure() {
            Some(failure) if durable_seq <= seq => Err(failure),
            _ => Ok(durable_seq),
        }
    }

    /// Calls `watcher` after each batch with the last durable number, and once when the journal fails.
    /// It runs on the committing thread, after the batch's appenders were told: it must be quick and must not
    /// append. There is one watcher for the journal's life; gives back `false` when there was one already.
    pub fn watch(
        &self,
        watcher: impl Fn(Result<u64, Arc<Failure>>) + Send + Sync + 'static,
    ) -> bool {
        self.shared.watcher.set(Box::new(watcher)).is_ok()
    }

    /// Whether records can still be appended.
    ///
    /// # Errors
    /// The failure after which they cannot.
    pub fn health(&self) -> Result<(), Arc<Failure>> {
        self.shared.failure().map_or(Ok(()), Err)
    }

    /// Reads durable records from `from_seq` on, which may be the one after the last.
    ///
    /// # Errors
    /// When the journal holds no such record, or it cannot be read.
    pub fn reader(&self, from_seq: u64) -> Result<Reader, ReadError> {
        Reader::new(Arc::clone(&self.shared), from_seq)
    }

    /// What was done so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats {
            batches: self.shared.batches.load(Ordering::Relaxed),
            bytes: self.shared.bytes.load(Ordering::Relaxed),
            queued: self.shared.queued(),
        }
    }

    /// Takes nothing more, commits what is queued, and waits for that.
    ///
    /// # Errors
    /// When the journal has failed.
    pub fn close(mut self) -> Result<(), Arc<Failure>> {
        self.finish();
        self.health()
    }

    fn finish(&mut self) {
        self.shared.close();
        if let Some(committer) = self.committer.take()
            // A callback may hold the last handle; the thread cannot wait for itself.
            && committer.thread().id() != thread::current().id()
        {
            let _ = committer.join();
        }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.finish();
    }
}
