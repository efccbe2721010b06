//! `process.crash-loop`: whatever process appears in the target's cgroup is killed, again and
//! again, for as long as the fault is in place.
//!
//! A thread of ours does it, so that it ends when this program does: there is nothing to undo.
//! Whoever keeps the target has the last word on when it is back (a supervisor waits longer after
//! each crash).
//!
//! **What is seen.** A life is a main process, started into the group from outside. It counts
//! when the kernel says, through a handle on that process, that it has ended.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::Signal;
use temblor_event::clock::now_ns;
use temblor_event::{DoseSeen, Effect, EffectPart};
use temblor_host::target::{Origin, Target};

use super::members::Roll;
use super::{ProcessRefusal, stat::Stat};
use crate::undo::Guard;
use crate::{Described, Error, Fault, Injected, PlannedChange, Result, Reverted};

const NAME: &str = "process.crash-loop";
const UNDONE_BY: &str = "the kernel: the killing thread ends with this program";

/// How often the group is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// For a killed process to have ended, before it is looked for again.
const DEATH_WITHIN_MS: u32 = 1_000;
/// The longest that a life may last.
const ALIVE_MAX: Duration = Duration::from_secs(600);
/// Lives whose length is kept; later ones are counted only.
const LENGTHS_MAX: usize = 4096;

/// A target that does not stay alive.
#[derive(Debug, Clone)]
pub struct CrashLoop {
    /// Who dies.
    pub target: Target,
    /// How long each new life may last, from its first sight; the one that is there when the
    /// fault begins ends at once. At most 10 minutes.
    pub alive: Duration,
}

impl Fault for CrashLoop {
    fn name(&self) -> &'static str {
        NAME
    }

    fn check(&self) -> Result<()> {
        let service = || self.target.service.clone();
        if self.alive > ALIVE_MAX {
            return Err(ProcessRefusal::Bounds {
                what: "the time that each life may last (alive)",
                given: self.alive,
                least: Duration::ZERO,
                most: ALIVE_MAX,
            }
            .into());
        }
        if self.target.origin == Origin::Processes {
            return Err(ProcessRefusal::NobodyRestarts { service: service() }.into());
        }
        let roll = Roll::of(&self.target);
        if !roll.is_by_group() {
            return Err(ProcessRefusal::NoGroup { service: service() }.into());
        }
        // One that is down already is kept down.
        let all = roll.members();
        Ok(if all.is_empty() { Ok(()) } else { roll.refuse_ourselves(&all) }?)
    }

    fn plan(&self) -> Vec<PlannedChange> {
        let pids: Vec<String> =
            Roll::of(&self.target).members().iter().map(u32::to_string).collect();
        vec![PlannedChange {
            what: format!(
                "kill every process of {} (now: {}), and every later one {:?} after it has \
                 appeared",
                self.target.service,
                pids.join(", "),
                self.alive
            ),
            undo: UNDONE_BY.into(),
        }]
    }

    fn inject(&self, _guard: &Guard) -> Result<Box<dyn Injected>> {
        self.check()?;
        let began_ns = now_ns();
        let shared = Arc::new(Shared::default());
        let killer = Killer {
            roll: Roll::of(&self.target),
            alive_ns: u64::try_from(self.alive.as_nanos()).unwrap_or(u64::MAX),
            shared: Arc::clone(&shared),
        };
        let thread = std::thread::Builder::new()
            .name("crash-loop".into())
            .spawn(move || killer.run())
            .map_err(|e| Error::system("start the thread that kills", e))?;
        let described = Described {
            name: NAME.into(),
            dose: BTreeMap::from([
                ("target".into(), self.target.service.clone()),
                ("alive".into(), format!("{:?}", self.alive)),
            ]),
            mechanism: format!(
                "SIGKILL to whatever is in the cgroup of {}, looked at every {LOOK_EVERY:?}",
                self.target.service
            ),
            undone_by: UNDONE_BY.into(),
            began_ns,
            ended_ns: now_ns(),
        };
        Ok(Box::new(Looping {
            described,
            alive: self.alive,
            service: self.target.service.clone(),
            shared,
            thread: Some(thread),
        }))
    }
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    seen: Mutex<Lives>,
}

#[derive(Debug, Default, Clone)]
struct Lives {
    ended: u64,
    /// How long the new lives lasted, nanoseconds.
    lengths_ns: Vec<u64>,
    /// Why somebody could not be killed.
    problem: Option<String>,
}

struct Killer {
    roll: Roll,
    alive_ns: u64,
    shared: Arc<Shared>,
}

/// The main process that is there now.
struct Life {
    pid: u32,
    start_ticks: u64,
    seen_ns: u64,
    is_new: bool,
}

/// Whether it is what a container's runtime runs until the container's own program takes its
/// place. Were that killed, the engine would have a container that cannot be started, and not try
/// again: no crash loop. The name alone does not tell: the runtime enters the group before it
/// takes the name, and some run from a copy of themselves in memory.
fn is_being_made(pid: u32) -> bool {
    const RUNTIMES: [&str; 3] = ["runc", "crun", "youki"];
    let name = temblor_host::process::name(pid).unwrap_or_default();
    let program = std::fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
    let file = program.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with("runc:[")
        || RUNTIMES.contains(&file.trim_end_matches(" (deleted)"))
        || program.to_string_lossy().starts_with("/memfd:runc_cloned")
}

