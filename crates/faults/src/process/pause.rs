//! `process.pause`: all of a target's processes stand still, and go on afterwards.
//!
//! **How.** Where the target has a cgroup to itself and the machine has a freezer, that is used:
//! it takes the whole group at once, holds what is forked meanwhile, and shows itself to nobody
//! (a parent that waits for stopped children hears of SIGSTOP, and a shell of its job). Else each
//! process gets SIGSTOP, and the target is looked at again until no new one is found: a stopped
//! process cannot fork, so that this ends. A process that somebody else had stopped is left as it
//! was.
//!
//! **What is seen.** The freezer's own word for the group, or state `T` of each process; and the
//! processor time of the target, which stands still.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use temblor_event::clock::now_ns;
use temblor_event::{DoseSeen, Effect, EffectPart};
use temblor_host::target::Target;

use super::ProcessRefusal;
use super::members::Roll;
use super::record::{OnRecord, all_closed};
use super::stat::{Stat, ticks_per_second};
use super::watch::within;
use crate::undo::thaw::{FREEZE, STATE};
use crate::undo::{Continue, Guard, Thaw, Undo};
use crate::{Described, Fault, Injected, PlannedChange, Result, Reverted};

const NAME: &str = "process.pause";

/// How often the target is looked at again for processes that were started meanwhile.
const SWEEPS_MAX: u32 = 64;
/// For the processes to stand still before the fault counts as made; a process that waits for a
/// disk stops later.
const STILL_WITHIN: Duration = Duration::from_millis(20);
const LOOK_AGAIN: Duration = Duration::from_millis(1);
/// How much processor time a paused target may seem to use, in percent of one processor.
const STILL_PERCENT: f64 = 1.0;

/// A pause of all of a target's processes.
#[derive(Debug, Clone)]
pub struct Pause {
    /// Who stands still.
    pub target: Target,
}

impl Pause {
    fn roll(&self) -> Roll {
        Roll::of(&self.target)
    }

    fn freezer(&self) -> Option<PathBuf> {
        self.roll().own_file(&[FREEZE, STATE])
    }
}

impl Fault for Pause {
    fn name(&self) -> &'static str {
        NAME
    }

    fn check(&self) -> Result<()> {
        let roll = self.roll();
        roll.refuse_ourselves(&roll.members())?;
        if let Some(file) = self.freezer()
            && Thaw::about_to_freeze(&file)?.frozen_before()
        {
            let by = file.display().to_string();
            return Err(
                ProcessRefusal::FrozenAlready { service: self.target.service.clone(), by }.into()
            );
        }
        Ok(())
    }

    fn plan(&self) -> Vec<PlannedChange> {
        if let Some(file) = self.freezer() {
            let (on, off) = words(&file);
            let what = format!("write {on} to {}", file.display());
            return vec![PlannedChange { what, undo: format!("write {off} to it") }];
        }
        self.roll()
            .members()
            .iter()
            .map(|pid| PlannedChange {
                what: format!("stop process {pid} of {} (SIGSTOP)", self.target.service),
                undo: "let it go on (SIGCONT)".into(),
            })
            .collect()
    }

    fn inject(&self, guard: &Guard) -> Result<Box<dyn Injected>> {
        self.check()?;
        let roll = self.roll();
        let began_ns = now_ns();
        let mut record = OnRecord::default();
        let way = match self.freezer() {
            Some(file) => {
                let undo = Thaw::about_to_freeze(&file)?;
                record.add(guard, Undo::Thaw(undo.clone()))?;
                undo.freeze()?;
                Way::Freezer(file)
            }
            None => Way::Signal(self.stop_each(&roll, guard, &mut record)?),
        };
        let mut paused = Paused {
            described: self.described(&way, began_ns),
            cpu_dir: roll.own_file(&["cpuacct.usage", "cpu.stat"]),
            roll,
            way,
            record,
            still_since: None,
            last: Effect::default(),
        };
        within(STILL_WITHIN, LOOK_AGAIN, || paused.is_still());
        paused.described.ended_ns = now_ns();
        Ok(Box::new(paused))
    }
}

