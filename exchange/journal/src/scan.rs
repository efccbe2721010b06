//! Judges one file's bytes: how far they are sound, and whether what follows was torn off by a crash or
//! is damage.
//!
//! A batch is written and then synced before the next batch is written. So after a crash only the last
//! batch can be incomplete, and it was never acknowledged. Within it the disk may have kept any sectors
//! and not others, so sound records may follow a bad one. Hence, at the first bad record:
//! - a sound record of a *later* batch behind it: the bad one had been synced, so this is damage;
//! - a sound record of the *same* batch behind it: torn if a sector of it was never written (which reads as
//!   zeros), else damage;
//! - no sound record behind it: torn. (Damage to the very last record cannot be told from that.)

use crate::record::{self, RECORD_HEADER_BYTES};
use crate::segment::SEGMENT_HEADER_BYTES;

/// The smallest piece that a disk writes whole.
pub(crate) const SECTOR_BYTES: usize = 512;

/// How far a file is sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Scan {
    /// Behind the last sound record.
    pub(crate) end: usize,
    /// The number of the record that comes next.
    pub(crate) next_seq: u64,
    /// Where the batch of the last sound record begins; the file's header counts as one.
    pub(crate) last_batch_start: usize,
    /// Bytes behind `end` that a crash tore off.
    pub(crate) torn_bytes: usize,
}

/// Where a file is damaged, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Damage {
    pub(crate) offset: usize,
    pub(crate) what: &'static str,
}

/// Judges the records behind a sound file header.
pub(crate) fn scan(bytes: &[u8], first_seq: u64) -> Result<Scan, Damage> {
    let mut sound =
        Scan { end: SEGMENT_HEADER_BYTES, next_seq: first_seq, last_batch_start: 0, torn_bytes: 0 };
    let mut position_next = 0;
    while let Some(rest) = bytes.get(sound.end..).filter(|rest| !rest.is_empty()) {
        let record = match record::decode(rest) {
            Ok(record)
                if record.seq == sound.next_seq
                    && (record.position == 0 || record.position == position_next) =>
            {
                record
            }
            Ok(_) => return Err(Damage { offset: sound.end, what: "records are out of order" }),
            Err(_) => {
                judge_rest(bytes, &sound, position_next)?;
                sound.torn_bytes = rest.len();
                return Ok(sound);
            }
        };
        if record.position == 0 {
            sound.last_batch_start = sound.end;
        }
        position_next = record.position + 1;
        sound.end += record.len_bytes();
        sound.next_seq += 1;
    }
    Ok(sound)
}

/// Tells whether the bytes from the bad record at `sound.end` on are torn; else they are damaged.
fn judge_rest(bytes: &[u8], sound: &Scan, position_next: u32) -> Result<(), Damage> {
    let (bad, bad_seq) = (sound.end, sound.next_seq);
    let mut offset = bad + 1;
    let mut hole_seen = false;
    while offset + RECORD_HEADER_BYTES <= bytes.len() {
        // Numbers far off are no record; a glance at them saves a checksum at nearly every byte.
        let seq_bound = bad_seq + ((bytes.len() - bad) / RECORD_HEADER_BYTES) as u64;
        let plausible = bytes[offset + 8..]
            .first_chunk()
            .is_some_and(|seq| (bad_seq + 1..=seq_bound).contains(&u64::from_le_bytes(*seq)));
        let record = plausible.then(|| record::decode(&bytes[offset..]));
        let Some(Ok(record)) = record else {
            offset += 1;
            continue;
        };
        // Where the batch that this record belongs to begins, if that is the batch of the bad record.
        let batch_start = match record.seq - bad_seq {
            distance if u64::from(record.position) == distance => bad,
            distance if u64::from(record.position) == distance + u64::from(position_next) => {
                sound.last_batch_start
            }
            _ => {
                return Err(Damage {
                    offset: bad,
                    what: "a record is bad, and later ones had been synced after it",
                });
            }
        };
        hole_seen = hole_seen || has_hole(bytes, bad..offset, batch_start);
        if !hole_seen {
            return Err(Damage {
                offset: bad,
                what: "a record is bad, though all of it had been written",
            });
        }
        offset += record.len_bytes();
    }
    Ok(())
}

/// Whether a sector that `range` touches was never written since `batch_start`.
fn has_hole(bytes: &[u8], range: std::ops::Range<usize>, batch_start: usize) -> bool {
    (range.start / SECTOR_BYTES..range.end.div_ceil(SECTOR_BYTES)).any(|sector| {
        let start = batch_start.max(sector * SECTOR_BYTES);
        let end = bytes.len().min((sector + 1) * SECTOR_BYTES);
        start < end && bytes[start..end].iter().all(|byte| *byte == 0)
    })
}

#[cfg(test)]
mod tests;