impl Killer {
    fn run(self) {
        let mut life: Option<Life> = None;
        let mut is_new = false;
        while !self.shared.stop.load(Ordering::Acquire) {
            let mut all = self.roll.members();
            all.retain(|pid| !is_being_made(*pid));
            life = self.life(life, &all, is_new);
            // Whoever comes after the first look has come to be killed later.
            is_new = true;
            let due_ns = life
                .as_ref()
                .map_or(0, |l| if l.is_new { l.seen_ns.saturating_add(self.alive_ns) } else { 0 });
            if !all.is_empty() && now_ns() >= due_ns {
                self.end(life.as_ref(), &all);
                life = None;
            }
            std::thread::park_timeout(LOOK_EVERY);
        }
    }

    /// The life that goes on, or the one that has begun.
    fn life(&self, last: Option<Life>, all: &[u32], is_new: bool) -> Option<Life> {
        let same = |l: &Life| Stat::of(l.pid).is_some_and(|s| s.start_ticks == l.start_ticks);
        if let Some(last) = last.filter(|l| all.contains(&l.pid) && same(l)) {
            return Some(last);
        }
        let pid = self.roll.outsider(all)?;
        let start_ticks = Stat::of(pid)?.start_ticks;
        Some(Life { pid, start_ticks, seen_ns: now_ns(), is_new })
    }

    fn end(&self, life: Option<&Life>, all: &[u32]) {
        let mut main = None;
        for pid in all {
            let killed = self.roll.open(*pid).and_then(|handle| match handle {
                Some(handle) => Ok(handle.signal(Signal::KILL)?.then_some(handle)),
                None => Ok(None),
            });
            match killed {
                Ok(Some(handle)) if life.is_some_and(|l| l.pid == *pid) => main = Some(handle),
                Ok(_) => {}
                Err(e) => self.tell(|seen| seen.problem = Some(format!("process {pid}: {e}"))),
            }
        }
        let ended = main.is_some_and(|handle| handle.wait_ended(DEATH_WITHIN_MS).unwrap_or(false));
        if let Some(life) = life.filter(|_| ended) {
            let lasted_ns = now_ns().saturating_sub(life.seen_ns);
            self.tell(|seen| {
                seen.ended += 1;
                if life.is_new && seen.lengths_ns.len() < LENGTHS_MAX {
                    seen.lengths_ns.push(lasted_ns);
                }
            });
        }
    }

    fn tell(&self, change: impl FnOnce(&mut Lives)) {
        change(&mut self.shared.seen.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// A crash loop that goes on.
#[derive(Debug)]
struct Looping {
    described: Described,
    alive: Duration,
    service: String,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Looping {
    fn stop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // A panic of the thread's has ended it as well.
            let _ = thread.join();
        }
    }

    fn reading(&self) -> Effect {
        let seen = self.shared.seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut parts =
            vec![EffectPart { name: "lives ended".into(), count: seen.ended, bytes: 0 }];
        if let Some(problem) = &seen.problem {
            let name = format!("not killed: {problem}");
            parts.push(EffectPart { name, count: 0, bytes: 0 });
        }
        Effect {
            measure: "lives ended".into(),
            count: seen.ended,
            source: format!(
                "process handles of the kernel (pidfd) on the main processes of {}",
                self.service
            ),
            parts,
            doses: self.lengths(seen.lengths_ns).into_iter().collect(),
        }
    }

    /// How long the new lives lasted, where they were to last at all.
    fn lengths(&self, mut lengths_ns: Vec<u64>) -> Option<DoseSeen> {
        #[expect(clippy::cast_precision_loss, reason = "milliseconds")]
        let ms = |ns: u64| ns as f64 / 1e6;
        let asked = self.alive.as_secs_f64() * 1e3;
        lengths_ns.sort_unstable();
        (asked > 0.0).then(|| DoseSeen {
            what: "how long a life lasted (median)".into(),
            unit: "ms".into(),
            asked,
            observed: lengths_ns.get(lengths_ns.len() / 2).map(|ns| ms(*ns)),
            within: (asked * 0.05).max(20.0),
            samples: lengths_ns.len() as u64,
            source: "from the first sight in the cgroup to the end that the process handle tells"
                .into(),
        })
    }
}

impl Injected for Looping {
    fn describe(&self) -> &Described {
        &self.described
    }

    fn effect(&mut self) -> Result<Effect> {
        Ok(self.reading())
    }

    fn revert(mut self: Box<Self>) -> Result<Reverted> {
        let began_ns = now_ns();
        self.stop();
        let ended_ns = now_ns();
        let effect = self.reading();
        Ok(Reverted { began_ns, ended_ns, effect, effect_unread: None, verified: true })
    }
}

impl Drop for Looping {
    fn drop(&mut self) {
        self.stop();
    }
}
