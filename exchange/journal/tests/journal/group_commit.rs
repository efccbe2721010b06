//! The committer: gathering, order, bounds, failure, readers meanwhile.

use crate::common::{honest, read_all, small};
use exchange_journal::sim::SimStorage;
use exchange_journal::{AppendError, Journal, Options, SegmentFile, Storage};
use std::io;
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::time::Duration;

const BOUND: Duration = Duration::from_secs(20);

/// Holds syncs while it is shut, so that a test decides when a batch is done.
#[derive(Debug, Default)]
struct Gate {
    state: Mutex<(bool, usize)>,
    changed: Condvar,
}

impl Gate {
    fn set_shut(&self, shut: bool) {
        self.state.lock().expect("gate").0 = shut;
        self.changed.notify_all();
    }

    fn pass(&self) {
        let mut state = self.state.lock().expect("gate");
        state.1 += 1;
        self.changed.notify_all();
        let (state, timeout) =
            self.changed.wait_timeout_while(state, BOUND, |(shut, _)| *shut).expect("gate");
        assert!(!timeout.timed_out(), "the gate stayed shut");
        drop(state);
    }

    /// Waits until `arrivals` syncs have come to the gate in all.
    fn await_arrivals(&self, arrivals: usize) {
        let (_state, timeout) = self
            .changed
            .wait_timeout_while(self.state.lock().expect("gate"), BOUND, |(_, n)| *n < arrivals)
            .expect("gate");
        assert!(!timeout.timed_out(), "no sync came");
    }
}

#[derive(Debug)]
struct Gated {
    inner: SimStorage,
    gate: Arc<Gate>,
}

struct GatedFile {
    inner: Box<dyn SegmentFile>,
    gate: Arc<Gate>,
}

impl Storage for Gated {
    fn list(&self) -> io::Result<Vec<String>> {
        self.inner.list()
    }
    fn create(&self, name: &str) -> io::Result<Box<dyn SegmentFile>> {
        Ok(Box::new(GatedFile { inner: self.inner.create(name)?, gate: Arc::clone(&self.gate) }))
    }
    fn open(&self, name: &str) -> io::Result<Box<dyn SegmentFile>> {
        Ok(Box::new(GatedFile { inner: self.inner.open(name)?, gate: Arc::clone(&self.gate) }))
    }
    fn sync_dir(&self) -> io::Result<()> {
        self.inner.sync_dir()
    }
}

impl SegmentFile for GatedFile {
    fn len_bytes(&self) -> io::Result<u64> {
        self.inner.len_bytes()
    }
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.read_at(offset, buffer)
    }
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.inner.write_at(offset, bytes)
    }
    fn sync_data(&mut self) -> io::Result<()> {
        self.gate.pass();
        self.inner.sync_data()
    }
    fn truncate(&mut self, len_bytes: u64) -> io::Result<()> {
        self.inner.truncate(len_bytes)
    }
}

/// A journal whose first record waits at the shut gate, in its sync.
fn held(
    options: Options,
) -> (Journal, SimStorage, Arc<Gate>, mpsc::Receiver<Result<u64, AppendError>>) {
    let sim = SimStorage::new();
    let gate = Arc::new(Gate::default());
    let storage = Gated { inner: sim.clone(), gate: Arc::clone(&gate) };
    let (journal, _) = Journal::open(Arc::new(storage), options).expect("opens");
    gate.set_shut(true);
    let (sender, receiver) = mpsc::channel();
    journal.append(vec![0], move |result| sender.send(result).expect("sent")).expect("queued");
    // The first sync was that of the file's header.
    gate.await_arrivals(2);
    (journal, sim, gate, receiver)
}

#[test]
fn records_gather_while_a_sync_is_under_way() {
    let (journal, _sim, gate, first) = held(Options::default());
    let (sender, receiver) = mpsc::channel();
    for i in 2..=101u64 {
        let sender = sender.clone();
        let seq = journal
            .append(i.to_le_bytes().to_vec(), move |result| sender.send(result).expect("sent"))
            .expect("queued");
        assert_eq!(seq, i);
    }
    assert_eq!(journal.stats().queued, 100);
    assert_eq!(journal.durable_seq(), 0);
    assert!(first.try_recv().is_err(), "acknowledged before the sync was done");
    assert!(journal.reader(1).expect("reader").next_record().expect("read").is_none());

    gate.set_shut(false);
    assert_eq!(first.recv_timeout(BOUND).expect("told").expect("durable"), 1);
    for i in 2..=101 {
        assert_eq!(receiver.recv_timeout(BOUND).expect("told").expect("durable"), i, "in order");
    }
    assert_eq!(journal.stats().batches, 2, "the hundred shared one sync");
    assert_eq!(journal.durable_seq(), 101);
    assert_eq!(read_all(&journal).len(), 101);
}

