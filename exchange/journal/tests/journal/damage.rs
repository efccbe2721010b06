//! Damage to what had been synced is told, with file and offset, and nothing is dropped silently.

use crate::common::{honest, read_all, small};
use exchange_journal::sim::SimStorage;
use exchange_journal::{Journal, OpenError, Storage};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;

const RECORDS: u64 = 8;

/// Eight records, each a batch of its own, over several files.
fn sound() -> BTreeMap<String, Vec<u8>> {
    let sim = SimStorage::new();
    let (journal, _) = Journal::open(honest(&sim), small()).expect("opens");
    for i in 1..=RECORDS {
        let seq = journal.append_wait(vec![i as u8; 500]).expect("appended");
        assert_eq!(seq, i);
    }
    journal.close().expect("closes");
    let files = sim.snapshot();
    assert!(files.len() >= 2, "{:?}", files.keys());
    files
}

fn open(files: BTreeMap<String, Vec<u8>>) -> Result<(Journal, u64), OpenError> {
    let storage: Arc<dyn Storage> = Arc::new(SimStorage::from_snapshot(files));
    Journal::open(storage, small()).map(|(journal, recovered)| (journal, recovered.truncated_bytes))
}

#[test]
fn a_flipped_bit_is_named_or_cut_at_the_very_end() {
    let files = sound();
    let (last_name, last_bytes) = files.last_key_value().expect("files");
    let last_record_start = last_bytes.len() - 520;
    for (name, bytes) in &files {
        for offset in (0..bytes.len()).step_by(7) {
            let mut files = files.clone();
            files.get_mut(name).expect("file")[offset] ^= 1 << (offset % 8);
            match open(files) {
                Err(OpenError::Damaged { file, offset: at, .. }) => {
                    assert_eq!(&file, name);
                    assert!(at <= offset as u64 && offset as u64 - at < 520, "{at} for {offset}");
                }
                Err(error) => panic!("{name} byte {offset}: {error}"),
                Ok((journal, truncated_bytes)) => {
                    assert!(name == last_name && offset >= last_record_start, "{name} {offset}");
                    assert_eq!(truncated_bytes, 520);
                    assert_eq!(journal.durable_seq(), RECORDS - 1);
                }
            }
        }
    }
}

#[test]
fn a_missing_or_shortened_file_is_named() {
    let files = sound();
    let names: Vec<String> = files.keys().cloned().collect();
    for name in &names[..names.len() - 1] {
        let mut files = files.clone();
        files.remove(name);
        assert!(matches!(open(files), Err(OpenError::Gap { .. })), "{name}");
    }
    for name in &names[..names.len() - 1] {
        let mut files = files.clone();
        let bytes = files.get_mut(name).expect("file");
        bytes.truncate(bytes.len() - 1);
        let Err(error) = open(files) else { panic!("{name} is short and was taken") };
        assert!(error.to_string().contains(name), "{error}");
    }
}

#[test]
fn a_refused_journal_is_left_as_it_was() {
    let mut files = sound();
    files.first_entry().expect("file").get_mut()[30] ^= 1;
    let sim = SimStorage::from_snapshot(files.clone());
    assert!(Journal::open(honest(&sim), small()).is_err());
    assert_eq!(sim.snapshot(), files);
}

#[test]
fn lower_bounds_still_read_larger_records() {
    let sim = SimStorage::from_snapshot(sound());
    let options = exchange_journal::Options { payload_bytes_max: 10, ..small() };
    let (journal, recovered) = Journal::open(honest(&sim), options).expect("opens");
    assert_eq!((recovered.last_seq, recovered.truncated_bytes), (RECORDS, 0));
    assert_eq!(read_all(&journal).len() as u64, RECORDS);
}

proptest! {
    /// Files of any bytes: opened or refused, never a panic.
    #[test]
    fn any_bytes_open_or_are_refused(
        bytes in prop::collection::vec(any::<u8>(), 0..2000),
        with_header in any::<bool>(),
    ) {
        let mut files = sound();
        let (name, first) = files.pop_first().expect("file");
        let mut contents = if with_header { first[..20].to_vec() } else { Vec::new() };
        contents.extend(bytes);
        let _ = open(BTreeMap::from([(name.clone(), contents.clone())]));
        files.insert(name, contents);
        let _ = open(files);
    }
}
