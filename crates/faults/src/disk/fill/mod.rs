//! `disk.fill`: a filesystem is filled up to a mark.
//!
//! **How.** One file of ours gets space without writing it (fallocate). It has no name: only this
//! program's descriptor keeps it, so the kernel frees it when this program dies, SIGKILL
//! included. `df` shows what it takes; `du` does not, and `lsof +L1` names it.
//!
//! **The mark is kept.** Once a second the file is made longer where others have freed space,
//! and shorter where they have taken some: a target that goes on writing meets a filesystem that
//! stays as full as was asked. With `free: 0` there is nothing left to shorten for: whoever
//! writes gets ENOSPC, and whoever frees space loses it within a second.
//!
//! **What is free** is what an ordinary process may use: blocks that the filesystem sets aside
//! for root are left alone.

mod space;

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::MetadataExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;
use temblor_event::clock::now_ns;
use temblor_event::{DoseSeen, Effect, EffectPart};

use self::space::Space;
use super::place::Found;
use super::{DiskRefusal, Place, scratch};
use crate::undo::Guard;
use crate::{Described, Error, Fault, Injected, PlannedChange, Result, Reverted};

const NAME: &str = "disk.fill";
const UNDONE_BY: &str = "the kernel, when this program's file, which has no name, is closed";
/// How often the mark is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// tmpfs and ramfs.
const IN_MEMORY: [u64; 2] = [0x0102_1994, 0x8584_58f6];

/// How full.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Mark {
    /// This share of what can be used is in use, above 0 and at most 1, as `df` counts. A
    /// hundredth of the filesystem (at most 256 MiB) stays free at least.
    To(f64),
    /// This many bytes stay free; 0 for a full filesystem.
    Free(u64),
}

/// A filesystem that is filled up to a mark.
#[derive(Debug, Clone)]
pub struct Fill {
    /// A directory on the filesystem.
    pub place: Place,
    /// How full.
    pub mark: Mark,
    /// It may be the machine's root filesystem.
    pub root_filesystem: bool,
}

impl Fill {
    /// Opens the directory and refuses what must not be filled.
    fn look(&self) -> Result<(Found, Space)> {
        if let Mark::To(given) = self.mark
            && !(given > 0.0 && given <= 1.0)
        {
            return Err(DiskRefusal::BadShare { given }.into());
        }
        let found = self.place.open()?;
        let words = &found.words;
        let failed =
            |e: std::io::Error| Error::system(format!("look at the filesystem of {words}"), e);
        let device = rustix::fs::fstat(&found.dir).map_err(|e| failed(e.into()))?.st_dev;
        let roots = ["/", "/proc/1/root/"];
        let is_root = roots
            .into_iter()
            .any(|root| rustix::fs::stat(root).is_ok_and(|stat| stat.st_dev == device));
        if is_root && !self.root_filesystem {
            return Err(DiskRefusal::RootFilesystem { place: words.clone() }.into());
        }
        let space = Space::of(&found.dir).map_err(failed)?;
        let wanted = space.wanted_free(self.mark);
        if matches!(self.mark, Mark::To(_)) && wanted < space.floor() {
            let (left, floor) = (wanted, space.floor());
            return Err(DiskRefusal::BelowFloor { place: words.clone(), left, floor }.into());
        }
        if wanted.saturating_add(space.block) > space.free {
            let free = space.free;
            return Err(DiskRefusal::FullAlready { place: words.clone(), free, wanted }.into());
        }
        let kind = rustix::fs::fstatfs(&found.dir).map_err(|e| failed(e.into()))?.f_type;
        if IN_MEMORY.contains(&u64::try_from(kind).unwrap_or_default()) {
            let needed = space.free - wanted;
            let available = available_memory().map_err(failed)?;
            // A tenth is left for everybody else.
            if needed > available / 10 * 9 {
                return Err(
                    DiskRefusal::TakesMemory { place: words.clone(), needed, available }.into()
                );
            }
        }
        Ok((found, space))
    }

    fn dose(&self, found: &Found) -> BTreeMap<String, String> {
        let (key, mark) = match self.mark {
            Mark::To(share) => ("to", format!("{}%", share * 100.0)),
            Mark::Free(bytes) => ("free", bytes.to_string()),
        };
        BTreeMap::from([
            (key.into(), mark),
            ("directory".into(), found.words.clone()),
            ("target".into(), self.place.who()),
        ])
    }
}

/// What the kernel could give without swapping.
fn available_memory() -> std::io::Result<u64> {
    let text = std::fs::read_to_string("/proc/meminfo")?;
    let kib = text
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))
        .and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<u64>().ok());
    Ok(kib.unwrap_or_default().saturating_mul(1024))
}

