//! Reads durable records, also while others are being appended.

use crate::error::ReadError;
use crate::record::{self, NotARecord, RECORD_HEADER_BYTES};
use crate::segment::{self, SEGMENT_HEADER_BYTES};
use crate::shared::{DurableEnd, Shared};
use crate::storage::SegmentFile;
use std::fmt;
use std::io;
use std::sync::Arc;

/// How much is read at a time.
const CHUNK_BYTES: usize = 64 * 1024;

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its number.
    pub seq: u64,
    /// What was appended.
    pub payload: Vec<u8>,
}

/// Reads on from a record. Several readers do not disturb one another, nor the committer.
pub struct Reader {
    shared: Arc<Shared>,
    /// What was durable when last looked; looked at again only when all of that is read.
    visible: DurableEnd,
    file: Box<dyn SegmentFile>,
    /// The file being read, by its first record.
    segment: u64,
    /// Where in it the next record begins.
    offset: u64,
    next_seq: u64,
    /// Bytes of the file from `offset - consumed` on.
    buffer: Vec<u8>,
    consumed: usize,
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("next_seq", &self.next_seq).finish_non_exhaustive()
    }
}

impl Reader {
    pub(crate) fn new(shared: Arc<Shared>, from_seq: u64) -> Result<Self, ReadError> {
        let visible = shared.durable_end();
        if from_seq < shared.first_seq || from_seq > visible.seq + 1 {
            return Err(ReadError::OutOfRange {
                seq: from_seq,
                first_seq: shared.first_seq,
                last_seq: visible.seq,
            });
        }
        // A file newer than `visible` may be listed; the record asked for can only be before it.
        let segment = shared
            .storage
            .list()
            .map_err(|source| ReadError::Storage {
                file: "the journal's directory".to_owned(),
                source,
            })?
            .iter()
            .filter_map(|name| segment::parse_name(name))
            .filter(|first_seq| *first_seq <= from_seq.min(visible.segment))
            .max()
            .unwrap_or(visible.segment);
        let mut reader = Self {
            file: open(&shared, segment)?,
            shared,
            visible,
            segment,
            offset: SEGMENT_HEADER_BYTES as u64,
            next_seq: segment,
            buffer: Vec::new(),
            consumed: 0,
        };
        while reader.next_seq < from_seq {
            if reader.next_record()?.is_none() {
                return Err(reader.damaged("records are missing"));
            }
        }
        Ok(reader)
    }

    /// The number of the record that comes next.
    #[must_use]
    pub const fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// The next record, or `None` while there is no further durable one. To wait for one, use
    /// [`crate::Journal::wait_durable_after`] or [`crate::Journal::watch`].
    ///
    /// # Errors
    /// When the file cannot be read or is damaged.
    pub fn next_record(&mut self) -> Result<Option<Record>, ReadError> {
        if self.next_seq > self.visible.seq {
            self.visible = self.shared.durable_end();
            if self.next_seq > self.visible.seq {
                return Ok(None);
            }
        }
        if self.segment != self.visible.segment && self.offset >= self.readable_end()? {
            // A file that is not the last is complete, and the next is named after what comes next.
            self.file = open(&self.shared, self.next_seq)?;
            self.segment = self.next_seq;
            self.offset = SEGMENT_HEADER_BYTES as u64;
            self.buffer.clear();
            self.consumed = 0;
        }
        self.fill(RECORD_HEADER_BYTES)?;
        if let Err(NotARecord::Short { needed_bytes }) =
            record::decode(&self.buffer[self.consumed..])
        {
            self.fill(needed_bytes)?;
        }
        let record = match record::decode(&self.buffer[self.consumed..]) {
            Ok(record) if record.seq == self.next_seq => record,
            Ok(_) => return Err(self.damaged("records are out of order")),
            Err(NotARecord::Short { .. }) => return Err(self.damaged("a record is cut off")),
            Err(NotARecord::Length) => return Err(self.damaged("a record's length is bad")),
            Err(NotARecord::Checksum) => return Err(self.damaged("a record's checksum is bad")),
        };
        let (len_bytes, payload) = (record.len_bytes(), record.payload.to_vec());
        let seq = self.next_seq;
        self.consumed += len_bytes;
        self.offset += len_bytes as u64;
        self.next_seq += 1;
        Ok(Some(Record { seq, payload }))
    }

    /// Where what may be read of the current file ends.
    fn readable_end(&self) -> Result<u64, ReadError> {
        if self.segment == self.visible.segment {
            Ok(self.visible.offset)
        } else {
            self.file.len_bytes().map_err(|source| self.refused(source))
        }
    }

    /// Gets at least `needed_bytes` of the next record into the buffer, as far as they may be read.
    fn fill(&mut self, needed_bytes: usize) -> Result<(), ReadError> {
        let buffered = self.buffer.len() - self.consumed;
        if buffered >= needed_bytes {
            return Ok(());
        }
        self.buffer.drain(..self.consumed);
        self.consumed = 0;
        let readable = self.readable_end()?.saturating_sub(self.offset);
        let wanted =
            usize::try_from(readable).unwrap_or(usize::MAX).min(needed_bytes.max(CHUNK_BYTES));
        let mut filled = buffered;
        self.buffer.resize(wanted.max(buffered), 0);
        while filled < wanted {
            match self.file.read_at(self.offset + filled as u64, &mut self.buffer[filled..]) {
                Ok(0) => break,
                Ok(n) => filled += n,
                Err(source) => {
                    self.buffer.truncate(filled);
                    return Err(self.refused(source));
                }
            }
        }
        self.buffer.truncate(filled);
        Ok(())
    }

    fn refused(&self, source: io::Error) -> ReadError {
        ReadError::Storage { file: segment::name(self.segment), source }
    }

    fn damaged(&self, damage: &'static str) -> ReadError {
        ReadError::Damaged { file: segment::name(self.segment), offset: self.offset, damage }
    }
}

fn open(shared: &Shared, segment: u64) -> Result<Box<dyn SegmentFile>, ReadError> {
    let file = segment::name(segment);
    shared.storage.open(&file).map_err(|source| ReadError::Storage { file, source })
}
