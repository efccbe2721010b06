//! What came of the echoes. Pure: times in, figures out.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use temblor_event::DoseSeen;

use crate::network::Dose;
use crate::network::queue::share_within;

/// How many round-trip times of a kind are kept.
const KEPT_MAX: usize = 4096;
/// How many echoes of a kind may be unanswered at a time.
const WAITING_MAX: usize = 4096;
/// How much later than it is due an answer may come before it is taken for lost.
const GRACE: Duration = Duration::from_secs(2);
/// An echo that a fault does not delay is lost when it has not come back by then.
const LOST_AFTER: Duration = Duration::from_millis(500);
/// Fewer than this say nothing.
const SAMPLES_MIN: usize = 5;
/// How near an observed delay is to be to the one that was asked: this share of it, or this
/// long.
const DELAY_WITHIN_SHARE: f64 = 0.05;
const DELAY_WITHIN_MS: f64 = 1.0;

/// Echoes of one kind.
#[derive(Debug, Clone, Default)]
pub(super) struct Samples {
    number: u16,
    /// When those were sent that have not been answered.
    waiting: BTreeMap<u16, u64>,
    /// Nanoseconds.
    round_trips: VecDeque<u64>,
    answered: u64,
    lost: u64,
}

impl Samples {
    /// The number of the next one, which is sent now.
    pub(super) fn send(&mut self, now_ns: u64) -> u16 {
        self.number = self.number.wrapping_add(1);
        if self.waiting.len() < WAITING_MAX {
            self.waiting.insert(self.number, now_ns);
        }
        self.number
    }

    /// Takes an answer. A second one to the same request is none.
    pub(super) fn answer(&mut self, number: u16, now_ns: u64) {
        let Some(sent_ns) = self.waiting.remove(&number) else { return };
        self.answered += 1;
        if self.round_trips.len() == KEPT_MAX {
            self.round_trips.pop_front();
        }
        self.round_trips.push_back(now_ns.saturating_sub(sent_ns));
    }

    /// Gives up on those that were due longer ago than they may be late.
    pub(super) fn expire(&mut self, now_ns: u64, delay: Duration) {
        let patience_ns = (delay + GRACE).as_nanos() as u64;
        let before = self.waiting.len();
        self.waiting.retain(|_, sent_ns| now_ns.saturating_sub(*sent_ns) <= patience_ns);
        self.lost += (before - self.waiting.len()) as u64;
    }

    /// Forgets what has been seen, and what is under way.
    pub(super) fn clear(&mut self) {
        *self = Self { number: self.number, ..Self::default() };
    }

    /// Those that have come back, and those that will not.
    fn ended(&self, now_ns: u64) -> (u64, u64) {
        let overdue =
            |sent_ns: &&u64| u128::from(now_ns.saturating_sub(**sent_ns)) > LOST_AFTER.as_nanos();
        let overdue = self.waiting.values().filter(overdue).count() as u64;
        (self.answered, self.answered + self.lost + overdue)
    }

    fn median_ns(&self) -> Option<f64> {
        if self.round_trips.len() < SAMPLES_MIN {
            return None;
        }
        let mut sorted: Vec<u64> = self.round_trips.iter().copied().collect();
        let (_, median, _) = {
            let middle = sorted.len() / 2;
            sorted.select_nth_unstable(middle)
        };
        Some(*median as f64)
    }
}

