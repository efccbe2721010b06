//! Waiting longer each time, and not in step with anybody else.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(2);

/// Exponential back-off from 100 ms to 2 s, each wait shortened by up to a half at random
/// so that many clients of one server do not return in the same instant.
#[derive(Debug)]
pub struct Backoff {
    next: Duration,
    random: StdRng,
}

impl Default for Backoff {
    fn default() -> Self {
        // `RandomState` is seeded by the operating system; good enough to be out of step.
        Self { next: FIRST, random: StdRng::seed_from_u64(RandomState::new().hash_one(0_u8)) }
    }
}

impl Backoff {
    /// How long to wait after one more failure.
    pub fn failed(&mut self) -> Duration {
        let wait = self.next.mul_f64(self.random.random_range(0.5..1.0));
        self.next = (self.next * 2).min(LONGEST);
        wait
    }

    /// Begin again: the last attempt went well.
    pub fn succeeded(&mut self) {
        self.next = FIRST;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_bound_and_start_again() {
        let mut backoff = Backoff::default();
        let mut ceiling = FIRST;
        for _ in 0..20 {
            let wait = backoff.failed();
            assert!(wait >= ceiling / 2 && wait < ceiling, "{wait:?} for {ceiling:?}");
            ceiling = (ceiling * 2).min(LONGEST);
        }
        backoff.succeeded();
        assert!(backoff.failed() < FIRST);
    }
}
