//! One record as bytes.
//!
//! | bytes | field | |
//! | --- | --- | --- |
//! | 0..4 | checksum | CRC-32 of all that follows in this record |
//! | 4..8 | length | of the payload |
//! | 8..16 | seq | contiguous from 1 |
//! | 16..20 | position | in the batch that was written and synced as one: 0 for its first record |
//! | 20.. | payload | |
//!
//! All numbers are little-endian. The position is what tells a torn write from damage, see [`crate::scan`].

/// No payload is larger, whatever the options say. It belongs to the format and not to the options, so that a
/// journal stays readable when somebody lowers its bounds.
pub(crate) const PAYLOAD_BYTES_LIMIT: usize = 16 * 1024 * 1024;

/// Bytes before the payload.
pub(crate) const RECORD_HEADER_BYTES: usize = 20;

/// A record, still in the bytes it was read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RawRecord<'a> {
    pub(crate) seq: u64,
    pub(crate) position: u32,
    pub(crate) payload: &'a [u8],
}

impl RawRecord<'_> {
    pub(crate) const fn len_bytes(&self) -> usize {
        RECORD_HEADER_BYTES + self.payload.len()
    }
}

/// Why bytes are not a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotARecord {
    /// More bytes are needed: this many in all.
    Short { needed_bytes: usize },
    /// The length is beyond the bound, so it is no length.
    Length,
    /// The checksum differs.
    Checksum,
}

pub(crate) fn encode(buffer: &mut Vec<u8>, seq: u64, position: u32, payload: &[u8]) {
    let start = buffer.len();
    let len = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    debug_assert_eq!(len as usize, payload.len(), "payloads are bounded far below this");
    buffer.extend_from_slice(&[0; 4]);
    buffer.extend_from_slice(&len.to_le_bytes());
    buffer.extend_from_slice(&seq.to_le_bytes());
    buffer.extend_from_slice(&position.to_le_bytes());
    buffer.extend_from_slice(payload);
    let checksum = crc32fast::hash(&buffer[start + 4..]);
    buffer[start..start + 4].copy_from_slice(&checksum.to_le_bytes());
}

/// Reads the record at the beginning of `bytes`.
pub(crate) fn decode(bytes: &[u8]) -> Result<RawRecord<'_>, NotARecord> {
    let Some((header, rest)) = bytes.split_first_chunk::<RECORD_HEADER_BYTES>() else {
        return Err(NotARecord::Short { needed_bytes: RECORD_HEADER_BYTES });
    };
    let [c0, c1, c2, c3, l0, l1, l2, l3, s0, s1, s2, s3, s4, s5, s6, s7, p0, p1, p2, p3] = *header;
    let len = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
    if len > PAYLOAD_BYTES_LIMIT {
        return Err(NotARecord::Length);
    }
    let Some(payload) = rest.get(..len) else {
        return Err(NotARecord::Short { needed_bytes: RECORD_HEADER_BYTES + len });
    };
    if crc32fast::hash(&bytes[4..RECORD_HEADER_BYTES + len]) != u32::from_le_bytes([c0, c1, c2, c3])
    {
        return Err(NotARecord::Checksum);
    }
    Ok(RawRecord {
        seq: u64::from_le_bytes([s0, s1, s2, s3, s4, s5, s6, s7]),
        position: u32::from_le_bytes([p0, p1, p2, p3]),
        payload,
    })
}
