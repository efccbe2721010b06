//! What goes into the engine and what comes out.

use crate::units::{PRICE_TICKS_MAX, QUANTITY_LOTS_MAX};
use crate::{
    ClientOrderId, Lots, OrdStatus, Order, OrderId, OrderKind, Side, Symbol, Ticks, TradeId, UserId,
};
use std::fmt;

/// One step of the sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// A new order.
    Place(Place),
    /// Take an order out of the book.
    Cancel(Cancel),
}

/// A new order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Greater than that of every order accepted before; the first is at least 1.
    pub order_id: OrderId,
    /// The client's name for it; carried, not looked at.
    pub client_order_id: ClientOrderId,
    /// Who places it.
    pub user: UserId,
    /// What to trade.
    pub symbol: Symbol,
    /// Which way.
    pub side: Side,
    /// At what price.
    pub kind: OrderKind,
    /// How much.
    pub quantity: Lots,
}

impl Place {
    /// Checks what can be checked without an engine, so that an order that could never be accepted is
    /// refused before it is sequenced. [`crate::Engine::place`] checks it again.
    ///
    /// # Errors
    /// When quantity or price is zero or beyond its bound.
    pub fn validate(&self) -> Result<(), RejectReason> {
        if self.quantity.0 == 0 {
            return Err(RejectReason::ZeroQuantity);
        }
        if self.quantity.0 > QUANTITY_LOTS_MAX {
            return Err(RejectReason::QuantityTooLarge { quantity: self.quantity });
        }
        match self.kind {
            OrderKind::Limit { price_ticks: Ticks(0) } => Err(RejectReason::ZeroPrice),
            OrderKind::Limit { price_ticks } if price_ticks.0 > PRICE_TICKS_MAX => {
                Err(RejectReason::PriceTooHigh { price: price_ticks })
            }
            OrderKind::Limit { .. } | OrderKind::Market => Ok(()),
        }
    }
}

/// Takes an order out of the book.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cancel {
    /// Which order.
    pub order_id: OrderId,
}

/// Why a command changed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RejectReason {
    /// An order for nothing.
    ZeroQuantity,
    /// More than [`QUANTITY_LOTS_MAX`].
    QuantityTooLarge {
        /// What was asked for.
        quantity: Lots,
    },
    /// A limit of zero: nothing trades for nothing.
    ZeroPrice,
    /// A limit above [`PRICE_TICKS_MAX`].
    PriceTooHigh {
        /// What was asked for.
        price: Ticks,
    },
    /// The id is not greater than that of the last accepted order.
    OrderIdNotGrowing {
        /// The id refused.
        order_id: OrderId,
        /// The last accepted one.
        last: OrderId,
    },
    /// As many orders rest as [`crate::Limits::live_orders_max`] allows. Market orders and cancels still pass.
    BooksFull {
        /// The bound.
        live_orders_max: usize,
    },
    /// To cancel: no such order, or it finished so long ago that it is forgotten.
    UnknownOrder {
        /// The id asked for.
        order_id: OrderId,
    },
    /// To cancel: the order is finished already.
    AlreadyFinished {
        /// The id asked for.
        order_id: OrderId,
        /// How it finished.
        status: OrdStatus,
    },
}

impl fmt::Display for RejectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ZeroQuantity => f.write_str("quantity must be at least 1 lot"),
            Self::QuantityTooLarge { quantity } => {
                write!(f, "quantity {quantity} is above the largest, {QUANTITY_LOTS_MAX} lots")
            }
            Self::ZeroPrice => f.write_str("price must be at least 1 tick"),
            Self::PriceTooHigh { price } => {
                write!(f, "price {price} is above the highest, {PRICE_TICKS_MAX} ticks")
            }
            Self::OrderIdNotGrowing { order_id, last } => {
                write!(f, "order id {order_id} does not follow {last}, the last accepted one")
            }
            Self::BooksFull { live_orders_max } => {
                write!(f, "the books hold {live_orders_max} resting orders, which is their bound")
            }
            Self::UnknownOrder { order_id } => write!(f, "order {order_id} is not known"),
            Self::AlreadyFinished { order_id, status } => {
                write!(f, "order {order_id} is already {status}")
            }
        }
    }
}

impl std::error::Error for RejectReason {}

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

/// What a taker did to one resting order. A taker touches a resting order at most once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MakerUpdate {
    /// The resting order.
    pub order_id: OrderId,
    /// Where it stands now. [`OrdStatus::Cancelled`] means self-trade prevention took it out.
    pub status: OrdStatus,
    /// What has traded of it in all.
    pub cum_qty: Lots,
    /// What can still trade.
    pub leaves_qty: Lots,
}

/// What placing an order did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Execution {
    /// The placed order as it stands now.
    pub order: Order,
    /// Its trades, in the order they happened.
    pub trades: Vec<Trade>,
    /// The resting orders it touched, in the order it met them: one for each trade and one for each order
    /// that self-trade prevention took out.
    pub makers: Vec<MakerUpdate>,
}

/// What a command did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The order was accepted.
    Placed(Execution),
    /// The order is out of the book; this is how it stands.
    Cancelled(Order),
    /// Nothing changed.
    Rejected(RejectReason),
}
