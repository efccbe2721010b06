//! The run itself: its beginning, its phases, its end.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Expectation, Figure};

/// The first event: what is to be done, where, and how the clock relates to wall time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunStarted {
    /// [`crate::SCHEMA`] of the writer.
    pub schema: u32,
    /// Version of the program that wrote the run.
    pub temblor: String,
    /// The experiment's name.
    pub name: String,
    /// The experiment's title.
    pub title: String,
    /// Wall time at this event's `t_ns`, nanoseconds since 1970, UTC.
    pub wall_unix_ns: u64,
    /// Seeds every random choice of the run.
    pub seed: u64,
    /// The machine.
    pub host: HostFacts,
    /// The phases as planned, in order.
    pub phases: Vec<PhasePlan>,
    /// The load as planned.
    pub load: Option<LoadPlan>,
    /// What "steady" means.
    pub steady_state: Vec<Expectation>,
    /// How long steadiness must last to count, nanoseconds.
    pub steady_hold_ns: u64,
    /// What the run is judged by.
    pub expect: Vec<Expectation>,
    /// Names of the gauges that must be back at their baseline's greatest value for the system
    /// to be steady: backlogs.
    pub backlogs: Vec<String>,
    /// What the author believes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hypothesis: Option<String>,
    /// What is to be learnt from the run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub learn: Vec<Question>,
}

/// Something that is to be learnt from a run, and which evidence answers it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Question {
    /// The question, in words.
    pub question: String,
    /// What answers it, by name: a figure (`load.p99`, `recovery.full`), `gauge NAME`,
    /// `check NAME`, `services`, `connections`, `resets`, `effect`.
    pub answers: Vec<String>,
}

/// What can answer a [`Question`], as the name in it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnsweredBy<'a> {
    /// A figure, phase by phase where it has one a phase.
    Figure(Figure),
    /// `gauge NAME`: its range in each phase, and when it was back at its baseline.
    Gauge(&'a str),
    /// `check NAME`: its answers in each phase, the first no and the first yes after it.
    Check(&'a str),
    /// `services`: who exited, who was started again, who was well again, and in which order.
    Services,
    /// `connections`: attempts, their ends and the time between them, what was sent again.
    Connections,
    /// `resets`: resets and refusals by service, peer and port.
    Resets,
    /// `effect`: dose against effect.
    Effect,
}

impl<'a> AnsweredBy<'a> {
    /// The names that are neither a figure nor that of a gauge or a check.
    pub const WORDS: [&'static str; 4] = ["services", "connections", "resets", "effect"];

    /// What the name means; none if nothing answers to it. Whether there is a gauge or a check of
    /// that name is for others to know.
    #[must_use]
    pub fn named(name: &'a str) -> Option<Self> {
        let of = |kind: &str| {
            let rest = name.strip_prefix(kind)?;
            let name = rest.trim();
            (rest.starts_with(char::is_whitespace) && !name.is_empty()).then_some(name)
        };
        match name {
            "services" => Some(Self::Services),
            "connections" => Some(Self::Connections),
            "resets" => Some(Self::Resets),
            "effect" => Some(Self::Effect),
            _ => Figure::by_name(name)
                .map(Self::Figure)
                .or_else(|| of("gauge").map(Self::Gauge))
                .or_else(|| of("check").map(Self::Check)),
        }
    }
}

/// Whether a name in [`Question::answers`] is evidence that any run may have; `gauge NAME` and
/// `check NAME` depend on the experiment and are not asked for here.
#[must_use]
pub fn answer_is_known(name: &str) -> bool {
    let by = AnsweredBy::named(name);
    by.is_some_and(|by| !matches!(by, AnsweredBy::Gauge(_) | AnsweredBy::Check(_)))
}

/// The machine a run was made on.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct HostFacts {
    /// `uname -r`.
    pub kernel: String,
    /// `uname -m`.
    pub arch: String,
    /// The distribution's own name for itself.
    pub distribution: String,
    /// Processors online.
    pub cpus: u32,
    /// Memory in bytes.
    pub memory_bytes: u64,
    /// `/proc/sys/kernel/random/boot_id`.
    pub boot_id: String,
    /// `v1`, `v2` or `hybrid`.
    pub cgroups: String,
}

/// What a phase is to the judge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PhaseRole {
    /// Before the first fault.
    Baseline,
    /// A fault is in place.
    Fault,
    /// After the last fault.
    Recovery,
}

