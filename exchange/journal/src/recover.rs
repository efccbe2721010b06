//! Finds the end of a journal after whatever happened to it.

use crate::error::OpenError;
use crate::journal::Options;
use crate::scan::{Damage, Scan, scan};
use crate::segment::{self, SEGMENT_HEADER_BYTES};
use crate::storage::{SegmentFile, Storage};
use crate::writer::{Writer, create_segment};
use std::io;
use std::sync::Arc;

/// Files above this are none that a journal wrote; reading one whole would be unbounded.
pub(crate) const SEGMENT_BYTES_LIMIT: u64 = 1 << 30;

/// The number of the first record ever.
pub(crate) const FIRST_SEQ: u64 = 1;

/// What was found when the journal was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// The first record held, which is 1 as long as nothing removes old records; there is none when it is greater
    /// than `last_seq`.
    pub first_seq: u64,
    /// The last record held; zero when there never was one.
    pub last_seq: u64,
    /// Bytes that a crash had torn off at the end; they were never acknowledged and are cut away.
    pub truncated_bytes: u64,
    /// How many files hold the records.
    pub segments: usize,
}

/// Reads all files, cuts away what was torn, and makes certain that what is left is durable.
pub(crate) fn recover(
    storage: Arc<dyn Storage>,
    options: Options,
) -> Result<(Writer, Recovered), OpenError> {
    let segments = segments(storage.as_ref())?;
    let Some((&last, sealed)) = segments.split_last() else {
        let file = create_segment(storage.as_ref(), FIRST_SEQ)
            .map_err(|source| refused("create", segment::name(FIRST_SEQ), source))?;
        let recovered =
            Recovered { first_seq: FIRST_SEQ, last_seq: 0, truncated_bytes: 0, segments: 1 };
        return Ok((
            writer(storage, options, file, FIRST_SEQ, SEGMENT_HEADER_BYTES, FIRST_SEQ),
            recovered,
        ));
    };

    // Files are never removed, so a journal that does not begin with the first record has lost some.
    let mut next_seq = FIRST_SEQ;
    for &segment in sealed {
        no_gap(segment, next_seq)?;
        let name = segment::name(segment);
        let (_, bytes) = read(storage.as_ref(), &name)?;
        next_seq = match judge(&bytes, segment) {
            Ok(scan) if scan.torn_bytes == 0 => scan.next_seq,
            // A file is begun only when the one before it is synced to its end.
            Ok(scan) => {
                return Err(damaged(
                    name,
                    Damage { offset: scan.end, what: "records are missing at the file's end" },
                ));
            }
            Err(damage) => return Err(damaged(name, damage)),
        };
    }

    no_gap(last, next_seq)?;
    let name = segment::name(last);
    let (mut file, bytes) = read(storage.as_ref(), &name)?;
    let scan = if bytes.len() <= SEGMENT_HEADER_BYTES && bytes != segment::header(last) {
        // A crash came while the file was made. No record was ever in it.
        Scan { end: 0, next_seq, last_batch_start: 0, torn_bytes: bytes.len() }
    } else {
        judge(&bytes, last).map_err(|damage| damaged(name.clone(), damage))?
    };
    let mut settle = || {
        if scan.torn_bytes > 0 {
            file.truncate(scan.end as u64)?;
        }
        // What was read may be in the page cache alone: of a process that ended before its sync, or of one
        // whose sync failed, after which the cache calls lost bytes clean. Only the last batch can be
        // so. Writing it again makes this sync cover it; the bytes are the same, so nothing can tear.
        if scan.end == 0 {
            file.write_at(0, &segment::header(last))?;
        } else {
            file.write_at(scan.last_batch_start as u64, &bytes[scan.last_batch_start..scan.end])?;
        }
        file.sync_data()?;
        storage.sync_dir()
    };
    settle().map_err(|source| refused("repair", name, source))?;

    let recovered = Recovered {
        first_seq: FIRST_SEQ,
        last_seq: scan.next_seq - 1,
        truncated_bytes: scan.torn_bytes as u64,
        segments: segments.len(),
    };
    let end = scan.end.max(SEGMENT_HEADER_BYTES);
    Ok((writer(storage, options, file, last, end, scan.next_seq), recovered))
}

/// The journal's files by their first records, in order.
pub(crate) fn segments(storage: &dyn Storage) -> Result<Vec<u64>, OpenError> {
    let mut segments: Vec<u64> = storage
        .list()
        .map_err(|source| refused("list", "the journal's directory".to_owned(), source))?
        .iter()
        .filter_map(|name| segment::parse_name(name))
        .collect();
    segments.sort_unstable();
    Ok(segments)
}

fn writer(
    storage: Arc<dyn Storage>,
    options: Options,
    file: Box<dyn SegmentFile>,
    segment: u64,
    offset: usize,
    next_seq: u64,
) -> Writer {
    Writer { storage, options, file, segment, offset: offset as u64, next_seq, buffer: Vec::new() }
}

pub(crate) fn judge(bytes: &[u8], segment: u64) -> Result<Scan, Damage> {
    if bytes.get(..SEGMENT_HEADER_BYTES) == Some(segment::header(segment).as_slice()) {
        scan(bytes, segment)
    } else {
        Err(Damage { offset: 0, what: "the file's header is bad, or of another version" })
    }
}

pub(crate) fn no_gap(segment: u64, expected_seq: u64) -> Result<(), OpenError> {
    if segment == expected_seq {
        Ok(())
    } else {
        Err(OpenError::Gap { file: segment::name(segment), expected_seq, found_seq: segment })
    }
}

pub(crate) fn read(
    storage: &dyn Storage,
    name: &str,
) -> Result<(Box<dyn SegmentFile>, Vec<u8>), OpenError> {
    let read_all = || {
        let file = storage.open(name)?;
        let len = file.len_bytes()?;
        if len > SEGMENT_BYTES_LIMIT {
            return Err(io::Error::other(format!(
                "the file has {len} bytes, more than any that a journal writes"
            )));
        }
        let mut bytes = vec![0; usize::try_from(len).map_err(io::Error::other)?];
        let mut filled = 0;
        while filled < bytes.len() {
            match file.read_at(filled as u64, &mut bytes[filled..])? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                n => filled += n,
            }
        }
        Ok((file, bytes))
    };
    read_all().map_err(|source| refused("read", name.to_owned(), source))
}

fn refused(action: &'static str, file: String, source: io::Error) -> OpenError {
    OpenError::Storage { action, file, source }
}

pub(crate) fn damaged(file: String, damage: Damage) -> OpenError {
    OpenError::Damaged { file, offset: damage.offset as u64, damage: damage.what }
}