#[test]
fn the_queue_is_bounded_and_append_waits_for_room() {
    let (journal, _sim, gate, first) = held(Options { queue_records_max: 3, ..Options::default() });
    for _ in 0..3 {
        journal.try_append(vec![1], |_| {}).expect("room");
    }
    let refused = journal.try_append(vec![1], |_| panic!("never called after an error"));
    assert!(matches!(refused, Err(AppendError::Full)), "{refused:?}");
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| journal.append_wait(vec![2]));
        assert!(first.try_recv().is_err());
        gate.set_shut(false);
        assert_eq!(waiting.join().expect("joined").expect("durable"), 5);
    });
}

#[test]
fn the_queue_is_bounded_in_bytes_too() {
    let (journal, _sim, gate, _first) =
        held(Options { queue_bytes_max: 100, ..Options::default() });
    journal.try_append(vec![1; 400], |_| {}).expect("a single record may be larger");
    assert!(matches!(journal.try_append(vec![1], |_| {}), Err(AppendError::Full)));
    gate.set_shut(false);
    journal.close().expect("closes");
}

#[test]
fn a_failed_sync_refuses_all_that_waits_and_all_that_comes() {
    let (journal, sim, gate, first) = held(Options::default());
    let (told, watched) = mpsc::channel();
    assert!(journal.watch(move |durable| told.send(durable).expect("sent")));
    assert!(!journal.watch(|_| {}), "there is one watcher");
    let (sender, receiver) = mpsc::channel();
    for _ in 0..5 {
        let sender = sender.clone();
        journal
            .append(vec![9; 50], move |result| sender.send(result).expect("sent"))
            .expect("queued");
    }
    assert!(journal.health().is_ok());
    sim.fail_at(1);
    gate.set_shut(false);
    let failed = |result: Result<u64, AppendError>| {
        let Err(AppendError::Failed(failure)) = result else { panic!("{result:?}") };
        assert_eq!(failure.action, "sync");
        failure.to_string()
    };
    let message = failed(first.recv_timeout(BOUND).expect("told"));
    assert_eq!(
        message,
        "the journal could not sync 00000000000000000001.journal and takes nothing more until it is opened again"
    );
    for _ in 0..5 {
        failed(receiver.recv_timeout(BOUND).expect("told"));
    }
    assert!(watched.recv_timeout(BOUND).expect("told").is_err());
    failed(journal.append_wait(vec![1]));
    failed(journal.try_append(vec![1], |_| {}));
    assert!(journal.health().is_err());
    assert!(journal.wait_durable_after(0, BOUND).is_err());
    assert_eq!(journal.durable_seq(), 0);
    assert!(journal.close().is_err());
}

#[test]
fn a_full_disk_fails_the_journal_and_its_tail_is_cut_at_the_next_start() {
    let sim = SimStorage::new();
    let (journal, _) = Journal::open(honest(&sim), Options::default()).expect("opens");
    journal.append_wait(vec![1; 100]).expect("fits");
    sim.set_capacity_bytes(Some(200));
    let Err(AppendError::Failed(failure)) = journal.append_wait(vec![2; 100]) else {
        panic!("full")
    };
    assert_eq!(failure.source.kind(), io::ErrorKind::StorageFull);
    sim.set_capacity_bytes(None);
    assert!(journal.append_wait(vec![3]).is_err(), "room does not mend it");
    drop(journal);
    let (journal, recovered) =
        Journal::open(honest(&sim.restart_process()), Options::default()).expect("opens");
    assert_eq!((recovered.last_seq, recovered.truncated_bytes), (1, 60));
    assert_eq!(journal.append_wait(vec![4]).expect("durable"), 2);
}

