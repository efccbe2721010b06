use super::*;
use proptest::prelude::*;

/// A file of batches; each payload is `(length, byte)`.
fn file(batches: &[Vec<(usize, u8)>]) -> (Vec<u8>, Vec<usize>) {
    let mut bytes = crate::segment::header(1).to_vec();
    let mut ends = Vec::new();
    let mut seq = 1;
    for batch in batches {
        for (position, (len, byte)) in (0..).zip(batch) {
            record::encode(&mut bytes, seq, position, &vec![*byte; *len]);
            ends.push(bytes.len());
            seq += 1;
        }
    }
    (bytes, ends)
}

fn batches(max: usize) -> impl Strategy<Value = Vec<Vec<(usize, u8)>>> {
    let batch = prop::collection::vec((0usize..1500, 1u8..), 1..8);
    prop::collection::vec(batch, 1..=max)
}

proptest! {
    /// Whatever sectors of the last batch the disk kept: no damage, and a prefix that holds all before it.
    #[test]
    fn torn_last_batch_is_cut(batches in batches(3), kept in prop::collection::vec(any::<bool>(), 64), cut in 0usize..20_000) {
        let (whole, ends) = file(&batches);
        let before: usize = batches[..batches.len() - 1].iter().map(Vec::len).sum();
        let start = if before == 0 { SEGMENT_HEADER_BYTES } else { ends[before - 1] };
        let mut bytes = whole.clone();
        for sector in start / SECTOR_BYTES..whole.len().div_ceil(SECTOR_BYTES) {
            if !kept[sector % kept.len()] {
                let end = whole.len().min((sector + 1) * SECTOR_BYTES);
                bytes[start.max(sector * SECTOR_BYTES)..end].fill(0);
            }
        }
        bytes.truncate(cut.max(start));
        let found = scan(&bytes, 1).expect("a torn batch is no damage");
        let records = usize::try_from(found.next_seq).expect("small") - 1;
        prop_assert!(records >= before);
        prop_assert_eq!(found.end, if records == 0 { SEGMENT_HEADER_BYTES } else { ends[records - 1] });
        prop_assert_eq!(&bytes[..found.end], &whole[..found.end]);
        prop_assert_eq!(found.end + found.torn_bytes, bytes.len());
    }

    /// One flipped bit is damage, and named where it is, unless it is in the very last record.
    #[test]
    fn flipped_bit_is_damage(batches in batches(3), at in any::<prop::sample::Index>(), bit in 0u8..8) {
        let (mut bytes, ends) = file(&batches);
        let at = SEGMENT_HEADER_BYTES + at.index(bytes.len() - SEGMENT_HEADER_BYTES);
        bytes[at] ^= 1 << bit;
        let hit = ends.iter().position(|end| at < *end).expect("within a record");
        let begin = if hit == 0 { SEGMENT_HEADER_BYTES } else { ends[hit - 1] };
        match scan(&bytes, 1) {
            Err(damage) => prop_assert_eq!(damage.offset, begin),
            Ok(found) => {
                prop_assert_eq!(hit, ends.len() - 1);
                prop_assert_eq!(found.end, begin);
            }
        }
    }

    /// A lost sector that a later batch follows had been synced: damage, not a tear.
    #[test]
    fn hole_before_a_later_batch_is_damage(mut batches in batches(3), at in any::<prop::sample::Index>()) {
        batches.push(vec![(600, 7)]);
        let (mut bytes, ends) = file(&batches);
        let last_start = ends[ends.len() - 2];
        let sector = at.index(last_start) / SECTOR_BYTES;
        let range = SEGMENT_HEADER_BYTES.max(sector * SECTOR_BYTES)..last_start.min((sector + 1) * SECTOR_BYTES);
        bytes[range].fill(0);
        prop_assert!(scan(&bytes, 1).is_err());
    }

    /// Any bytes at all: an answer, and never more than there is.
    #[test]
    fn any_bytes_are_judged(bytes in prop::collection::vec(any::<u8>(), 0..4000), first_seq in 1u64..1 << 62) {
        let _ = record::decode(&bytes);
        if let Ok(found) = scan(&bytes, first_seq) {
            prop_assert!(found.end <= bytes.len().max(SEGMENT_HEADER_BYTES));
        }
    }

    /// A sound file with some bytes overwritten: never a record that was not written.
    #[test]
    fn scribbled_file_invents_nothing(
        batches in batches(3),
        at in any::<prop::sample::Index>(),
        scribble in prop::collection::vec(any::<u8>(), 1..600),
    ) {
        let (whole, ends) = file(&batches);
        let mut bytes = whole.clone();
        let at = at.index(bytes.len());
        let end = bytes.len().min(at + scribble.len());
        bytes[at..end].copy_from_slice(&scribble[..end - at]);
        if let Ok(found) = scan(&bytes, 1) {
            prop_assert!(found.end == SEGMENT_HEADER_BYTES || ends.contains(&found.end));
            let from = SEGMENT_HEADER_BYTES;
            prop_assert_eq!(&bytes[from..found.end], &whole[from..found.end]);
        }
    }
}
