//! `process.restart`: the target's main process ends, and whoever keeps it starts it again.
//!
//! The signal goes to the main process; one that has not ended after a bounded time is killed. A
//! container is restarted by its engine instead, since an engine does not start again what ends
//! without its doing. The fault is over when a new main process is there, or when the wait for it
//! is.
//!
//! **What is seen.** The old main process's end by a handle on it, and the first process in the
//! target's cgroup that was started after that end; the outage is what lies between. Whether the
//! service answers is for the checks to say.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use temblor_event::clock::now_ns;
use temblor_event::{Effect, EffectPart};
use temblor_host::engine;
use temblor_host::process::Process;
use temblor_host::target::{Origin, Target};

use super::death::Death;
use super::members::Roll;
use super::signal::DefaultAction;
use super::stat::{Stat, ticks_per_second};
use super::{ProcessRefusal, Signo};
use crate::undo::Guard;
use crate::{Described, Error, Fault, Injected, PlannedChange, Result, Reverted};

const NAME: &str = "process.restart";
const UNDONE_BY: &str = "whoever keeps the target running, who starts it again";

const GRACE_MAX: Duration = Duration::from_secs(120);
const WITHIN_MIN: Duration = Duration::from_millis(100);
const WITHIN_MAX: Duration = Duration::from_secs(600);
/// How often the group is looked at for a new process.
const LOOK_EVERY: Duration = Duration::from_millis(2);
/// How long one wait for the old process's end lasts before somebody may tell us to stop.
const WAIT_SLICE_MS: u32 = 20;

/// A restart of a target's main process.
#[derive(Debug, Clone)]
pub struct Restart {
    /// Who is restarted.
    pub target: Target,
    /// What ends the main process. A container gets what its image says it is to be stopped with,
    /// and SIGTERM stands for that here; SIGKILL is the only other one that its engine can be
    /// asked for.
    pub signal: Signo,
    /// How long it may take to end before it is killed; at most 2 minutes.
    pub grace: Duration,
    /// How long a new main process is waited for, after the signal; 100 ms to 10 minutes.
    pub within: Duration,
}

impl Restart {
    /// A restart with SIGTERM, SIGKILL after 10 s, and 30 s of patience.
    #[must_use]
    pub fn of(target: Target) -> Self {
        Self {
            target,
            signal: Signo::TERM,
            grace: Duration::from_secs(10),
            within: Duration::from_secs(30),
        }
    }

    fn is_by_engine(&self) -> bool {
        matches!(self.target.origin, Origin::Container { .. })
    }

    /// How long the engine lets it end by itself.
    fn engine_grace(&self) -> Duration {
        if self.signal == Signo::KILL { Duration::ZERO } else { self.grace }
    }

    fn check_bounds(&self) -> Result<(), ProcessRefusal> {
        let bounds = |what, given, least, most| {
            if (least..=most).contains(&given) {
                return Ok(());
            }
            Err(ProcessRefusal::Bounds { what, given, least, most })
        };
        bounds("the wait before SIGKILL (grace)", self.grace, Duration::ZERO, GRACE_MAX)?;
        bounds("the wait for the new process (within)", self.within, WITHIN_MIN, WITHIN_MAX)
    }
}

