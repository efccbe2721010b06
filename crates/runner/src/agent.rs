//! Probes on targets for as long as one likes, while targets come and go.
//!
//! Every few seconds it is looked who is there. Processes that somebody has started again are taken
//! in where they belong while the probes go on. Somebody whom the probes do not know, or who came
//! back in another network namespace or cgroup, has them attached again, one after the other: each
//! sees nothing for the moment that this takes, and says for how long.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use temblor_event::{Event, clock};
use temblor_host::netns::Netns;
use temblor_host::target::{Origin, Target};
use temblor_lab::State as LabState;
use temblor_plan::Find;
use temblor_probes::roster::Roster;
use temblor_probes::{Budget, Running};

use crate::error::RunnerError;
use crate::stop::Stop;
use crate::trace::{Sought, addresses};
use crate::{probe, targets};

/// As for a trace.
const UNDER_WAY_MAX: usize = 4096;
/// How often it is looked whether somebody wants this to end.
const LOOK_UP_EVERY: Duration = Duration::from_millis(100);
/// How often it is looked who is there.
const LOOK_EVERY_NS: u64 = 5_000_000_000;
/// Targets that come and go all the time are no reason to see nothing all the time.
const ATTACH_EVERY_NS: u64 = 10_000_000_000;
/// How often it is said what the probes cost.
const ACCOUNT_EVERY: Duration = Duration::from_secs(5);
/// Targets of one kind that are watched; those beyond are counted and told.
const TARGETS_MAX: usize = 256;
const ROSTER: &str = "roster";

/// What is to be watched.
pub struct AgentSettings<'a> {
    /// The probes' names, each once.
    pub probes: Vec<String>,
    /// Whom they watch; those who are not there are looked for again and again.
    pub targets: Vec<Sought>,
    /// The lab as it is now, where one is up.
    pub lab: &'a dyn Fn() -> Option<LabState>,
    /// What each probe may cost.
    pub budget: Budget,
    /// Ends it.
    pub stop: Stop,
}

/// What there is to tell.
#[derive(Debug)]
pub enum Told {
    /// A probe's event; its status when it is attached, its cost from time to time.
    Event(Event),
    /// Whom the probes watch: what they call them, and the name that stays when the processes are
    /// others.
    Watching(Vec<(String, String)>),
    /// Who is there, for each that is sought.
    Looked(Vec<Looked>),
    /// A probe is off.
    Down {
        /// Which.
        probe: String,
        /// What went wrong. None: it is about to be attached again, or all is over.
        why: Option<RunnerError>,
    },
    /// A probe that was off is attached again.
    Unwatched {
        /// Which.
        probe: String,
        /// For how long it was off while there was somebody to watch.
        ns: u64,
    },
}

/// What was found for one that is sought.
#[derive(Debug)]
pub struct Looked {
    /// As it was written: `process:nginx`.
    pub written: String,
    /// By the names that stay, each once.
    pub targets: Vec<String>,
    /// Why there is nobody.
    pub why_none: Option<String>,
    /// Targets beyond those that can be watched.
    pub left_out: usize,
}

/// A target, and its name that stays.
struct Named {
    target: Target,
    name: String,
}

/// Watches until it is stopped. Nobody has to be there.
///
/// # Errors
/// What is sought is wrong in itself, a process that is named by its number is not there, or a probe
/// cannot be attached: nothing is left attached. Later it goes on, whatever happens.
pub fn agent(settings: &AgentSettings<'_>, tell: &mut dyn FnMut(Told)) -> Result<(), RunnerError> {
    let (to, events) = sync_channel(UNDER_WAY_MAX);
    let mut watch = Watch {
        settings,
        to,
        events,
        running: BTreeMap::new(),
        roster: None,
        gone: BTreeSet::new(),
        watched: Vec::new(),
        down_since_ns: BTreeMap::new(),
        attached_ns: None,
        accounted_ns: clock::now_ns(),
    };
    let (first, looked) = watch.look(true)?;
    watch.attach_all(first, tell)?;
    tell(Told::Looked(looked));
    let mut looked_ns = clock::now_ns();
    while settings.stop.requested().is_none() {
        match watch.events.recv_timeout(LOOK_UP_EVERY) {
            Ok(event) => tell(Told::Event(event)),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
        }
        if clock::now_ns() >= looked_ns + LOOK_EVERY_NS {
            watch.look_again(tell);
            looked_ns = clock::now_ns();
        }
    }
    watch.end(tell);
    Ok(())
}

struct Watch<'a> {
    settings: &'a AgentSettings<'a>,
    to: SyncSender<Event>,
    events: Receiver<Event>,
    running: BTreeMap<String, Running>,
    roster: Option<Roster>,
    /// Processes by their numbers that have ended.
    gone: BTreeSet<String>,
    /// Whom the probes know.
    watched: Vec<Named>,
    down_since_ns: BTreeMap<String, u64>,
    /// When all probes were last attached.
    attached_ns: Option<u64>,
    accounted_ns: u64,
}

