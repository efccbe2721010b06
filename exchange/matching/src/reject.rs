//! Why a command changed nothing.

use crate::units::{PRICE_TICKS_MAX, QUANTITY_LOTS_MAX};
use crate::{Lots, OrdStatus, OrderId, Ticks, TimeInForce};
use std::fmt;

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
    /// A market order that asks to wait in the book, where it has no price to wait at.
    MarketCannotRest {
        /// What was asked for.
        time_in_force: TimeInForce,
    },
    /// A post-only order that may not wait in the book: it could do nothing at all.
    PostOnlyMustRest {
        /// What was asked for.
        time_in_force: TimeInForce,
    },
    /// The id is not greater than that of the last accepted order.
    OrderIdNotGrowing {
        /// The id refused.
        order_id: OrderId,
        /// The last accepted one.
        last: OrderId,
    },
    /// As many orders rest as [`crate::Limits::live_orders_max`] allows. Orders that cannot rest, cancels and
    /// replaces still pass.
    BooksFull {
        /// The bound.
        live_orders_max: usize,
    },
    /// To cancel or replace: no such order, or it finished so long ago that it is forgotten.
    UnknownOrder {
        /// The id asked for.
        order_id: OrderId,
    },
    /// To cancel or replace: the order is finished already.
    AlreadyFinished {
        /// The id asked for.
        order_id: OrderId,
        /// How it finished.
        status: OrdStatus,
    },
    /// To replace: neither a price nor a quantity.
    NothingToReplace,
    /// To replace: as much as the new quantity, or more, has traded already.
    QuantityTraded {
        /// What was asked for in all.
        quantity: Lots,
        /// What has traded.
        cum_qty: Lots,
    },
}

impl RejectReason {
    /// The number that FIX has for it where a new order is refused: OrdRejReason, tag 103, as in the field
    /// dictionaries of FIX 4.4 and FIX 5.0 SP2. Nothing for reasons that only a cancel or a replace can have.
    /// FIX has no number for a price beyond a bound that does not move, so that is "order exceeds limit".
    #[must_use]
    pub const fn ord_rej_reason(self) -> Option<u16> {
        match self {
            // Broker or exchange option.
            Self::BooksFull { .. } => Some(0),
            // Order exceeds limit.
            Self::QuantityTooLarge { .. } | Self::PriceTooHigh { .. } => Some(3),
            // Duplicate order.
            Self::OrderIdNotGrowing { .. } => Some(6),
            // Unsupported order characteristic.
            Self::MarketCannotRest { .. } | Self::PostOnlyMustRest { .. } => Some(11),
            // Incorrect quantity.
            Self::ZeroQuantity => Some(13),
            // Other.
            Self::ZeroPrice => Some(99),
            Self::UnknownOrder { .. }
            | Self::AlreadyFinished { .. }
            | Self::NothingToReplace
            | Self::QuantityTraded { .. } => None,
        }
    }

    /// The number that FIX has for it where a cancel or a replace is refused: CxlRejReason, tag 102, as in the
    /// field dictionaries of FIX 4.4 and FIX 5.0 SP2. Nothing for reasons that only a new order can have.
    #[must_use]
    pub const fn cxl_rej_reason(self) -> Option<u16> {
        match self {
            // Too late to cancel: what the command would take away has traded or is gone.
            Self::AlreadyFinished { .. } | Self::QuantityTraded { .. } => Some(0),
            // Unknown order.
            Self::UnknownOrder { .. } => Some(1),
            // Other.
            Self::ZeroQuantity
            | Self::QuantityTooLarge { .. }
            | Self::ZeroPrice
            | Self::PriceTooHigh { .. }
            | Self::NothingToReplace => Some(99),
            Self::BooksFull { .. }
            | Self::OrderIdNotGrowing { .. }
            | Self::MarketCannotRest { .. }
            | Self::PostOnlyMustRest { .. } => None,
        }
    }
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
            Self::MarketCannotRest { time_in_force } => {
                write!(f, "a market order is IOC or FOK, not {time_in_force}")
            }
            Self::PostOnlyMustRest { time_in_force } => {
                write!(f, "a post-only order is DAY or GTC, not {time_in_force}")
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
            Self::NothingToReplace => f.write_str("neither a new price nor a new quantity"),
            Self::QuantityTraded { quantity, cum_qty } => {
                write!(f, "quantity {quantity} is not above the {cum_qty} lots that have traded")
            }
        }
    }
}

impl std::error::Error for RejectReason {}
