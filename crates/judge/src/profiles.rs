//! Profiles of the phases: which there are, what they are of, and why one is not there. What is in
//! them lies in files of the run directory, which are not for the judge to read.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use temblor_event::PhaseRole;

use crate::log::{Log, seconds};
use crate::phases::Window;

/// A kind of profile that was to be collected while the run went on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ProfileResult {
    /// What was collected: `cpu`.
    pub kind: String,
    /// How often a second it looked; null where it does not look by a clock, or never began.
    pub rate_hz: Option<u32>,
    /// From its start until it was attached, seconds; null if it never was.
    pub attach_seconds: Option<f64>,
    /// How long it took to find the names, seconds; null if it did not come to that.
    pub naming_seconds: Option<f64>,
    /// Samples for which there was no room, whichever phase they were of; null if nobody said.
    pub samples_lost: Option<u64>,
    /// The profiles that there are, in the order of the phases.
    pub phases: Vec<PhaseProfile>,
    /// Those that were asked for and are not there.
    pub missing: Vec<MissingProfile>,
    /// What a phase has more or less of than the one that it is compared with. Told from the
    /// profiles themselves, so that only a report has it.
    pub comparisons: Vec<ProfileComparison>,
}

/// The profile of a phase.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PhaseProfile {
    /// The phase.
    pub phase: String,
    /// The file in the run directory, as pprof has it.
    pub file: String,
    /// Stacks that were taken.
    pub samples: u64,
    /// Of them, those that reach their thread's root.
    pub samples_to_root: u64,
    /// For how long it was collected.
    pub seconds: f64,
}

/// Profiles that were asked for and are not there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MissingProfile {
    /// The phases.
    pub phases: Vec<String>,
    /// Why.
    pub why: String,
}

/// The profile of one phase, held against that of another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ProfileComparison {
    /// The phase that it is compared with.
    pub base: String,
    /// The phase that is compared.
    pub new: String,
    /// What changed, in sentences with their figures; the weightiest first. Empty: nothing that
    /// could be told from chance.
    pub changes: Vec<String>,
    /// What is to be known of those figures, and why there are none.
    pub notes: Vec<String>,
}

impl ProfileResult {
    /// Which phases' profiles are to be held against each other, as places in `phases`: the last one
    /// before the fault, and each one with it.
    #[must_use]
    pub fn pairs(&self, role: impl Fn(&str) -> Option<PhaseRole>) -> Vec<(usize, usize)> {
        let of = |wanted: PhaseRole| {
            let is = move |(_, of): &(usize, Option<PhaseRole>)| *of == Some(wanted);
            let roles = self.phases.iter().map(|profile| role(&profile.phase));
            roles.enumerate().filter(is).map(|(place, _)| place).collect::<Vec<_>>()
        };
        let Some(base) = of(PhaseRole::Baseline).pop() else { return Vec::new() };
        of(PhaseRole::Fault).into_iter().map(|new| (base, new)).collect()
    }
}

/// Each kind, in the order in which they were begun.
pub(crate) fn results(log: &Log<'_>, windows: &[Window<'_>]) -> Vec<ProfileResult> {
    let mut kinds: Vec<&str> = Vec::new();
    let started = log.profiles_started.iter().map(|started| (started.t_ns, &*started.get().kind));
    let missing = log.profiles_missing.iter().map(|missing| (missing.t_ns, &*missing.get().kind));
    let mut named: Vec<(u64, &str)> = started.chain(missing).collect();
    named.sort_by_key(|(t_ns, _)| *t_ns);
    for (_, kind) in named {
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    kinds.into_iter().map(|kind| result(log, windows, kind)).collect()
}

fn result(log: &Log<'_>, windows: &[Window<'_>], kind: &str) -> ProfileResult {
    let started = log.profiles_started.iter().find(|started| started.kind == kind);
    let ended = log.profiles_ended.iter().find(|ended| ended.kind == kind);
    let place = |phase: &str| windows.iter().position(|window| window.name == phase);
    let kept = log.profiles_kept.iter().filter(|kept| kept.kind == kind);
    let mut phases: Vec<PhaseProfile> = kept
        .map(|kept| PhaseProfile {
            phase: kept.phase.clone(),
            file: kept.file.clone(),
            samples: kept.samples,
            samples_to_root: kept.samples_to_root,
            seconds: seconds(kept.lasted_ns),
        })
        .collect();
    phases.sort_by_key(|profile| place(&profile.phase));
    let of_kind = log.profiles_missing.iter().filter(|missing| missing.kind == kind);
    let mut missing: Vec<MissingProfile> = of_kind
        .map(|missing| MissingProfile { phases: missing.phases.clone(), why: missing.why.clone() })
        .collect();
    let told = |phase: &&String| {
        phases.iter().any(|profile| profile.phase == **phase)
            || missing.iter().any(|missing| missing.phases.contains(phase))
    };
    let wanted = started.map(|started| started.get().phases.iter()).into_iter().flatten();
    let untold: Vec<String> = wanted.filter(|phase| !told(phase)).cloned().collect();
    if !untold.is_empty() {
        let why = "the run was cut off before it was written".to_owned();
        missing.push(MissingProfile { phases: untold, why });
    }
    ProfileResult {
        kind: kind.to_owned(),
        rate_hz: started.and_then(|started| started.rate_hz),
        attach_seconds: started.map(|started| seconds(started.attach_ns)),
        naming_seconds: ended.map(|ended| seconds(ended.naming_ns)),
        samples_lost: ended.map(|ended| ended.samples_lost),
        phases,
        missing,
        comparisons: Vec::new(),
    }
}
