//! `disk.contention`: others write to the disk that a target's files are on.
//!
//! **How.** Worker processes write blocks of bytes that are never the same, sync them to the disk
//! (after each block, or once a round), and read them back from it, round and round in a file of
//! their own each. The files lie beside the target's and have no name; they never get longer than
//! [`FILE_BYTES`], so that however long it goes on, no disk fills up.
//!
//! **How it ends.** The workers are on record before they begin, and end with this program
//! ([`crate::stressor`]). Their files go with them.
//!
//! **What it does** to the target depends on the disk: a sync of the target's waits behind the
//! workers' in the device's queue and in the filesystem's journal. So a sync of our own is timed,
//! before and during the fault, in the same directory. What the workers wrote is what the kernel
//! charges them with, and how busy the disk was is what the kernel's disk statistics say.

mod account;
mod probe;
mod worker;

use std::collections::BTreeMap;
use std::fs::File;
use std::process::Stdio;

use temblor_event::clock::now_ns;
use temblor_event::{Effect, EffectPart};

use self::account::DiskStats;
use self::probe::Probe;
pub(crate) use self::worker::DiskWork;
use super::device::{self, BlockDevice};
use super::place::Found;
use super::{DiskRefusal, Place, scratch};
use crate::process::record::{OnRecord, all_closed};
use crate::stressor::{Job, Running};
use crate::undo::Guard;
use crate::{Described, Error, Fault, Injected, PlannedChange, Result, Reverted};

const NAME: &str = "disk.contention";
const UNDONE_BY: &str =
    "the kernel, which ends the workers when this program dies; they are on record as well";

/// How many workers one fault takes.
pub const MAX_WORKERS: u32 = 64;
/// The largest block.
pub const MAX_BLOCK_BYTES: u64 = 64 << 20;
/// The smallest block.
pub const MIN_BLOCK_BYTES: u64 = 512;
/// How long one worker's file gets at most.
pub const FILE_BYTES: u64 = 64 << 20;
/// How much of what is free the workers' files take together at most.
const FREE_SHARE: u64 = 4;

const _: () = assert!(MAX_BLOCK_BYTES <= FILE_BYTES, "a file holds a block at least");

/// Processes that keep a disk busy.
#[derive(Debug, Clone)]
pub struct Contention {
    /// Where they write.
    pub place: Place,
    /// How many, 1 to [`MAX_WORKERS`].
    pub workers: u32,
    /// Bytes in one write, [`MIN_BLOCK_BYTES`] to [`MAX_BLOCK_BYTES`].
    pub block_bytes: u64,
    /// Whether each write is synced, or each round through the file.
    pub sync: bool,
}

impl Contention {
    /// Opens the directory and refuses what would do no harm, or too much.
    fn look(&self) -> Result<(Found, BlockDevice, DiskWork)> {
        let bounds = [
            ("workers", u64::from(self.workers), 1, u64::from(MAX_WORKERS)),
            ("block", self.block_bytes, MIN_BLOCK_BYTES, MAX_BLOCK_BYTES),
        ];
        for (what, given, min, max) in bounds {
            if !(min..=max).contains(&given) {
                return Err(DiskRefusal::OutOfBounds { what, given, min, max }.into());
            }
        }
        let found = self.place.open()?;
        let device = device::of_directory(&found.dir, &found.words).map_err(DiskRefusal::from)?;
        let stat = rustix::fs::fstatvfs(&found.dir)
            .map_err(|e| Error::system(format!("look at the filesystem of {}", found.words), e))?;
        let free = stat.f_bavail.saturating_mul(stat.f_frsize);
        let share = free / FREE_SHARE / u64::from(self.workers);
        if share < self.block_bytes {
            let needed = self.block_bytes * u64::from(self.workers) * FREE_SHARE;
            return Err(DiskRefusal::NoRoom { place: found.words, free, needed }.into());
        }
        let file_bytes = FILE_BYTES.min(share);
        let work = DiskWork { block_bytes: self.block_bytes, file_bytes, sync: self.sync };
        Ok((found, device, work))
    }

    fn dose(&self, found: &Found, device: BlockDevice) -> BTreeMap<String, String> {
        BTreeMap::from([
            ("workers".into(), self.workers.to_string()),
            ("block".into(), self.block_bytes.to_string()),
            ("sync".into(), self.sync.to_string()),
            ("directory".into(), found.words.clone()),
            ("device".into(), format!("{} ({device})", device.name())),
            ("target".into(), self.place.who()),
        ])
    }
}

