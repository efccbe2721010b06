//! What appenders, the committer and readers share.

use crate::error::{AppendError, Failure};
use crate::journal::Options;
use crate::storage::Storage;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};

type Callback = Box<dyn FnOnce(Result<u64, AppendError>) + Send>;
type Watcher = Box<dyn Fn(Result<u64, Arc<Failure>>) + Send + Sync>;

/// Tells the appender how it went: exactly once, whatever happens to the committer.
pub(crate) struct Completion(Option<Callback>);

impl Completion {
    pub(crate) fn new(callback: Callback) -> Self {
        Self(Some(callback))
    }

    pub(crate) fn complete(mut self, result: Result<u64, AppendError>) {
        if let Some(callback) = self.0.take() {
            callback(result);
        }
    }

    /// Gives it up unused: the appender has the answer by another way.
    fn disarm(mut self) {
        self.0 = None;
    }
}

impl Drop for Completion {
    fn drop(&mut self) {
        if let Some(callback) = self.0.take() {
            callback(Err(AppendError::Closed));
        }
    }
}

pub(crate) struct Entry {
    pub(crate) payload: Vec<u8>,
    pub(crate) done: Completion,
}

struct Queue {
    entries: VecDeque<Entry>,
    bytes: usize,
    /// The number that the next appended record gets.
    next_seq: u64,
    closed: bool,
}

/// Where the durable records end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DurableEnd {
    pub(crate) seq: u64,
    /// The file they end in, by its first record.
    pub(crate) segment: u64,
    /// The offset in that file.
    pub(crate) offset: u64,
}

pub(crate) struct Shared {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) options: Options,
    pub(crate) first_seq: u64,
    queue: Mutex<Queue>,
    entries_arrived: Condvar,
    room_made: Condvar,
    durable_seq: AtomicU64,
    durable: Mutex<DurableEnd>,
    durable_moved: Condvar,
    failure: OnceLock<Arc<Failure>>,
    pub(crate) watcher: OnceLock<Watcher>,
    pub(crate) batches: AtomicU64,
    pub(crate) bytes: AtomicU64,
}

/// A panic elsewhere leaves these values whole: each change is a few plain assignments.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub(crate) fn new(
        storage: Arc<dyn Storage>,
        options: Options,
        first_seq: u64,
        end: DurableEnd,
    ) -> Self {
        Self {
            storage,
            options,
            first_seq,
            queue: Mutex::new(Queue {
                entries: VecDeque::new(),
                bytes: 0,
                next_seq: end.seq + 1,
                closed: false,
            }),
            entries_arrived: Condvar::new(),
            room_made: Condvar::new(),
            durable_seq: AtomicU64::new(end.seq),
            durable: Mutex::new(end),
            durable_moved: Condvar::new(),
            failure: OnceLock::new(),
            watcher: OnceLock::new(),
            batches: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        }
    }

    pub(crate) fn failure(&self) -> Option<Arc<Failure>> {
        self.failure.get().cloned()
    }

    fn refusal(&self) -> AppendError {
        self.failure().map_or(AppendError::Closed, AppendError::Failed)
    }

    /// Queues an entry and gives its number. With `wait`, waits for room; else a full queue is an error.
    pub(crate) fn push(&self, entry: Entry, wait: bool) -> Result<u64, AppendError> {
        let Options { queue_records_max, queue_bytes_max, payload_bytes_max, .. } = self.options;
        let len_bytes = entry.payload.len();
        if len_bytes > payload_bytes_max {
            entry.done.disarm();
            return Err(AppendError::TooLarge { len_bytes, payload_bytes_max });
        }
        let mut queue = lock(&self.queue);
        loop {
            if queue.closed {
                drop(queue);
                entry.done.disarm();
                return Err(self.refusal());
            }
            if queue.entries.len() < queue_records_max
                && (queue.entries.is_empty() || queue.bytes + len_bytes <= queue_bytes_max)
            {
                break;
            }
            if !wait {
                drop(queue);
                entry.done.disarm();
                return Err(AppendError::Full);
            }
            queue = self.room_made.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        let seq = queue.next_seq;
        queue.next_seq += 1;
        queue.bytes += len_bytes;
        queue.entries.push_back(entry);
        drop(queue);
        self.entries_arrived.notify_one();
        Ok(seq)
    }

    pub(crate) fn queued(&self) -> usize {
        lock(&self.queue).entries.len()
    }

    /// Waits for entries and takes as many as one batch may hold, or `None` when the journal is closed and
    /// nothing is left.
    pub(crate) fn take_batch(&self) -> Option<Vec<Entry>> {
        let mut queue = lock(&self.queue);
        while queue.entries.is_empty() {
            if queue.closed {
                return None;
            }
            queue = self.entries_arrived.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        let mut batch = Vec::new();
        let mut batch_bytes = 0;
        while let Some(entry) = queue.entries.front() {
            let len_bytes = entry.payload.len();
            if !batch.is_empty() && batch_bytes + len_bytes > self.options.batch_bytes_max {
                break;
            }
            batch_bytes += len_bytes;
            batch.extend(queue.entries.pop_front());
        }
        queue.bytes -= batch_bytes;
        drop(queue);
        self.room_made.notify_all();
        Some(batch)
    }

    pub(crate) fn close(&self) {
        lock(&self.queue).closed = true;
        self.entries_arrived.notify_all();
        self.room_made.notify_all();
    }

    /// Takes nothing more, wakes all who wait, and gives what was queued, to be refused.
    pub(crate) fn fail(&self, failure: Failure) -> (Arc<Failure>, VecDeque<Entry>) {
        let failure = Arc::clone(self.failure.get_or_init(|| Arc::new(failure)));
        self.close();
        let mut queue = lock(&self.queue);
        let queued = std::mem::take(&mut queue.entries);
        queue.bytes = 0;
        drop(queue);
        // Through the lock, so that nobody looks before the failure and begins to wait after this.
        drop(lock(&self.durable));
        self.durable_moved.notify_all();
        (failure, queued)
    }

    pub(crate) fn durable_seq(&self) -> u64 {
        self.durable_seq.load(Ordering::Acquire)
    }

    pub(crate) fn durable_end(&self) -> DurableEnd {
        *lock(&self.durable)
    }

    pub(crate) fn set_durable(&self, end: DurableEnd) {
        let mut durable = lock(&self.durable);
        *durable = end;
        self.durable_seq.store(end.seq, Ordering::Release);
        drop(durable);
        self.durable_moved.notify_all();
    }

    /// Waits until something after `seq` is durable or the journal has failed, for at most `timeout`.
    pub(crate) fn wait_durable_after(&self, seq: u64, timeout: std::time::Duration) -> u64 {
        let guard = self
            .durable_moved
            .wait_timeout_while(lock(&self.durable), timeout, |durable| {
                durable.seq <= seq && self.failure.get().is_none()
            })
            .unwrap_or_else(PoisonError::into_inner)
            .0;
        guard.seq
    }
}
