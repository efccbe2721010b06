//! An order and its life.

use crate::{Lots, OrderId, Place, Symbol, Ticks};
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
    /// Trades at this price or better; what becomes of the rest, its [`TimeInForce`] tells.
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

    /// What an order of this kind has that names no other: GTC for a limit order, IOC for a market order.
    #[must_use]
    pub const fn default_time_in_force(self) -> TimeInForce {
        match self {
            Self::Limit { .. } => TimeInForce::GoodTillCancel,
            Self::Market => TimeInForce::ImmediateOrCancel,
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

/// How long an order stands, in the words of FIX (TimeInForce, tag 59).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TimeInForce {
    /// Until the day ends (FIX 0).
    Day,
    /// Until it is filled or cancelled (FIX 1).
    GoodTillCancel,
    /// What does not trade at once is cancelled (FIX 3).
    ImmediateOrCancel,
    /// All of it trades at once, or nothing does and it is cancelled (FIX 4).
    FillOrKill,
}

impl TimeInForce {
    /// All of them.
    pub const ALL: &[Self] =
        &[Self::Day, Self::GoodTillCancel, Self::ImmediateOrCancel, Self::FillOrKill];

    /// The one of that name.
    #[must_use]
    pub fn named(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|one| one.as_str() == text)
    }

    /// Whether an order may wait in the book.
    #[must_use]
    pub const fn may_rest(self) -> bool {
        matches!(self, Self::Day | Self::GoodTillCancel)
    }

    /// `DAY`, `GTC`, `IOC` or `FOK`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Day => "DAY",
            Self::GoodTillCancel => "GTC",
            Self::ImmediateOrCancel => "IOC",
            Self::FillOrKill => "FOK",
        }
    }
}

impl fmt::Display for TimeInForce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where an order stands, in the words of FIX (OrdStatus, tag 39). A replaced order is `New` or
/// `PartiallyFilled` again: since FIX 4.3 that it was replaced is told by the kind of report, not by its status.
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
    /// Out of the book because its day ended. What an IOC or FOK order leaves is `Cancelled`, as FIX has it.
    Expired,
    /// Never accepted; the engine keeps nothing of it.
    Rejected,
}

impl OrdStatus {
    /// Whether the order rests in a book.
    #[must_use]
    pub const fn is_live(self) -> bool {
        matches!(self, Self::New | Self::PartiallyFilled)
    }

    /// `NEW`, `PARTIALLY_FILLED`, `FILLED`, `CANCELLED`, `EXPIRED` or `REJECTED`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::New => "NEW",
            Self::PartiallyFilled => "PARTIALLY_FILLED",
            Self::Filled => "FILLED",
            Self::Cancelled => "CANCELLED",
            Self::Expired => "EXPIRED",
            Self::Rejected => "REJECTED",
        }
    }
}

impl fmt::Display for OrdStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why an order ended before all of it traded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EndReason {
    /// Its owner cancelled it.
    Owner,
    /// A market order found no more to trade with.
    BookExhausted,
    /// An immediate-or-cancel order found no more at its price.
    ImmediateOrCancel,
    /// A fill-or-kill order could not be filled whole.
    FillOrKill,
    /// A post-only order would have met an order at its arrival.
    PostOnly,
    /// Another order of its owner arrived and would have traded with it.
    SelfTradePrevention,
    /// The day that it was good for ended.
    EndOfDay,
}

impl EndReason {
    /// All of them.
    pub const ALL: &[Self] = &[
        Self::Owner,
        Self::BookExhausted,
        Self::ImmediateOrCancel,
        Self::FillOrKill,
        Self::PostOnly,
        Self::SelfTradePrevention,
        Self::EndOfDay,
    ];

    /// Where an order stands that ended for this.
    #[must_use]
    pub const fn status(self) -> OrdStatus {
        match self {
            Self::EndOfDay => OrdStatus::Expired,
            _ => OrdStatus::Cancelled,
        }
    }

    /// Its name, as `SELF_TRADE_PREVENTION`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Owner => "OWNER",
            Self::BookExhausted => "BOOK_EXHAUSTED",
            Self::ImmediateOrCancel => "IMMEDIATE_OR_CANCEL",
            Self::FillOrKill => "FILL_OR_KILL",
            Self::PostOnly => "POST_ONLY",
            Self::SelfTradePrevention => "SELF_TRADE_PREVENTION",
            Self::EndOfDay => "END_OF_DAY",
        }
    }
}

impl fmt::Display for EndReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An accepted order as it stands now. It holds numbers only, so that telling of it is copying it: who
/// placed it and under which key, whoever took the order in knows by its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    /// Its name.
    pub order_id: OrderId,
    /// What it trades.
    pub symbol: Symbol,
    /// Which way.
    pub side: Side,
    /// At what price.
    pub kind: OrderKind,
    /// How long it stands.
    pub time_in_force: TimeInForce,
    /// It never trades at its arrival.
    pub post_only: bool,
    /// What was asked for in all (FIX OrderQty).
    pub quantity: Lots,
    /// What has traded so far (FIX CumQty).
    pub cum_qty: Lots,
    /// The sum of price times quantity over its trades, in ticks times lots: FIX's CumQty times AvgPx. AvgPx
    /// is this by CumQty, which only whoever shows it has to round.
    pub cum_value: u64,
    /// Where it stands.
    pub status: OrdStatus,
    /// Why it ended; nothing while it rests, and nothing where all of it traded.
    pub end: Option<EndReason>,
}

impl Order {
    pub(crate) fn new(place: &Place) -> Self {
        Self {
            order_id: place.order_id,
            symbol: place.symbol,
            side: place.side,
            kind: place.kind,
            time_in_force: place.time_in_force,
            post_only: place.post_only,
            quantity: place.quantity,
            cum_qty: Lots(0),
            cum_value: 0,
            status: OrdStatus::New,
            end: None,
        }
    }

    /// What can still trade (FIX LeavesQty): zero once the order is finished, however it finished.
    #[must_use]
    pub fn leaves_qty(&self) -> Lots {
        if self.status.is_live() { Lots(self.quantity.0 - self.cum_qty.0) } else { Lots(0) }
    }

    /// Whether it would trade at this price.
    pub(crate) fn accepts(&self, price: Ticks) -> bool {
        match (self.kind, self.side) {
            (OrderKind::Market, _) => true,
            (OrderKind::Limit { price_ticks }, Side::Buy) => price <= price_ticks,
            (OrderKind::Limit { price_ticks }, Side::Sell) => price >= price_ticks,
        }
    }

    /// Counts a trade of `quantity`, which never exceeds what is left. The value cannot overflow: an order is
    /// at most 10^9 lots at 10^9 ticks.
    pub(crate) fn fill(&mut self, quantity: Lots, price: Ticks) {
        debug_assert!(quantity <= self.leaves_qty(), "an order is never over-executed");
        self.cum_qty.0 += quantity.0;
        self.cum_value += quantity.0 * price.0;
        self.status = self.traded_status();
    }

    /// Where an order stands that has not ended, by what has traded of it.
    pub(crate) fn traded_status(&self) -> OrdStatus {
        if self.cum_qty == self.quantity {
            OrdStatus::Filled
        } else if self.cum_qty.0 > 0 {
            OrdStatus::PartiallyFilled
        } else {
            OrdStatus::New
        }
    }

    pub(crate) fn finish(&mut self, reason: EndReason) {
        self.status = reason.status();
        self.end = Some(reason);
    }
}
