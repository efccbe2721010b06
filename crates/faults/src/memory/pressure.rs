//! `memory.pressure`: something inside the target's cgroup takes memory and keeps it.
//!
//! It takes so many bytes, or goes on until the kernel kills somebody for want of memory. The
//! stressor is charged to the target's cgroup, as a leak in it would be; the kernel takes back the
//! target's page cache first. A target that shares its cgroup is moved into one of ours for the
//! time.
//!
//! **Who is killed.** The kernel kills the process that has most, with what `oom_score_adj` adds.
//! Where the stressor is to be the victim it raises its own. Where the service is, it lowers its
//! own to the end of the list; without the right to (CAP_SYS_RESOURCE) it is split into processes
//! each of which has less than half of what the greatest of the target's has. A target too small
//! for that has its own `oom_score_adj` raised for the time, on record; that is the last resort,
//! because what the target starts meanwhile keeps the raised one.
//!
//! **Never everybody's memory.** What would leave less than a tenth of the machine's memory to
//! others, or push a group above the target's to its limit, is refused; "until somebody is killed"
//! needs a limit of the target's own.
//!
//! **What is seen.** The kernel's account of the stressor's memory, its count of processes killed
//! in the group, and whether a stressor was among them.

use std::collections::BTreeMap;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use temblor_event::clock::now_ns;
use temblor_event::{DoseSeen, Effect, EffectPart};
use temblor_host::target::Target;

use super::group::{Counters, Machine, MemoryGroup};
use super::{BYTES_MIN, MemoryRefusal, WANTED};
use crate::process::members::Roll;
use crate::process::place::Place;
use crate::process::record::{OnRecord, all_closed};
use crate::process::stat::Stat;
use crate::stressor::{Job, Running};
use crate::undo::{Guard, OomScore, Undo, Undoing as _};
use crate::{Described, Error, Fault, Injected, PlannedChange, Refusal, Result, Reverted};

const NAME: &str = "memory.pressure";
/// How many processes the stressor is split into at most.
const STRESSORS_MAX: u64 = 64;
/// What a stressor's process has before it takes anything, at most.
const OWN_BYTES: u64 = 8 << 20;
/// The score with which a process is the first to be killed.
const FIRST_TO_GO: i32 = 1000;
/// The share of the machine's memory that is left to everybody else.
const LEFT_SHARE: u64 = 10;
/// How far what is taken may be from what was asked.
const WITHIN_SHARE: f64 = 0.02;
/// How often the kernel's count of killed processes is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(2);
/// How much more the stressor may take at a time: 2 GiB a second at the most.
const GRANT_BYTES: u64 = 4 << 20;
/// The bit of CAP_SYS_RESOURCE.
const CAP_SYS_RESOURCE: u32 = 24;

/// How much memory is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Amount {
    /// So many bytes: at least 4 MiB.
    Bytes(u64),
    /// More and more, until the kernel kills a process of the group; then all is given back.
    UntilKilled,
}

/// Who is to be killed, if the kernel kills anybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Victim {
    /// The target's process that has most.
    Service,
    /// The stressor.
    Stressor,
}

impl Victim {
    /// The word for it in an experiment file.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Stressor => "stressor",
        }
    }
}

/// Memory taken beside a target.
#[derive(Debug, Clone)]
pub struct Pressure {
    /// Beside whom.
    pub target: Target,
    /// How much.
    pub size: Amount,
    /// Whom it may cost.
    pub victim: Victim,
}

/// What would be done, worked out from what is there.
struct Worked {
    place: Place,
    bytes: u64,
    jobs: Vec<Job>,
    scores: Vec<OomScore>,
}

impl Pressure {
    fn work_out(&self) -> Result<Worked> {
        if let Amount::Bytes(given) = self.size
            && given < BYTES_MIN
        {
            return Err(MemoryRefusal::TooLittle { given, least: BYTES_MIN }.into());
        }
        let place = Place::find(&self.target, WANTED)?;
        let group = MemoryGroup::at(place.dir());
        let machine = Machine::now().ok_or_else(|| {
            let gone = std::io::Error::from(std::io::ErrorKind::InvalidData);
            Error::system("read /proc/meminfo", gone)
        })?;
        let bytes = self.bytes(&group, machine)?;
        let jobs = self.jobs(bytes)?;
        let scores = self.scores(bytes)?;
        Ok(Worked { place, bytes, jobs, scores })
    }

