//! `cpu.quota`: a target gets only so much processor time in each period.
//!
//! The limit of its cgroup (`cpu.max`, or `cpu.cfs_quota_us` of version 1) is lowered and gets its
//! previous value back, exactly. A target that shares its cgroup is moved into one of ours for the
//! time. The period is kept unless the quota would be shorter than the kernel takes.
//!
//! **The dose** is a share of what the target could use before: all processors that its main
//! process may run on, or less where its cgroup or one above has a quota already. Or it is a
//! number of processors.
//!
//! **What is seen.** The kernel counts the periods in which the group had used up its quota and
//! had to wait; a target that needs less than it is given is never throttled, and the fault has no
//! effect. The dose is the group's processor time for each second of the time in which it was
//! throttled throughout: what it uses while it waits for nothing says nothing of the limit.

use std::collections::BTreeMap;
use std::path::PathBuf;

use rustix::process::Pid;
use rustix::thread::sched_getaffinity;
use temblor_event::clock::now_ns;
use temblor_event::{DoseSeen, Effect, EffectPart};
use temblor_host::target::Target;

use super::CpuRefusal;
use super::limit::{CPUS_MIN, Limit, V1_BURST, V1_QUOTA, V2, V2_BURST, available};
use super::throttled::{Counters, Used};
use crate::process::members::Roll;
use crate::process::place::{Place, Wanted};
use crate::process::record::{OnRecord, all_closed};
use crate::undo::{ControlFile, Guard, Undo};
use crate::{Described, Error, Fault, Injected, PlannedChange, Result, Reverted};

const NAME: &str = "cpu.quota";
/// How far what is used may be from what was asked.
const WITHIN_SHARE: f64 = 0.05;
const WANTED: Wanted =
    Wanted { controller: "cpu", counted_by: Some("cpuacct"), v2: V2, v1: V1_QUOTA };

/// How much processor time is left.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Amount {
    /// A share of what the target could use before: above 0, at most 1.
    Share(f64),
    /// So many processors: above 0, at most what the target could use before.
    Cpus(f64),
}

/// A limit of a target's processor time.
#[derive(Debug, Clone)]
pub struct Quota {
    /// Who is limited.
    pub target: Target,
    /// To how much.
    pub to: Amount,
}

/// What would be done, worked out from what is there.
struct Worked {
    place: Place,
    /// In processors.
    available: f64,
    cpus: f64,
    before: Limit,
}

impl Quota {
    fn work_out(&self) -> Result<Worked> {
        let service = || self.target.service.clone();
        if let Amount::Share(given) = self.to
            && !(given > 0.0 && given <= 1.0)
        {
            return Err(CpuRefusal::Share { service: service(), given }.into());
        }
        let place = Place::find(&self.target, WANTED)?;
        let (dir, before) = match &place {
            Place::Own(dir) => (dir.clone(), Limit::of(dir)),
            // The one above is what it may use; a new group has no limit of its own.
            Place::Ours(_) => {
                let above = place.dir().parent().map(PathBuf::from).unwrap_or_default();
                (above, Some(Limit { quota_us: None, period_us: 100_000 }))
            }
        };
        let before = before.ok_or_else(|| {
            let read = format!("read the quota of the cgroup {}", dir.display());
            Error::system(read, std::io::Error::from(std::io::ErrorKind::InvalidData))
        })?;
        let available = available(&dir, self.processors());
        let cpus = match self.to {
            Amount::Share(share) => share * available,
            Amount::Cpus(given) if given > 0.0 && given <= available => given,
            Amount::Cpus(given) => {
                return Err(CpuRefusal::Cpus { service: service(), given, available }.into());
            }
        };
        if cpus < CPUS_MIN {
            return Err(CpuRefusal::TooLittle { service: service(), cpus }.into());
        }
        Ok(Worked { place, available, cpus, before })
    }

    /// How many processors the target's main process may run on.
    fn processors(&self) -> f64 {
        let main = Roll::of(&self.target).main();
        let pid = main.and_then(|pid| Pid::from_raw(pid.cast_signed()));
        // Ours, where the target is between two lives.
        sched_getaffinity(pid).map_or(1.0, |set| f64::from(set.count()))
    }

    fn dose(&self) -> String {
        match self.to {
            Amount::Share(share) => format!("{}% of what it could use", round(share * 100.0)),
            Amount::Cpus(cpus) => format!("{} processors", round(cpus)),
        }
    }
}

fn round(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}

