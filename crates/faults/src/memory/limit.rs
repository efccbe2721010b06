//! `memory.limit`: a target may have only so much memory.
//!
//! The limit of its cgroup (`memory.max`, or `memory.limit_in_bytes` of version 1) is lowered and
//! gets its previous value back, exactly; where there is swap, that is closed as a way out for the
//! time. When the target needs more, the kernel first takes back what it can (its page cache),
//! and then kills one of its processes: a limit below what it needs is an OOM kill.
//!
//! **Below what is in use.** Version 2 takes such a limit and kills for it at once. Version 1
//! takes back what it can and refuses the rest; it is asked several times, and then the fault is
//! refused with the figure. **A target that shares its cgroup** is moved into one of ours for the
//! time: what it had before stays charged where it was, so that the limit is on what it takes
//! from now on.
//!
//! **What is seen.** How often something did not fit, and how many processes were killed for it,
//! by the kernel's counters; the limit as the kernel reads it back; and the most that was in use,
//! where the kernel began to remember below the limit.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use temblor_event::clock::now_ns;
use temblor_event::{DoseSeen, Effect, EffectPart};
use temblor_host::target::Target;

use super::group::{Counters, Machine, MemoryGroup, whole_pages};
use super::{BYTES_MIN, MemoryRefusal, WANTED};
use crate::process::place::Place;
use crate::process::record::{OnRecord, all_closed};
use crate::process::watch::within;
use crate::undo::{ControlFile, Guard, Undo};
use crate::{Described, Error, Fault, Injected, PlannedChange, Result, Reverted};

const NAME: &str = "memory.limit";
/// How far the limit, and the most that is used below it, may be from what was asked.
const WITHIN_SHARE: f64 = 0.02;
/// For version 1 to take back enough memory; each attempt takes back what it can.
const RECLAIMED_WITHIN: Duration = Duration::from_millis(200);
const ASK_AGAIN: Duration = Duration::from_millis(5);

/// A limit of a target's memory.
#[derive(Debug, Clone)]
pub struct Limit {
    /// Who is limited.
    pub target: Target,
    /// To how many bytes: at least 4 MiB, and less than it is limited to already.
    pub to: u64,
}

impl Limit {
    fn place(&self) -> Result<Place> {
        if self.to < BYTES_MIN {
            return Err(MemoryRefusal::TooLittle { given: self.to, least: BYTES_MIN }.into());
        }
        let place = Place::find(&self.target, WANTED)?;
        if let Place::Own(dir) = &place
            && let Some(before) = MemoryGroup::at(dir).limit()
            && whole_pages(self.to) >= before
        {
            let (service, given) = (self.target.service.clone(), self.to);
            return Err(MemoryRefusal::NotLower { service, given, before }.into());
        }
        Ok(place)
    }
}

fn has_swap() -> bool {
    Machine::now().is_some_and(|machine| machine.swap > 0)
}

impl Fault for Limit {
    fn name(&self) -> &'static str {
        NAME
    }

    fn check(&self) -> Result<()> {
        self.place().map(drop)
    }

    fn plan(&self) -> Vec<PlannedChange> {
        let Ok(place) = self.place() else { return Vec::new() };
        let files = MemoryGroup::at(place.dir()).files(self.to, has_swap());
        let writes = files.into_iter().map(|(file, value)| PlannedChange {
            what: format!("write {value} to {}", file.display()),
            undo: std::fs::read_to_string(&file).map_or_else(
                |_| "goes with the group".to_owned(),
                |previous| format!("write {} back to it", previous.trim_end()),
            ),
        });
        place.plan(&self.target).into_iter().chain(writes).collect()
    }

    fn inject(&self, guard: &Guard) -> Result<Box<dyn Injected>> {
        let place = self.place()?;
        let began_ns = now_ns();
        let mut record = OnRecord::default();
        place.enter(&self.target, guard, &mut record)?;
        let group = MemoryGroup::at(place.dir());
        let unread = || {
            let read = format!("read the counters of the cgroup {}", group.dir.display());
            Error::system(read, std::io::Error::from(std::io::ErrorKind::InvalidData))
        };
        let usage = group.usage().unwrap_or(0);
        let highest = group.limit().unwrap_or(u64::MAX).min(usage.max(self.to));
        let mut limited = Limited {
            service: self.target.service.clone(),
            asked: whole_pages(self.to),
            highest,
            started: group.counters().ok_or_else(unread)?,
            peak_before: group.peak().unwrap_or(u64::MAX),
            files: BTreeMap::new(),
            record,
            guard: guard.clone(),
            now: 0,
            last: Effect::default(),
            described: Described {
                name: NAME.into(),
                dose: BTreeMap::from([
                    ("target".into(), self.target.service.clone()),
                    ("to".into(), format!("{} bytes", self.to)),
                ]),
                mechanism: String::new(),
                undone_by: "its previous limit, on record before it was changed".into(),
                began_ns,
                ended_ns: began_ns,
            },
            group,
        };
        limited.limit(limited.asked)?;
        let files: Vec<String> =
            limited.files.keys().map(|file| file.display().to_string()).collect();
        limited.described.mechanism = format!("{} in {}", limited.asked, files.join(" and "));
        if matches!(place, Place::Ours(_)) {
            limited
                .described
                .mechanism
                .push_str(", a cgroup of ours: on what the target takes from now on");
        }
        limited.described.ended_ns = now_ns();
        Ok(Box::new(limited))
    }
}

