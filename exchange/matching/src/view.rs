//! What a book looks like, and what can be wrong with it.

use crate::{Lots, OrderId, Ticks};
use std::fmt;

/// One price of a [`Depth`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DepthLevel {
    /// The price.
    pub price: Ticks,
    /// What can trade at it.
    pub quantity: Lots,
    /// How many orders rest at it.
    pub orders: usize,
}

/// A book by price, best first on either side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Depth {
    /// Highest price first.
    pub bids: Vec<DepthLevel>,
    /// Lowest price first.
    pub asks: Vec<DepthLevel>,
}

/// A rule that must always hold does not: a bug in this crate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inconsistency {
    /// A bid at or above an ask should have traded.
    Crossed {
        /// The best bid.
        bid: Ticks,
        /// The best ask.
        ask: Ticks,
    },
    /// An order rests where it should not, or is finished and still rests.
    Misplaced {
        /// The order.
        order_id: OrderId,
    },
    /// A level's sums differ from its orders.
    LevelSum {
        /// The level.
        price: Ticks,
    },
    /// The index by id differs from the books.
    Index,
}

impl fmt::Display for Inconsistency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Crossed { bid, ask } => write!(f, "the book is crossed: bid {bid}, ask {ask}"),
            Self::Misplaced { order_id } => write!(f, "order {order_id} rests in a wrong place"),
            Self::LevelSum { price } => write!(f, "the sums at price {price} are wrong"),
            Self::Index => f.write_str("the index of resting orders differs from the books"),
        }
    }
}

impl std::error::Error for Inconsistency {}
