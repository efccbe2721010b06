//! Profiles that are collected while a run goes on.

use serde::{Deserialize, Serialize};

use crate::watch::Hook;

/// A profile is being collected: what collects it is attached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProfileStarted {
    /// What is collected: `cpu`.
    pub kind: String,
    /// Under which name its costs and losses are on record: `profile cpu`.
    pub probe: String,
    /// The phases that it is collected in.
    pub phases: Vec<String>,
    /// How often a second it looks; absent where it does not look by a clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_hz: Option<u32>,
    /// Where it is attached.
    pub hooks: Vec<Hook>,
    /// From the start until it was attached, nanoseconds.
    pub attach_ns: u64,
}

/// The profile of a phase lies in the run directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProfileKept {
    /// What was collected: `cpu`.
    pub kind: String,
    /// The phase.
    pub phase: String,
    /// The file in the run directory: `profiles/cpu-baseline.pb.gz`.
    pub file: String,
    /// Stacks that were taken.
    pub samples: u64,
    /// Of them, those that reach their thread's root.
    pub samples_to_root: u64,
    /// For how long it was collected, nanoseconds.
    pub lasted_ns: u64,
}

/// A profile that was asked for is not there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProfileMissing {
    /// What was to be collected: `cpu`.
    pub kind: String,
    /// The phases without it.
    pub phases: Vec<String>,
    /// Why, and what to do.
    pub why: String,
}

/// What collecting a profile took, all phases together. What the kernel half cost is a
/// [`crate::ProbeCost`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProfileEnded {
    /// What was collected: `cpu`.
    pub kind: String,
    /// Stacks for which there was no room, whichever phase they were of.
    pub samples_lost: u64,
    /// How long it took to find the names, after the last phase, nanoseconds.
    pub naming_ns: u64,
}
