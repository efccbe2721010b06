//! The run second by second, for plots: what is too much for `result.json`.

use std::collections::BTreeMap;

use serde::Serialize;

/// Everything that is drawn over time. Times are seconds from injection, as in the result.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Series {
    /// The load, a point a second, in order.
    pub load: Vec<LoadPoint>,
    /// Each gauge's readings, in order. What was not a finite number is left out.
    pub gauges: BTreeMap<String, Vec<(f64, f64)>>,
    /// Segments sent again, by second; a second without any is left out.
    pub retransmitted: Vec<(f64, u64)>,
    /// Each check's answers, in order.
    pub checks: BTreeMap<String, Vec<(f64, bool)>>,
}

/// One second of load.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LoadPoint {
    /// The second's start.
    pub t_seconds: f64,
    /// Requests planned.
    pub planned: u64,
    /// Acknowledged.
    pub ok: u64,
    /// Refused for certain.
    pub failed: u64,
    /// Sent, outcome not known.
    pub unsure: u64,
    /// Never sent.
    pub unsent: u64,
    /// Median latency of the acknowledged requests, seconds.
    pub p50_seconds: Option<f64>,
    /// 99th percentile.
    pub p99_seconds: Option<f64>,
    /// Greatest.
    pub max_seconds: Option<f64>,
}
