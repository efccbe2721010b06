//! The journal on real files.

use crate::common::{read_all, small};
use exchange_journal::{AppendError, FsStorage, Journal, Options, SegmentFile, Storage};
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

fn open(dir: &Path, options: Options) -> (Journal, exchange_journal::Recovered) {
    let storage = FsStorage::open(dir).expect("storage");
    Journal::open(Arc::new(storage), options).expect("opens")
}

#[test]
fn records_are_there_after_reopening_over_several_files() {
    let dir = tempfile::tempdir().expect("directory");
    let path = dir.path().join("made/on/the/way");
    let payload = |i: u64| vec![i as u8; (i as usize * 97) % 1200];
    for round in 0..3 {
        let (journal, recovered) = open(&path, small());
        assert_eq!((recovered.last_seq, recovered.truncated_bytes), (round * 10, 0));
        for i in round * 10 + 1..=round * 10 + 10 {
            assert_eq!(journal.append_wait(payload(i)).expect("durable"), i);
        }
    }
    let (journal, recovered) = open(&path, small());
    assert!(recovered.segments > 3, "{recovered:?}");
    for (i, record) in (1..).zip(read_all(&journal)) {
        assert_eq!((record.seq, record.payload), (i, payload(i)));
    }
    assert_eq!(journal.durable_seq(), 30);
}

#[test]
fn a_tail_torn_at_any_byte_is_cut() {
    let dir = tempfile::tempdir().expect("directory");
    let (journal, _) = open(dir.path(), Options::default());
    for i in 1..=3u8 {
        journal.append_wait(vec![i; 40]).expect("durable");
    }
    journal.close().expect("closes");
    let file = dir.path().join("00000000000000000001.journal");
    let whole = fs::read(&file).expect("read");
    let last_start = whole.len() - 60;
    for cut in last_start..=whole.len() {
        fs::write(&file, &whole[..cut]).expect("written");
        let (journal, recovered) = open(dir.path(), Options::default());
        let kept = if cut == whole.len() { 3 } else { 2 };
        let torn = if kept == 3 { 0 } else { cut - last_start };
        assert_eq!((recovered.last_seq, recovered.truncated_bytes), (kept, torn as u64), "{cut}");
        assert_eq!(journal.append_wait(vec![9; 40]).expect("durable"), kept + 1);
        journal.close().expect("closes");
        let (journal, recovered) = open(dir.path(), Options::default());
        assert_eq!((recovered.last_seq, recovered.truncated_bytes), (kept + 1, 0), "{cut}");
        assert_eq!(read_all(&journal).last().expect("records").payload, vec![9; 40]);
    }
}

#[test]
fn one_process_at_a_time() {
    let dir = tempfile::tempdir().expect("directory");
    let held = FsStorage::open(dir.path()).expect("storage");
    let error = FsStorage::open(dir.path()).expect_err("locked");
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    assert!(error.to_string().contains("stop it first"), "{error}");
    drop(held);
    FsStorage::open(dir.path()).expect("free again");
}

/// Real files whose third sync fails.
#[derive(Debug)]
struct ThirdSyncFails(FsStorage);

struct ThirdSyncFailsFile(Box<dyn SegmentFile>, u32);

impl Storage for ThirdSyncFails {
    fn list(&self) -> io::Result<Vec<String>> {
        self.0.list()
    }
    fn create(&self, name: &str) -> io::Result<Box<dyn SegmentFile>> {
        Ok(Box::new(ThirdSyncFailsFile(self.0.create(name)?, 0)))
    }
    fn open(&self, name: &str) -> io::Result<Box<dyn SegmentFile>> {
        self.0.open(name)
    }
    fn sync_dir(&self) -> io::Result<()> {
        self.0.sync_dir()
    }
}

impl SegmentFile for ThirdSyncFailsFile {
    fn len_bytes(&self) -> io::Result<u64> {
        self.0.len_bytes()
    }
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read_at(offset, buffer)
    }
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_at(offset, bytes)
    }
    fn sync_data(&mut self) -> io::Result<()> {
        self.1 += 1;
        if self.1 == 3 { Err(io::Error::other("simulated")) } else { self.0.sync_data() }
    }
    fn truncate(&mut self, len_bytes: u64) -> io::Result<()> {
        self.0.truncate(len_bytes)
    }
}

#[test]
fn an_error_ends_the_journal_until_it_is_opened_again() {
    let dir = tempfile::tempdir().expect("directory");
    let storage = ThirdSyncFails(FsStorage::open(dir.path()).expect("storage"));
    let (journal, _) = Journal::open(Arc::new(storage), Options::default()).expect("opens");
    assert_eq!(journal.append_wait(vec![1]).expect("durable"), 1);
    for _ in 0..3 {
        let result = journal.append_wait(vec![2]);
        assert!(matches!(result, Err(AppendError::Failed(_))), "{result:?}");
    }
    assert_eq!(journal.durable_seq(), 1);
    drop(journal);
    // The record whose sync failed had been written; only the opening makes it one that counts.
    let (journal, recovered) = open(dir.path(), Options::default());
    assert_eq!((recovered.last_seq, recovered.truncated_bytes), (2, 0));
    assert_eq!(journal.append_wait(vec![3]).expect("durable"), 3);
}
