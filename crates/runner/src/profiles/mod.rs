//! Profiles that are collected while a run goes on: one collector for each kind, attached before the
//! first phase, whose samples are cut by the phases that they fall into.
//!
//! No run fails for want of a profile: that there is none is on record, with the reason.

mod collector;
mod phases;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use temblor_event::{
    Event, ProbeLost, ProfileEnded, ProfileKept, ProfileMissing, ProfileStarted, clock,
};
use temblor_host::target::Target;
use temblor_plan::{Experiment, Profiled};
use temblor_profiler::{End, Part, Parted, Parts, Stretch};
use temblor_runs::RunDir;

use self::collector::Collector;
use self::phases::{Phases, Window};
use crate::http::chain;
use crate::recorder::Recorder;
use crate::stop::Stop;

/// Reading the programs' files takes a second or so, and much longer on a machine that is busy.
const ATTACH_MAX_NS: u64 = 60_000_000_000;
/// How often it is looked whether it is attached.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The collectors that run along. None outlives this.
pub(crate) struct Profiles {
    all: Vec<Collecting>,
    phases: Phases,
    /// The names of the run's phases.
    names: Vec<String>,
}

/// A kind that is collected, or was to be.
struct Collecting {
    profiled: Profiled,
    collector: Collector,
    attach_ns: u64,
    enough: Arc<AtomicBool>,
    /// What collects; or why nothing does.
    thread: Result<JoinHandle<Result<Parted, String>>, String>,
}

impl Profiles {
    /// Starts what the experiment wants collected, and waits until it is attached or has failed.
    pub(crate) fn start(experiment: &Experiment, targets: &[Target], stop: &Stop) -> Self {
        let mut profiles = Self {
            all: Vec::with_capacity(experiment.profile.len()),
            phases: Phases::default(),
            names: experiment.phases.iter().map(|phase| phase.name.clone()).collect(),
        };
        for profiled in &experiment.profile {
            let collecting = profiles.collecting(profiled, targets, stop);
            profiles.all.push(collecting);
        }
        profiles
    }

    fn collecting(&self, profiled: &Profiled, targets: &[Target], stop: &Stop) -> Collecting {
        let began_ns = clock::now_ns();
        let collector = Collector::of(profiled.kind);
        let (tell, attached) = sync_channel(1);
        let enough: Arc<AtomicBool> = Arc::default();
        let (phases, names) = (self.phases.clone(), self.names.clone());
        let (targets, profiled) = (targets.to_vec(), profiled.clone());
        let collect = {
            let (profiled, enough) = (profiled.clone(), Arc::clone(&enough));
            move || {
                let part_of = |t_ns| {
                    let (place, until_ns) = phases.at(t_ns);
                    let name = place.map(|place| &names[place]);
                    let part = profiled.phases.iter().position(|phase| Some(phase) == name);
                    Stretch { part, until_ns }
                };
                let parts = Parts { count: profiled.phases.len(), of: &part_of };
                // Asked for the first time once everything is in place.
                let enough = || {
                    // Nobody waits for it any more after the first time.
                    let _ = tell.try_send(());
                    enough.load(Ordering::Relaxed)
                };
                let rate_hz = profiled.rate_hz.unwrap_or_default();
                let collected = collector.collect(&targets, rate_hz, parts, enough);
                collected.map_err(|error| chain(&error))
            }
        };
        let name = format!("profile {}", profiled.kind.name());
        let thread = match thread::Builder::new().name(name).spawn(collect) {
            Err(error) => Err(format!("no thread could be started for it: {error}")),
            Ok(thread) => loop {
                match attached.recv_timeout(LOOK_EVERY) {
                    Ok(()) => break Ok(thread),
                    Err(RecvTimeoutError::Disconnected) => break Err(why_ended(thread)),
                    Err(RecvTimeoutError::Timeout) => {}
                }
                if stop.requested().is_some() {
                    break Ok(thread);
                }
                if clock::now_ns().saturating_sub(began_ns) > ATTACH_MAX_NS {
                    // It ends by itself once it asks whether it is enough.
                    enough.store(true, Ordering::Relaxed);
                    break Err(format!("not attached after {} s", ATTACH_MAX_NS / 1_000_000_000));
                }
            },
        };
        let attach_ns = clock::now_ns() - began_ns;
        Collecting { profiled, collector, attach_ns, enough, thread }
    }

    /// Puts on record what is collected, and gives the reasons why anything is not.
    pub(crate) fn record(&self, to: &Recorder) -> Vec<String> {
        let mut said = Vec::new();
        for Collecting { profiled, collector, attach_ns, thread, .. } in &self.all {
            let Profiled { kind, phases, rate_hz } = profiled;
            match thread {
                Ok(_) => to.record(Event::now(ProfileStarted {
                    kind: kind.name().to_owned(),
                    probe: probe_name(kind.name()),
                    phases: phases.clone(),
                    rate_hz: *rate_hz,
                    hooks: collector.hooks(),
                    attach_ns: *attach_ns,
                })),
                Err(why) => {
                    said.push(format!("no {} profile: {why}", kind.name()));
                    missing(profiled, phases.clone(), why, to);
                }
            }
        }
        said
    }

