//! Conditions on figures: what `steadyState`, `abort` and `expect` come down to.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A figure that a condition can be put on. The names are those of the experiment file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Figure {
    /// Accepted requests as a share of the planned ones.
    #[serde(rename = "load.success")]
    LoadSuccess,
    /// Planned requests that were not accepted (refused, unsure, unsent), as a share.
    #[serde(rename = "load.errors")]
    LoadErrors,
    /// Median latency of accepted requests, from the planned send time.
    #[serde(rename = "load.p50")]
    LoadP50,
    /// 90th percentile of the same.
    #[serde(rename = "load.p90")]
    LoadP90,
    /// 99th percentile of the same.
    #[serde(rename = "load.p99")]
    LoadP99,
    /// Greatest latency of an accepted request.
    #[serde(rename = "load.max")]
    LoadMax,
    /// Accepted requests per second.
    #[serde(rename = "load.throughput")]
    LoadThroughput,
    /// Orders acknowledged and absent from the database.
    #[serde(rename = "ledger.lost")]
    LedgerLost,
    /// Orders that are in the database more than once.
    #[serde(rename = "ledger.duplicated")]
    LedgerDuplicated,
    /// Orders in the database that were refused, or that nobody sent.
    #[serde(rename = "ledger.unexpected")]
    LedgerUnexpected,
    /// From injection to the first sign that the application itself gives.
    #[serde(rename = "detection")]
    Detection,
    /// From healing to the first connection that works.
    #[serde(rename = "recovery.first")]
    RecoveryFirst,
    /// From healing to steady again.
    #[serde(rename = "recovery.full")]
    RecoveryFull,
    /// From healing to all services well again.
    #[serde(rename = "recovery.services")]
    RecoveryServices,
    /// How often a service was started again, all services together.
    #[serde(rename = "service.restarts")]
    ServiceRestarts,
    /// The longest outage of a service.
    #[serde(rename = "service.outage")]
    ServiceOutage,
}

/// The unit in which a figure's value is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// 0 to 1; written as a percentage.
    Ratio,
    /// Seconds.
    Seconds,
    /// Per second.
    PerSecond,
    /// A whole number of things.
    Count,
}

impl Figure {
    /// Every figure, in the order of the documentation.
    pub const ALL: [Self; 16] = [
        Self::LoadSuccess,
        Self::LoadErrors,
        Self::LoadP50,
        Self::LoadP90,
        Self::LoadP99,
        Self::LoadMax,
        Self::LoadThroughput,
        Self::LedgerLost,
        Self::LedgerDuplicated,
        Self::LedgerUnexpected,
        Self::Detection,
        Self::RecoveryFirst,
        Self::RecoveryFull,
        Self::RecoveryServices,
        Self::ServiceRestarts,
        Self::ServiceOutage,
    ];

    /// The figure of that name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|figure| figure.name() == name)
    }

    /// The name in an experiment file.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::LoadSuccess => "load.success",
            Self::LoadErrors => "load.errors",
            Self::LoadP50 => "load.p50",
            Self::LoadP90 => "load.p90",
            Self::LoadP99 => "load.p99",
            Self::LoadMax => "load.max",
            Self::LoadThroughput => "load.throughput",
            Self::LedgerLost => "ledger.lost",
            Self::LedgerDuplicated => "ledger.duplicated",
            Self::LedgerUnexpected => "ledger.unexpected",
            Self::Detection => "detection",
            Self::RecoveryFirst => "recovery.first",
            Self::RecoveryFull => "recovery.full",
            Self::RecoveryServices => "recovery.services",
            Self::ServiceRestarts => "service.restarts",
            Self::ServiceOutage => "service.outage",
        }
    }

    /// The unit of its value.
    #[must_use]
    pub fn unit(self) -> Unit {
        match self {
            Self::LoadSuccess | Self::LoadErrors => Unit::Ratio,
            Self::LoadThroughput => Unit::PerSecond,
            Self::LedgerLost
            | Self::LedgerDuplicated
            | Self::LedgerUnexpected
            | Self::ServiceRestarts => Unit::Count,
            Self::LoadP50
            | Self::LoadP90
            | Self::LoadP99
            | Self::LoadMax
            | Self::Detection
            | Self::RecoveryFirst
            | Self::RecoveryFull
            | Self::RecoveryServices
            | Self::ServiceOutage => Unit::Seconds,
        }
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How a figure is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Op {
    /// At least.
    #[serde(rename = ">=")]
    Ge,
    /// More than.
    #[serde(rename = ">")]
    Gt,
    /// At most.
    #[serde(rename = "<=")]
    Le,
    /// Less than.
    #[serde(rename = "<")]
    Lt,
    /// Exactly.
    #[serde(rename = "==")]
    Eq,
}

impl Op {
    /// Whether `value` stands in this relation to `bound`.
    #[must_use]
    pub fn holds(self, value: f64, bound: f64) -> bool {
        match self {
            Self::Ge => value >= bound,
            Self::Gt => value > bound,
            Self::Le => value <= bound,
            Self::Lt => value < bound,
            // Only counts are compared for equality, and they are far below 2^53.
            Self::Eq => (value - bound).abs() < f64::EPSILON,
        }
    }
}

/// One figure, one comparison, one bound.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Condition {
    /// What is compared.
    pub figure: Figure,
    /// How.
    pub op: Op,
    /// With what, in the figure's own unit (`99.9%` is 0.999, `50ms` is 0.05).
    pub bound: f64,
    /// The comparison as the experiment's author wrote it: `>= 99.9%`.
    pub text: String,
}

/// A condition that a run is judged by.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Expectation {
    /// The author's words for it, or the figure and the comparison.
    pub name: String,
    /// The phase whose figures are meant. None: the whole run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub during: Option<String>,
    /// What must hold.
    pub condition: Condition,
}