impl Fault for Restart {
    fn name(&self) -> &'static str {
        NAME
    }

    fn check(&self) -> Result<()> {
        self.check_bounds()?;
        let service = || self.target.service.clone();
        if self.signal.default_action() != DefaultAction::End {
            let given = format!("{} (as what ends a process)", self.signal);
            return Err(ProcessRefusal::NotASignal { given }.into());
        }
        let roll = Roll::of(&self.target);
        match &self.target.origin {
            Origin::Processes => {
                return Err(ProcessRefusal::NobodyRestarts { service: service() }.into());
            }
            Origin::Container { .. } if ![Signo::TERM, Signo::KILL].contains(&self.signal) => {
                let signal = self.signal.to_string();
                return Err(ProcessRefusal::NotForContainers { service: service(), signal }.into());
            }
            Origin::Unit(unit) => {
                if let Some(policy) = policy_of(unit)
                    && !comes_back(&policy, self.signal)
                {
                    let (unit, signal) = (unit.clone(), self.signal.to_string());
                    return Err(ProcessRefusal::UnitStaysDown { unit, signal, policy }.into());
                }
            }
            _ => {}
        }
        if !roll.is_by_group() {
            return Err(ProcessRefusal::NoGroup { service: service() }.into());
        }
        Ok(roll.refuse_ourselves(&roll.members())?)
    }

    fn plan(&self) -> Vec<PlannedChange> {
        let service = &self.target.service;
        let main = Roll::of(&self.target).main().map_or("none now".into(), |pid| pid.to_string());
        let what = if self.is_by_engine() {
            format!("ask the container engine to restart {service} (main process {main})")
        } else {
            format!(
                "send {} to the main process of {service} ({main}), and SIGKILL if it has not \
                 ended after {:?}",
                self.signal, self.grace
            )
        };
        vec![PlannedChange { what, undo: UNDONE_BY.into() }]
    }

    fn inject(&self, _guard: &Guard) -> Result<Box<dyn Injected>> {
        self.check()?;
        let roll = Roll::of(&self.target);
        let none = || ProcessRefusal::NoProcesses { service: self.target.service.clone() };
        let before = roll.members();
        let main = roll.main().ok_or_else(none)?;
        let failed =
            |e| Error::system(format!("signal process {main} of {}", self.target.service), e);
        let handle = roll.open(main).map_err(failed)?.ok_or_else(none)?;
        let start_ticks = Stat::of(main).ok_or_else(none)?.start_ticks;
        let began_ns = now_ns();
        if !self.is_by_engine() {
            handle.signal(self.signal.signal()).map_err(failed)?;
        }
        let ended_ns = now_ns();
        let shared = Arc::new(Shared::default());
        let watcher = Watcher {
            fault: self.clone(),
            roll,
            before,
            main,
            start_ticks,
            handle,
            began_ns,
            shared: Arc::clone(&shared),
        };
        let thread = std::thread::Builder::new()
            .name("restart".into())
            .spawn(move || watcher.run())
            .map_err(|e| Error::system("start the thread that waits for the new process", e))?;
        let mechanism = if self.is_by_engine() {
            "a restart by the container engine".to_owned()
        } else {
            format!("{} to main process {main}, SIGKILL after {:?}", self.signal, self.grace)
        };
        let described = Described {
            name: NAME.into(),
            dose: BTreeMap::from([
                ("target".into(), self.target.service.clone()),
                ("signal".into(), self.signal.to_string()),
                ("grace".into(), format!("{:?}", self.grace)),
            ]),
            mechanism,
            undone_by: UNDONE_BY.into(),
            began_ns,
            ended_ns,
        };
        Ok(Box::new(Restarting { described, shared, thread: Some(thread) }))
    }
}

/// A unit's `Restart=`, where systemd can be asked.
fn policy_of(unit: &str) -> Option<String> {
    let show = ["show", "--property=Restart", "--value", "--", unit];
    let told = Command::new("systemctl").args(show).output().ok()?;
    let policy = String::from_utf8(told.stdout).ok()?.trim().to_owned();
    (told.status.success() && !policy.is_empty()).then_some(policy)
}

/// Whether systemd starts a unit again whose main process ended by this signal. SIGHUP, SIGINT,
/// SIGTERM and SIGPIPE are a clean end to it.
fn comes_back(policy: &str, signal: Signo) -> bool {
    let clean = [libc::SIGHUP, libc::SIGINT, libc::SIGTERM, libc::SIGPIPE];
    match policy {
        "always" => true,
        "on-success" => clean.contains(&signal.number()),
        "on-failure" | "on-abnormal" | "on-abort" => !clean.contains(&signal.number()),
        _ => false,
    }
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    over: AtomicBool,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default, Clone)]
struct Seen {
    gone: Option<(u64, Death)>,
    killed: bool,
    back: Option<(u64, u32)>,
    problem: Option<String>,
}