/// A limit that is in place.
struct Limited {
    service: String,
    group: MemoryGroup,
    record: OnRecord,
    guard: Guard,
    /// The first change to each file, with what was there before.
    files: BTreeMap<PathBuf, ControlFile>,
    /// The whole dose, bytes.
    asked: u64,
    /// What level 0 is, bytes.
    highest: u64,
    /// The limit that is in place.
    now: u64,
    started: Counters,
    /// The most that was in use before.
    peak_before: u64,
    described: Described,
    last: Effect,
}

impl Limited {
    fn limit(&mut self, bytes: u64) -> Result<()> {
        let mut files = self.group.files(bytes, has_swap());
        // Raised, memory and swap together come first.
        if whole_pages(bytes) > self.now && self.now > 0 {
            files.reverse();
        }
        for (file, value) in files {
            let undo = match self.files.get(&file) {
                Some(first) => first.then(&value),
                None => ControlFile::about_to_set(&file, &value)?,
            };
            if undo.reads()?.is_some_and(|now| now == value) {
                continue;
            }
            self.record.add(&self.guard, Undo::ControlFile(undo.clone()))?;
            self.set(&undo, bytes)?;
            self.files.entry(file).or_insert(undo);
        }
        self.now = whole_pages(bytes);
        Ok(())
    }

    /// Version 1 answers "busy" while it cannot take back enough.
    fn set(&self, undo: &ControlFile, bytes: u64) -> Result<()> {
        let mut last = undo.set();
        within(RECLAIMED_WITHIN, ASK_AGAIN, || {
            let busy = last.as_ref().is_err_and(is_busy);
            if busy {
                last = undo.set();
            }
            !busy
        });
        match last {
            Err(error) if is_busy(&error) => {
                let usage = self.group.usage().unwrap_or(0);
                let service = self.service.clone();
                Err(MemoryRefusal::BelowUse { service, given: bytes, usage }.into())
            }
            other => other,
        }
    }

    fn read(&mut self) -> Result<()> {
        let now = self.group.counters().ok_or_else(|| {
            let read = format!("read the counters of the cgroup {}", self.group.dir.display());
            Error::system(read, std::io::Error::from(std::io::ErrorKind::NotFound))
        })?;
        let hits = now.hits.saturating_sub(self.started.hits);
        let kills = now.kills.saturating_sub(self.started.kills);
        let usage = self.group.usage().unwrap_or(0);
        let part = |name: &str, count, bytes| EffectPart { name: name.into(), count, bytes };
        #[expect(clippy::cast_precision_loss, reason = "bytes of a machine's memory")]
        let float = |bytes: u64| bytes as f64;
        let limit_file = self.group.limit_file();
        let read_back = self.group.limit();
        // What was used before the limit was there says nothing of it.
        let peak = self.group.peak().filter(|_| hits > 0 && self.peak_before < self.now);
        let dose = |what: &str, observed: Option<u64>, source: String| DoseSeen {
            what: what.into(),
            unit: "bytes".into(),
            asked: float(self.now),
            observed: observed.map(float),
            within: float(self.now) * WITHIN_SHARE,
            samples: u64::from(observed.is_some()),
            source,
        };
        self.last = Effect {
            measure: "times that memory did not fit below the limit".into(),
            count: hits.max(kills),
            source: self.group.counted_in(),
            parts: vec![
                part("did not fit", hits, 0),
                part("processes killed for it", kills, 0),
                part("in use now", 0, usage),
            ],
            doses: vec![
                dose(
                    "the limit as the kernel reads it",
                    read_back,
                    limit_file.display().to_string(),
                ),
                dose(
                    "the most that was in use",
                    peak,
                    format!("the peak of the cgroup {}", self.group.dir.display()),
                ),
            ],
        };
        Ok(())
    }
}

fn is_busy(error: &Error) -> bool {
    matches!(error, Error::System { source, .. } if source.raw_os_error() == Some(libc::EBUSY))
}

impl Injected for Limited {
    fn describe(&self) -> &Described {
        &self.described
    }

    fn effect(&mut self) -> Result<Effect> {
        self.read()?;
        Ok(self.last.clone())
    }

    /// Level 0 is what the target used when the fault began, or the dose where that is more.
    fn set_level(&mut self, level: f64) -> Result<()> {
        if !(0.0..=1.0).contains(&level) {
            return Err(MemoryRefusal::Level { given: level }.into());
        }
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "bytes between two limits"
        )]
        let less = (self.highest.saturating_sub(self.asked) as f64 * level) as u64;
        self.limit(self.highest - less)
    }

    fn revert(mut self: Box<Self>) -> Result<Reverted> {
        let effect_unread = self.read().err().map(|e| e.to_string());
        let Self { record, last: effect, .. } = *self;
        let began_ns = now_ns();
        let undone = record.undo();
        let ended_ns = now_ns();
        let verified = all_closed(&undone?)?;
        Ok(Reverted { began_ns, ended_ns, effect, effect_unread, verified })
    }
}
