//! `resource.files`: a target's processes may open no more files than they are left.
//!
//! The soft limit of open files of each process is lowered by `prlimit(2)`; the hard limit is
//! never touched, so that a process may raise its own limit again, as it may on any day. What is
//! open stays open; what would be opened past the limit (a file, a connection, an accept) fails
//! with EMFILE. What the processes fork meanwhile inherits the limit, and gets it back with them.
//!
//! The kernel keeps the limit when this process dies: what it was is on record first.
//!
//! **Without CAP_SYS_RESOURCE**, as root in a container is, the limits of another user's process
//! are set by a thread that takes that user's real ids for the call and ends with it.
//!
//! **What is seen.** The kernel counts no failed open. So the target's descriptors are looked
//! at every 20 ms: a look that finds a process with no descriptor left counts. A process that
//! meets its limit and steps back between two looks is not seen. Beside it stand the connections
//! that wait to be accepted, which is where a server's lack of descriptors shows to others.
//!
//! Turned down: counting the EMFILEs by a tracepoint. Any system call tracepoint slows every
//! system call of the machine.

mod open;
mod watch;

use std::collections::{BTreeMap, BTreeSet};

use temblor_event::clock::now_ns;
use temblor_event::{DoseSeen, Effect, EffectPart};
use temblor_host::target::Target;

use super::{Refused, listed};
use crate::undo::{
    Entry, FileLimits, Guard, Lowered, Undo, Undoing as _, file_limit, is_gone, may_set,
};
use crate::{Described, Error, Fault, Injected, PlannedChange, Result, Reverted};
use watch::Watch;

const NAME: &str = "resource.files";
const UNDONE_BY: &str = "this program, or its guardian when it dies";
/// Processes that are forked while their limits are set are found by looking again.
const LOOKS_MAX: u32 = 8;

/// How many files a process may have open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileLimit {
    /// So many, as the limit counts: descriptors with a number below this.
    To(u64),
    /// So many more than each process has open now.
    Spare(u64),
}

/// Descriptors, taken from a target.
#[derive(Debug, Clone)]
pub struct Files {
    /// Whose.
    pub target: Target,
    /// How many are left.
    pub limit: FileLimit,
}

impl Fault for Files {
    fn name(&self) -> &'static str {
        NAME
    }

    fn check(&self) -> Result<()> {
        let limits = self.limits(&BTreeSet::new())?;
        limits.iter().try_for_each(|(pid, _)| {
            may_set(*pid).map_err(|error| match error.raw_os_error() {
                Some(libc::EPERM) => Error::Missing {
                    what: format!("the right to set the limits of process {pid}"),
                    how: "run as root; for a process with several user ids at once, with \
                          CAP_SYS_RESOURCE"
                        .into(),
                },
                _ => Error::system(format!("ask for the limits of process {pid}"), error),
            })
        })
    }

    fn plan(&self) -> Vec<PlannedChange> {
        // What cannot be found out now is refused by the check, which says why.
        let limits = self.limits(&BTreeSet::new()).unwrap_or_default();
        limits
            .into_iter()
            .filter_map(|(pid, limit)| {
                let (soft, _) = file_limit(pid).ok()?;
                Some(PlannedChange {
                    what: format!(
                        "set the soft limit of open files of process {pid} of {} from {soft} to \
                         {limit}",
                        self.target.service
                    ),
                    undo: format!("set back to {soft} by {UNDONE_BY}"),
                })
            })
            .collect()
    }

    fn inject(&self, guard: &Guard) -> Result<Box<dyn Injected>> {
        self.check()?;
        let before = Before::of(&self.target);
        let began_ns = now_ns();
        let (mut entries, mut lowered) = (Vec::new(), Vec::<Lowered>::new());
        let mut known = BTreeSet::new();
        for _ in 0..LOOKS_MAX {
            let limits = match self.limits(&known) {
                Ok(limits) => limits,
                Err(_) if !lowered.is_empty() => break,
                Err(error) => return Err(error),
            };
            known.extend(limits.iter().map(|(pid, _)| *pid));
            let undo = FileLimits::about_to_lower(&self.target, &limits)?;
            entries.push(guard.record(Undo::FileLimits(undo.clone()))?);
            undo.lower()?;
            lowered.extend_from_slice(undo.lowered());
            // One that was forked before its parent's limit was set has the old one.
            if self.target.processes_now().iter().all(|pid| known.contains(pid)) {
                break;
            }
        }
        if lowered.iter().all(|one| !one.process().is_alive()) {
            return Err(Refused::NoProcess { service: self.target.service.clone() }.into());
        }
        let limits = lowered.iter().map(|one| (one.process().clone(), one.ours())).collect();
        let watch = Watch::start(&self.target, limits)
            .map_err(|error| Error::system("start the look at the descriptors", error))?;
        let ended_ns = now_ns();
        let described = Described {
            name: NAME.into(),
            dose: self.dose(&lowered),
            mechanism: "prlimit(2) on the soft limit of open files".into(),
            undone_by: UNDONE_BY.into(),
            began_ns,
            ended_ns,
        };
        Ok(Box::new(InPlace {
            target: self.target.clone(),
            lowered,
            before,
            watch,
            entries,
            described,
        }))
    }
}

