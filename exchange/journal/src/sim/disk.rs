//! A directory in memory that tells what was written from what is durable.

use crate::scan::SECTOR_BYTES;
use crate::storage::{SegmentFile, Storage};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Steps through a fixed sequence of well-mixed numbers (SplitMix64): one seed replays one crash.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from 0 to `max`.
    fn upto(&mut self, max: usize) -> usize {
        usize::try_from(self.roll() % (max as u64 + 1)).unwrap_or(max)
    }

    fn coin(&mut self) -> bool {
        self.roll() & 1 == 1
    }
}

#[derive(Clone, Debug, Default)]
struct Contents {
    /// What a process reads: the page cache.
    cache: Vec<u8>,
    /// What is there after a crash.
    disk: Vec<u8>,
    /// Sectors that the cache knows to differ from the disk. After a failed sync it knows of none, though
    /// they differ: that is what Linux does.
    dirty: BTreeSet<usize>,
    /// Whether the file's name is there after a crash.
    name_durable: bool,
}

fn sector(bytes: &[u8], sector: usize) -> std::ops::Range<usize> {
    (sector * SECTOR_BYTES).min(bytes.len())..((sector + 1) * SECTOR_BYTES).min(bytes.len())
}

impl Contents {
    fn write(&mut self, offset: usize, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let end = offset + bytes.len();
        // The gap, if any, is part of what a write makes new.
        let start = offset.min(self.cache.len());
        if self.cache.len() < end {
            self.cache.resize(end, 0);
        }
        self.cache[offset..end].copy_from_slice(bytes);
        self.dirty.extend(start / SECTOR_BYTES..end.div_ceil(SECTOR_BYTES));
    }

    fn sync(&mut self) {
        self.disk.resize(self.cache.len(), 0);
        for dirty in std::mem::take(&mut self.dirty) {
            let range = sector(&self.cache, dirty);
            self.disk[range.clone()].copy_from_slice(&self.cache[range]);
        }
    }

    fn truncate(&mut self, len: usize) {
        self.cache.truncate(len);
        self.disk.truncate(len);
        self.dirty.retain(|sector| sector * SECTOR_BYTES < len);
    }

    /// Keeps some of what was not synced, as a disk would.
    fn crash(&mut self, dice: &mut Dice) {
        let dirty = std::mem::take(&mut self.dirty);
        match dice.upto(3) {
            // Nothing reached the disk.
            0 => {}
            // A prefix did, to the byte.
            1 => {
                let cut =
                    self.disk.len() + dice.upto(self.cache.len().saturating_sub(self.disk.len()));
                let known = cut.min(self.cache.len());
                self.disk.resize(known.max(self.disk.len()), 0);
                for dirty in dirty {
                    let mut range = sector(&self.cache, dirty);
                    range.end = range.end.min(known);
                    if !range.is_empty() {
                        self.disk[range.clone()].copy_from_slice(&self.cache[range]);
                    }
                }
            }
            // Some sectors did, in no order; the others read as before, or as zeros where nothing was.
            2 => {
                let kept: Vec<usize> = dirty.into_iter().filter(|_| dice.coin()).collect();
                let reached = kept.last().map_or(0, |last| sector(&self.cache, *last).end);
                let len = if dice.coin() { self.cache.len() } else { reached };
                self.disk.resize(len.max(self.disk.len()), 0);
                for kept in kept {
                    let range = sector(&self.cache, kept);
                    self.disk[range.clone()].copy_from_slice(&self.cache[range]);
                }
            }
            // All of it did, though nobody was told.
            _ => {
                self.dirty = dirty;
                self.sync();
            }
        }
        self.cache.clone_from(&self.disk);
    }
}

#[derive(Clone, Copy, Debug)]
enum Planned {
    Crash { seed: u64 },
    Error,
}

#[derive(Debug, Default)]
struct World {
    files: BTreeMap<String, Contents>,
    /// Why every further operation fails: the machine or the process is gone.
    gone: bool,
    /// Changes counted so far.
    operations: u64,
    planned: Option<(u64, Planned)>,
    capacity_bytes: Option<usize>,
    syncs: u64,
}

/// What becomes of an operation.
enum Fate {
    Go,
    Fail,
    /// The machine crashes in the midst of it.
    Crash {
        seed: u64,
    },
}

impl World {
    fn alive(&self) -> io::Result<()> {
        if self.gone { Err(io::Error::other("simulated: the machine is gone")) } else { Ok(()) }
    }

