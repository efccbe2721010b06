//! Where processor time goes.

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use temblor_event::{ProbeCost, clock};
use temblor_host::processes::Processes;
use temblor_host::target::Target;
use temblor_probes::cpu::{CpuSampler, End, Settings, Stack};
use temblor_probes::roster::Roster;
use temblor_profile::{Profile, ValueType};
use temblor_symbols::Place;

use crate::error::Error;
use crate::naming::{Found, Weight, name};
use crate::parts::{Cutting, KNOWN_AFTER_NS, Part, Parts};
use crate::spaces::Spaces;
use crate::stacks::{Names, Seen, Stacks};

/// How often the kernel's buffer is emptied. It holds a second of the deepest stacks.
const TAKE_EVERY: Duration = Duration::from_millis(50);
/// How often processes that have ended are forgotten.
const SWEEP_EVERY_NS: u64 = 1_000_000_000;
const SECOND_NS: u64 = 1_000_000_000;

/// What is collected.
#[derive(Debug, Clone)]
pub struct CpuSettings {
    /// How often a second each processor is looked at. A number that is no divisor of what programs
    /// do periodically.
    pub rate_hz: u32,
    /// Whoever is on a processor, whether a target's or not.
    pub everybody: bool,
}

/// What it took, and what is missing.
#[derive(Debug, Clone)]
pub struct Account {
    /// Stacks that were taken.
    pub samples: u64,
    /// Those for which there was no room in the kernel, or here.
    pub lost: u64,
    /// How often the programs' stacks ended for which reason.
    pub ends: BTreeMap<End, u64>,
    /// For how long it was collected.
    pub took: Duration,
    /// What the kernel half cost.
    pub cost: ProbeCost,
    /// How long it took to find the names, after the end.
    pub naming: Duration,
}

/// A profile and how it came to be.
#[derive(Debug)]
pub struct Collected {
    /// The profile: samples, and processor time.
    pub profile: Profile,
    /// How it came to be.
    pub account: Account,
}

/// Profiles that were collected together, and how they came to be.
#[derive(Debug)]
pub struct Parted {
    /// None: nothing was seen then.
    pub parts: Vec<Option<Part>>,
    /// Of all of them together.
    pub account: Account,
}

/// Collects until it is `enough`, which is asked some twenty times a second.
///
/// # Errors
/// The sampler could not be attached or read; nothing was seen.
pub fn collect(
    targets: &[Target],
    settings: &CpuSettings,
    enough: impl FnMut() -> bool,
) -> Result<Collected, Error> {
    let whole = Parts { count: 1, of: &|_| Some(0) };
    let Parted { mut parts, account } = collect_parts(targets, settings, whole, enough)?;
    if let Some(Part { mut profile, .. }) = parts.pop().flatten() {
        profile.duration_ns = i64::try_from(account.took.as_nanos()).unwrap_or(i64::MAX);
        return Ok(Collected { profile, account });
    }
    let alive = || targets.iter().any(|target| !target.processes_now().is_empty());
    let why = if account.lost > 0 {
        "there was no room for those that there were; ask for less with --rate"
    } else if settings.everybody || alive() {
        "nothing of it was on a processor; put load on it, or collect for longer"
    } else {
        "its processes have ended"
    };
    Err(Error::NoSamples { took: account.took, rate_hz: settings.rate_hz, why })
}