#[test]
fn dropping_commits_what_is_queued() {
    let (journal, sim, gate, first) = held(small());
    for _ in 0..4 {
        journal.append(vec![7; 300], |result| assert!(result.is_ok())).expect("queued");
    }
    gate.set_shut(false);
    drop(journal);
    assert_eq!(first.recv_timeout(BOUND).expect("told").expect("durable"), 1);
    let (journal, _) = Journal::open(honest(&sim.reboot(0)), small()).expect("opens");
    assert_eq!(journal.durable_seq(), 5);
}

#[test]
fn the_last_handle_may_be_dropped_in_a_callback_and_a_callback_may_panic() {
    let (journal, _) = Journal::open(honest(&SimStorage::new()), small()).expect("opens");
    let journal = Arc::new(journal);
    journal.append(vec![1], |_| std::panic::resume_unwind(Box::new("quietly"))).expect("queued");
    assert_eq!(journal.append_wait(vec![2]).expect("the journal goes on"), 2);
    let (sender, receiver) = mpsc::channel();
    let (ready, go) = mpsc::channel::<()>();
    let held = Arc::clone(&journal);
    journal
        .append(vec![3], move |result| {
            go.recv_timeout(BOUND).expect("go");
            drop(held);
            sender.send(result).expect("sent");
        })
        .expect("queued");
    drop(journal);
    ready.send(()).expect("sent");
    assert_eq!(receiver.recv_timeout(BOUND).expect("no deadlock").expect("durable"), 3);
}

#[test]
fn too_large_a_record_is_refused_and_uses_no_number() {
    let (journal, _) = Journal::open(honest(&SimStorage::new()), small()).expect("opens");
    let refused = journal.append(vec![0; 4097], |_| panic!("never called after an error"));
    assert!(matches!(refused, Err(AppendError::TooLarge { len_bytes: 4097, .. })), "{refused:?}");
    assert_eq!(journal.append_wait(vec![0; 4096]).expect("durable"), 1);
}

#[test]
fn options_that_contradict_themselves_are_refused() {
    for options in [
        Options { queue_records_max: 0, ..Options::default() },
        Options { segment_bytes_max: u64::MAX, ..Options::default() },
        Options { payload_bytes_max: usize::MAX, ..Options::default() },
    ] {
        assert!(Journal::open(honest(&SimStorage::new()), options).is_err(), "{options:?}");
    }
}

/// Several appenders and several readers at once, over many files: each reader sees every record once, in
/// order, no earlier than it is durable.
#[test]
fn readers_follow_while_appenders_append() {
    const APPENDERS: u64 = 3;
    const EACH: u64 = 200;
    let (journal, _) = Journal::open(honest(&SimStorage::new()), small()).expect("opens");
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let mut reader = journal.reader(1).expect("reader");
                let mut last_of = [0u8; APPENDERS as usize];
                while reader.next_seq() <= APPENDERS * EACH {
                    let seq = reader.next_seq();
                    let Some(record) = reader.next_record().expect("sound") else {
                        let durable = journal.wait_durable_after(seq - 1, BOUND).expect("healthy");
                        assert!(durable >= seq, "nothing came");
                        continue;
                    };
                    assert_eq!(record.seq, seq);
                    assert!(seq <= journal.durable_seq());
                    let [who, n, ..] = record.payload[..] else { panic!("short payload") };
                    assert_eq!(n, last_of[who as usize] + 1, "each appender's order is kept");
                    last_of[who as usize] = n;
                }
                assert!(reader.next_record().expect("sound").is_none());
            });
        }
        for who in 0..APPENDERS {
            let journal = &journal;
            scope.spawn(move || {
                for n in 1..=EACH {
                    let mut payload = vec![who as u8, n as u8];
                    payload.resize(2 + (n as usize * 37) % 300, 0xab);
                    journal.append(payload, |result| assert!(result.is_ok())).expect("queued");
                }
            });
        }
    });
    let mut from_the_middle = journal.reader(APPENDERS * EACH / 2).expect("reader");
    let record = from_the_middle.next_record().expect("sound").expect("there");
    assert_eq!(record.seq, APPENDERS * EACH / 2);
    assert!(journal.reader(APPENDERS * EACH + 1).is_ok(), "the one after the last may be awaited");
    assert!(journal.reader(APPENDERS * EACH + 2).is_err());
}