    pub(crate) fn phase_begins(&self, start_ns: u64) {
        self.phases.begins(start_ns);
    }

    pub(crate) fn phase_ends(&self, end_ns: u64) {
        self.phases.ends(end_ns);
    }

    /// Nothing more is collected from here on; names are looked up while the run goes on.
    pub(crate) fn ask_to_end(&self) {
        for collecting in &self.all {
            collecting.enough.store(true, Ordering::Relaxed);
        }
    }

    /// Puts what was collected into the run directory, and on record.
    pub(crate) fn end(&mut self, dir: &RunDir, to: &Recorder) {
        self.ask_to_end();
        for Collecting { profiled, collector, thread, .. } in std::mem::take(&mut self.all) {
            // Why there is none was told at the beginning.
            let Ok(thread) = thread else { continue };
            match joined(thread) {
                Ok(parted) => self.keep(&profiled, &collector, parted, dir, to),
                Err(why) => missing(&profiled, profiled.phases.clone(), &why, to),
            }
        }
    }

    fn keep(
        &self,
        profiled: &Profiled,
        collector: &Collector,
        parted: Parted,
        dir: &RunDir,
        to: &Recorder,
    ) {
        let Parted { parts, account } = parted;
        let kind = profiled.kind.name();
        for (phase, part) in profiled.phases.iter().zip(parts) {
            let place = self.names.iter().position(|name| name == phase);
            let kept = match (place.and_then(|place| self.phases.window(place)), part) {
                (None, _) => Err("the run ended before it".to_owned()),
                (Some(window), None) => Err(nothing_seen(window, account.lost, collector.nothing)),
                (Some(window), Some(mut part)) => {
                    part.profile.default_type = collector.meant.unwrap_or_default().to_owned();
                    keep_one(kind, phase, window, part, dir)
                }
            };
            match kept {
                Ok(kept) => to.record(Event::now(kept)),
                Err(why) => missing(profiled, vec![phase.clone()], &why, to),
            }
        }
        let probe = probe_name(kind);
        if account.lost > 0 {
            to.record(Event::now(ProbeLost { probe: probe.clone(), events: account.lost }));
        }
        let mut cost = account.cost;
        cost.probe = probe;
        to.record(Event::now(cost));
        to.record(Event::now(ProfileEnded {
            kind: kind.to_owned(),
            samples_lost: account.lost,
            naming_ns: u64::try_from(account.naming.as_nanos()).unwrap_or(u64::MAX),
        }));
    }
}

impl Drop for Profiles {
    fn drop(&mut self) {
        self.ask_to_end();
        for collecting in self.all.drain(..) {
            if let Ok(thread) = collecting.thread {
                // The run never began: nobody asks what was collected.
                let _ = thread.join();
            }
        }
    }
}

/// Under which its costs and losses are on record, among those of the probes.
fn probe_name(kind: &str) -> String {
    format!("profile {kind}")
}

fn missing(profiled: &Profiled, phases: Vec<String>, why: &str, to: &Recorder) {
    let kind = profiled.kind.name().to_owned();
    to.record(Event::now(ProfileMissing { kind, phases, why: why.to_owned() }));
}

fn keep_one(
    kind: &str,
    phase: &str,
    window: Window,
    part: Part,
    dir: &RunDir,
) -> Result<ProfileKept, String> {
    let Part { mut profile, samples, ends } = part;
    let lasted_ns = window.lasted_ns();
    let ago_ns = clock::now_ns().saturating_sub(window.start_ns);
    let begun_ns = clock::wall_unix_ns().saturating_sub(ago_ns);
    profile.time_ns = i64::try_from(begun_ns).unwrap_or(0);
    profile.duration_ns = i64::try_from(lasted_ns).unwrap_or(i64::MAX);
    let bytes = temblor_profile::pprof::write(&profile);
    let file = dir.write_profile(kind, phase, &bytes).map_err(|error| chain(&error))?;
    let to_root = [End::Root, End::NoUser].iter().filter_map(|end| ends.get(end)).sum();
    Ok(ProfileKept {
        kind: kind.to_owned(),
        phase: phase.to_owned(),
        file,
        samples,
        samples_to_root: to_root,
        lasted_ns,
    })
}

fn nothing_seen(window: Window, lost: u64, nothing: &str) -> String {
    let seconds = Duration::from_nanos(window.lasted_ns()).as_secs_f64();
    let why = if lost > 0 { "there was no room for those that there were" } else { nothing };
    format!("no samples in {seconds:.1} s: {why}")
}

fn joined(thread: JoinHandle<Result<Parted, String>>) -> Result<Parted, String> {
    thread.join().unwrap_or_else(|_panic| Err("what collects it panicked".to_owned()))
}

fn why_ended(thread: JoinHandle<Result<Parted, String>>) -> String {
    match joined(thread) {
        Ok(_) => "it ended before it had begun".to_owned(),
        Err(why) => why,
    }
}