impl Shared {
    fn tell(&self, change: impl FnOnce(&mut Seen)) {
        change(&mut self.seen.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

struct Watcher {
    fault: Restart,
    roll: Roll,
    /// The target's processes before: none of them is the new main process.
    before: Vec<u32>,
    main: u32,
    start_ticks: u64,
    handle: Process,
    began_ns: u64,
    shared: Arc<Shared>,
}

impl Watcher {
    fn run(self) {
        let by_engine = self.fault.is_by_engine();
        if by_engine {
            self.ask_the_engine();
        }
        if self.wait_for_the_end(by_engine) {
            self.wait_for_the_new_one(ticks_now());
        }
        self.shared.over.store(true, Ordering::Release);
    }

    /// It is waited for by what it does, not by its answer, which comes when all is done.
    fn ask_the_engine(&self) {
        let (origin, grace) = (self.fault.target.origin.clone(), self.fault.engine_grace());
        let shared = Arc::clone(&self.shared);
        std::thread::spawn(move || {
            if let Err(error) = engine::restart(&origin, grace) {
                shared.tell(|seen| seen.problem = Some(error.to_string()));
                shared.stop.store(true, Ordering::Release);
            }
        });
    }

    fn wait_for_the_end(&self, by_engine: bool) -> bool {
        let grace_ns = ns(self.fault.grace);
        let mut killed = by_engine;
        while !self.is_told_to_stop() {
            match self.handle.wait_ended(WAIT_SLICE_MS) {
                Ok(true) => {
                    let death = Death::of(self.main, self.start_ticks, &self.handle);
                    self.shared.tell(|seen| seen.gone = Some((now_ns(), death)));
                    return true;
                }
                Ok(false) => {}
                Err(e) => {
                    self.shared.tell(|seen| seen.problem = Some(e.to_string()));
                    return false;
                }
            }
            if !killed && now_ns() >= self.began_ns.saturating_add(grace_ns) {
                killed = true;
                match self.handle.signal(Signo::KILL.signal()) {
                    Ok(sent) => self.shared.tell(|seen| seen.killed = sent),
                    Err(e) => self.shared.tell(|seen| seen.problem = Some(e.to_string())),
                }
            }
        }
        false
    }

    fn wait_for_the_new_one(&self, gone_ticks: u64) {
        while !self.is_told_to_stop() {
            let all = self.roll.members();
            let new: Vec<u32> =
                all.iter().copied().filter(|pid| self.is_new(*pid, gone_ticks)).collect();
            if let Some(pid) = self.roll.outsider(&new) {
                self.shared.tell(|seen| seen.back = Some((now_ns(), pid)));
                return;
            }
            std::thread::park_timeout(LOOK_EVERY);
        }
    }

    /// Neither one of the old ones nor started by one of them before the main one's end: those
    /// have lost their parent and look like a new main process. Start times are in whole ticks.
    fn is_new(&self, pid: u32, gone_ticks: u64) -> bool {
        let old = self.before.contains(&pid) && pid != self.main;
        !old && Stat::of(pid).is_some_and(|stat| {
            stat.start_ticks > self.start_ticks && stat.start_ticks + 1 >= gone_ticks
        })
    }

    fn is_told_to_stop(&self) -> bool {
        let over_ns = self.began_ns.saturating_add(ns(self.fault.within));
        self.shared.stop.load(Ordering::Acquire) || now_ns() >= over_ns
    }
}

/// The clock of process start times.
fn ticks_now() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    let ticks_per_second = ticks_per_second();
    let (seconds, nanos) = (now.tv_sec.cast_unsigned(), now.tv_nsec.cast_unsigned());
    seconds * ticks_per_second + nanos * ticks_per_second / 1_000_000_000
}

fn ns(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// A restart that was begun.
#[derive(Debug)]
struct Restarting {
    described: Described,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Restarting {
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
        let part = |name: String, count| EffectPart { name, count, bytes: 0 };
        let mut parts = Vec::new();
        if let Some((_, death)) = seen.gone {
            parts.push(part(format!("main processes {}", death.words()), 1));
        }
        if seen.killed {
            parts.push(part("did not end by themselves in time and were killed".into(), 1));
        }
        match (seen.gone, seen.back) {
            (Some((gone_ns, _)), Some((back_ns, pid))) => {
                let outage_ms = back_ns.saturating_sub(gone_ns) / 1_000_000;
                let name = format!("new main processes (pid {pid}), {outage_ms} ms after the end");
                parts.push(part(name, 1));
            }
            _ => parts.push(part("new main processes".into(), 0)),
        }
        if let Some(problem) = seen.problem {
            parts.push(part(problem, 0));
        }
        Effect {
            measure: "main processes ended".into(),
            count: u64::from(seen.gone.is_some()),
            source: "a process handle of the kernel (pidfd), cgroup.procs of the target".into(),
            parts,
            doses: Vec::new(),
        }
    }
}

impl Injected for Restarting {
    fn describe(&self) -> &Described {
        &self.described
    }

    fn effect(&mut self) -> Result<Effect> {
        Ok(self.reading())
    }

    /// Whether a new main process is there, or is no longer waited for.
    fn is_over(&self) -> bool {
        self.shared.over.load(Ordering::Acquire)
    }

    /// Nothing is undone: whoever keeps the target has started it again, or does so without us.
    fn revert(mut self: Box<Self>) -> Result<Reverted> {
        let began_ns = now_ns();
        self.stop();
        let ended_ns = now_ns();
        let effect = self.reading();
        Ok(Reverted { began_ns, ended_ns, effect, effect_unread: None, verified: true })
    }
}

impl Drop for Restarting {
    fn drop(&mut self) {
        self.stop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn systemd_brings_back_what_its_policy_covers() {
        for (policy, term, kill) in [
            ("always", true, true),
            ("on-success", true, false),
            ("on-failure", false, true),
            ("on-abnormal", false, true),
            ("on-abort", false, true),
            ("no", false, false),
        ] {
            assert_eq!(comes_back(policy, Signo::TERM), term, "{policy}");
            assert_eq!(comes_back(policy, Signo::KILL), kill, "{policy}");
        }
    }
}
