//! Whatever is done, wherever it is cut off: after the replay the world is as it would be without
//! us. Told by a model, on a disk in memory that loses what was not synced, and on a world that
//! is a row of numbers.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde::{Deserialize, Serialize};
use temblor_host::process::Identity;

use super::book::Book;
use super::journal::{ENDING, Header, Journal, LogFile, Parsed, Store, VERSION, parse};
use super::replay::settle;
use super::{Undoing, Undone};
use crate::{Error, Result};

const CELLS: usize = 3;

/// A thing that has a value, and is another thing when its inode is another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Thing {
    value: u32,
    inode: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct World {
    things: [Thing; CELLS],
    /// What they would be without us.
    without_us: [Thing; CELLS],
}

/// What is wrong on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bug {
    None,
    /// The disk says that it has synced a file and has not.
    NoSync,
    /// The same of names.
    NoNames,
    /// An undo writes the previous value whoever's it is.
    NoIdentity,
    /// The change is made first and then put on record.
    ChangeFirst,
    /// What was recorded first is undone first.
    InOrder,
    /// A change that is covered counts as undone.
    CoveredIsDone,
}

thread_local! {
    static WORLD: RefCell<World> = const { RefCell::new(World {
        things: [Thing { value: 0, inode: 0 }; CELLS],
        without_us: [Thing { value: 0, inode: 0 }; CELLS],
    }) };
    static BUG: Cell<Bug> = const { Cell::new(Bug::None) };
    /// How many undoings fail from now on.
    static REFUSED: Cell<u32> = const { Cell::new(0) };
    /// How many steps are left before everything is cut off.
    static FUSE: Cell<u32> = const { Cell::new(0) };
    static CUT: RefCell<Option<(World, State)>> = const { RefCell::new(None) };
    static DISK: RefCell<Option<Disk>> = const { RefCell::new(None) };
}

