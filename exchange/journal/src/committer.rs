//! The thread that writes and syncs.

use crate::error::{AppendError, Failure};
use crate::segment;
use crate::shared::{Entry, Shared};
use crate::writer::Writer;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Commits batch after batch until the journal is closed and its queue is empty, or a batch fails.
pub(crate) fn run(shared: &Shared, mut writer: Writer) {
    // Nobody may wait for a thread that is gone, whatever it died of.
    let _on_panic = FailOnPanic(shared);
    while let Some(batch) = shared.take_batch() {
        let first_seq = writer.next_seq;
        match writer.write_batch(batch.iter().map(|entry| entry.payload.as_slice())) {
            Ok(end) => {
                shared.batches.fetch_add(1, Ordering::Relaxed);
                shared.bytes.fetch_add(writer.buffer.len() as u64, Ordering::Relaxed);
                // Readers see a record no later than its appender hears of it.
                shared.set_durable(end);
                for (seq, entry) in (first_seq..).zip(batch) {
                    guarded(|| entry.done.complete(Ok(seq)));
                }
                if let Some(watcher) = shared.watcher.get() {
                    guarded(|| watcher(Ok(end.seq)));
                }
            }
            Err(failure) => {
                fail(shared, failure, batch);
                return;
            }
        }
    }
}

/// Refuses the batch and all that is queued behind it, in order. The journal is closed first, so that who
/// hears of the failure finds it failed.
fn fail(shared: &Shared, failure: Failure, batch: Vec<Entry>) {
    let (failure, queued) = shared.fail(failure);
    for entry in batch.into_iter().chain(queued) {
        let error = AppendError::Failed(Arc::clone(&failure));
        guarded(|| entry.done.complete(Err(error)));
    }
    if let Some(watcher) = shared.watcher.get() {
        guarded(|| watcher(Err(failure)));
    }
}

/// A callback that panics has printed its message; what the journal promises to others still holds.
fn guarded(call: impl FnOnce()) {
    let _ = catch_unwind(AssertUnwindSafe(call));
}

struct FailOnPanic<'a>(&'a Shared);

impl Drop for FailOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let failure = Failure {
                action: "go on writing",
                file: segment::name(self.0.durable_end().segment),
                source: io::Error::other("the committing thread panicked"),
            };
            fail(self.0, failure, Vec::new());
        }
    }
}
