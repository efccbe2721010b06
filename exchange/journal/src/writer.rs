//! Writes batches, one thread's worth: no queue, no waiting.

use crate::error::Failure;
use crate::journal::Options;
use crate::record;
use crate::segment::{self, SEGMENT_HEADER_BYTES};
use crate::shared::DurableEnd;
use crate::storage::{SegmentFile, Storage};
use std::io;
use std::sync::Arc;

/// The end of the journal. After an error it must not be used again.
pub(crate) struct Writer {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) options: Options,
    pub(crate) file: Box<dyn SegmentFile>,
    /// The current file, by its first record.
    pub(crate) segment: u64,
    /// Where in it the next batch goes.
    pub(crate) offset: u64,
    pub(crate) next_seq: u64,
    pub(crate) buffer: Vec<u8>,
}

impl Writer {
    pub(crate) const fn end(&self) -> DurableEnd {
        DurableEnd { seq: self.next_seq - 1, segment: self.segment, offset: self.offset }
    }

    /// Writes the payloads as one batch and syncs it. All of them are durable when this returns.
    pub(crate) fn write_batch<'a>(
        &mut self,
        payloads: impl Iterator<Item = &'a [u8]>,
    ) -> Result<DurableEnd, Failure> {
        if self.offset >= self.options.segment_bytes_max {
            self.rotate()?;
        }
        self.buffer.clear();
        let mut seq = self.next_seq;
        for (position, payload) in (0..).zip(payloads) {
            record::encode(&mut self.buffer, seq, position, payload);
            seq += 1;
        }
        self.file
            .write_at(self.offset, &self.buffer)
            .map_err(|source| self.failure("write to", source))?;
        self.file.sync_data().map_err(|source| self.failure("sync", source))?;
        self.offset += self.buffer.len() as u64;
        self.next_seq = seq;
        Ok(self.end())
    }

    /// Begins a new file. All before it is durable already, so a file always begins a batch.
    fn rotate(&mut self) -> Result<(), Failure> {
        self.segment = self.next_seq;
        self.file = create_segment(self.storage.as_ref(), self.segment)
            .map_err(|source| self.failure("create", source))?;
        self.offset = SEGMENT_HEADER_BYTES as u64;
        Ok(())
    }

    fn failure(&self, action: &'static str, source: io::Error) -> Failure {
        Failure { action, file: segment::name(self.segment), source }
    }
}

/// Makes a file with its header, and its name and header durable.
pub(crate) fn create_segment(
    storage: &dyn Storage,
    first_seq: u64,
) -> io::Result<Box<dyn SegmentFile>> {
    let mut file = storage.create(&segment::name(first_seq))?;
    file.write_at(0, &segment::header(first_seq))?;
    file.sync_data()?;
    storage.sync_dir()?;
    Ok(file)
}