    fn begin(&mut self) -> io::Result<Fate> {
        self.alive()?;
        self.operations += 1;
        Ok(match self.planned {
            Some((at, planned)) if at == self.operations => {
                self.planned = None;
                match planned {
                    Planned::Crash { seed } => Fate::Crash { seed },
                    Planned::Error => Fate::Fail,
                }
            }
            _ => Fate::Go,
        })
    }

    fn crash(&mut self, seed: u64) {
        self.gone = true;
        let mut dice = Dice(seed);
        self.files.retain(|_, file| file.name_durable || dice.coin());
        for file in self.files.values_mut() {
            file.crash(&mut dice);
            file.name_durable = true;
        }
    }

    fn contents(&mut self, name: &str) -> io::Result<&mut Contents> {
        self.files.get_mut(name).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

fn injected() -> io::Error {
    io::Error::other("simulated: input/output error")
}

fn lock(world: &Mutex<World>) -> MutexGuard<'_, World> {
    world.lock().unwrap_or_else(PoisonError::into_inner)
}

fn index(offset: u64) -> io::Result<usize> {
    usize::try_from(offset).map_err(|_| io::ErrorKind::FileTooLarge.into())
}

/// A directory in memory. Clones are handles of the same one.
///
/// Every change (creating, writing, syncing, shortening) counts as one operation, so that a crash or an
/// error can be planned for each of them in turn. After a crash all handles answer with errors, and
/// [`SimStorage::reboot`] gives what is left.
#[derive(Clone, Debug, Default)]
pub struct SimStorage {
    world: Arc<Mutex<World>>,
}

impl SimStorage {
    /// An empty directory.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The machine crashes, unless a planned crash has come already, and starts again: gives a new handle of
    /// what is left. Of what was not synced, `seed` decides what is left: nothing, a prefix to the byte, some
    /// sectors, or all. Old handles answer with errors from now on.
    #[must_use]
    pub fn reboot(&self, seed: u64) -> Self {
        let mut old = lock(&self.world);
        if !old.gone {
            old.crash(seed);
        }
        Self::successor(&mut old)
    }

    /// The process ends, but the machine does not: all that was written can still be read, and what was not
    /// synced can still be lost. Old handles answer with errors from now on.
    #[must_use]
    pub fn restart_process(&self) -> Self {
        let mut old = lock(&self.world);
        old.gone = true;
        Self::successor(&mut old)
    }

    fn successor(old: &mut World) -> Self {
        let files = std::mem::take(&mut old.files);
        Self { world: Arc::new(Mutex::new(World { files, ..World::default() })) }
    }

    /// Plans a crash in the midst of the `nth` operation from now (1 is the next).
    pub fn crash_at(&self, nth: u64, seed: u64) {
        let mut world = lock(&self.world);
        world.planned = Some((world.operations + nth, Planned::Crash { seed }));
    }

    /// Plans an error for the `nth` operation from now (1 is the next). A write that fails has written half;
    /// a sync that fails has synced nothing and takes the bytes for clean.
    pub fn fail_at(&self, nth: u64) {
        let mut world = lock(&self.world);
        world.planned = Some((world.operations + nth, Planned::Error));
    }

    /// Bounds the sum of all files; a write beyond it writes what fits and fails.
    pub fn set_capacity_bytes(&self, capacity_bytes: Option<usize>) {
        lock(&self.world).capacity_bytes = capacity_bytes;
    }

    /// How many operations there were.
    #[must_use]
    pub fn operations(&self) -> u64 {
        lock(&self.world).operations
    }

    /// How many syncs of files succeeded.
    #[must_use]
    pub fn syncs(&self) -> u64 {
        lock(&self.world).syncs
    }

    /// Whether a planned crash has come.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        lock(&self.world).gone
    }

    /// Flips one bit on disk and in the cache, as decay would.
    ///
    /// # Errors
    /// When there is no such file or byte.
    pub fn flip_bit(&self, name: &str, offset: usize, bit: u8) -> io::Result<()> {
        let mut world = lock(&self.world);
        let file = world.contents(name)?;
        for bytes in [&mut file.disk, &mut file.cache] {
            let byte = bytes.get_mut(offset).ok_or(io::ErrorKind::UnexpectedEof)?;
            *byte ^= 1 << (bit % 8);
        }
        Ok(())
    }

    /// All files with what a process reads of them.
    #[must_use]
    pub fn snapshot(&self) -> BTreeMap<String, Vec<u8>> {
        let world = lock(&self.world);
        world.files.iter().map(|(name, file)| (name.clone(), file.cache.clone())).collect()
    }

