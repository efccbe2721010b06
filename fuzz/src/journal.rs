//! A journal's files after whatever happened to them.
//!
//! Bytes alone would hardly ever have a right checksum. So an input says what stands in the files:
//! records that are right, records whose numbers are not, holes, rubbish, further files.

use std::collections::BTreeMap;
use std::sync::Arc;

use exchange_journal::sim::SimStorage;
use exchange_journal::{Journal, Options, look};

/// What a journal is made of here, in bytes.
const BYTES_MAX: usize = 1 << 14;
const MAGIC: &[u8; 8] = b"xjrnl\x00\x00\x01";

/// A journal is opened with all its records, or refused and left as it is. What was opened takes
/// records, and is the same after a crash. Whoever only looks sees the same, and changes nothing.
pub(crate) fn recover(bytes: &[u8]) {
    let files = Files::of(bytes);
    let storage = SimStorage::from_snapshot(files.all.clone());
    let mut seen = Vec::new();
    let looked = look(&storage, |record| seen.push(record.payload));
    assert_eq!(storage.snapshot(), files.all, "looked at, and changed");
    let (journal, recovered) = match Journal::open(Arc::new(storage.clone()), options()) {
        Ok(opened) => opened,
        Err(error) => {
            assert!(!files.is_sound, "{error}");
            let seen = looked.map(|_| ()).unwrap_err();
            assert_eq!(seen.to_string(), error.to_string());
            assert_eq!(storage.snapshot(), files.all, "refused, and changed all the same");
            return;
        }
    };
    if files.is_sound {
        assert_eq!((recovered.last_seq, recovered.truncated_bytes), (files.next_seq - 1, 0));
    }
    assert_eq!(recovered.first_seq, 1);
    assert_eq!(looked.unwrap(), recovered);
    let mut records = all(&journal);
    assert_eq!(seen, records);
    assert_eq!(records.len() as u64, recovered.last_seq);

    let seq = journal.append_wait(b"appended".to_vec()).unwrap();
    assert_eq!(seq, recovered.last_seq + 1);
    records.push(b"appended".to_vec());
    assert_eq!(all(&journal), records);
    drop(journal);

    let crashed = storage.reboot(u64::from(bytes.first().copied().unwrap_or(0)));
    let (journal, again) = Journal::open(Arc::new(crashed), options()).unwrap();
    assert_eq!((again.last_seq, again.truncated_bytes), (seq, 0));
    assert_eq!(all(&journal), records);
}

fn options() -> Options {
    Options { segment_bytes_max: 256, ..Options::default() }
}

fn all(journal: &Journal) -> Vec<Vec<u8>> {
    let mut reader = journal.reader(1).unwrap();
    let mut payloads = Vec::new();
    while let Some(record) = reader.next_record().unwrap() {
        assert_eq!(record.seq, payloads.len() as u64 + 1);
        payloads.push(record.payload);
    }
    payloads
}

/// The files that an input describes.
struct Files {
    all: BTreeMap<String, Vec<u8>>,
    name: String,
    next_seq: u64,
    position: u32,
    /// Only what a journal writes itself is in them.
    is_sound: bool,
}

impl Files {
    fn of(mut script: &[u8]) -> Self {
        let mut files = Self {
            all: BTreeMap::new(),
            name: String::new(),
            next_seq: 1,
            position: 0,
            is_sound: true,
        };
        files.begin(1, MAGIC);
        while let Some(([what, much], rest)) = script.split_first_chunk() {
            script = rest;
            let (part, rest) = script.split_at(script.len().min(usize::from(*much)));
            match what % 8 {
                // In a batch of its own, or in that of the one before.
                0 => files.right_record(*much, 0),
                1 => files.right_record(*much, files.position),
                2 => {
                    script = rest;
                    files.any_record(part);
                }
                3 => files.put(&vec![0; usize::from(*much) * 8]),
                4 => {
                    script = rest;
                    files.put(part);
                }
                5 => files.begin(files.next_seq, MAGIC),
                6 => {
                    let bytes = files.bytes();
                    let left = bytes.len().saturating_sub(usize::from(*much));
                    bytes.truncate(left);
                    files.is_sound = false;
                }
                _ => {
                    let bytes = files.bytes();
                    let at = (usize::from(*what) << 5 | usize::from(*much)) % bytes.len().max(1);
                    if let Some(byte) = bytes.get_mut(at) {
                        *byte ^= 1 << (much % 8);
                    }
                    files.is_sound = false;
                }
            }
            if files.all.values().map(Vec::len).sum::<usize>() > BYTES_MAX {
                break;
            }
        }
        files
    }

    fn bytes(&mut self) -> &mut Vec<u8> {
        self.all.entry(self.name.clone()).or_default()
    }

    fn put(&mut self, bytes: &[u8]) {
        self.is_sound &= bytes.is_empty();
        self.bytes().extend_from_slice(bytes);
    }

    fn begin(&mut self, first_seq: u64, magic: &[u8; 8]) {
        self.name = format!("{first_seq:020}.journal");
        let mut header = [magic.as_slice(), &first_seq.to_le_bytes()].concat();
        header.extend(crc32fast::hash(&header).to_le_bytes());
        // A file of the same name is one without a sound record: it is begun anew.
        self.all.insert(self.name.clone(), header);
        self.position = 0;
    }

    fn right_record(&mut self, much: u8, position: u32) {
        self.record(self.next_seq, position, &vec![b'r'; usize::from(much)]);
        self.next_seq += 1;
        self.position = position + 1;
    }

    /// One whose numbers are the input's, with a right checksum.
    fn any_record(&mut self, part: &[u8]) {
        let Some(([seq, position], payload)) = part.split_first_chunk() else { return };
        self.is_sound = false;
        // Mostly near to those that would be right.
        let near = self.next_seq.wrapping_add_signed(i64::from(seq.cast_signed()));
        let seq = if *seq == 0x80 { u64::MAX } else { near };
        let position = if *position == 0xff { u32::MAX } else { u32::from(*position) };
        self.record(seq, position, payload);
    }

    fn record(&mut self, seq: u64, position: u32, payload: &[u8]) {
        let mut record = (payload.len() as u32).to_le_bytes().to_vec();
        record.extend(seq.to_le_bytes());
        record.extend(position.to_le_bytes());
        record.extend(payload);
        let checksum = crc32fast::hash(&record).to_le_bytes();
        let bytes = self.bytes();
        bytes.extend(checksum);
        bytes.extend(record);
    }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    vec![
        // Records in batches, over two files.
        vec![0, 10, 1, 20, 0, 0, 1, 255, 5, 0, 0, 30, 1, 5],
        // The end was torn off, or never written.
        vec![0, 10, 0, 40, 1, 50, 6, 30],
        vec![0, 10, 0, 40, 3, 100, 1, 5],
        // A later record is there twice, an earlier one is damaged, and rubbish follows.
        vec![0, 10, 0, 9, 7, 12, 2, 4, 0xff, 0, b'x', b'y', 4, 2, b'a', b'b'],
    ]
}
