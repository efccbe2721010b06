//! Probes on targets, with nothing around them: no experiment, no load, no verdict.

use std::net::IpAddr;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use temblor_event::{Cost, Event, TargetSeen, clock};
use temblor_host::target::Target;
use temblor_lab::State as LabState;
use temblor_plan::Find;
use temblor_probes::{Budget, Running};

use crate::error::RunnerError;
use crate::probe::{self, Probes};
use crate::stop::Stop;
use crate::targets::{self, lab_failed};

/// Events on their way to whoever reads them. When so many wait, the probes wait too, the kernel's
/// own buffers fill, and what does not fit is counted as lost.
const UNDER_WAY_MAX: usize = 4096;
/// How often it is looked whether somebody wants this to end.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A target by the name that the user gave it.
#[derive(Debug, Clone)]
pub struct Sought {
    /// What was written, for messages: `pid:42`.
    pub written: String,
    /// How it is found.
    pub find: Find,
}

/// What is to be traced, and for how long.
#[derive(Debug)]
pub struct TraceSettings {
    /// The probes' names, each once.
    pub probes: Vec<String>,
    /// Whom they watch.
    pub targets: Vec<Sought>,
    /// The lab, where one is up: its services can be targets, and its addresses have names.
    pub lab: Option<LabState>,
    /// What each probe may cost before it sees less.
    pub budget: Budget,
    /// None: until it is stopped.
    pub length: Option<Duration>,
    /// Ends it early.
    pub stop: Stop,
}

/// Attaches the probes, tells every event as it comes, takes the probes off. First come the targets
/// and the probes' statuses, last their costs and this program's own.
///
/// Nobody is refused as a target: watching changes nothing.
///
/// # Errors
/// A target is not there, or a probe cannot be attached: nothing was told. Or a probe could not be
/// read to its end.
pub fn trace(settings: &TraceSettings, tell: &mut dyn FnMut(Event)) -> Result<(), RunnerError> {
    let began_ns = clock::now_ns();
    let used_before = probe::own_cost();
    let targets = find(&settings.targets, settings.lab.as_ref())?;
    let known = addresses(settings.lab.as_ref())?;
    let Probes { attached, mut roster } = probe::attach(&settings.probes, &targets, &known)?;
    for target in &targets {
        tell(Event::now(seen(target)));
    }
    let (to, events) = sync_channel(UNDER_WAY_MAX);
    let mut reading = Vec::with_capacity(attached.len());
    for probe in attached {
        tell(Event::now(probe.status()));
        let to = to.clone();
        // Nobody reads any more only once everything has been told.
        let running = Running::start(probe, settings.budget, move |event| drop(to.send(event)));
        reading.push(
            running
                .map_err(|error| RunnerError::failed("a probe could not be read")(error.into()))?,
        );
    }
    let end_ns = settings.length.map_or(u64::MAX, |length| {
        clock::now_ns().saturating_add(u64::try_from(length.as_nanos()).unwrap_or(u64::MAX))
    });
    while settings.stop.requested().is_none() && clock::now_ns() < end_ns {
        let left = Duration::from_nanos(end_ns - clock::now_ns().min(end_ns));
        match events.recv_timeout(left.min(LOOK_EVERY)) {
            Ok(event) => tell(event),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    let mut ended = take_off(reading, to, &events, tell);
    if let Some(roster) = &mut roster
        && let Err(error) = roster.account(tell)
    {
        let what = "what following the processes cost could not be read";
        ended = ended.and(Err(RunnerError::failed(what)(error.into())));
    }
    let used = probe::own_cost();
    tell(Event::now(Cost {
        user_ns: used.user_ns.saturating_sub(used_before.user_ns),
        system_ns: used.system_ns.saturating_sub(used_before.system_ns),
        memory_bytes_max: used.memory_bytes_max,
        wall_ns: clock::now_ns() - began_ns,
    }));
    ended
}

/// Takes the probes off on a thread of its own, because they hand over what is left while somebody
/// reads.
fn take_off(
    reading: Vec<Running>,
    to: SyncSender<Event>,
    events: &Receiver<Event>,
    tell: &mut dyn FnMut(Event),
) -> Result<(), RunnerError> {
    thread::scope(|scope| {
        let taking_off = scope.spawn(move || {
            let mut ended = Ok(());
            for running in reading {
                let name = running.status().probe;
                match running.stop() {
                    Ok(cost) => drop(to.send(Event::now(cost))),
                    Err(error) => {
                        let what = format!("the {name} probe could not be read to its end");
                        ended = ended.and(Err(RunnerError::failed(what)(error.into())));
                    }
                }
            }
            ended
        });
        events.iter().for_each(tell);
        taking_off.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Everybody who is sought, each once.
pub(crate) fn find(all: &[Sought], lab: Option<&LabState>) -> Result<Vec<Target>, RunnerError> {
    let mut targets: Vec<Target> = Vec::new();
    for sought in all {
        for found in targets::find(&sought.written, &sought.find, lab)? {
            if !targets.iter().any(|target| target.service == found.service) {
                targets.push(found);
            }
        }
    }
    Ok(targets)
}

/// The names of the lab's addresses: whoever is traced may talk to its services.
pub(crate) fn addresses(lab: Option<&LabState>) -> Result<Vec<(IpAddr, String)>, RunnerError> {
    let services = lab.map(LabState::targets).transpose().map_err(lab_failed)?.unwrap_or_default();
    let of = |target: Target| {
        let name = target.service;
        target.addresses.into_iter().map(move |address| (address, name.clone()))
    };
    Ok(services.into_iter().flat_map(of).collect())
}

fn seen(target: &Target) -> TargetSeen {
    TargetSeen {
        service: target.service.clone(),
        aliases: Vec::new(),
        pids: target.pids.clone(),
        addresses: target.addresses.clone(),
        netns: target.netns.inode(),
    }
}
