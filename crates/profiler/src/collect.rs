//! Collecting: what the kernel half sends becomes a profile.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use temblor_event::{ProbeCost, clock};
use temblor_host::processes::Processes;
use temblor_host::target::Target;
use temblor_probes::roster::Roster;
use temblor_probes::stacks::{self as samplers, End, Sampler, Waits};
use temblor_profile::Profile;

use crate::collecting::Collecting;
use crate::error::Error;
use crate::naming::{Found, name};
use crate::parts::{Counted, KNOWN_AFTER_NS, Part, Parts, Stretch};
use crate::settings::{Settings, Wanted};
use crate::taking::Taking;

/// How often the kernel's buffer is emptied. It holds a second of the deepest stacks.
const TAKE_EVERY: Duration = Duration::from_millis(50);
/// How often processes that have ended are forgotten.
const SWEEP_EVERY_NS: u64 = 1_000_000_000;
/// How often threads are looked at while processes come that are not known.
const LOOKS_MAX: usize = 3;

/// What it took, and what is missing.
#[derive(Debug, Clone)]
pub struct Account {
    /// Stacks that were taken.
    pub samples: u64,
    /// Those for which there was no room in the kernel, or here.
    pub lost: u64,
    /// How often the programs' stacks ended for which reason.
    pub ends: BTreeMap<End, u64>,
    /// Of waits: all that there were, counted apart from the stacks.
    pub waits: Option<Waits>,
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
    /// The profile.
    pub profile: Profile,
    /// How it came to be.
    pub account: Account,
}

/// Collects until it is `enough`, which is asked some twenty times a second; of threads it is not.
///
/// # Errors
/// The sampler could not be attached or read; nothing was seen.
pub fn collect(
    targets: &[Target],
    settings: &Settings,
    enough: impl FnMut() -> bool,
) -> Result<Collected, Error> {
    let whole = |_| Stretch { part: Some(0), until_ns: u64::MAX };
    let parts = Parts { count: 1, of: &whole };
    let Parted { mut parts, account } = collect_parts(targets, settings, parts, enough)?;
    let Settings { wanted, everybody, .. } = *settings;
    let took = account.took;
    if let Some(Part { mut profile, .. }) = parts.pop().flatten() {
        if wanted != Wanted::Threads {
            profile.duration_ns = i64::try_from(took.as_nanos()).unwrap_or(i64::MAX);
        }
        return Ok(Collected { profile, account });
    }
    let alive = everybody || targets.iter().any(|target| !target.processes_now().is_empty());
    let why = match (account.lost, alive) {
        (0, true) => wanted.remedy(),
        (0, false) => "its processes have ended",
        _ => "there was no room for those that there were; ask for less",
    };
    Err(Error::NoSamples { took, why })
}

/// Profiles that were collected together, and how they came to be.
#[derive(Debug)]
pub struct Parted {
    /// None: nothing was seen then.
    pub parts: Vec<Option<Part>>,
    /// Of all of them together.
    pub account: Account,
}

/// The same with one sampler for several profiles. Of threads, which are looked at once, that is one.
///
/// # Errors
/// The sampler could not be attached or read.
pub fn collect_parts(
    targets: &[Target],
    settings: &Settings,
    parts: Parts<'_>,
    mut enough: impl FnMut() -> bool,
) -> Result<Parted, Error> {
    let mut roster = Roster::of(targets)?;
    let Settings { wanted, everybody, .. } = *settings;
    let what = settings.what();
    let mut sampler = Sampler::load(&roster, &samplers::Settings { what, everybody })?;
    let mut collecting = Collecting::new(parts.count);
    if sampler.numbers_are_the_kernels() {
        for pid in present(targets, everybody)? {
            collecting.spaces.look(&mut sampler, pid, pid, clock::now_ns())?;
        }
    }
    let time_ns = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    let asked_ns = clock::now_ns();
    let mut taking = Taking::new(settings, asked_ns);
    let (began_ns, ended_ns) = if wanted == Wanted::Threads {
        look_at_threads(&mut sampler, &mut taking, &mut collecting)?;
        (asked_ns, clock::now_ns())
    } else {
        let began_ns = sampler.start()?;
        let mut swept_ns = began_ns;
        taking.watch(|| present(targets, false), &mut sampler, &mut collecting)?;
        while !enough() {
            taking.take(&mut sampler, TAKE_EVERY, &mut collecting)?;
            let known_ns = clock::now_ns().saturating_sub(KNOWN_AFTER_NS);
            collecting.cutting.count(&parts, known_ns);
            if clock::now_ns() - swept_ns > SWEEP_EVERY_NS {
                collecting.spaces.sweep(&mut sampler)?;
                taking.watch(|| present(targets, false), &mut sampler, &mut collecting)?;
                swept_ns = clock::now_ns();
            }
        }
        let ended_ns = sampler.stop()?;
        taking.take(&mut sampler, Duration::ZERO, &mut collecting)?;
        (began_ns, ended_ns)
    };
    let refused = taking.refused.take();
    let not_followed = taking.end(ended_ns, &mut collecting);
    let took = Duration::from_nanos(ended_ns - began_ns);
    collecting.spaces.read_perf_maps(&collecting.made_code);
    let cost = sampler.cost()?;
    let waits =
        matches!(wanted, Wanted::OffCpu | Wanted::Lock).then(|| sampler.waits()).transpose()?;
    collecting.cutting.count(&parts, u64::MAX);
    if let Some(waits) = waits {
        collecting.cutting.fit(waits.short_ns);
    }
    let counted = collecting.cutting.finish();
    let not_kept: u64 = counted.iter().map(|part| part.stacks.not_kept).sum();
    let lost = sampler.lost()? + not_kept + not_followed;
    roster.account(&mut |_| ())?;
    drop(sampler);
    let is_empty = counted.iter().all(|part| part.samples == 0);
    if let Some(refused) = refused.filter(|_| is_empty) {
        return Err(refused);
    }
    let naming_ns = clock::now_ns();
    let found = Found::of(counted.iter().map(|part| &part.stacks), &collecting.spaces);
    let mut samples = 0;
    let mut ends: BTreeMap<End, u64> = BTreeMap::new();
    let mut named = Vec::with_capacity(counted.len());
    for part in counted {
        samples += part.samples;
        for (end, times) in &part.ends {
            *ends.entry(*end).or_default() += times;
        }
        named.push((part.samples > 0).then(|| {
            let Counted { stacks, samples, ends } = part;
            let mut profile = name(&stacks, &found, &collecting.spaces, targets, wanted);
            profile.time_ns = i64::try_from(time_ns).unwrap_or(0);
            if let Some((period, counted_in)) = wanted.period() {
                profile.period = i64::try_from(period).unwrap_or(i64::MAX);
                profile.period_type = Some(counted_in);
            }
            Part { profile, samples, ends }
        }));
    }
    let naming = Duration::from_nanos(clock::now_ns() - naming_ns);
    let account = Account { samples, lost, ends, waits, took, cost, naming };
    Ok(Parted { parts: named, account })
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

/// All threads at once; again where some were of processes that had to be looked at first.
fn look_at_threads(
    sampler: &mut Sampler,
    taking: &mut Taking,
    collecting: &mut Collecting,
) -> Result<(), Error> {
    for _ in 0..LOOKS_MAX {
        let looked = collecting.looked;
        collecting.forget_stacks();
        sampler.start()?;
        taking.take(sampler, Duration::ZERO, collecting)?;
        if collecting.looked == looked {
            break;
        }
    }
    Ok(())
}