impl Fault for Contention {
    fn name(&self) -> &'static str {
        NAME
    }

    fn check(&self) -> Result<()> {
        self.look()?;
        Ok(())
    }

    fn plan(&self) -> Vec<PlannedChange> {
        let what = match self.look() {
            Ok((found, device, work)) => format!(
                "start {} processes, each writing, syncing and reading at most {} bytes in a file \
                 without a name in {}, on {} ({device})",
                self.workers,
                work.file_bytes,
                found.words,
                device.name()
            ),
            Err(error) => format!("keep the disk of {} busy: not now, {error}", self.place.who()),
        };
        vec![PlannedChange { what, undo: UNDONE_BY.into() }]
    }

    fn inject(&self, guard: &Guard) -> Result<Box<dyn Injected>> {
        let (found, device, work) = self.look()?;
        let probing = |e| Error::system(format!("time a sync in {}", found.words), e);
        let probed: File = scratch::unnamed(&found, guard)?;
        let before = probe::before(&probed).map_err(probing)?;
        let reading = |e| Error::system(format!("read the statistics of {}", device.name()), e);
        let began = DiskStats::of(device).map_err(reading)?;
        let began_ns = now_ns();
        let mut record = OnRecord::default();
        let mut workers = Vec::new();
        for _ in 0..self.workers {
            let output = Stdio::from(scratch::unnamed(&found, guard)?);
            let what = format!("a worker on the disk of {}", self.place.who());
            let job = Job::Disk(work);
            // In this program's own cgroup: the target's limits are not to hold it back.
            let mut worker = Running::start_on(output, &job, &[], &what, guard, &mut record)?;
            // A stressor begins when it is told how much.
            worker.set_level(1.0)?;
            workers.push(worker);
        }
        let ended_ns = now_ns();
        let probe = Probe::start(probed).map_err(probing)?;
        let described = Described {
            name: NAME.into(),
            dose: self.dose(&found, device),
            mechanism: format!(
                "{} worker processes write, sync and read files without names in {}",
                self.workers, found.words
            ),
            undone_by: UNDONE_BY.into(),
            began_ns,
            ended_ns,
        };
        Ok(Box::new(InPlace {
            workers,
            record,
            probe,
            before,
            device,
            began,
            described,
            effect: Effect::default(),
        }))
    }
}

/// Workers that are at it.
struct InPlace {
    workers: Vec<Running>,
    record: OnRecord,
    probe: Probe,
    /// Syncs of a quiet disk, in nanoseconds.
    before: Vec<u64>,
    device: BlockDevice,
    /// The disk's statistics when it began.
    began: DiskStats,
    described: Described,
    /// The last reading.
    effect: Effect,
}

impl Injected for InPlace {
    fn describe(&self) -> &Described {
        &self.described
    }

    fn effect(&mut self) -> Result<Effect> {
        let name = self.device.name();
        let now = DiskStats::of(self.device)
            .map_err(|e| Error::system(format!("read the statistics of {name}"), e))?;
        let mut written = 0_u64;
        for worker in &self.workers {
            let pid = worker.pid();
            written = written.saturating_add(account::written_bytes(pid).map_err(|e| {
                Error::system(format!("read what the worker {pid} has written"), e)
            })?);
        }
        let during = self.probe.taken();
        let on_disk = now.written_bytes.saturating_sub(self.began.written_bytes);
        let busy_ms = now.busy_ms.saturating_sub(self.began.busy_ms);
        let lasted_ms = now_ns().saturating_sub(self.described.ended_ns) / 1_000_000;
        self.effect = Effect {
            measure: "bytes written by the workers".into(),
            count: written,
            source: format!(
                "write_bytes in /proc/PID/io of the workers; an own sync took {} before and {} \
                 meanwhile; {name} had something to do for {busy_ms} of {lasted_ms} ms \
                 (/proc/diskstats)",
                probe::words(&self.before),
                probe::words(&during),
            ),
            parts: vec![
                EffectPart { name: "by the workers".into(), count: written, bytes: written },
                EffectPart {
                    name: format!("on {name} by everybody (/proc/diskstats)"),
                    count: on_disk,
                    bytes: on_disk,
                },
            ],
            doses: Vec::new(),
        };
        Ok(self.effect.clone())
    }

    fn revert(mut self: Box<Self>) -> Result<Reverted> {
        let effect_unread = self.effect().err().map(|error| error.to_string());
        let Self { workers, record, probe, effect, .. } = *self;
        let began_ns = now_ns();
        drop(workers);
        let undone = record.undo();
        let ended_ns = now_ns();
        drop(probe);
        let verified = all_closed(&undone?)?;
        Ok(Reverted { began_ns, ended_ns, effect, effect_unread, verified })
    }
}