    /// How many bytes the stressor takes at most.
    fn bytes(&self, group: &MemoryGroup, machine: Machine) -> Result<u64, MemoryRefusal> {
        let service = || self.target.service.clone();
        let limit = group.limit();
        let bytes = match (self.size, limit) {
            (Amount::Bytes(bytes), _) => bytes,
            (Amount::UntilKilled, None) => {
                return Err(MemoryRefusal::NoLimit { service: service() });
            }
            (Amount::UntilKilled, Some(_)) if group.kills_nobody() => {
                return Err(MemoryRefusal::KillsNobody { service: service() });
            }
            // More than fits, whatever can be taken back or swapped out.
            (Amount::UntilKilled, Some(limit)) => limit + limit / 4 + machine.swap,
        };
        let room = limit.map_or(u64::MAX, |limit| limit.saturating_sub(group.usage().unwrap_or(0)));
        let growth = bytes.min(room);
        let others = machine.available.saturating_sub(machine.total / LEFT_SHARE);
        let left = others.min(group.left_above().unwrap_or(u64::MAX));
        if growth > left {
            return Err(MemoryRefusal::Everybodys { service: service(), growth, left });
        }
        Ok(bytes)
    }

    fn jobs(&self, bytes: u64) -> Result<Vec<Job>> {
        let of = |bytes, oom_score_adj| Job::Memory { bytes, oom_score_adj };
        match self.victim {
            Victim::Stressor => Ok(vec![of(bytes, Some(1000))]),
            Victim::Service if may_lower_score() => Ok(vec![of(bytes, Some(-1000))]),
            Victim::Service => match self.split(bytes) {
                Some(number) => {
                    let share = bytes.div_ceil(number);
                    Ok((0..number).map(|_| of(share, None)).collect())
                }
                // The target's own score is raised instead ([`Self::scores`]).
                None => Ok(vec![of(bytes, None)]),
            },
        }
    }

    /// Into how many processes the stressor is split so that each has less than half of what the
    /// target's greatest has; none where that would be too many.
    fn split(&self, bytes: u64) -> Option<u64> {
        let members = Roll::of(&self.target).members();
        let greatest = members.iter().map(|pid| memory_of(*pid, "VmRSS:")).max();
        let each = greatest.unwrap_or(0).div_ceil(2).saturating_sub(OWN_BYTES);
        let number = bytes.checked_div(each)? + 1;
        (number <= STRESSORS_MAX).then_some(number)
    }

    /// The changes that put the target's processes first on the kernel's list, where the stressor
    /// may not be put last.
    fn scores(&self, bytes: u64) -> Result<Vec<OomScore>> {
        if self.victim == Victim::Stressor || may_lower_score() || self.split(bytes).is_some() {
            return Ok(Vec::new());
        }
        let mut scores = Vec::new();
        for pid in Roll::of(&self.target).members() {
            let score = OomScore::about_to_raise(pid, FIRST_TO_GO)?;
            if score.previous() < 0 {
                let service = &self.target.service;
                return Err(Error::Missing {
                    what: format!(
                        "the right to spare the stressor (CAP_SYS_RESOURCE): {service} is \
                         protected from the kernel's OOM killer, which could not be restored"
                    ),
                    how: "run with that capability, or let the victim be the stressor".into(),
                });
            }
            scores.push(score);
        }
        Ok(scores)
    }

    fn words(&self, worked: &Worked) -> String {
        format!("the stressor of {} ({} bytes of memory)", self.target.service, worked.bytes)
    }

    fn size_words(&self) -> String {
        match self.size {
            Amount::Bytes(bytes) => format!("{bytes} bytes"),
            Amount::UntilKilled => "until a process is killed".into(),
        }
    }
}

/// Whether we may put a process of ours at the end of the kernel's list.
fn may_lower_score() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_some_and(|mask| mask & (1 << CAP_SYS_RESOURCE) != 0)
}

