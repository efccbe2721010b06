//! A journal that is looked at and not changed.

use crate::common::{honest, small};
use exchange_journal::sim::SimStorage;
use exchange_journal::{FsStorage, Journal, OpenError, Record, Recovered, Storage, look};
use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;

fn seen(storage: &dyn Storage) -> Result<(Vec<Record>, Recovered), OpenError> {
    let mut records = Vec::new();
    look(storage, |record| records.push(record)).map(|end| (records, end))
}

#[test]
fn nothing_is_there_before_the_first_record() {
    let (records, end) = seen(&SimStorage::new()).expect("looked");
    assert_eq!((records.len(), end.last_seq, end.segments), (0, 0, 0));
}

#[test]
fn all_that_is_written_is_seen_while_a_service_has_it_open() {
    let dir = tempfile::tempdir().expect("directory");
    let held = FsStorage::open(dir.path()).expect("storage");
    let (journal, _) = Journal::open(Arc::new(held), small()).expect("opens");
    let watched = FsStorage::look(dir.path()).expect("looks");
    for seq in 1..=40 {
        journal.append_wait(vec![seq as u8; (seq as usize * 97) % 1200]).expect("durable");
        let (records, end) = seen(&watched).expect("looked");
        assert_eq!((end.last_seq, end.truncated_bytes), (seq, 0));
        assert_eq!(records.len() as u64, seq);
        for (seq, record) in (1..).zip(&records) {
            assert_eq!(record.seq, seq);
            assert_eq!(record.payload, vec![seq as u8; (seq as usize * 97) % 1200]);
        }
    }
    assert!(seen(&watched).expect("looked").1.segments > 3);
    assert!(watched.create("00000000000000009999.journal").is_err(), "it is only looked at");
    FsStorage::look(dir.path().join("nowhere")).expect_err("there is none");
}

/// What opening would cut away is counted and stays.
#[test]
fn an_end_torn_at_any_byte_is_left_alone() {
    let dir = tempfile::tempdir().expect("directory");
    let held = FsStorage::open(dir.path()).expect("storage");
    let (journal, _) = Journal::open(Arc::new(held), small()).expect("opens");
    for i in 1..=3u8 {
        journal.append_wait(vec![i; 40]).expect("durable");
    }
    journal.close().expect("closes");
    let file = dir.path().join("00000000000000000001.journal");
    let whole = fs::read(&file).expect("read");
    for cut in 0..whole.len() {
        fs::write(&file, &whole[..cut]).expect("written");
        let watched = FsStorage::look(dir.path()).expect("looks");
        let (records, end) = seen(&watched).expect("looked");
        // Its header, and records of 60 bytes.
        let kept = cut.saturating_sub(20) / 60;
        let torn = if cut < 20 { cut } else { (cut - 20) % 60 };
        assert_eq!((records.len(), end.truncated_bytes), (kept, torn as u64), "{cut}");
        assert_eq!(fs::read(&file).expect("read"), &whole[..cut]);
    }
}

/// Looking and opening judge damage alike.
#[test]
fn damage_is_told_as_when_it_is_opened() {
    let sim = SimStorage::new();
    let (journal, _) = Journal::open(honest(&sim), small()).expect("opens");
    for i in 1..=8u8 {
        journal.append_wait(vec![i; 500]).expect("durable");
    }
    journal.close().expect("closes");
    let files: BTreeMap<String, Vec<u8>> = sim.snapshot();
    let mut damaged = 0;
    for (name, bytes) in &files {
        for offset in (0..bytes.len()).step_by(11) {
            let mut files = files.clone();
            files.get_mut(name).expect("file")[offset] ^= 1 << (offset % 8);
            let looked = seen(&SimStorage::from_snapshot(files.clone()));
            let opened = Journal::open(Arc::new(SimStorage::from_snapshot(files)), small());
            match (looked, opened) {
                (Ok((_, seen)), Ok((_, found))) => assert_eq!(seen, found, "{name} {offset}"),
                (Err(seen), Err(found)) => {
                    assert_eq!(seen.to_string(), found.to_string(), "{name} {offset}");
                    damaged += 1;
                }
                (seen, found) => panic!("{name} {offset}: {:?} {:?}", seen.is_ok(), found.is_ok()),
            }
        }
    }
    assert!(damaged > 10, "{damaged}");
}
