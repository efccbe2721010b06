//! Reads a journal without changing it, also while a service is writing it.

use crate::error::OpenError;
use crate::record;
use crate::recover::{FIRST_SEQ, damaged, judge, no_gap, read, segments};
use crate::scan::{Damage, Scan};
use crate::segment::{self, SEGMENT_HEADER_BYTES};
use crate::storage::Storage;
use crate::{Record, Recovered};

/// Hands over every record, the first one first, up to where the journal ends in this moment.
///
/// What lies behind the last whole record is what a crash has torn off, or what a service is about to
/// write: either way it was never acknowledged, and is counted and left alone. Records that are whole
/// may not be durable yet.
///
/// # Errors
/// When the storage refuses, or the journal is damaged.
pub fn look(storage: &dyn Storage, mut each: impl FnMut(Record)) -> Result<Recovered, OpenError> {
    let segments = segments(storage)?;
    let mut found =
        Recovered { first_seq: FIRST_SEQ, last_seq: 0, truncated_bytes: 0, segments: 0 };
    for (number, &segment) in segments.iter().enumerate() {
        no_gap(segment, found.last_seq + 1)?;
        let name = segment::name(segment);
        let (_, bytes) = read(storage, &name)?;
        let is_last = number + 1 == segments.len();
        let is_unmade = bytes.len() <= SEGMENT_HEADER_BYTES && bytes != segment::header(segment);
        let scan = if is_last && is_unmade {
            Scan { end: 0, next_seq: segment, last_batch_start: 0, torn_bytes: bytes.len() }
        } else {
            judge(&bytes, segment).map_err(|damage| damaged(name.clone(), damage))?
        };
        if !is_last && scan.torn_bytes > 0 {
            let what = "records are missing at the file's end";
            return Err(damaged(name, Damage { offset: scan.end, what }));
        }
        let mut rest = bytes.get(SEGMENT_HEADER_BYTES..scan.end).unwrap_or_default();
        while let Ok(raw) = record::decode(rest) {
            each(Record { seq: raw.seq, payload: raw.payload.to_vec() });
            rest = &rest[raw.len_bytes()..];
        }
        found.last_seq = scan.next_seq - 1;
        found.truncated_bytes = scan.torn_bytes as u64;
        found.segments += 1;
    }
    Ok(found)
}
