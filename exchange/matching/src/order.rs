//! An order and its life.

use crate::{ClientOrderId, Lots, OrderId, Symbol, Ticks, UserId};
use std::fmt;

/// Which way an order trades.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// Wants to buy; rests among the bids.
    Buy,
    /// Wants to sell; rests among the asks.
    Sell,
}

impl Side {
    /// The side it trades against.
    #[must_use]
    pub const fn opposite(self) -> Self {
        match self {
            Self::Buy => Self::Sell,
            Self::Sell => Self::Buy,
        }
    }

    /// `BUY` or `SELL`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Buy => "BUY",
            Self::Sell => "SELL",
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What an order asks of the price.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OrderKind {
    /// Trades at this price or better; what is left rests in the book.
    Limit {
        /// The worst price it accepts.
        price_ticks: Ticks,
    },
    /// Trades at whatever the book offers; what is left is cancelled.
    Market,
}

impl OrderKind {
    /// The limit's price; a market order has none.
    #[must_use]
    pub const fn price(self) -> Option<Ticks> {
        match self {
            Self::Limit { price_ticks } => Some(price_ticks),
            Self::Market => None,
        }
    }

    /// `LIMIT` or `MARKET`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Limit { .. } => "LIMIT",
            Self::Market => "MARKET",
        }
    }
}

/// Where an order stands, in the words of FIX (OrdStatus, tag 39).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OrdStatus {
    /// Rests in the book, nothing traded yet.
    New,
    /// Rests in the book, some of it traded.
    PartiallyFilled,
    /// All of it traded.
    Filled,
    /// Out of the book before all of it traded; CumQty tells how much did.
    Cancelled,
    /// Never accepted; the engine keeps nothing of it.
    Rejected,
}

impl OrdStatus {
    /// Whether the order rests in a book.
    #[must_use]
    pub const fn is_live(self) -> bool {
        matches!(self, Self::New | Self::PartiallyFilled)
    }

    /// `NEW`, `PARTIALLY_FILLED`, `FILLED`, `CANCELLED` or `REJECTED`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::New => "NEW",
            Self::PartiallyFilled => "PARTIALLY_FILLED",
            Self::Filled => "FILLED",
            Self::Cancelled => "CANCELLED",
            Self::Rejected => "REJECTED",
        }
    }
}

impl fmt::Display for OrdStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An accepted order as it stands now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// Its name.
    pub order_id: OrderId,
    /// The client's name for it.
    pub client_order_id: ClientOrderId,
    /// Who placed it.
    pub user: UserId,
    /// What it trades.
    pub symbol: Symbol,
    /// Which way.
    pub side: Side,
    /// At what price.
    pub kind: OrderKind,
    /// What was asked for.
    pub quantity: Lots,
    /// What has traded so far (FIX CumQty).
    pub cum_qty: Lots,
    /// Where it stands.
    pub status: OrdStatus,
}

impl Order {
    /// What can still trade (FIX LeavesQty): zero once the order is finished, however it finished.
    #[must_use]
    pub fn leaves_qty(&self) -> Lots {
        if self.status.is_live() { Lots(self.quantity.0 - self.cum_qty.0) } else { Lots(0) }
    }

    /// Counts a trade of `quantity`, which never exceeds what is left.
    pub(crate) fn fill(&mut self, quantity: Lots) {
        debug_assert!(quantity <= self.leaves_qty(), "an order is never over-executed");
        self.cum_qty.0 += quantity.0;
        self.status = if self.cum_qty == self.quantity {
            OrdStatus::Filled
        } else {
            OrdStatus::PartiallyFilled
        };
    }
}