impl Pause {
    fn stop_each(&self, roll: &Roll, guard: &Guard, record: &mut OnRecord) -> Result<Vec<u32>> {
        let mut stopped: Vec<u32> = Vec::new();
        let mut seen: Vec<u32> = Vec::new();
        for _ in 0..SWEEPS_MAX {
            let new: Vec<u32> =
                roll.members().into_iter().filter(|pid| !seen.contains(pid)).collect();
            if new.is_empty() {
                break;
            }
            for pid in new {
                seen.push(pid);
                // One that ended between the two looks needs no stopping.
                let undo = match Continue::about_to_stop(pid) {
                    Err(_) if Stat::of(pid).is_none() => continue,
                    undo => undo?,
                };
                if undo.stopped_before() {
                    continue;
                }
                record.add(guard, Undo::Continue(undo.clone()))?;
                match undo.stop() {
                    Err(_) if Stat::of(pid).is_none_or(Stat::has_ended) => {}
                    Err(error) => return Err(error),
                    Ok(()) => stopped.push(pid),
                }
            }
        }
        if stopped.is_empty() {
            let service = self.target.service.clone();
            return Err(ProcessRefusal::NoProcesses { service }.into());
        }
        Ok(stopped)
    }

    fn described(&self, way: &Way, began_ns: u64) -> Described {
        let (mechanism, undone_by) = match way {
            Way::Freezer(file) => {
                let (on, off) = words(file);
                (
                    format!("the freezer: {on} in {}", file.display()),
                    format!("{off} in the same file, on record before it was frozen"),
                )
            }
            Way::Signal(pids) => (
                format!("SIGSTOP to {} processes of {}", pids.len(), self.target.service),
                "SIGCONT to each of them, on record before it was stopped".into(),
            ),
        };
        Described {
            name: NAME.into(),
            dose: BTreeMap::from([("target".into(), self.target.service.clone())]),
            mechanism,
            undone_by,
            began_ns,
            ended_ns: began_ns,
        }
    }
}

/// What is written to a freezer's file to stop and to go on.
fn words(file: &Path) -> (&'static str, &'static str) {
    if file.ends_with(FREEZE) { ("1", "0") } else { ("FROZEN", "THAWED") }
}

#[derive(Debug)]
enum Way {
    /// By this file.
    Freezer(PathBuf),
    /// These processes, each by itself.
    Signal(Vec<u32>),
}

/// A target that stands still.
struct Paused {
    roll: Roll,
    way: Way,
    /// A file that counts the group's processor time, where there is one.
    cpu_dir: Option<PathBuf>,
    record: OnRecord,
    /// Since when, and the target's processor time then.
    still_since: Option<(u64, u64)>,
    described: Described,
    last: Effect,
}

impl Paused {
    /// How many processes the kernel says stand still, and how many there are.
    fn still(&self) -> (u64, u64) {
        match &self.way {
            Way::Freezer(file) => {
                let all = self.roll.members().len() as u64;
                (if is_frozen(file) { all } else { 0 }, all)
            }
            Way::Signal(pids) => {
                // One that ended waits for its parent for as long as that is stopped.
                let stats = pids.iter().filter_map(|pid| Stat::of(*pid));
                let states: Vec<Stat> = stats.filter(|stat| !stat.has_ended()).collect();
                let still = states.iter().filter(|stat| matches!(stat.state, 'T' | 't')).count();
                (still as u64, states.len() as u64)
            }
        }
    }

    fn is_still(&mut self) -> bool {
        let (still, all) = self.still();
        let now = still > 0 && still == all;
        if now && self.still_since.is_none() {
            self.still_since = self.cpu_ns().map(|cpu_ns| (now_ns(), cpu_ns));
        }
        now
    }

    /// The target's processor time so far, in nanoseconds.
    fn cpu_ns(&self) -> Option<u64> {
        match (&self.cpu_dir, &self.way) {
            (Some(file), Way::Freezer(_)) => cpu_of_group(file),
            (_, Way::Signal(pids)) => Some(cpu_of_processes(pids)),
            (None, Way::Freezer(_)) => Some(cpu_of_processes(&self.roll.members())),
        }
    }

    fn cpu_source(&self) -> String {
        match (&self.cpu_dir, &self.way) {
            (Some(file), Way::Freezer(_)) => file.display().to_string(),
            _ => "/proc/PID/stat of each process".into(),
        }
    }
}

