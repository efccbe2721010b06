//! The prices.

use exchange_api::reference_price;
use exchange_matching::Symbol;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// How much of its distance from the reference a price loses in a step, as a divisor.
const RETURN_DIVISOR: i64 = 50;
/// The largest random step, as a divisor of the reference.
const STEP_DIVISOR: i64 = 1000;

/// A symbol's price and how far it has been.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Price {
    /// Now, in ticks.
    pub now: i64,
    /// The lowest so far.
    pub low: i64,
    /// The highest so far.
    pub high: i64,
}

/// A random walk that is drawn back to where it began; the same seed walks the same way.
#[derive(Debug)]
pub struct Walk {
    random: StdRng,
    prices: [Price; Symbol::ALL.len()],
}

impl Walk {
    /// Begins at the reference prices.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut prices = [Price { now: 1, low: 1, high: 1 }; Symbol::ALL.len()];
        for symbol in Symbol::ALL {
            let now = reference(*symbol);
            prices[symbol.index()] = Price { now, low: now, high: now };
        }
        Self { random: StdRng::seed_from_u64(seed), prices }
    }

    /// One step of every price.
    pub fn step(&mut self) {
        for symbol in Symbol::ALL {
            let reference = reference(*symbol);
            let largest = (reference / STEP_DIVISOR).max(1);
            let price = &mut self.prices[symbol.index()];
            let back = (reference - price.now) / RETURN_DIVISOR;
            price.now = (price.now + back + self.random.random_range(-largest..=largest)).max(1);
            price.low = price.low.min(price.now);
            price.high = price.high.max(price.now);
        }
    }

    /// The price now.
    #[must_use]
    pub fn price(&self, symbol: Symbol) -> Price {
        self.prices[symbol.index()]
    }
}

/// The price to come back to, signed for the arithmetic.
pub(super) fn reference(symbol: Symbol) -> i64 {
    i64::try_from(reference_price(symbol).get()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_wander_but_not_far_and_one_seed_walks_one_way() {
        let (mut a, mut b) = (Walk::new(7), Walk::new(7));
        for _ in 0..20_000 {
            a.step();
            b.step();
        }
        for symbol in Symbol::ALL {
            let price = a.price(*symbol);
            assert_eq!(price, b.price(*symbol));
            assert!(price.low < price.high, "{symbol} never moved");
            // Steps of at most a tick are drawn back only from 50 ticks on.
            let slack = (reference(*symbol) / 10).max(80);
            assert!(price.low >= 1 && price.low >= reference(*symbol) - slack, "{symbol}");
            assert!(price.high <= reference(*symbol) + slack, "{symbol} {price:?}");
        }
    }
}