impl Files {
    /// Each process that is not known yet with the limit that it is to have.
    fn limits(&self, known: &BTreeSet<u32>) -> Result<Vec<(u32, u64)>> {
        let service = || self.target.service.clone();
        if self.limit == FileLimit::To(0) {
            return Err(Refused::NoFiles { service: service() }.into());
        }
        let pids: Vec<u32> =
            self.target.processes_now().into_iter().filter(|pid| !known.contains(pid)).collect();
        if pids.contains(&std::process::id()) {
            return Err(Refused::Itself { service: service(), pid: std::process::id() }.into());
        }
        let mut limits = Vec::new();
        for pid in pids {
            let looked = file_limit(pid).and_then(|limit| Ok((limit.0, open::descriptors(pid)?)));
            let (soft, open) = match looked {
                Ok(looked) => looked,
                // It has ended since it was listed.
                Err(error) if is_gone(&error) => continue,
                Err(error) => {
                    let doing = format!("count the descriptors of process {pid}");
                    return Err(Error::system(doing, error));
                }
            };
            let to = match self.limit {
                FileLimit::To(to) => to,
                FileLimit::Spare(spare) => open::limit_that_leaves(&open, spare),
            };
            if self.limit == FileLimit::To(to) && open::left(&open, to) == 0 {
                let open = open.len() as u64;
                return Err(Refused::BelowOpen { service: service(), pid, open, to }.into());
            }
            if to >= soft {
                return Err(Refused::NotLower { service: service(), pid, soft, to }.into());
            }
            limits.push((pid, to));
        }
        if limits.is_empty() {
            return Err(Refused::NoProcess { service: service() }.into());
        }
        Ok(limits)
    }

    fn dose(&self, lowered: &[Lowered]) -> BTreeMap<String, String> {
        let (word, number) = match self.limit {
            FileLimit::To(to) => ("to", to),
            FileLimit::Spare(spare) => ("spare", spare),
        };
        BTreeMap::from([
            ("target".into(), self.target.service.clone()),
            (word.into(), number.to_string()),
            ("processes".into(), lowered.len().to_string()),
        ])
    }
}

/// What could be seen of a shortage before there was one of ours.
#[derive(Debug, Clone, Copy)]
struct Before {
    waiting: u64,
    overflows: Option<u64>,
}

impl Before {
    fn of(target: &Target) -> Self {
        let pids = target.processes_now().into_iter().collect();
        Self {
            waiting: watch::waiting(target, &pids),
            overflows: listed::overflows(&target.netns).ok(),
        }
    }
}

struct InPlace {
    target: Target,
    lowered: Vec<Lowered>,
    before: Before,
    watch: Watch,
    entries: Vec<Entry>,
    described: Described,
}

impl InPlace {
    fn effect_now(&self) -> Effect {
        let report = self.watch.report();
        let part = |name: String, count| EffectPart { name, count, bytes: 0 };
        let mut parts = Vec::new();
        for (pid, seen) in &report.by_process {
            let of = |what: &str| format!("process {pid}: {what}");
            parts.push(part(of("looks with none left"), seen.none_left));
            parts.push(part(of("looks"), seen.looks));
            parts.extend(seen.fewest_left.map(|left| part(of("fewest left"), left)));
        }
        let waiting = report.waiting_most.saturating_sub(self.before.waiting);
        parts
            .push(part("connections that waited to be accepted, more than before".into(), waiting));
        let overflows = listed::overflows(&self.target.netns).ok().zip(self.before.overflows);
        parts.extend(overflows.map(|(now, before)| {
            let name = "connections to anybody in its namespace that found a full queue";
            part(name.into(), now.saturating_sub(before))
        }));
        Effect {
            measure: "looks at which a process had no descriptor left".into(),
            count: report.by_process.values().map(|seen| seen.none_left).sum(),
            source: format!(
                "the kernel's list of the descriptors and limits of each process of {}",
                self.target.service
            ),
            parts,
            doses: self.doses(),
        }
    }

    /// What the main process's limit is, as the kernel shows it.
    fn doses(&self) -> Vec<DoseSeen> {
        let Some(main) = self.lowered.first() else { return Vec::new() };
        let now = main.process().is_alive().then(|| file_limit(main.process().pid).ok()).flatten();
        #[expect(clippy::cast_precision_loss, reason = "limits of open files are small")]
        let (asked, observed) = (main.ours() as f64, now.map(|(soft, _)| soft as f64));
        vec![DoseSeen {
            what: format!("limit of open files of process {}", main.process().pid),
            unit: "descriptors".into(),
            asked,
            observed,
            within: 0.0,
            samples: u64::from(observed.is_some()),
            source: format!("/proc/{}/limits", main.process().pid),
        }]
    }
}

impl Injected for InPlace {
    fn describe(&self) -> &Described {
        &self.described
    }

    fn effect(&mut self) -> Result<Effect> {
        Ok(self.effect_now())
    }

    fn revert(self: Box<Self>) -> Result<Reverted> {
        let effect = self.effect_now();
        let Self { watch, entries, .. } = *self;
        let undos: Vec<Undo> =
            entries.iter().filter_map(|entry| entry.recorded().cloned()).collect();
        let began_ns = now_ns();
        // The last one first: a child that was forked meanwhile was recorded with what its parent's
        // limit had become.
        let undone: Vec<Result<_>> = entries.into_iter().rev().map(Entry::undo).collect();
        let ended_ns = now_ns();
        drop(watch);
        undone.into_iter().try_for_each(|undone| undone.map(|_| ()))?;
        let mut verified = true;
        for undo in &undos {
            verified &= !undo.is_open()?;
        }
        Ok(Reverted { began_ns, ended_ns, effect, effect_unread: None, verified })
    }
}
