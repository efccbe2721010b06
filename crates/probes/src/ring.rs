//! The buffer through which a kernel half hands over its records one by one.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use libbpf_rs::{RingBuffer, RingBufferBuilder};

use crate::Error;
use crate::object::Loaded;

/// The map, by the name that it has in each kernel half.
pub(crate) const RECORDS: &str = "records";
/// Records taken over from the buffer at a time.
const BATCH_MAX: usize = 8192;
/// Batches taken in one call of [`Ring::poll`], so that a flood cannot hold it for ever.
const BATCHES_MAX: usize = 64;
/// What the callback returns when a batch is full; libbpf hands it on.
const FULL: i32 = -(rustix::io::Errno::AGAIN.raw_os_error());
const INTERRUPTED: i32 = -(rustix::io::Errno::INTR.raw_os_error());

/// The reader's end of a probe's buffer.
#[derive(Debug)]
pub(crate) struct Ring<T> {
    buffer: RingBuffer<'static>,
    inbox: Arc<Mutex<Inbox<T>>>,
}

/// Where the callback puts what it has decoded; bounded by [`BATCH_MAX`].
#[derive(Debug)]
struct Inbox<T> {
    decoded: Vec<T>,
    malformed: u64,
}

impl<T: Send + 'static> Ring<T> {
    /// Opens the buffer of a probe that is loaded.
    pub(crate) fn of<E: fmt::Display>(
        loaded: &Loaded,
        decode: impl Fn(&[u8]) -> Result<T, E> + Send + 'static,
    ) -> Result<Self, Error> {
        let opening = |source| Error::kernel("open the buffer of a probe", source);
        let inbox = Arc::new(Mutex::new(Inbox { decoded: Vec::new(), malformed: 0 }));
        let into = Arc::clone(&inbox);
        let records = loaded.map(RECORDS)?;
        let mut builder = RingBufferBuilder::new();
        builder
            .add(&records, move |bytes| {
                let mut inbox = lock(&into);
                match decode(bytes) {
                    Ok(decoded) => inbox.decoded.push(decoded),
                    Err(error) => {
                        tracing::error!(%error, "the kernel half sent something else");
                        inbox.malformed += 1;
                    }
                }
                if inbox.decoded.len() < BATCH_MAX { 0 } else { FULL }
            })
            .map_err(opening)?;
        Ok(Self { buffer: builder.build().map_err(opening)?, inbox })
    }

    /// Waits for records up to `timeout` and hands on what there is.
    pub(crate) fn poll(&mut self, timeout: Duration, sink: impl FnMut(T)) -> Result<(), Error> {
        let status = self.buffer.poll_raw(timeout);
        self.hand_on(status, sink)
    }

    /// Hands on what there is, also what nobody was woken for.
    pub(crate) fn take(&mut self, sink: impl FnMut(T)) -> Result<(), Error> {
        let status = self.buffer.consume_raw();
        self.hand_on(status, sink)
    }

    fn hand_on(&mut self, mut status: i32, mut sink: impl FnMut(T)) -> Result<(), Error> {
        for _ in 0..BATCHES_MAX {
            let decoded = std::mem::take(&mut lock(&self.inbox).decoded);
            decoded.into_iter().for_each(&mut sink);
            if status != FULL {
                break;
            }
            status = self.buffer.consume_raw();
        }
        if status < 0 && status != FULL && status != INTERRUPTED {
            let source = libbpf_rs::Error::from_raw_os_error(-status);
            return Err(Error::kernel("hand over events", source));
        }
        Ok(())
    }

    /// Records that made no sense: the two halves disagree.
    pub(crate) fn malformed(&self) -> u64 {
        lock(&self.inbox).malformed
    }
}

/// The nearest size that the kernel takes: a power of two of at least a page.
pub(crate) fn size(bytes: u32) -> u32 {
    let page = u32::try_from(rustix::param::page_size()).unwrap_or(65536);
    bytes.max(page).next_power_of_two()
}

fn lock<T>(inbox: &Mutex<Inbox<T>>) -> MutexGuard<'_, Inbox<T>> {
    // A panic elsewhere leaves a batch of whole records at worst.
    inbox.lock().unwrap_or_else(PoisonError::into_inner)
}
