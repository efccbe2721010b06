//! How many orders and trades there are a second.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How far back a rate looks.
const WINDOW: Duration = Duration::from_secs(30);

/// Counts, looked at now and then.
#[derive(Debug, Default)]
pub struct Rates(Mutex<VecDeque<Sample>>);

#[derive(Clone, Copy, Debug)]
struct Sample {
    at: Instant,
    orders: u64,
    trades: u64,
}

/// A second's share of what came over a time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// Over how much time.
    pub over: Duration,
    /// Orders a second.
    pub orders: f64,
    /// Trades a second.
    pub trades: f64,
}

impl Rates {
    /// So many there are in all now.
    pub fn look(&self, at: Instant, orders: u64, trades: u64) {
        let mut samples = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        samples.push_back(Sample { at, orders, trades });
        while samples.get(1).is_some_and(|second| at.duration_since(second.at) >= WINDOW) {
            samples.pop_front();
        }
    }

    /// What came between the first and the last look; nothing before the second one.
    pub fn rate(&self) -> Option<Rate> {
        let samples = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (first, last) = (samples.front()?, samples.back()?);
        let over = last.at.duration_since(first.at);
        #[expect(clippy::cast_precision_loss, reason = "a rate is rounded anyway")]
        let rate = |now: u64, then: u64| now.saturating_sub(then) as f64 / over.as_secs_f64();
        (!over.is_zero()).then(|| Rate {
            over,
            orders: rate(last.orders, first.orders),
            trades: rate(last.trades, first.trades),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common::monotonic;

    #[test]
    fn a_rate_is_over_the_last_half_minute() {
        let (rates, began) = (Rates::default(), monotonic());
        assert_eq!(rates.rate(), None);
        rates.look(began, 7, 7);
        assert_eq!(rates.rate(), None);
        for second in 1..100_u32 {
            // A hundred a second, and ten from the fiftieth on.
            let orders = if second < 50 { second * 100 } else { 5000 + (second - 50) * 10 };
            rates.look(began + Duration::from_secs(second.into()), orders.into(), 7);
        }
        let over = Duration::from_secs(30);
        assert_eq!(rates.rate(), Some(Rate { over, orders: 10.0, trades: 0.0 }));
    }
}
