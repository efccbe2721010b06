//! A stable fingerprint of state.

use crate::book::Book;
use crate::orders::Orders;
use crate::{EndReason, Order, OrderId, Side, Ticks, TradeId};
use std::fmt;

/// A fingerprint of the whole engine state, for comparing a replay with the original. It is the same on
/// every machine and in every build of one version of this crate, and it is no defence against forgery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub u64);

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// FNV-1a, 64 bits: the standard library's hashers promise no stability between releases.
struct Hasher(u64);

impl Hasher {
    const fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    fn bytes(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn number(&mut self, number: u64) {
        self.bytes(&number.to_le_bytes());
    }

    /// Length first, so that two texts in a row cannot be cut in another place.
    fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.bytes(text.as_bytes());
    }

    fn order(&mut self, order: &Order) {
        self.number(order.order_id.0);
        self.text(order.symbol.as_str());
        self.text(order.side.as_str());
        self.text(order.kind.as_str());
        self.number(order.kind.price().map_or(0, Ticks::get));
        self.text(order.time_in_force.as_str());
        self.number(u64::from(order.post_only));
        self.number(order.quantity.0);
        self.number(order.cum_qty.0);
        self.number(order.cum_value);
        self.text(order.status.as_str());
        self.text(order.end.map_or("", EndReason::as_str));
    }

    const fn finish(self) -> Digest {
        Digest(self.0)
    }
}

/// The digest of a whole engine.
pub(crate) fn of(
    books: &[Book],
    orders: &Orders,
    last_order_id: OrderId,
    last_trade_id: TradeId,
) -> Digest {
    let mut hasher = Hasher::new();
    hasher.number(last_order_id.0);
    hasher.number(last_trade_id.0);
    for book in books {
        hasher.number(book.last_price.map_or(0, Ticks::get));
        for side in [Side::Buy, Side::Sell] {
            for resting in book.resting(side, orders) {
                hasher.text(orders.users.name(resting.user));
                hasher.order(&resting.order);
            }
            hasher.number(u64::MAX);
        }
    }
    for order in orders.history.in_order_finished() {
        hasher.order(order);
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_fnv_1a() {
        // The published test vectors.
        for (text, expected) in [("", 0xcbf2_9ce4_8422_2325), ("a", 0xaf63_dc4c_8601_ec8c)] {
            let mut hasher = Hasher::new();
            hasher.bytes(text.as_bytes());
            assert_eq!(hasher.finish(), Digest(expected), "{text:?}");
        }
    }
}