    /// A directory that holds these files, durably.
    #[must_use]
    pub fn from_snapshot(files: BTreeMap<String, Vec<u8>>) -> Self {
        let files = files
            .into_iter()
            .map(|(name, bytes)| {
                let contents = Contents {
                    disk: bytes.clone(),
                    cache: bytes,
                    dirty: BTreeSet::new(),
                    name_durable: true,
                };
                (name, contents)
            })
            .collect();
        Self { world: Arc::new(Mutex::new(World { files, ..World::default() })) }
    }

    fn file(&self, name: &str) -> Box<dyn SegmentFile> {
        Box::new(SimFile { world: Arc::clone(&self.world), name: name.to_owned() })
    }
}

impl Storage for SimStorage {
    fn list(&self) -> io::Result<Vec<String>> {
        let world = lock(&self.world);
        world.alive()?;
        Ok(world.files.keys().cloned().collect())
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn SegmentFile>> {
        let mut world = lock(&self.world);
        let fate = world.begin()?;
        if matches!(fate, Fate::Fail) {
            return Err(injected());
        }
        if world.files.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        world.files.insert(name.to_owned(), Contents::default());
        if let Fate::Crash { seed } = fate {
            world.crash(seed);
            world.alive()?;
        }
        Ok(self.file(name))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn SegmentFile>> {
        let mut world = lock(&self.world);
        world.alive()?;
        world.contents(name)?;
        Ok(self.file(name))
    }

    fn sync_dir(&self) -> io::Result<()> {
        let mut world = lock(&self.world);
        match world.begin()? {
            Fate::Go => {
                for file in world.files.values_mut() {
                    file.name_durable = true;
                }
                Ok(())
            }
            Fate::Fail => Err(injected()),
            Fate::Crash { seed } => {
                world.crash(seed);
                world.alive()
            }
        }
    }
}

struct SimFile {
    world: Arc<Mutex<World>>,
    name: String,
}

impl SegmentFile for SimFile {
    fn len_bytes(&self) -> io::Result<u64> {
        let mut world = lock(&self.world);
        world.alive()?;
        Ok(world.contents(&self.name)?.cache.len() as u64)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut world = lock(&self.world);
        world.alive()?;
        let cache = &world.contents(&self.name)?.cache;
        let rest = cache.get(index(offset)?..).unwrap_or_default();
        let len = rest.len().min(buffer.len());
        buffer[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut world = lock(&self.world);
        let fate = world.begin()?;
        let offset = index(offset)?;
        let used: usize = world.files.values().map(|file| file.cache.len()).sum();
        let capacity = world.capacity_bytes.unwrap_or(usize::MAX);
        let file = world.contents(&self.name)?;
        let grows = (offset + bytes.len()).saturating_sub(file.cache.len());
        let missing = (used + grows).saturating_sub(capacity).min(bytes.len());
        match fate {
            Fate::Go if missing > 0 => {
                file.write(offset, &bytes[..bytes.len() - missing]);
                Err(io::ErrorKind::StorageFull.into())
            }
            Fate::Go => {
                file.write(offset, bytes);
                Ok(())
            }
            Fate::Fail => {
                file.write(offset, &bytes[..bytes.len() / 2]);
                Err(injected())
            }
            Fate::Crash { seed } => {
                file.write(offset, bytes);
                world.crash(seed);
                world.alive()
            }
        }
    }

    fn sync_data(&mut self) -> io::Result<()> {
        let mut world = lock(&self.world);
        match world.begin()? {
            Fate::Go => {
                world.syncs += 1;
                world.contents(&self.name)?.sync();
                Ok(())
            }
            Fate::Fail => {
                world.contents(&self.name)?.dirty.clear();
                Err(injected())
            }
            Fate::Crash { seed } => {
                world.crash(seed);
                world.alive()
            }
        }
    }

    fn truncate(&mut self, len_bytes: u64) -> io::Result<()> {
        let mut world = lock(&self.world);
        let fate = world.begin()?;
        let len = index(len_bytes)?;
        match fate {
            Fate::Go => {
                world.contents(&self.name)?.truncate(len);
                Ok(())
            }
            Fate::Fail => Err(injected()),
            Fate::Crash { seed } => {
                if Dice(seed).coin() {
                    world.contents(&self.name)?.truncate(len);
                }
                world.crash(seed);
                world.alive()
            }
        }
    }
}
