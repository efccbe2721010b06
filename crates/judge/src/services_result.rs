//! What the judge says of the services: the part `services` of `result.json`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What became of the services: who went away, who came back, and in which order.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
pub struct ServicesResult {
    /// Somebody watched the services' processes: only then is it evidence that none ended.
    pub watched: bool,
    /// Each service that exited, was started again or was not well, the first trouble first.
    pub stories: Vec<ServiceStory>,
    /// Of each service its first exit, its first start and when it was first well again, from the
    /// first injection on, in order of time.
    pub order: Vec<ServiceStep>,
    /// How often a service was started again, all services together.
    pub restarts: Option<u64>,
    /// The longest outage; 0 where there was none, null where one did not end.
    pub outage_seconds: Option<f64>,
    /// From the first injection until all services were well again.
    pub well_after_injection_seconds: Option<f64>,
    /// From the first injection until the system was steady again.
    pub steady_after_injection_seconds: Option<f64>,
}

/// What became of one service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ServiceStory {
    /// Which.
    pub service: String,
    /// The faults that were about it, by name.
    pub faults: Vec<String>,
    /// Times its main process ended.
    pub exits: u64,
    /// Times it was started again.
    pub restarts: u64,
    /// When it was away, in order; at most 20.
    pub outages: Vec<Outage>,
}

/// A time in which a service was away: from its exit, or from being unwell, until it was well and
/// stayed so for as long as steadiness must last.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Outage {
    /// Its beginning, seconds from the first injection.
    pub from_seconds: f64,
    /// What began it: `exited, signal 9 (SIGKILL)`, `not well`.
    pub began: String,
    /// When it was last started again, seconds from the first injection.
    pub started_seconds: Option<f64>,
    /// Its end, seconds from the first injection; null: it was not over when the run ended.
    pub to_seconds: Option<f64>,
    /// What ended it: `well`, or `started again` where nobody asks the service how it is.
    pub ended: String,
    /// Its length, seconds.
    pub length_seconds: Option<f64>,
    /// Who saw it.
    pub source: String,
}

/// What happened to a service at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ServiceStepKind {
    /// Its main process ended.
    Exited,
    /// It has a main process again.
    Started,
    /// It is well again.
    Well,
}

/// A step in the order of exits, starts and recoveries.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ServiceStep {
    /// Seconds from the first injection.
    pub t_seconds: f64,
    /// Which service.
    pub service: String,
    /// What happened.
    pub step: ServiceStepKind,
    /// Who saw it.
    pub source: String,
}