impl Watch<'_> {
    /// Who is there. What is wrong in itself is an error only the first time.
    fn look(&mut self, first: bool) -> Result<(Vec<Named>, Vec<Looked>), RunnerError> {
        let lab = (self.settings.lab)();
        let mut all: Vec<Named> = Vec::new();
        let mut looked = Vec::with_capacity(self.settings.targets.len());
        for sought in &self.settings.targets {
            if self.gone.contains(&sought.written) {
                continue;
            }
            let found = targets::look(&sought.written, &sought.find, lab.as_ref());
            let (found, why_none) = match found {
                Ok(found) => (found, None),
                Err(none) if first && !none.may_come => return Err(none.why),
                Err(none) => (Vec::new(), Some(none.why.to_string())),
            };
            // Its number may be another's by the next look.
            if found.is_empty() && matches!(sought.find, Find::Pid(_)) {
                self.gone.insert(sought.written.clone());
            }
            let found = named(&sought.find, found);
            let left_out = found.len().saturating_sub(TARGETS_MAX);
            let mut names: Vec<String> = found.iter().map(|one| one.name.clone()).collect();
            names.dedup();
            looked.push(Looked {
                written: sought.written.clone(),
                targets: names,
                why_none,
                left_out,
            });
            for one in found.into_iter().take(TARGETS_MAX) {
                if !all.iter().any(|other| other.target.service == one.target.service) {
                    all.push(one);
                }
            }
        }
        Ok((all, looked))
    }

    /// Looks who is there now, and does about it what is needed.
    fn look_again(&mut self, tell: &mut dyn FnMut(Told)) {
        for probe in self.ended() {
            self.take_off(&probe, tell);
        }
        if clock::now_ns() >= self.accounted_ns + nanoseconds(ACCOUNT_EVERY) {
            self.accounted_ns = clock::now_ns();
            self.account(tell);
        }
        // What is sought was right the first time.
        let Ok((now, looked)) = self.look(false) else { return };
        let strangers = now
            .iter()
            .any(|one| !self.watched.iter().any(|known| is_same(&known.target, &one.target)));
        let down = !self.down_since_ns.is_empty();
        let may = self.attached_ns.is_none_or(|at_ns| clock::now_ns() >= at_ns + ATTACH_EVERY_NS);
        if strangers && may {
            self.attach_again(now, tell);
        } else {
            self.follow(now);
            if down && may {
                self.attach_missing(tell);
            }
        }
        // Last, so that whoever is told of is watched.
        tell(Told::Looked(looked));
    }

    /// Takes in whoever was started again of those whom the probes know.
    fn follow(&mut self, now: Vec<Named>) {
        for one in now {
            let same = |known: &&mut Named| is_same(&known.target, &one.target);
            let Some(known) = self.watched.iter_mut().find(same) else { continue };
            if known.target.pids == one.target.pids {
                continue;
            }
            known.target = one.target;
            if let Some(roster) = &mut self.roster
                && let Err(error) = roster.follow(&known.target)
            {
                let name = &known.name;
                tracing::warn!(%error, "the processes of {name} could not be followed");
            }
        }
    }

    /// Attaches every probe for the first time.
    fn attach_all(
        &mut self,
        targets: Vec<Named>,
        tell: &mut dyn FnMut(Told),
    ) -> Result<(), RunnerError> {
        self.watched = targets;
        tell(self.watching());
        for name in &self.settings.probes {
            self.attach(name, tell)?;
        }
        // Whoever is there already can be attached again at once for whoever comes first.
        self.attached_ns = (!self.watched.is_empty()).then(clock::now_ns);
        Ok(())
    }

    fn watching(&self) -> Told {
        let pair = |one: &Named| (one.target.service.clone(), one.name.clone());
        Told::Watching(self.watched.iter().map(pair).collect())
    }

    fn attach(&mut self, name: &str, tell: &mut dyn FnMut(Told)) -> Result<(), RunnerError> {
        let lab = (self.settings.lab)();
        let known = addresses(lab.as_ref())?;
        let targets: Vec<Target> = self.watched.iter().map(|one| one.target.clone()).collect();
        let attached = probe::attach_one(name, &targets, &known, &mut self.roster)?;
        let status = attached.status();
        let to = self.to.clone();
        // Nobody reads any more only once everything has been told.
        let running = Running::start_with_account(
            attached,
            self.settings.budget,
            Some(ACCOUNT_EVERY),
            move |event| drop(to.send(event)),
        )
        .map_err(|error| RunnerError::failed("a probe could not be read")(error.into()))?;
        self.running.insert(name.to_owned(), running);
        tell(Told::Event(Event::now(status)));
        if let Some(since_ns) = self.down_since_ns.remove(name) {
            let ns = clock::now_ns().saturating_sub(since_ns);
            tell(Told::Unwatched { probe: name.to_owned(), ns });
        }
        Ok(())
    }

    /// Attaches every probe anew, one after the other, with whoever is there now.
    fn attach_again(&mut self, targets: Vec<Named>, tell: &mut dyn FnMut(Told)) {
        let nobody_was_there = self.watched.is_empty();
        // What the old ones still tell is of those whom they knew.
        let mut both: Vec<(String, String)> = Vec::new();
        for one in self.watched.iter().chain(&targets) {
            both.push((one.target.service.clone(), one.name.clone()));
        }
        tell(Told::Watching(both));
        // The probes that have not had their turn go on with the old one's map.
        let old = self.roster.take();
        self.watched = targets;
        for name in &self.settings.probes {
            if self.running.contains_key(name) {
                self.take_off(name, tell);
            }
            if nobody_was_there {
                self.down_since_ns.remove(name);
            }
            if let Err(why) = self.attach(name, tell) {
                tell(Told::Down { probe: name.clone(), why: Some(why) });
                self.down_since_ns.entry(name.clone()).or_insert_with(clock::now_ns);
            }
        }
        if let Some(mut old) = old {
            account(&mut old, tell);
            tell(Told::Down { probe: ROSTER.into(), why: None });
        }
        tell(self.watching());
        self.attached_ns = Some(clock::now_ns());
    }

    /// Attaches those again that ended by themselves, or could not be attached.
    fn attach_missing(&mut self, tell: &mut dyn FnMut(Told)) {
        let missing: Vec<String> = self.down_since_ns.keys().cloned().collect();
        for name in missing {
            if let Err(why) = self.attach(&name, tell) {
                tell(Told::Down { probe: name, why: Some(why) });
            }
        }
        self.attached_ns = Some(clock::now_ns());
    }

    fn ended(&self) -> Vec<String> {
        let ended = self.running.iter().filter(|(_, running)| running.has_ended());
        ended.map(|(name, _)| name.clone()).collect()
    }

    /// Takes a probe off on a thread of its own, because it hands over what is left while somebody
    /// reads.
    fn take_off(&mut self, name: &str, tell: &mut dyn FnMut(Told)) {
        let Some(running) = self.running.remove(name) else { return };
        self.down_since_ns.insert(name.to_owned(), clock::now_ns());
        let stopped = thread::scope(|scope| {
            let stopping = scope.spawn(move || running.stop());
            while !stopping.is_finished() {
                if let Ok(event) = self.events.recv_timeout(Duration::from_millis(5)) {
                    tell(Told::Event(event));
                }
            }
            stopping.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        self.events.try_iter().for_each(|event| tell(Told::Event(event)));
        let why = match stopped {
            Ok(cost) => {
                tell(Told::Event(Event::now(cost)));
                None
            }
            Err(error) => {
                let what = format!("the {name} probe could not be read to its end");
                Some(RunnerError::failed(what)(error.into()))
            }
        };
        tell(Told::Down { probe: name.to_owned(), why });
    }

    fn account(&mut self, tell: &mut dyn FnMut(Told)) {
        if let Some(roster) = &mut self.roster {
            account(roster, tell);
        }
    }

    fn end(&mut self, tell: &mut dyn FnMut(Told)) {
        for name in &self.settings.probes {
            self.take_off(name, tell);
        }
        self.account(tell);
    }
}

fn account(roster: &mut Roster, tell: &mut dyn FnMut(Told)) {
    if let Err(error) = roster.account(&mut |event| tell(Told::Event(event))) {
        tracing::warn!(%error, "what following the processes cost could not be read");
    }
}

/// Whether the probes need not be attached anew for this one: it is in the same namespace and group,
/// whichever its processes are.
fn is_same(known: &Target, now: &Target) -> bool {
    known.service == now.service
        && known.origin == now.origin
        && known.netns == now.netns
        && (known.origin == Origin::Processes || known.group.dirs() == now.group.dirs())
}

/// Gives targets names that stay. Processes of one name are one target, whose processes come and go:
/// each of them by itself would have another name with each start. Those of another network
/// namespace are apart, for the probes, and go by the same name.
fn named(how: &Find, found: Vec<Target>) -> Vec<Named> {
    let Find::Process(name) = how else {
        let same = |target: Target| Named { name: target.service.clone(), target };
        return found.into_iter().map(same).collect();
    };
    let ours = Netns::of_this_thread().ok();
    let mut all: Vec<Named> = Vec::new();
    for mut target in found {
        let together = |one: &&mut Named| one.target.netns == target.netns;
        if let Some(one) = all.iter_mut().find(together) {
            one.target.pids.append(&mut target.pids);
            continue;
        }
        target.service = if Some(&target.netns) == ours.as_ref() {
            name.clone()
        } else {
            format!("{name}@{}", target.netns.inode())
        };
        all.push(Named { target, name: name.clone() });
    }
    all
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
