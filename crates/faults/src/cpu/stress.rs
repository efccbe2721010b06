//! `cpu.stress`: busy threads inside the target's cgroup.
//!
//! They take from the target's own share of the machine and from its quota, as a runaway loop in
//! it would; others notice no more of it than the target's weight and quota allow. A target that
//! shares its cgroup is moved into one of ours for the time, with the threads.
//!
//! **What is seen.** The processor time that the stressor got, by the kernel's account of it. It
//! is no dose: how much it gets is what the target leaves it, and the other way round.

use std::collections::BTreeMap;

use temblor_event::clock::now_ns;
use temblor_event::{Effect, EffectPart};
use temblor_host::target::Target;

use super::CpuRefusal;
use super::limit::{V1_QUOTA, V2};
use crate::process::place::{Place, Wanted};
use crate::process::record::{OnRecord, all_closed};
use crate::process::stat::{Stat, ticks_per_second};
use crate::stressor::{Job, Running};
use crate::undo::Guard;
use crate::{Described, Error, Fault, Injected, PlannedChange, Result, Reverted};

const NAME: &str = "cpu.stress";
/// How many threads one stressor may have.
const WORKERS_MAX: u32 = 1024;
pub(super) const WANTED: Wanted =
    Wanted { controller: "cpu", counted_by: Some("cpuacct"), v2: V2, v1: V1_QUOTA };

/// Busy threads beside a target.
#[derive(Debug, Clone)]
pub struct Stress {
    /// Beside whom.
    pub target: Target,
    /// How many threads; none: as many as there are processors. At most 1024.
    pub workers: Option<u32>,
    /// For which share of the time each of them works: above 0, at most 1.
    pub load: f64,
}

impl Stress {
    fn workers(&self) -> u32 {
        let processors = || std::thread::available_parallelism().map_or(1, usize::from);
        self.workers.unwrap_or_else(|| u32::try_from(processors()).unwrap_or(1).min(WORKERS_MAX))
    }

    fn place(&self) -> Result<Place> {
        let given = self.workers();
        if !(1..=WORKERS_MAX).contains(&given) {
            return Err(CpuRefusal::Workers { given, max: WORKERS_MAX }.into());
        }
        if !(self.load > 0.0 && self.load <= 1.0) {
            return Err(CpuRefusal::Load { given: self.load }.into());
        }
        Place::find(&self.target, WANTED)
    }

    fn words(&self) -> String {
        format!("the stressor of {} ({} busy threads)", self.target.service, self.workers())
    }
}

impl Fault for Stress {
    fn name(&self) -> &'static str {
        NAME
    }

    fn check(&self) -> Result<()> {
        self.place().map(drop)
    }

    fn plan(&self) -> Vec<PlannedChange> {
        let Ok(place) = self.place() else { return Vec::new() };
        let start = PlannedChange {
            what: format!("start {} in the cgroup {}", self.words(), place.dir().display()),
            undo: "end it; the kernel does so when this program dies".into(),
        };
        place.plan(&self.target).into_iter().chain([start]).collect()
    }

    fn inject(&self, guard: &Guard) -> Result<Box<dyn Injected>> {
        let place = self.place()?;
        let began_ns = now_ns();
        let mut record = OnRecord::default();
        place.enter(&self.target, guard, &mut record)?;
        let dirs = place.dirs(&self.target, WANTED);
        let job = Job::Cpu { workers: self.workers(), load: self.load };
        let mut stressor = Running::start(&job, &dirs, &self.words(), guard, &mut record)?;
        stressor.set_level(1.0)?;
        let described = Described {
            name: NAME.into(),
            dose: BTreeMap::from([
                ("target".into(), self.target.service.clone()),
                ("workers".into(), self.workers().to_string()),
                ("load".into(), format!("{}%", self.load * 100.0)),
            ]),
            mechanism: format!(
                "process {} in the cgroup {}",
                stressor.pid(),
                dirs.first().map(|dir| dir.display().to_string()).unwrap_or_default()
            ),
            undone_by:
                "the kernel, which ends the process when this program dies; it is on record \
                        as well"
                    .into(),
            began_ns,
            ended_ns: now_ns(),
        };
        let workers = self.workers();
        Ok(Box::new(Stressed { stressor, record, described, workers, used_ms: 0 }))
    }
}

/// Threads that are busy.
struct Stressed {
    stressor: Running,
    record: OnRecord,
    described: Described,
    workers: u32,
    /// The last reading.
    used_ms: u64,
}

impl Stressed {
    fn reading(&self) -> Effect {
        let name = format!("by {} threads of process {}", self.workers, self.stressor.pid());
        Effect {
            measure: "ms of processor time taken".into(),
            count: self.used_ms,
            source: format!("/proc/{}/stat", self.stressor.pid()),
            parts: vec![EffectPart { name, count: self.used_ms, bytes: 0 }],
            doses: Vec::new(),
        }
    }
}

impl Injected for Stressed {
    fn describe(&self) -> &Described {
        &self.described
    }

    fn effect(&mut self) -> Result<Effect> {
        let pid = self.stressor.pid();
        let ended = || {
            let gone = std::io::Error::other("it has ended, killed by somebody else");
            Error::system(format!("read the processor time of the stressor {pid}"), gone)
        };
        // It is our child: until we wait for it its pid is nobody else's.
        let stat = Stat::of(pid).filter(|stat| !stat.has_ended()).ok_or_else(ended)?;
        self.used_ms = stat.cpu_ticks * 1_000 / ticks_per_second();
        Ok(self.reading())
    }

    fn set_level(&mut self, level: f64) -> Result<()> {
        if !(0.0..=1.0).contains(&level) {
            return Err(CpuRefusal::Level { given: level }.into());
        }
        self.stressor.set_level(level)
    }

    fn revert(mut self: Box<Self>) -> Result<Reverted> {
        let effect_unread = self.effect().err().map(|e| e.to_string());
        let effect = self.reading();
        let Self { stressor, record, .. } = *self;
        let began_ns = now_ns();
        drop(stressor);
        let undone = record.undo();
        let ended_ns = now_ns();
        let verified = all_closed(&undone?)?;
        Ok(Reverted { began_ns, ended_ns, effect, effect_unread, verified })
    }
}
