//! What comes out of the engine.

use crate::{Lots, Order, OrderId, Side, Symbol, Ticks, TradeId};

/// A maker and a taker met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trade {
    /// Contiguous from 1 across all symbols.
    pub trade_id: TradeId,
    /// What was traded.
    pub symbol: Symbol,
    /// The order that rested.
    pub maker_order_id: OrderId,
    /// The order that arrived.
    pub taker_order_id: OrderId,
    /// Which way the taker traded.
    pub taker_side: Side,
    /// The maker's price.
    pub price: Ticks,
    /// How much.
    pub quantity: Lots,
}

/// What an accepted command did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Effects {
    /// Each order that the command changed, once, as it stands now. A place, a cancel and a replace: first the
    /// order they name, then the resting orders that it met, in the order it met them: one for each trade, and
    /// one for each that self-trade prevention took out. The end of a day: what expired, in order of id.
    pub orders: Vec<Order>,
    /// The trades, in the order they happened.
    pub trades: Vec<Trade>,
}

impl Effects {
    pub(crate) fn clear(&mut self) {
        self.orders.clear();
        self.trades.clear();
    }
}
