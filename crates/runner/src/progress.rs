//! What a run says while it goes on. How it looks is the terminal's business.

use std::time::Duration;

/// Something to show.
#[derive(Debug, Clone, PartialEq)]
pub enum Update {
    /// Something happened, once.
    Said {
        /// Since the run began.
        at: Duration,
        /// A sentence without a full stop.
        what: String,
    },
    /// How things stand; about once a second.
    Tick(Standing),
}

/// How things stand.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Standing {
    /// Since the run began.
    pub at: Duration,
    /// The phase's name.
    pub phase: String,
    /// Within the phase.
    pub phase_at: Duration,
    /// The phase's length, or its greatest length.
    pub phase_length: Duration,
    /// Acknowledged so far.
    pub ok: u64,
    /// Refused so far.
    pub failed: u64,
    /// Without an answer so far.
    pub unsure: u64,
    /// Under way.
    pub in_flight: u64,
    /// 99th percentile of the last complete second, seconds.
    pub p99_seconds: Option<f64>,
    /// The gauges' last values.
    pub gauges: Vec<(String, f64)>,
    /// The checks' last answers and what was seen.
    pub checks: Vec<(String, bool, String)>,
    /// What the faults in place have done so far: how many of what.
    pub effects: Vec<(u64, String)>,
    /// TCP segments sent again so far.
    pub retransmitted: u64,
}
