//! `process.kill`: a target's main process, or all its processes, get a signal.
//!
//! It is over as soon as it is done, and nothing undoes it: whoever keeps the target starts it
//! again, or nobody does.
//!
//! **What is seen.** Deaths are the kernel's word: each process is held by a handle (pidfd) that
//! becomes readable when it has ended, and the signal that ended it is read from `/proc` or, once
//! its parent has collected it, from the handle (Linux 6.15). A process that lives on is asked
//! for its signal masks: a signal that it handles or blocks and that is pending no longer has
//! been taken by it. One that it ignores had no effect, and neither had one that the kernel
//! throws away (the first process of a container that has no handler).

use std::collections::BTreeMap;
use std::time::Duration;

use temblor_event::clock::now_ns;
use temblor_event::{Effect, EffectPart};
use temblor_host::process::Process;
use temblor_host::target::Target;

use super::death::Death;
use super::members::Roll;
use super::signal::DefaultAction;
use super::stat::{Disposition, Stat};
use super::watch::within;
use super::{ProcessRefusal, Signo};
use crate::undo::Guard;
use crate::{Described, Error, Fault, Injected, PlannedChange, Result, Reverted};

const NAME: &str = "process.kill";
const UNDONE_BY: &str = "nobody: whoever keeps the target running starts it again";

/// How often the target is looked at again for processes that were started meanwhile.
const SWEEPS_MAX: u32 = 16;
/// For SIGKILL to be carried out: the kernel has pages to give back.
const DEATH_WITHIN: Duration = Duration::from_secs(2);
/// For any other signal to show what it did.
const SIGN_WITHIN: Duration = Duration::from_millis(500);
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// A signal to a target's processes.
#[derive(Debug, Clone)]
pub struct Kill {
    /// Whose processes.
    pub target: Target,
    /// Which signal.
    pub signal: Signo,
    /// Every process of the target's, or only its main one.
    pub all: bool,
}

impl Kill {
    fn victims(&self) -> Vec<u32> {
        let roll = Roll::of(&self.target);
        if self.all { roll.members() } else { roll.main().into_iter().collect() }
    }

    fn whom(&self) -> &'static str {
        if self.all { "every process" } else { "the main process" }
    }
}

impl Fault for Kill {
    fn name(&self) -> &'static str {
        NAME
    }

    fn check(&self) -> Result<()> {
        if self.signal.default_action() == DefaultAction::Stop {
            let signal = self.signal.name().unwrap_or("this signal");
            let service = self.target.service.clone();
            return Err(ProcessRefusal::Stops { signal, service }.into());
        }
        Ok(Roll::of(&self.target).refuse_ourselves(&self.victims())?)
    }

    fn plan(&self) -> Vec<PlannedChange> {
        let pids: Vec<String> = self.victims().iter().map(u32::to_string).collect();
        vec![PlannedChange {
            what: format!(
                "send {} to {} of {} (now: {})",
                self.signal,
                self.whom(),
                self.target.service,
                pids.join(", ")
            ),
            undo: UNDONE_BY.into(),
        }]
    }

    fn inject(&self, _guard: &Guard) -> Result<Box<dyn Injected>> {
        self.check()?;
        let began_ns = now_ns();
        let mut hit: Vec<Hit> = Vec::new();
        for _ in 0..if self.all { SWEEPS_MAX } else { 1 } {
            let new = self.victims().into_iter().filter(|pid| !hit.iter().any(|h| h.pid == *pid));
            let new: Vec<u32> = new.collect();
            if new.is_empty() {
                break;
            }
            for pid in new {
                hit.extend(Hit::send(&self.target, pid, self.signal)?);
            }
        }
        let ended_ns = now_ns();
        if hit.is_empty() {
            return Err(ProcessRefusal::NoProcesses { service: self.target.service.clone() }.into());
        }
        let described = Described {
            name: NAME.into(),
            dose: BTreeMap::from([
                ("target".into(), self.target.service.clone()),
                ("signal".into(), self.signal.to_string()),
                ("processes".into(), if self.all { "all" } else { "main" }.into()),
            ]),
            mechanism: format!(
                "{} through process handles to {} of {}",
                self.signal,
                self.whom(),
                self.target.service
            ),
            undone_by: UNDONE_BY.into(),
            began_ns,
            ended_ns,
        };
        Ok(Box::new(Sent { hit, signal: self.signal, described }))
    }
}

/// One process that the signal was sent to.
#[derive(Debug)]
struct Hit {
    pid: u32,
    start_ticks: u64,
    handle: Process,
    before: Disposition,
    stopped_before: bool,
    seen: Seen,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Seen {
    Ended(Death),
    Taken,
    Continued,
    Ignored,
    NotYet,
}

impl Hit {
    /// `None` when the process had ended before.
    fn send(target: &Target, pid: u32, signal: Signo) -> Result<Option<Self>> {
        let doing = || format!("send {signal} to process {pid} of {}", target.service);
        let failed = |e| Error::system(doing(), e);
        let Some(handle) = Roll::of(target).open(pid).map_err(failed)? else { return Ok(None) };
        let (Some(stat), Some(before)) = (Stat::of(pid), Disposition::of(pid, signal.number()))
        else {
            return Ok(None);
        };
        let sent = handle.signal(signal.signal()).map_err(failed)?;
        let stopped_before = stat.state == 'T';
        let start_ticks = stat.start_ticks;
        Ok(sent.then_some(Self {
            pid,
            start_ticks,
            handle,
            before,
            stopped_before,
            seen: Seen::NotYet,
        }))
    }