impl Fault for Fill {
    fn name(&self) -> &'static str {
        NAME
    }

    fn check(&self) -> Result<()> {
        let (found, space) = self.look()?;
        // Only an attempt tells whether the filesystem gives out space ahead of writing. Where a
        // file cannot be made without a name, the attempt waits until one may be on record.
        if let Ok(file) = scratch::without_name(&found) {
            match fallocate(&file, FallocateFlags::empty(), 0, space.block) {
                Ok(()) | Err(Errno::INTR) => {}
                Err(e) => return Err(cannot_take(&found, e.into())),
            }
        }
        Ok(())
    }

    fn plan(&self) -> Vec<PlannedChange> {
        let what = match self.look() {
            Ok((found, space)) => format!(
                "take {} of the {} bytes that are free in the filesystem of {}",
                space.free - space.wanted_free(self.mark),
                space.free,
                found.words
            ),
            Err(error) => format!("fill the filesystem of {}: not now, {error}", self.place.who()),
        };
        vec![PlannedChange { what, undo: UNDONE_BY.into() }]
    }

    fn inject(&self, guard: &Guard) -> Result<Box<dyn Injected>> {
        let (found, before) = self.look()?;
        let began_ns = now_ns();
        let file = Arc::new(scratch::unnamed(&found, guard)?);
        space::adjust(&file, self.mark).map_err(|e| cannot_take(&found, e))?;
        let ended_ns = now_ns();
        let looks = Arc::new(AtomicU64::new(0));
        let keeper = Keeper::start(file, self.mark, Arc::clone(&looks))?;
        let described = Described {
            name: NAME.into(),
            dose: self.dose(&found),
            mechanism: format!(
                "one file without a name on the filesystem of {}, given space with fallocate and \
                 held to the mark once a second",
                found.words
            ),
            undone_by: UNDONE_BY.into(),
            began_ns,
            ended_ns,
        };
        let mark = self.mark;
        Ok(Box::new(InPlace {
            keeper,
            found,
            mark,
            before,
            looks,
            described,
            effect: Effect::default(),
        }))
    }
}

fn cannot_take(found: &Found, e: std::io::Error) -> Error {
    if e.raw_os_error() == Some(libc::EOPNOTSUPP) {
        return Error::Missing {
            what: format!(
                "a filesystem under {} that gives out space ahead (fallocate)",
                found.words
            ),
            how: "ext4, xfs, btrfs and tmpfs do".into(),
        };
    }
    Error::system(format!("take space on the filesystem of {}", found.words), e)
}

/// The thread that holds the file to the mark.
struct Keeper {
    file: Arc<File>,
    /// Dropping it ends the thread.
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    fn start(file: Arc<File>, mark: Mark, looks: Arc<AtomicU64>) -> Result<Self> {
        let (stop, stopped) = channel::<()>();
        let kept = Arc::clone(&file);
        let thread = std::thread::Builder::new()
            .name("temblor-fill".into())
            .spawn(move || {
                while stopped.recv_timeout(LOOK_EVERY) == Err(RecvTimeoutError::Timeout) {
                    // What cannot be done now may be a second later; the effect shows what is.
                    if space::adjust(&kept, mark).is_ok() {
                        looks.fetch_add(1, Ordering::Relaxed);
                    }
                }
            })
            .map_err(|e| Error::system("start a thread that keeps the mark", e))?;
        Ok(Self { file, stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A file of ours that takes up the space.
struct InPlace {
    keeper: Keeper,
    found: Found,
    mark: Mark,
    before: Space,
    looks: Arc<AtomicU64>,
    described: Described,
    /// The last reading.
    effect: Effect,
}

impl InPlace {
    fn dose_seen(&self, now: &Space) -> DoseSeen {
        let source = format!("statvfs of {}", self.found.words);
        let samples = self.looks.load(Ordering::Relaxed) + 1;
        #[expect(clippy::cast_precision_loss, reason = "sizes are far below 2^52")]
        match self.mark {
            Mark::To(share) => DoseSeen {
                what: "share of the filesystem in use".into(),
                unit: "%".into(),
                asked: share * 100.0,
                observed: Some(now.used_percent()),
                within: 0.5,
                samples,
                source,
            },
            Mark::Free(bytes) => DoseSeen {
                what: "bytes left free".into(),
                unit: "bytes".into(),
                asked: bytes as f64,
                observed: Some(now.free as f64),
                within: (bytes / 50).max(16 * now.block) as f64,
                samples,
                source,
            },
        }
    }
}

impl Injected for InPlace {
    fn describe(&self) -> &Described {
        &self.described
    }

    fn effect(&mut self) -> Result<Effect> {
        let failed = |e: std::io::Error| {
            Error::system(format!("look at the filesystem of {}", self.found.words), e)
        };
        let now = Space::of(&*self.keeper.file).map_err(failed)?;
        let ours = self.keeper.file.metadata().map_err(failed)?.blocks().saturating_mul(512);
        self.effect = Effect {
            measure: "bytes gone from what was free".into(),
            count: self.before.free.saturating_sub(now.free),
            source: format!("statvfs of {}, before and now", self.found.words),
            parts: vec![EffectPart {
                name: "held by a file of ours".into(),
                count: ours,
                bytes: ours,
            }],
            doses: vec![self.dose_seen(&now)],
        };
        Ok(self.effect.clone())
    }

    fn revert(mut self: Box<Self>) -> Result<Reverted> {
        let effect_unread = self.effect().err().map(|error| error.to_string());
        let ours = self.keeper.file.metadata().map(|m| (m.dev(), m.ino()));
        let Self { keeper, effect, .. } = *self;
        let began_ns = now_ns();
        drop(keeper);
        let ended_ns = now_ns();
        let asking = |e| Error::system("look whether the file is closed", e);
        let (device, inode) = ours.map_err(asking)?;
        // It has no name, so it is gone when nobody has it open, and nobody else ever had.
        let verified = !scratch::is_open_here(device, inode).map_err(asking)?;
        Ok(Reverted { began_ns, ended_ns, effect, effect_unread, verified })
    }
}