impl Fault for Quota {
    fn name(&self) -> &'static str {
        NAME
    }

    fn check(&self) -> Result<()> {
        self.work_out().map(drop)
    }

    fn plan(&self) -> Vec<PlannedChange> {
        let Ok(worked) = self.work_out() else { return Vec::new() };
        let dir = worked.place.dir();
        let mut changes: Vec<PlannedChange> = worked.place.plan(&self.target).into_iter().collect();
        let files = worked.before.to(worked.cpus).files(dir);
        changes.extend(files.into_iter().map(|(file, value)| PlannedChange {
            what: format!("write {value} to {}", file.display()),
            undo: std::fs::read_to_string(&file).map_or_else(
                |_| "goes with the group".to_owned(),
                |previous| format!("write {} back to it", previous.trim_end()),
            ),
        }));
        changes
    }

    fn inject(&self, guard: &Guard) -> Result<Box<dyn Injected>> {
        let Worked { place, available, cpus, before } = self.work_out()?;
        let began_ns = now_ns();
        let mut record = OnRecord::default();
        place.enter(&self.target, guard, &mut record)?;
        let dir = place.dir().to_path_buf();
        // A group of ours has the kernel's own period.
        let before = Limit::of(&dir).unwrap_or(before);
        for name in [V2_BURST, V1_BURST] {
            let file = dir.join(name);
            let undo = match std::fs::read_to_string(&file) {
                Ok(text) if text.trim() != "0" => ControlFile::about_to_set(&file, "0")?,
                _ => continue,
            };
            record.add(guard, Undo::ControlFile(undo.clone()))?;
            undo.set()?;
        }
        let mut limited = Limited {
            usage: place.with_file("cpuacct.usage", &self.target),
            started: Counters::default(),
            last: Counters::default(),
            used: Used::default(),
            files: BTreeMap::new(),
            record,
            guard: guard.clone(),
            available,
            asked: cpus,
            before,
            now: before,
            described: Described {
                name: NAME.into(),
                dose: BTreeMap::from([
                    ("target".into(), self.target.service.clone()),
                    ("to".into(), self.dose()),
                    ("cpus".into(), round(cpus).to_string()),
                ]),
                mechanism: String::new(),
                undone_by: "its previous limit, on record before it was changed".into(),
                began_ns,
                ended_ns: began_ns,
            },
            dir,
        };
        limited.started = limited.read()?;
        limited.last = limited.started;
        limited.limit(cpus)?;
        let names: Vec<String> = limited
            .now
            .files(&limited.dir)
            .iter()
            .map(|(f, v)| format!("{v} in {}", f.display()))
            .collect();
        limited.described.mechanism = names.join(", ");
        limited.described.ended_ns = now_ns();
        Ok(Box::new(limited))
    }
}

/// A limit that is in place.
struct Limited {
    dir: PathBuf,
    /// Where version 1 counts the processor time used.
    usage: Option<PathBuf>,
    record: OnRecord,
    guard: Guard,
    /// The first change to each file, with what was there before.
    files: BTreeMap<PathBuf, ControlFile>,
    available: f64,
    /// The whole dose, in processors.
    asked: f64,
    before: Limit,
    now: Limit,
    started: Counters,
    last: Counters,
    used: Used,
    described: Described,
}

impl Limited {
    fn read(&self) -> Result<Counters> {
        Counters::read(&self.dir, self.usage.as_ref()).map_err(|e| {
            Error::system(format!("read the counters of the cgroup {}", self.dir.display()), e)
        })
    }

    /// Holds the group to so many processors. What cannot be written leaves what was there.
    fn limit(&mut self, cpus: f64) -> Result<()> {
        let limit = self.before.to(cpus);
        for (file, value) in limit.files(&self.dir) {
            let undo = match self.files.get(&file) {
                Some(first) => first.then(&value),
                None => ControlFile::about_to_set(&file, &value)?,
            };
            if undo.reads()?.is_some_and(|now| now == value) {
                continue;
            }
            self.record.add(&self.guard, Undo::ControlFile(undo.clone()))?;
            undo.set()?;
            self.files.entry(file).or_insert(undo);
        }
        self.now = limit;
        Ok(())
    }

    fn reading(&self) -> Effect {
        let since = |of: fn(&Counters) -> u64| of(&self.last).saturating_sub(of(&self.started));
        let (periods, throttled) = (since(|c| c.periods), since(|c| c.throttled));
        let waited_ms = since(|c| c.throttled_ns) / 1_000_000;
        let part = |name: String, count| EffectPart { name, count, bytes: 0 };
        let asked = self.now.cpus().unwrap_or(self.asked);
        let period_us = self.now.period_us;
        Effect {
            measure: "periods in which it was throttled".into(),
            count: throttled,
            source: format!("cpu.stat of the cgroup {}", self.dir.display()),
            parts: vec![
                part(format!("throttled, for {waited_ms} ms in all"), throttled),
                part("with work, and not throttled".into(), periods.saturating_sub(throttled)),
            ],
            doses: vec![DoseSeen {
                what: "processor time used while throttled".into(),
                unit: "processors".into(),
                asked,
                observed: self.used.cpus(period_us),
                within: asked * WITHIN_SHARE,
                samples: self.used.windows(),
                source: self.usage.as_ref().map_or_else(
                    || format!("cpu.stat of the cgroup {}", self.dir.display()),
                    |file| file.display().to_string(),
                ),
            }],
        }
    }
}

impl Injected for Limited {
    fn describe(&self) -> &Described {
        &self.described
    }

    fn effect(&mut self) -> Result<Effect> {
        let now = self.read()?;
        self.used.add(&self.last, &now, self.now.period_us);
        self.last = now;
        Ok(self.reading())
    }

    /// Level 0 is what the target could use before; the whole dose is level 1.
    fn set_level(&mut self, level: f64) -> Result<()> {
        if !(0.0..=1.0).contains(&level) {
            return Err(CpuRefusal::Level { given: level }.into());
        }
        self.effect()?;
        self.limit(self.available + (self.asked - self.available) * level)?;
        // What was used under the old limit says nothing of the new one.
        self.used = Used::default();
        self.last = self.read()?;
        Ok(())
    }

    fn revert(mut self: Box<Self>) -> Result<Reverted> {
        let effect_unread = self.effect().err().map(|e| e.to_string());
        let effect = self.reading();
        let Self { record, .. } = *self;
        let began_ns = now_ns();
        let undone = record.undo();
        let ended_ns = now_ns();
        let verified = all_closed(&undone?)?;
        Ok(Reverted { began_ns, ended_ns, effect, effect_unread, verified })
    }
}
