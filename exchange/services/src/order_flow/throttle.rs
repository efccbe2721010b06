//! Sending less while there is trouble.

use std::time::{Duration, Instant};

const FLOOR: f64 = 0.05;
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// Each success brings back a fiftieth of what is missing, at least.
const RECOVERY: f64 = 1.02;

/// Halves the rate with each failure, brings it back slowly, and honours a server's wish
/// to be left alone for a while.
#[derive(Clone, Copy, Debug)]
pub struct Throttle {
    share: f64,
    paused_until: Option<Instant>,
}

impl Default for Throttle {
    fn default() -> Self {
        Self { share: 1.0, paused_until: None }
    }
}

impl Throttle {
    /// The share of the full rate to send at.
    #[must_use]
    pub fn share(&self) -> f64 {
        self.share
    }

    /// Whether nothing should be sent now.
    #[must_use]
    pub fn is_paused(&self, now: Instant) -> bool {
        self.paused_until.is_some_and(|until| now < until)
    }

    /// A request went well.
    pub fn succeeded(&mut self) {
        self.share = (self.share * RECOVERY).min(1.0);
    }

    /// A request failed, or was refused with a wish to come back later.
    pub fn failed(&mut self, now: Instant, retry_after: Option<Duration>) {
        // Requests sent before the first failure came back fail too; they say nothing new.
        if self.is_paused(now) {
            return;
        }
        self.share = (self.share / 2.0).max(FLOOR);
        let pause = retry_after.unwrap_or(Duration::from_millis(500)).min(PAUSE_MAX);
        self.paused_until = Some(now + pause);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common::monotonic;

    #[test]
    fn it_gives_way_keeps_away_and_comes_back() {
        let (mut throttle, start) = (Throttle::default(), monotonic());
        throttle.failed(start, Some(Duration::from_secs(5)));
        assert!(throttle.is_paused(start + Duration::from_secs(4)));
        assert!(!throttle.is_paused(start + Duration::from_secs(6)));
        // While paused, stragglers do not count.
        throttle.failed(start + Duration::from_secs(1), None);
        assert!((throttle.share() - 0.5).abs() < 1e-9);
        let mut now = start;
        for _ in 0..20 {
            now += Duration::from_secs(60);
            throttle.failed(now, Some(Duration::from_secs(3600)));
        }
        assert!((throttle.share() - FLOOR).abs() < 1e-9);
        assert!(!throttle.is_paused(now + PAUSE_MAX));
        for _ in 0..200 {
            throttle.succeeded();
        }
        assert!((throttle.share() - 1.0).abs() < 1e-9);
    }
}
