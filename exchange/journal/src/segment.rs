//! Files of the journal: their names and their first bytes.
//!
//! A file is named after its first record and begins with a header: 8 bytes that tell what it is and in which
//! version, 8 bytes that repeat the first record's number, 4 bytes of CRC-32 over both.

/// Bytes before the first record.
pub(crate) const SEGMENT_HEADER_BYTES: usize = 20;
const MAGIC: [u8; 8] = *b"xjrnl\x00\x00\x01";
const SUFFIX: &str = ".journal";
/// No journal gets this far; it keeps arithmetic on numbers from file names away from overflow.
const SEQ_LIMIT: u64 = 1 << 62;

/// The name of the file whose first record is `first_seq`. Names sort as their numbers do.
pub(crate) fn name(first_seq: u64) -> String {
    format!("{first_seq:020}{SUFFIX}")
}

/// The inverse of [`name`]; other names are not of the journal.
pub(crate) fn parse_name(text: &str) -> Option<u64> {
    let first_seq = text.strip_suffix(SUFFIX)?.parse().ok()?;
    (name(first_seq) == text && (1..SEQ_LIMIT).contains(&first_seq)).then_some(first_seq)
}

pub(crate) fn header(first_seq: u64) -> [u8; SEGMENT_HEADER_BYTES] {
    let mut bytes = [0; SEGMENT_HEADER_BYTES];
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8..16].copy_from_slice(&first_seq.to_le_bytes());
    let checksum = crc32fast::hash(&bytes[..16]);
    bytes[16..].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back_and_sort() {
        for seq in [1, 9, 10, SEQ_LIMIT - 1] {
            assert_eq!(parse_name(&name(seq)), Some(seq));
        }
        assert!(name(9) < name(10));
        for text in [
            "",
            ".journal",
            "1.journal",
            "18446744073709551615.journal",
            "00000000000000000000.journal",
            "journal.lock",
        ] {
            assert_eq!(parse_name(text), None, "{text:?}");
        }
    }
}
