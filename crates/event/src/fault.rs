//! Faults: the dose that was asked, the effect that the kernel saw.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A fault is in place; the event's time is when the change had been made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultInjected {
    /// Distinguishes the faults of one run; counts from 1.
    pub id: u32,
    /// `network.partition`.
    pub name: String,
    /// What was asked, in words: `from` → `trading-api`, `action` → `drop`.
    pub dose: BTreeMap<String, String>,
    /// How it is done, in words.
    pub mechanism: String,
    /// Who undoes it if this program dies: `the kernel, when the table's owner closes its socket`.
    pub undone_by: String,
    /// When the change was begun, CLOCK_MONOTONIC nanoseconds.
    pub began_ns: u64,
}

/// A reading of the fault's counters while it is in place.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FaultEffect {
    /// The fault.
    pub id: u32,
    /// What was read.
    pub effect: Effect,
}

/// A fault's dose was changed while it is in place (a ramp, a step).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FaultAdjusted {
    /// The fault.
    pub id: u32,
    /// The share of the whole dose that is in place from now on, 0 to 1.
    pub level: f64,
}

/// A fault is undone; the event's time is when the change had been undone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FaultReverted {
    /// The fault.
    pub id: u32,
    /// When the undoing was begun, CLOCK_MONOTONIC nanoseconds.
    pub began_ns: u64,
    /// The last reading before the undoing.
    pub effect: Effect,
    /// The kernel was asked afterwards, and nothing of the fault was there any more.
    pub verified: bool,
}

/// What a fault did, counted by somebody other than the fault.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Effect {
    /// The unit of the counts: `packets dropped`.
    pub measure: String,
    /// The whole count. 0: the fault had no effect, and the run proves nothing.
    pub count: u64,
    /// Who counted: `nftables rule counters in the namespace of trading-api`.
    pub source: String,
    /// The count in its parts.
    pub parts: Vec<EffectPart>,
    /// What was asked, against what somebody else measured of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub doses: Vec<DoseSeen>,
}

/// A dose that can be measured: what was asked, what was observed, and by whom.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DoseSeen {
    /// What is measured, in words: `added round-trip time`.
    pub what: String,
    /// The unit of the figures: `ms`, `%`, `bytes/s`, `bytes`.
    pub unit: String,
    /// What was asked.
    pub asked: f64,
    /// What was observed; none while too little has been seen to say.
    pub observed: Option<f64>,
    /// By how much the observed may differ from what was asked, in the unit.
    pub within: f64,
    /// From how many observations.
    pub samples: u64,
    /// Who measured, and how: never the fault's own claim.
    pub source: String,
}

impl DoseSeen {
    /// Whether what was observed is as near to what was asked as it should be. None: not
    /// observed.
    #[must_use]
    pub fn holds(&self) -> Option<bool> {
        self.observed.map(|observed| (observed - self.asked).abs() <= self.within)
    }
}

/// One rule's or one mechanism's share of an [`Effect`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EffectPart {
    /// `out to 10.0.0.5 port 5432`.
    pub name: String,
    /// In the effect's unit.
    pub count: u64,
    /// Bytes, where the counter knows them.
    pub bytes: u64,
}