/// A step of the owner's, which may be its last: then what is there now is what is found.
fn step() {
    let left = FUSE.get();
    FUSE.set(left.saturating_sub(1));
    if left == 1 {
        let world = WORLD.with_borrow(Clone::clone);
        let disk = DISK.with_borrow(|disk| disk.as_ref().unwrap().0.lock().unwrap().clone());
        CUT.set(Some((world, disk)));
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct SetBack {
    cell: usize,
    inode: u32,
    previous: u32,
    ours: u32,
}

impl Undoing for SetBack {
    fn words(&self) -> String {
        format!("set {} back to {}", self.cell, self.previous)
    }

    fn undo(&self) -> Result<Undone> {
        if REFUSED.get() > 0 {
            REFUSED.set(REFUSED.get() - 1);
            return Err(Error::system("undo it", io::Error::other("refused")));
        }
        let undone = WORLD.with_borrow_mut(|world| {
            let thing = &mut world.things[self.cell];
            if BUG.get() == Bug::NoIdentity {
                thing.value = self.previous;
                return Undone::Restored;
            }
            if thing.inode != self.inode {
                return Undone::NotOurs("another inode".into());
            }
            if thing.value == self.previous {
                return Undone::Nothing;
            }
            if thing.value != self.ours {
                return Undone::NotOurs("another value".into());
            }
            thing.value = self.previous;
            Undone::Restored
        });
        step();
        if BUG.get() == Bug::CoveredIsDone && matches!(undone, Undone::NotOurs(_)) {
            return Ok(Undone::Restored);
        }
        Ok(undone)
    }

    fn is_open(&self) -> Result<bool> {
        Ok(WORLD.with_borrow(|world| {
            world.things[self.cell] == Thing { value: self.ours, inode: self.inode }
        }))
    }
}

#[derive(Debug, Clone, Default)]
struct State {
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    files: Vec<Bytes>,
    /// How much fits yet.
    room: Option<usize>,
}

#[derive(Debug, Clone, Default)]
struct Bytes {
    written: Vec<u8>,
    durable: usize,
}

#[derive(Debug, Clone, Default)]
struct Disk(Arc<Mutex<State>>);

#[derive(Debug)]
struct OnDisk {
    disk: Disk,
    index: usize,
}

impl Store for Disk {
    fn create(&self, name: &str) -> io::Result<Box<dyn LogFile>> {
        let index = {
            let mut state = self.0.lock().unwrap();
            state.files.push(Bytes::default());
            let index = state.files.len() - 1;
            state.names.insert(name.to_owned(), index);
            index
        };
        step();
        Ok(Box::new(OnDisk { disk: self.clone(), index }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        {
            let mut state = self.0.lock().unwrap();
            let index = state.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
            state.names.insert(to.to_owned(), index);
        }
        step();
        Ok(())
    }

    fn sync_names(&self) -> io::Result<()> {
        if BUG.get() != Bug::NoNames {
            let mut state = self.0.lock().unwrap();
            state.durable_names = state.names.clone();
        }
        step();
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.0.lock().unwrap().names.remove(name).ok_or(io::ErrorKind::NotFound)?;
        step();
        Ok(())
    }
}

impl LogFile for OnDisk {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        // Half of it is there at some moment.
        for half in [&bytes[..bytes.len() / 2], &bytes[bytes.len() / 2..]] {
            let fits = {
                let mut state = self.disk.0.lock().unwrap();
                let fits = state.room.map_or(half.len(), |room| room.min(half.len()));
                state.room = state.room.map(|room| room - fits);
                state.files[self.index].written.extend_from_slice(&half[..fits]);
                fits
            };
            step();
            if fits < half.len() {
                return Err(io::ErrorKind::StorageFull.into());
            }
        }
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        step();
        if BUG.get() != Bug::NoSync {
            let mut state = self.disk.0.lock().unwrap();
            let file = &mut state.files[self.index];
            file.durable = file.written.len();
        }
        step();
        Ok(())
    }

    fn cut(&mut self, len_bytes: u64) -> io::Result<()> {
        let len = usize::try_from(len_bytes).unwrap();
        let mut state = self.disk.0.lock().unwrap();
        let file = &mut state.files[self.index];
        file.written.truncate(len);
        file.durable = file.durable.min(len);
        Ok(())
    }
}

/// What is done, in order.
#[derive(Debug, Clone)]
enum Op {
    /// We change a thing.
    Change(usize),
    /// We undo one of our changes that is in place.
    Undo(prop::sample::Index),
    /// Somebody else changes a thing.
    Foreign(usize),
    /// A thing goes, and another one takes its name.
    Another(usize),
    /// So many bytes fit on the disk from now on.
    Room(Option<usize>),
    /// So many undoings fail from now on.
    Refuse(u32),
}

#[derive(Debug, Clone)]
struct Case {
    ops: Vec<Op>,
    /// After how many steps everything is cut off; past the last one it is not.
    fuse: u32,
    /// Whether the machine loses its power too: then this share of what was not synced is there.
    power: Option<(u8, bool)>,
    /// How many changes a first replay undoes before it is cut off as well.
    first: usize,
}

fn cases() -> impl Strategy<Value = Case> {
    let op = prop_oneof![
        6 => (0..CELLS).prop_map(Op::Change),
        5 => any::<prop::sample::Index>().prop_map(Op::Undo),
        2 => (0..CELLS).prop_map(Op::Foreign),
        1 => (0..CELLS).prop_map(Op::Another),
        1 => prop::option::of(0..400usize).prop_map(Op::Room),
        1 => (0..3u32).prop_map(Op::Refuse),
    ];
    let power = prop::option::of((any::<u8>(), any::<bool>()));
    (prop::collection::vec(op, 1..14), 1..150u32, power, 0..4usize)
        .prop_map(|(ops, fuse, power, first)| Case { ops, fuse, power, first })
}

fn header() -> Header {
    let owner = Identity { pid: 1, start_ticks: 2, boot_id: "b".into() };
    Header { version: VERSION, owner, pid_namespace: 3, deadline_ns: None, deadline_unix_ns: None }
}

/// Everything up to the end, or to the cut; gives what is found then.
fn act(case: &Case) -> (World, State) {
    let mut unique = 100;
    let mut next = || {
        unique += 1;
        unique
    };
    let things = std::array::from_fn(|_| Thing { value: next(), inode: next() });
    WORLD.set(World { things, without_us: things });
    let disk = Disk::default();
    DISK.set(Some(disk.clone()));
    CUT.set(None);
    REFUSED.set(0);
    FUSE.set(case.fuse);
    let mut book = Book::new(Journal::new(disk.clone(), "j".into(), header()));
    let mut open: Vec<(u64, SetBack)> = Vec::new();
    for op in &case.ops {
        match op {
            Op::Change(cell) => {
                let thing = WORLD.with_borrow(|world| world.things[*cell]);
                let ours = next();
                let undo = SetBack { cell: *cell, inode: thing.inode, previous: thing.value, ours };
                let set = || {
                    WORLD.with_borrow_mut(|world| world.things[*cell].value = ours);
                    step();
                };
                if BUG.get() == Bug::ChangeFirst {
                    set();
                }
                match book.record(undo.clone()) {
                    Ok(id) => {
                        if BUG.get() != Bug::ChangeFirst {
                            set();
                        }
                        open.push((id, undo));
                    }
                    // Not on record, not made.
                    Err(error) => assert_ne!(error.kind(), io::ErrorKind::NotFound),
                }
            }
            Op::Undo(which) if !open.is_empty() => {
                let (id, undo) = open.remove(which.index(open.len()));
                let undone = undo.undo();
                book.tried(id, undo, &undone);
            }
            Op::Undo(_) => {}
            Op::Foreign(cell) => WORLD.with_borrow_mut(|world| {
                world.things[*cell].value = next();
                world.without_us[*cell] = world.things[*cell];
            }),
            Op::Another(cell) => WORLD.with_borrow_mut(|world| {
                world.things[*cell] = Thing { value: next(), inode: next() };
                world.without_us[*cell] = world.things[*cell];
            }),
            Op::Room(room) => disk.0.lock().unwrap().room = *room,
            Op::Refuse(times) => REFUSED.set(*times),
        }
    }
    for (id, undo) in open.into_iter().rev() {
        let undone = undo.undo();
        book.tried(id, undo, &undone);
    }
    let ended = book.end();
    CUT.take().unwrap_or_else(|| {
        let state = disk.0.lock().unwrap().clone();
        assert_eq!(ended, state.names.is_empty(), "the file goes when all is done");
        (WORLD.with_borrow(Clone::clone), state)
    })
}

/// What somebody finds who looks for the journal.
fn found(state: &State, power: Option<(u8, bool)>) -> Option<Vec<u8>> {
    let names = if power.is_some() { &state.durable_names } else { &state.names };
    let (_, index) = names.iter().find(|(name, _)| name.ends_with(ENDING))?;
    let file = &state.files[*index];
    let Some((share, zeros)) = power else { return Some(file.written.clone()) };
    let kept = file.durable + (file.written.len() - file.durable) * usize::from(share) / 255;
    let mut bytes = file.written[..kept].to_vec();
    if zeros {
        // The length was written before the blocks were.
        bytes.resize(file.written.len(), 0);
    }
    Some(bytes)
}

fn replay(parsed: Parsed<SetBack>) -> Vec<u64> {
    let mut done = Vec::new();
    let mut open = parsed.open;
    if BUG.get() == Bug::InOrder {
        open.reverse();
    }
    settle(open, 0, &mut |id, _, _| done.push(id));
    done
}

fn check(case: &Case) -> Result<(), TestCaseError> {
    let (world, state) = act(case);
    FUSE.set(0);
    WORLD.set(world);
    if let Some(bytes) = found(&state, case.power) {
        let whole: Parsed<SetBack> = parse(&bytes);
        prop_assert_eq!(&whole.damage, &Vec::<String>::new());
        // A first one is cut off half way, and its marks are lost. Then things fail for a while.
        REFUSED.set(0);
        let mut first = whole.clone();
        first.open.drain(..first.open.len().saturating_sub(case.first));
        replay(first);
        REFUSED.set(u32::from(case.fuse.is_multiple_of(3)));
        let mut second = whole;
        let done = replay(second.clone());
        second.open.retain(|(id, _)| !done.contains(id));
        REFUSED.set(0);
        let done = replay(second.clone());
        prop_assert_eq!(done.len(), second.open.len(), "nothing is left");
    }
    WORLD.with_borrow(|world| {
        prop_assert_eq!(world.things, world.without_us);
        Ok(())
    })
}

fn run(bug: Bug, cases_max: u32) -> Result<(), String> {
    BUG.set(bug);
    let config = Config { cases: cases_max, failure_persistence: None, ..Config::default() };
    TestRunner::new(config).run(&cases(), |case| check(&case)).map_err(|e| e.to_string())
}

#[test]
fn nothing_is_left_whatever_was_done_and_wherever_it_was_cut_off() {
    run(Bug::None, 3_000).unwrap();
}

#[test]
fn what_is_wrong_on_purpose_is_noticed() {
    for bug in [
        Bug::NoSync,
        Bug::NoNames,
        Bug::NoIdentity,
        Bug::ChangeFirst,
        Bug::InOrder,
        Bug::CoveredIsDone,
    ] {
        assert!(run(bug, 20_000).is_err(), "{bug:?}");
    }
}

/// A journal with a few records, and where each of its lines ends.
fn written() -> (Vec<u8>, Vec<SetBack>) {
    let disk = Disk::default();
    DISK.set(Some(disk.clone()));
    FUSE.set(0);
    let mut journal: Journal<SetBack, Disk> = Journal::new(disk.clone(), "j".into(), header());
    let undos: Vec<SetBack> =
        (0..4).map(|n| SetBack { cell: n, inode: 7, previous: 8, ours: 9 }).collect();
    for undo in &undos {
        journal.record(undo.clone()).unwrap();
    }
    journal.done(2);
    let bytes = disk.0.lock().unwrap().files[0].written.clone();
    (bytes, undos)
}

#[test]
fn every_prefix_says_what_it_whole_says() {
    let (bytes, undos) = written();
    for len in 0..=bytes.len() {
        let parsed: Parsed<SetBack> = parse(&bytes[..len]);
        let lines = bytes[..len].iter().filter(|b| **b == b'\n').count();
        let mut expected: Vec<SetBack> =
            undos.iter().take(lines.saturating_sub(1)).cloned().collect();
        if lines == 6 {
            expected.remove(1);
        }
        let open: Vec<SetBack> = parsed.open.iter().map(|(_, undo)| undo.clone()).collect();
        assert_eq!(open, expected, "{len} bytes");
        assert_eq!(parsed.torn, len > 0 && bytes[len - 1] != b'\n', "{len} bytes");
        assert_eq!(parsed.damage.is_empty(), lines > 0, "{len} bytes: {:?}", parsed.damage);
    }
}

#[test]
fn every_byte_that_is_another_is_noticed() {
    let (bytes, _) = written();
    let before: Parsed<SetBack> = parse(&bytes);
    for at in 0..bytes.len() {
        for flip in [1u8, 0x20, 0x80] {
            let mut spoilt = bytes.clone();
            spoilt[at] ^= flip;
            let parsed: Parsed<SetBack> = parse(&spoilt);
            // The last newline may be taken for a line that was cut short.
            let noticed = !parsed.damage.is_empty() || (at == bytes.len() - 1 && parsed.torn);
            assert!(noticed, "byte {at} as {:#x}: {parsed:?} of {before:?}", spoilt[at]);
        }
    }
}