/// The same with one sampler for several profiles.
///
/// # Errors
/// The sampler could not be attached or read.
pub fn collect_parts(
    targets: &[Target],
    settings: &CpuSettings,
    parts: Parts<'_>,
    mut enough: impl FnMut() -> bool,
) -> Result<Parted, Error> {
    let mut roster = Roster::of(targets)?;
    let CpuSettings { rate_hz, everybody } = *settings;
    let mut sampler = CpuSampler::load(&roster, &Settings { rate_hz, everybody })?;
    let mut collecting = Collecting::new(parts.count);
    if sampler.numbers_are_the_kernels() {
        for pid in present(targets, everybody)? {
            collecting.spaces.look(&mut sampler, pid, pid, clock::now_ns())?;
        }
    }
    let time_ns = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    let began_ns = clock::now_ns();
    sampler.start()?;
    let mut swept_ns = began_ns;
    while !enough() {
        collecting.take(&mut sampler, TAKE_EVERY)?;
        collecting.cutting.count(&parts, clock::now_ns().saturating_sub(KNOWN_AFTER_NS));
        if clock::now_ns() - swept_ns > SWEEP_EVERY_NS {
            collecting.spaces.sweep(&mut sampler)?;
            swept_ns = clock::now_ns();
        }
    }
    sampler.stop();
    collecting.take(&mut sampler, Duration::ZERO)?;
    collecting.cutting.count(&parts, u64::MAX);
    let took = Duration::from_nanos(clock::now_ns() - began_ns);
    collecting.spaces.read_perf_maps(&collecting.made_code);
    let cost = sampler.cost()?;
    let counted = collecting.cutting.finish();
    let not_kept: u64 = counted.iter().map(|part| part.stacks.not_kept).sum();
    let lost = sampler.lost()? + not_kept;
    roster.account(&mut |_| ())?;
    drop(sampler);
    let naming_ns = clock::now_ns();
    let mut samples = 0;
    let mut ends: BTreeMap<End, u64> = BTreeMap::new();
    let found = Found::of(counted.iter().map(|part| &part.stacks), &collecting.spaces);
    let mut named = Vec::with_capacity(counted.len());
    for part in counted {
        samples += part.samples;
        for (end, times) in &part.ends {
            *ends.entry(*end).or_default() += times;
        }
        let begun_ns = i64::try_from(time_ns).unwrap_or(0);
        named.push((part.samples > 0).then(|| {
            let profile =
                profile(&part.stacks, &found, &collecting.spaces, targets, rate_hz, begun_ns);
            Part { profile, samples: part.samples, ends: part.ends }
        }));
    }
    let naming = Duration::from_nanos(clock::now_ns() - naming_ns);
    Ok(Parted { parts: named, account: Account { samples, lost, ends, took, cost, naming } })
}

fn profile(
    stacks: &Stacks,
    found: &Found,
    spaces: &Spaces,
    targets: &[Target],
    rate_hz: u32,
    time_ns: i64,
) -> Profile {
    let period_ns = SECOND_NS / u64::from(rate_hz.max(1));
    let mut profile = name(stacks, found, spaces, targets, Weight { period_ns });
    profile.time_ns = time_ns;
    profile.period = period_ns.cast_signed();
    profile.period_type = Some(ValueType::new("cpu", "nanoseconds"));
    profile.default_type = "cpu".to_owned();
    profile
}

/// The processes that there are now.
fn present(targets: &[Target], everybody: bool) -> Result<Vec<u32>, Error> {
    let all = Processes::read().map_err(Error::Processes)?;
    if everybody {
        return Ok(all.iter().map(|process| process.pid).collect());
    }
    let own = targets.iter().flat_map(Target::processes_now);
    let mut pids: Vec<u32> =
        own.flat_map(|pid| all.descendants(pid).into_iter().chain([pid])).collect();
    pids.sort_unstable();
    pids.dedup();
    Ok(pids)
}

struct Collecting {
    spaces: Spaces,
    names: Names,
    cutting: Cutting,
    /// Processes that have code which they made.
    made_code: HashSet<u32>,
}

impl Collecting {
    fn new(parts: usize) -> Self {
        Self {
            spaces: Spaces::new(),
            names: Names::default(),
            cutting: Cutting::new(parts),
            made_code: HashSet::new(),
        }
    }

    fn take(&mut self, sampler: &mut CpuSampler, timeout: Duration) -> Result<(), Error> {
        let mut taken: Vec<Stack> = Vec::new();
        sampler.take(timeout, |stack| taken.push(stack))?;
        for stack in taken {
            let process = stack.process;
            let has_user = stack.end != End::NoUser;
            let is_new = has_user && stack.known_as != Some(process);
            if is_new || stack.end == End::NoMapping {
                self.spaces.look(sampler, process, stack.pid, clock::now_ns())?;
            }
            // A copy may run another program by now.
            let known_as = stack.known_as.unwrap_or(process);
            let space = self.spaces.of(known_as);
            let is_made =
                |address: &u64| space.is_some_and(|space| space.locate(*address) == Place::Jit);
            if stack.user.iter().any(is_made) && self.made_code.insert(process) {
                // Once at its beginning: it may end before we do.
                self.spaces.read_perf_maps(&HashSet::from([process]));
            }
            let t_ns = stack.t_ns;
            let seen = Seen::of(stack, self.spaces.of(known_as), &mut self.names);
            self.cutting.push(t_ns, seen);
        }
        Ok(())
    }
}
