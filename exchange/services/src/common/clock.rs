//! The two clocks: one to measure with, one to write down.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Now, for measuring how long something took.
#[must_use]
#[expect(
    clippy::disallowed_methods,
    reason = "durations and bounds within one process; the exchange writes no run events"
)]
pub fn monotonic() -> Instant {
    Instant::now()
}

/// Wall time in microseconds since 1970; 0 for a clock set before that.
#[must_use]
pub fn unix_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}