/// What the echoes say of a dose, which a round trip meets `trips` times.
pub(super) fn doses(
    dose: &Dose,
    trips: u32,
    through: &Samples,
    beside: &Samples,
    now_ns: u64,
    source: &str,
) -> Vec<DoseSeen> {
    let seen = |what: &str, unit: &str, asked, observed, within, samples| {
        vec![DoseSeen {
            what: what.into(),
            unit: unit.into(),
            asked,
            observed,
            within,
            samples,
            source: source.into(),
        }]
    };
    match *dose {
        Dose::Latency { delay, .. } => {
            let asked = delay.as_secs_f64() * 1e3 * f64::from(trips);
            let observed = through
                .median_ns()
                .zip(beside.median_ns())
                .map(|(with, without)| (with - without) / 1e6);
            let within = f64::max(asked * DELAY_WITHIN_SHARE, DELAY_WITHIN_MS);
            seen("added round-trip time", "ms", asked, observed, within, through.answered)
        }
        Dose::Reorder { share, delay } => {
            let delay_ns = delay.as_nanos() as f64;
            let kept = through.round_trips.len();
            let samples = kept as u64 * u64::from(trips);
            let observed = beside.median_ns().filter(|_| kept >= SAMPLES_MIN).map(|usual_ns| {
                let held = |trip: &u64| {
                    ((*trip as f64 - usual_ns) / delay_ns).round().clamp(0.0, f64::from(trips))
                };
                100.0 * through.round_trips.iter().map(held).sum::<f64>() / samples as f64
            });
            let within = share_within(share, samples);
            seen("packets held back", "%", share * 100.0, observed, within, samples)
        }
        Dose::Corrupt { share } => {
            let (_, ended) = through.ended(now_ns);
            // Those that vanish without the fault are not its doing.
            let whole = |samples: &Samples| {
                let (answered, ended) = samples.ended(now_ns);
                (ended >= SAMPLES_MIN as u64).then(|| answered as f64 / ended as f64)
            };
            let observed = whole(through).zip(whole(beside).filter(|share| *share > 0.0)).map(
                |(with, without)| {
                    let survived = (with / without).min(1.0);
                    100.0 * (1.0 - survived.powf(1.0 / f64::from(trips)))
                },
            );
            let within = share_within(share, ended);
            seen("packets whose checksum was wrong", "%", share * 100.0, observed, within, ended)
        }
        Dose::Loss { .. } | Dose::Duplicate { .. } | Dose::Bandwidth { .. } => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    /// Echoes that took so many milliseconds each, and some that never came.
    fn samples(trips_ms: impl IntoIterator<Item = u64>, lost: u64) -> Samples {
        let mut samples = Samples::default();
        for trip in trips_ms {
            let number = samples.send(0);
            samples.answer(number, trip * MS);
            samples.answer(number, 99_999 * MS);
        }
        for _ in 0..lost {
            samples.send(0);
        }
        samples.expire(3000 * MS, Duration::from_millis(10));
        samples
    }

    fn seen(dose: Dose, trips: u32, through: &Samples, beside: &Samples) -> DoseSeen {
        doses(&dose, trips, through, beside, 3000 * MS, "a test").remove(0)
    }

    const DELAY: Duration = Duration::from_millis(20);

    #[test]
    fn a_delay_is_the_difference_of_the_medians() {
        let dose = Dose::Latency { delay: DELAY, jitter: Duration::ZERO };
        let beside = samples([1, 1, 2, 1, 500], 0);
        let once = seen(dose, 1, &samples([21, 21, 22, 21, 800], 3), &beside);
        assert_eq!((once.asked, once.observed, once.within), (20.0, Some(20.0), 1.0));
        assert_eq!((once.samples, once.holds()), (5, Some(true)));
        let twice = seen(dose, 2, &samples([44, 44, 44, 44, 44], 0), &beside);
        assert_eq!((twice.asked, twice.observed, twice.holds()), (40.0, Some(43.0), Some(false)));
        assert_eq!(seen(dose, 1, &samples([21; 4], 0), &beside).observed, None, "too few");
        assert_eq!(seen(dose, 1, &samples([21; 9], 0), &samples([], 9)).observed, None);
    }

    #[test]
    fn what_was_held_back_is_late_by_the_delay() {
        let dose = Dose::Reorder { share: 0.25, delay: DELAY };
        let beside = samples([1; 9], 0);
        let through = samples([1, 1, 1, 21, 1, 2, 22, 1], 0);
        let once = seen(dose, 1, &through, &beside);
        assert_eq!((once.observed, once.samples), (Some(25.0), 8));
        let through = samples([1, 21, 41, 1, 1, 1, 21, 21], 0);
        assert_eq!(seen(dose, 2, &through, &beside).observed, Some(100.0 * 5.0 / 16.0));
    }

    #[test]
    fn what_is_spoilt_does_not_come_back() {
        let dose = Dose::Corrupt { share: 0.2 };
        let once = seen(dose, 1, &samples([1; 80], 20), &samples([1; 100], 0));
        assert!((once.observed.unwrap() - 20.0).abs() < 1e-9);
        assert_eq!((once.samples, once.within), (100, 12.0));
        let twice = seen(dose, 2, &samples([1; 64], 36), &samples([1; 100], 0));
        assert!((twice.observed.unwrap() - 20.0).abs() < 1e-9);
        // A wire that loses anyway.
        let lossy = seen(dose, 1, &samples([1; 40], 60), &samples([1; 50], 50));
        assert!((lossy.observed.unwrap() - 20.0).abs() < 1e-9);
        assert_eq!(seen(dose, 1, &samples([], 9), &samples([], 9)).observed, None);
        // One that may still come is neither.
        let mut waiting = samples([1; 9], 0);
        waiting.send(2600 * MS);
        assert_eq!(waiting.ended(3000 * MS), (9, 9));
        assert_eq!(waiting.ended(3200 * MS), (9, 10));
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut samples = Samples::default();
        for _ in 0..2 * WAITING_MAX {
            samples.send(0);
        }
        assert_eq!(samples.waiting.len(), WAITING_MAX);
        for _ in 0..2 * KEPT_MAX {
            let number = samples.send(0);
            samples.waiting.insert(number, 0);
            samples.answer(number, 1);
        }
        assert_eq!(samples.round_trips.len(), KEPT_MAX);
        samples.clear();
        assert_eq!((samples.answered, samples.waiting.len()), (0, 0));
    }
}