/// A phase as planned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PhasePlan {
    /// Its name in the experiment.
    pub name: String,
    /// What it is to the judge.
    pub role: PhaseRole,
    /// Its length, nanoseconds; the greatest length if `until_steady`.
    pub for_ns: u64,
    /// It ends as soon as the system is steady.
    pub until_steady: bool,
}

/// The load as planned.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LoadPlan {
    /// The profile's name.
    pub profile: String,
    /// Requests per second.
    pub rate_per_second: f64,
    /// `constant` or `poisson`.
    pub arrivals: String,
    /// How long a request may take before its outcome is unsure, nanoseconds from planned send.
    pub timeout_ns: u64,
    /// Where it goes.
    pub url: String,
}

/// A target, or a service of the lab, as it was found when the run began.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetSeen {
    /// The names it has in the experiment (`api`, `db`); empty for a lab service not named there.
    pub aliases: Vec<String>,
    /// The service, container or process name, used in every event that is attributed to it.
    pub service: String,
    /// Its processes.
    pub pids: Vec<u32>,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// Inode of its network namespace.
    pub netns: u64,
}

/// The main process of a target ended while the run was on. The event's time is when that was
/// noticed: targets are looked at 40 times a second.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessEnded {
    /// The target's service.
    pub service: String,
    /// The process.
    pub pid: u32,
    /// How it ended, where that could be seen: `exit code 1`, `signal 9 (SIGKILL)`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub how: Option<String>,
}

/// A target has a main process again, or a new one. The event's time is when that was noticed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessStarted {
    /// The target's service.
    pub service: String,
    /// The process.
    pub pid: u32,
    /// How often whoever keeps the service says that it was started again, where it counts.
    pub restarts: Option<u32>,
}

/// A service is well, or no longer; told when it changes. The event's time is when that was
/// noticed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceHealth {
    /// The service.
    pub service: String,
    /// Whether it is well.
    pub healthy: bool,
    /// Who says so: `the lab's health check`.
    pub source: String,
}

/// A phase begins or ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PhaseMark {
    /// The phase's name.
    pub phase: String,
    /// What it is to the judge.
    pub role: PhaseRole,
    /// True at its start, false at its end.
    pub starts: bool,
}

/// The run was cut short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Aborted {
    /// `interrupted by SIGINT`, the abort condition with its figure, or what went wrong.
    pub why: String,
}

/// Something of ours was still there after everything had been undone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftBehind {
    /// What, where, and how to remove it.
    pub what: String,
}

/// The last event of a run that came to its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunEnded {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_known_by_their_names() {
        for (name, by) in [
            ("load.p99", Some(AnsweredBy::Figure(Figure::LoadP99))),
            ("service.outage", Some(AnsweredBy::Figure(Figure::ServiceOutage))),
            ("gauge order backlog", Some(AnsweredBy::Gauge("order backlog"))),
            ("check the API is ready", Some(AnsweredBy::Check("the API is ready"))),
            ("services", Some(AnsweredBy::Services)),
            ("effect", Some(AnsweredBy::Effect)),
            ("gauge", None),
            ("gauge ", None),
            ("gaugex", None),
            ("load.p98", None),
            ("", None),
        ] {
            assert_eq!(AnsweredBy::named(name), by, "{name}");
            let of_the_experiment = name.starts_with("gauge ") || name.starts_with("check ");
            assert_eq!(answer_is_known(name), by.is_some() && !of_the_experiment, "{name}");
        }
        assert!(AnsweredBy::WORDS.into_iter().all(answer_is_known));
        assert!(Figure::ALL.into_iter().all(|figure| answer_is_known(figure.name())));
    }
}
