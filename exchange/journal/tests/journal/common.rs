//! What the tests of this crate share.

use exchange_journal::sim::{Checker, SimStorage, Violation};
use exchange_journal::{Journal, OpenError, Options, Record, Storage};
use std::sync::{Arc, Mutex};

/// Small bounds, so that a few records already fill batches and files.
pub(crate) fn small() -> Options {
    Options {
        payload_bytes_max: 4096,
        queue_records_max: 8,
        queue_bytes_max: 6000,
        batch_bytes_max: 3000,
        segment_bytes_max: 2000,
    }
}

/// Puts a storage around the simulated one, or not.
pub(crate) type Wrap = fn(&SimStorage) -> Arc<dyn Storage>;

pub(crate) fn honest(sim: &SimStorage) -> Arc<dyn Storage> {
    Arc::new(sim.clone())
}

pub(crate) fn read_all(journal: &Journal) -> Vec<Record> {
    let mut reader = journal.reader(journal.first_seq()).expect("a reader from the first record");
    std::iter::from_fn(|| reader.next_record().expect("a sound record")).collect()
}

/// Opens the journal and holds what is in it against what was promised.
pub(crate) fn open_checked(
    storage: Arc<dyn Storage>,
    checker: &Mutex<Checker>,
) -> Result<Result<Journal, Violation>, OpenError> {
    let (journal, recovered) = Journal::open(storage, small())?;
    let records = read_all(&journal);
    assert_eq!(recovered.last_seq, records.len() as u64, "{recovered:?}");
    assert_eq!(recovered.first_seq, 1);
    let verdict = checker.lock().expect("checker").recovered(&records);
    Ok(verdict.map(|()| journal))
}

/// Appends a record and tells the checker of it and of its acknowledgement.
pub(crate) fn append(
    journal: &Journal,
    checker: &Arc<Mutex<Checker>>,
    payload: Vec<u8>,
) -> Option<u64> {
    let for_callback = Arc::clone(checker);
    let seq = journal
        .append(payload.clone(), move |result| {
            if let Ok(seq) = result {
                for_callback.lock().expect("checker").acknowledged(seq);
            }
        })
        .ok()?;
    checker.lock().expect("checker").offered(seq, &payload);
    Some(seq)
}