fn is_frozen(file: &Path) -> bool {
    let read = |path: &Path| fs::read_to_string(path).unwrap_or_default();
    if file.ends_with(FREEZE) {
        read(&file.with_file_name("cgroup.events")).lines().any(|line| line == "frozen 1")
    } else {
        read(file).trim_end() == "FROZEN"
    }
}

/// From `cpuacct.usage` (nanoseconds) or `cpu.stat` of version 2 (microseconds).
fn cpu_of_group(file: &Path) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    if file.ends_with("cpuacct.usage") {
        return text.trim_end().parse().ok();
    }
    let usage = text.lines().find_map(|line| line.strip_prefix("usage_usec "))?;
    usage.parse::<u64>().ok().map(|us| us * 1000)
}

fn cpu_of_processes(pids: &[u32]) -> u64 {
    let ticks: u64 = pids.iter().filter_map(|pid| Some(Stat::of(*pid)?.cpu_ticks)).sum();
    ticks * 1_000_000_000 / ticks_per_second()
}

impl Injected for Paused {
    fn describe(&self) -> &Described {
        &self.described
    }

    fn effect(&mut self) -> Result<Effect> {
        self.is_still();
        let (still, all) = self.still();
        let (source, not_yet) = match &self.way {
            Way::Freezer(file) => (format!("{} as the kernel reads it", file.display()), "thawed"),
            Way::Signal(_) => ("process states in /proc".to_owned(), "not stopped"),
        };
        let part = |name: &str, count| EffectPart { name: name.into(), count, bytes: 0 };
        let mut parts = vec![part("standing still", still)];
        if all > still {
            parts.push(part(not_yet, all - still));
        }
        let used = self.still_since.and_then(|(since_ns, before_ns)| {
            let wall_ns = now_ns().saturating_sub(since_ns);
            let cpu_ns = self.cpu_ns()?.saturating_sub(before_ns);
            #[expect(clippy::cast_precision_loss, reason = "a percentage")]
            (wall_ns > 0).then(|| cpu_ns as f64 * 100.0 / wall_ns as f64)
        });
        self.last = Effect {
            measure: "processes standing still".into(),
            count: still,
            source,
            parts,
            doses: vec![DoseSeen {
                what: "processor time used while paused".into(),
                unit: "%".into(),
                asked: 0.0,
                observed: used,
                within: STILL_PERCENT,
                samples: u64::from(used.is_some()),
                source: self.cpu_source(),
            }],
        };
        Ok(self.last.clone())
    }

    fn revert(mut self: Box<Self>) -> Result<Reverted> {
        let effect_unread = self.effect().err().map(|e| e.to_string());
        let Self { record, last: effect, .. } = *self;
        let began_ns = now_ns();
        let undone = record.undo();
        let ended_ns = now_ns();
        let verified = all_closed(&undone?)?;
        Ok(Reverted { began_ns, ended_ns, effect, effect_unread, verified })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_read_from_either_version() {
        let dir = tempfile::tempdir().unwrap();
        for (name, text, expected) in [
            ("cpuacct.usage", "123456789\n", Some(123_456_789)),
            ("cpu.stat", "usage_usec 1500\nuser_usec 1000\n", Some(1_500_000)),
            ("cpu.stat", "nr_periods 0\nnr_throttled 0\n", None),
        ] {
            let file = dir.path().join(name);
            fs::write(&file, text).unwrap();
            assert_eq!(cpu_of_group(&file), expected, "{text}");
        }
    }

    #[test]
    fn a_group_is_frozen_when_the_kernel_says_so_of_either_version() {
        let dir = tempfile::tempdir().unwrap();
        let (v1, v2) = (dir.path().join(STATE), dir.path().join(FREEZE));
        for (state, events, frozen) in [
            ("FROZEN\n", "populated 1\nfrozen 1\n", true),
            ("FREEZING\n", "populated 1\nfrozen 0\n", false),
            ("THAWED\n", "populated 1\nfrozen 0\n", false),
        ] {
            fs::write(&v1, state).unwrap();
            fs::write(dir.path().join("cgroup.events"), events).unwrap();
            assert_eq!((is_frozen(&v1), is_frozen(&v2)), (frozen, frozen), "{state}");
        }
    }
}