/// One of the figures of `/proc/PID/status`, in bytes.
fn memory_of(pid: u32, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let figure = status.lines().find_map(|line| line.strip_prefix(name));
    let kb = figure.and_then(|figure| figure.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kb.unwrap_or(0) << 10
}

impl Fault for Pressure {
    fn name(&self) -> &'static str {
        NAME
    }

    fn check(&self) -> Result<()> {
        self.work_out().map(drop)
    }

    fn plan(&self) -> Vec<PlannedChange> {
        let Ok(worked) = self.work_out() else { return Vec::new() };
        let start = PlannedChange {
            what: format!(
                "start {} as {} processes in the cgroup {}",
                self.words(&worked),
                worked.jobs.len(),
                worked.place.dir().display()
            ),
            undo: "end them; the kernel does so when this program dies".into(),
        };
        let scores = worked.scores.iter().map(|score| PlannedChange {
            what: format!(
                "put a process of {} first among those to be killed",
                self.target.service
            ),
            undo: format!("{}: the guardian", score.words()),
        });
        worked.place.plan(&self.target).into_iter().chain(scores).chain([start]).collect()
    }

    fn inject(&self, guard: &Guard) -> Result<Box<dyn Injected>> {
        let worked = self.work_out()?;
        let began_ns = now_ns();
        let mut record = OnRecord::default();
        worked.place.enter(&self.target, guard, &mut record)?;
        for score in &worked.scores {
            record.add(guard, Undo::OomScore(score.clone()))?;
            score.set()?;
        }
        let group = MemoryGroup::at(worked.place.dir());
        let started = group.counters().ok_or_else(|| {
            let read = format!("read the counters of the cgroup {}", group.dir.display());
            Error::system(read, std::io::Error::from(std::io::ErrorKind::InvalidData))
        })?;
        let dirs = worked.place.dirs(&self.target, WANTED);
        let what = self.words(&worked);
        let mut stressors = Vec::new();
        for job in &worked.jobs {
            stressors.push(Running::start(job, &dirs, &what, guard, &mut record)?);
        }
        let pids: Vec<u32> = stressors.iter().map(Running::pid).collect();
        if let Amount::Bytes(_) = self.size {
            stressors.iter_mut().try_for_each(|stressor| stressor.set_level(1.0))?;
        }
        let stressors = Arc::new(Mutex::new(stressors));
        let granter = Granter {
            group: group.clone(),
            started,
            pids: pids.clone(),
            stressors: Arc::clone(&stressors),
            bytes: worked.bytes,
        };
        let watcher = match self.size {
            Amount::Bytes(_) => None,
            Amount::UntilKilled => Some(Watcher::start(granter)?),
        };
        let described = Described {
            name: NAME.into(),
            dose: BTreeMap::from([
                ("target".into(), self.target.service.clone()),
                ("size".into(), self.size_words()),
                ("victim".into(), self.victim.word().into()),
            ]),
            mechanism: format!("{} processes in the cgroup {}", pids.len(), group.dir.display()),
            undone_by: "the kernel, which ends the processes when this program dies; they are on \
                        record as well"
                .into(),
            began_ns,
            ended_ns: now_ns(),
        };
        let size = self.size;
        let pressed = Pressed {
            watcher,
            stressors,
            record,
            group,
            size,
            pids,
            started,
            most: 0,
            described,
            last: Effect::default(),
        };
        Ok(Box::new(pressed))
    }
}

/// Grants the stressor more and more, until the kernel has killed somebody: then it gives
/// everything back. What it may take is granted piece by piece, when it has taken what it was
/// granted before, so that it cannot run on and cost a second process while the first one dies.
struct Granter {
    group: MemoryGroup,
    started: Counters,
    pids: Vec<u32>,
    stressors: Arc<Mutex<Vec<Running>>>,
    bytes: u64,
}

impl Granter {
    #[expect(clippy::cast_precision_loss, reason = "a share of a machine's memory")]
    fn run(self, told_to_stop: &AtomicBool) {
        // The kernel's account of a process lags behind by some pages a thread.
        let slack = (self.pids.len() as u64) << 20;
        let mut granted = 0;
        while !told_to_stop.load(Ordering::Acquire) {
            if self.group.counters().is_some_and(|now| now.kills > self.started.kills) {
                return self.grant(0.0);
            }
            if granted < self.bytes && held_by(&self.pids) + slack >= granted {
                granted = (granted + GRANT_BYTES.max(slack)).min(self.bytes);
                self.grant(granted as f64 / self.bytes as f64);
            }
            std::thread::park_timeout(LOOK_EVERY);
        }
    }

    fn grant(&self, level: f64) {
        let mut stressors = self.stressors.lock().unwrap_or_else(PoisonError::into_inner);
        for stressor in stressors.iter_mut() {
            // One that was killed itself hears nothing, and has nothing.
            let _ = stressor.set_level(level);
        }
    }
}