    /// Looks again, and says whether there is nothing more to wait for.
    fn look(&mut self, signal: Signo) -> Result<bool> {
        if matches!(self.seen, Seen::Ended(death) if death != Death::Unseen) {
            return Ok(true);
        }
        let failed = |e| Error::system(format!("look at process {}", self.pid), e);
        if self.handle.wait_ended(0).map_err(failed)? {
            self.seen = Seen::Ended(Death::of(self.pid, self.start_ticks, &self.handle));
            return Ok(true);
        }
        self.seen = self.lives_on(signal);
        // One that takes a signal that asks for its end may yet end.
        Ok(match self.seen {
            Seen::Taken => signal.default_action() != DefaultAction::End,
            Seen::Continued | Seen::Ignored => true,
            Seen::Ended(_) | Seen::NotYet => false,
        })
    }

    fn lives_on(&self, signal: Signo) -> Seen {
        let Some(now) = Disposition::of(self.pid, signal.number()) else { return Seen::NotYet };
        // A signal that stays blocked is taken by asking for it (sigwait, signalfd). Blocks come
        // and go around forks, and a signal without a handler is thrown away when one ends.
        let blocked = self.before.blocked && now.blocked;
        let asked_for = blocked && signal.default_action() == DefaultAction::End;
        let handled = self.before.caught || asked_for;
        match signal.default_action() {
            DefaultAction::Continue if self.stopped_before => match Stat::of(self.pid) {
                Some(stat) if stat.state != 'T' => Seen::Continued,
                _ => Seen::NotYet,
            },
            _ if self.before.ignored => Seen::Ignored,
            _ if handled && !now.pending => Seen::Taken,
            DefaultAction::Nothing | DefaultAction::Continue if !handled => Seen::Ignored,
            _ => Seen::NotYet,
        }
    }
}

/// A signal that was sent.
#[derive(Debug)]
struct Sent {
    hit: Vec<Hit>,
    signal: Signo,
    described: Described,
}

impl Sent {
    fn look(&mut self) -> Result<bool> {
        let mut settled = true;
        for hit in &mut self.hit {
            settled &= hit.look(self.signal)?;
        }
        Ok(settled)
    }

    fn reading(&self) -> Effect {
        let mut groups: BTreeMap<Seen, u64> = BTreeMap::new();
        for hit in &self.hit {
            *groups.entry(hit.seen).or_default() += 1;
        }
        let parts = groups.iter().map(|(seen, count)| {
            let name = match seen {
                Seen::Ended(death) => death.words(),
                Seen::Taken => format!("took {} with a handler of theirs and live on", self.signal),
                Seen::Continued => "were stopped and go on".into(),
                Seen::Ignored => format!("ignore {}: no effect", self.signal),
                Seen::NotYet => "show nothing of it: no effect".into(),
            };
            EffectPart { name, count: *count, bytes: 0 }
        });
        let had_effect =
            |seen: &Seen| matches!(seen, Seen::Ended(_) | Seen::Taken | Seen::Continued);
        Effect {
            measure: if self.signal == Signo::KILL {
                "processes ended".into()
            } else {
                "processes that the signal had an effect on".into()
            },
            count: groups.iter().filter(|(seen, _)| had_effect(seen)).map(|(_, n)| n).sum(),
            source: "process handles of the kernel (pidfd), signal masks in /proc".into(),
            parts: parts.collect(),
            doses: Vec::new(),
        }
    }
}

impl Injected for Sent {
    fn describe(&self) -> &Described {
        &self.described
    }

    fn effect(&mut self) -> Result<Effect> {
        self.look()?;
        Ok(self.reading())
    }

    fn is_over(&self) -> bool {
        true
    }

    /// There is nothing to undo; what the signal did is waited for, at most 2 s for SIGKILL and
    /// half a second for any other.
    fn revert(mut self: Box<Self>) -> Result<Reverted> {
        let (began_ns, ended_ns) = (self.described.ended_ns, self.described.ended_ns);
        let bound = if self.signal == Signo::KILL { DEATH_WITHIN } else { SIGN_WITHIN };
        let mut failed = None;
        within(bound, LOOK_AGAIN, || match self.look() {
            Ok(settled) => settled,
            Err(error) => {
                failed = Some(error.to_string());
                true
            }
        });
        let effect = self.reading();
        Ok(Reverted { began_ns, ended_ns, effect, effect_unread: failed, verified: true })
    }
}
