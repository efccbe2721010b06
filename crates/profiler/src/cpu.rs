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
use crate::naming::{Weight, name};
use crate::spaces::Spaces;
use crate::stacks::Stacks;

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

/// Collects until it is `enough`, which is asked some twenty times a second.
///
/// # Errors
/// The sampler could not be attached or read; nothing was seen.
pub fn collect(
    targets: &[Target],
    settings: &CpuSettings,
    mut enough: impl FnMut() -> bool,
) -> Result<Collected, Error> {
    let mut roster = Roster::of(targets)?;
    let CpuSettings { rate_hz, everybody } = *settings;
    let mut sampler = CpuSampler::load(&roster, &Settings { rate_hz, everybody })?;
    let mut collecting = Collecting::new();
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
        if clock::now_ns() - swept_ns > SWEEP_EVERY_NS {
            collecting.spaces.sweep(&mut sampler)?;
            swept_ns = clock::now_ns();
        }
    }
    sampler.stop();
    collecting.take(&mut sampler, Duration::ZERO)?;
    let took = Duration::from_nanos(clock::now_ns() - began_ns);
    collecting.spaces.read_perf_maps(&collecting.made_code);
    let cost = sampler.cost()?;
    let lost = sampler.lost()? + collecting.stacks.not_kept;
    roster.account(&mut |_| ())?;
    drop(sampler);
    if collecting.samples == 0 {
        if lost > 0 {
            let why = "there was no room for those that there were; ask for less with --rate";
            return Err(Error::NoSamples { took, rate_hz, why });
        }
        let alive = everybody || targets.iter().any(|target| !target.processes_now().is_empty());
        let why = if alive {
            "nothing of it was on a processor; put load on it, or collect for longer"
        } else {
            "its processes have ended"
        };
        return Err(Error::NoSamples { took, rate_hz, why });
    }
    let naming_ns = clock::now_ns();
    let period_ns = SECOND_NS / u64::from(rate_hz.max(1));
    let mut profile = name(&collecting.stacks, &collecting.spaces, targets, Weight { period_ns });
    profile.time_ns = i64::try_from(time_ns).unwrap_or(0);
    profile.duration_ns = i64::try_from(took.as_nanos()).unwrap_or(i64::MAX);
    profile.period = period_ns.cast_signed();
    profile.period_type = Some(ValueType::new("cpu", "nanoseconds"));
    profile.default_type = "cpu".to_owned();
    Ok(Collected {
        profile,
        account: Account {
            samples: collecting.samples,
            lost,
            ends: collecting.ends,
            took,
            cost,
            naming: Duration::from_nanos(clock::now_ns() - naming_ns),
        },
    })
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
    stacks: Stacks,
    ends: BTreeMap<End, u64>,
    samples: u64,
    /// Processes that have code which they made.
    made_code: HashSet<u32>,
}

impl Collecting {
    fn new() -> Self {
        Self {
            spaces: Spaces::new(),
            stacks: Stacks::default(),
            ends: BTreeMap::new(),
            samples: 0,
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
            let end = stack.end;
            if self.stacks.add(stack, self.spaces.of(known_as)) {
                self.samples += 1;
                *self.ends.entry(end).or_default() += 1;
            }
        }
        Ok(())
    }
}