/// What these processes have in memory of their own.
fn held_by(pids: &[u32]) -> u64 {
    pids.iter().map(|pid| memory_of(*pid, "RssAnon:")).sum()
}

/// The thread of a [`Granter`].
struct Watcher {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watcher {
    fn start(granter: Granter) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = std::thread::Builder::new()
            .name("memory-pressure".into())
            .spawn(move || granter.run(&told))
            .map_err(|e| Error::system("start the thread that watches for the kill", e))?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // A panic of the thread's has ended it as well.
            let _ = thread.join();
        }
    }
}

/// Memory that is taken. Fields are dropped in their order: the watcher before what it watches.
struct Pressed {
    watcher: Option<Watcher>,
    stressors: Arc<Mutex<Vec<Running>>>,
    record: OnRecord,
    group: MemoryGroup,
    size: Amount,
    pids: Vec<u32>,
    started: Counters,
    /// The most that the stressor had at any reading.
    most: u64,
    described: Described,
    last: Effect,
}

impl Pressed {
    fn read(&mut self) -> Result<()> {
        let now = self.group.counters().ok_or_else(|| {
            let read = format!("read the counters of the cgroup {}", self.group.dir.display());
            Error::system(read, std::io::Error::from(std::io::ErrorKind::NotFound))
        })?;
        let kills = now.kills.saturating_sub(self.started.kills);
        // They are our children: until we wait for them their pids are nobody else's.
        let ended = |pid: &&u32| Stat::of(**pid).is_none_or(Stat::has_ended);
        let killed = self.pids.iter().filter(ended).count() as u64;
        let held = held_by(&self.pids);
        self.most = self.most.max(held);
        let part = |name: &str, count, bytes| EffectPart { name: name.into(), count, bytes };
        let parts = vec![
            part("held by the stressor now", held >> 20, held),
            part("in use in the whole group now", 0, self.group.usage().unwrap_or(0)),
            part("processes killed for want of memory", kills, 0),
            part("processes of the stressor that were killed", killed, 0),
        ];
        let source = self.group.counted_in();
        self.last = match self.size {
            Amount::UntilKilled => Effect {
                measure: "processes killed for want of memory".into(),
                count: kills,
                source,
                parts,
                doses: Vec::new(),
            },
            Amount::Bytes(bytes) => Effect {
                measure: "MiB taken".into(),
                count: self.most >> 20,
                source: format!("RssAnon of the stressor in /proc; {source}"),
                parts,
                doses: vec![self.taken(bytes)],
            },
        };
        Ok(())
    }

    #[expect(clippy::cast_precision_loss, reason = "bytes of a machine's memory")]
    fn taken(&self, bytes: u64) -> DoseSeen {
        let asked = bytes as f64;
        // Each process takes whole MiB, and has a little of its own.
        let whole = (self.pids.len() as u64 * 2) << 20;
        DoseSeen {
            what: "the most memory that the stressor had".into(),
            unit: "bytes".into(),
            asked,
            observed: (self.most > 0).then_some(self.most as f64),
            within: (asked * WITHIN_SHARE).max(whole as f64),
            samples: u64::from(self.most > 0),
            source: "RssAnon in /proc/PID/status of the stressor".into(),
        }
    }
}

impl Injected for Pressed {
    fn describe(&self) -> &Described {
        &self.described
    }

    fn effect(&mut self) -> Result<Effect> {
        self.read()?;
        Ok(self.last.clone())
    }

    /// "Until somebody is killed" has no level.
    fn set_level(&mut self, level: f64) -> Result<()> {
        if self.size == Amount::UntilKilled {
            return Err(Refusal::NoLevels { fault: NAME.into() }.into());
        }
        if !(0.0..=1.0).contains(&level) {
            return Err(MemoryRefusal::Level { given: level }.into());
        }
        let mut stressors = self.stressors.lock().unwrap_or_else(PoisonError::into_inner);
        stressors.iter_mut().try_for_each(|stressor| stressor.set_level(level))
    }

    fn revert(mut self: Box<Self>) -> Result<Reverted> {
        let effect_unread = self.read().err().map(|e| e.to_string());
        let Self { watcher, stressors, record, last: effect, .. } = *self;
        let began_ns = now_ns();
        drop(watcher);
        // The watcher's was the only other hold on them.
        drop(stressors);
        let undone = record.undo();
        let ended_ns = now_ns();
        let verified = all_closed(&undone?)?;
        Ok(Reverted { began_ns, ended_ns, effect, effect_unread, verified })
    }
}
