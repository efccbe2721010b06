//! What goes into the engine.

use crate::units::{PRICE_TICKS_MAX, QUANTITY_LOTS_MAX};
use crate::{
    ClientOrderId, Lots, OrderId, OrderKind, RejectReason, Side, Symbol, Ticks, TimeInForce, UserId,
};

/// One step of the sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// A new order.
    Place(Place),
    /// Take an order out of the book.
    Cancel(Cancel),
    /// Give a resting order another price or quantity.
    Replace(Replace),
    /// The day is over: orders that were good for it expire. A step of the sequence like any other, because
    /// the engine knows no clock and a replay must end the day at the same place.
    EndDay,
}

/// A new order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Greater than that of every order accepted before; the first is at least 1.
    pub order_id: OrderId,
    /// The client's name for it; part of the command, and not looked at.
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
    /// How long it stands. [`OrderKind::default_time_in_force`] tells what is meant where nothing is said.
    pub time_in_force: TimeInForce,
    /// Do not trade at arrival (FIX ExecInst 6, participate don't initiate): an order that would is accepted
    /// and cancelled at once.
    pub post_only: bool,
}

impl Place {
    /// Checks what can be checked without an engine, so that an order that could never be accepted is
    /// refused before it is sequenced. [`crate::Engine::apply`] checks it again.
    ///
    /// # Errors
    /// When quantity or price is zero or beyond its bound, or the order asks for what excludes itself.
    pub fn validate(&self) -> Result<(), RejectReason> {
        validate_quantity(self.quantity)?;
        if let OrderKind::Limit { price_ticks } = self.kind {
            validate_price(price_ticks)?;
        } else if self.time_in_force.may_rest() {
            return Err(RejectReason::MarketCannotRest { time_in_force: self.time_in_force });
        }
        if self.post_only && !self.time_in_force.may_rest() {
            return Err(RejectReason::PostOnlyMustRest { time_in_force: self.time_in_force });
        }
        Ok(())
    }

    /// Whether what does not trade waits in the book.
    #[must_use]
    pub fn may_rest(&self) -> bool {
        self.kind.price().is_some() && self.time_in_force.may_rest()
    }
}

/// Takes an order out of the book.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cancel {
    /// Which order.
    pub order_id: OrderId,
}

/// Gives a resting order another price or quantity; its id, its side and the rest stay. An order that only
/// becomes smaller keeps its place in the queue. Any other leaves the book and arrives anew, even with the
/// numbers it had: it may trade, and waits behind those who were there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replace {
    /// Which order.
    pub order_id: OrderId,
    /// The new limit; nothing keeps the old one.
    pub price: Option<Ticks>,
    /// How much in all, with what has traded already (FIX OrderQty); nothing keeps it.
    pub quantity: Option<Lots>,
}

impl Replace {
    /// Checks what can be checked without an engine.
    ///
    /// # Errors
    /// When nothing is to change, or quantity or price is zero or beyond its bound.
    pub fn validate(&self) -> Result<(), RejectReason> {
        if self.price.is_none() && self.quantity.is_none() {
            return Err(RejectReason::NothingToReplace);
        }
        self.quantity.map_or(Ok(()), validate_quantity)?;
        self.price.map_or(Ok(()), validate_price)
    }
}

fn validate_quantity(quantity: Lots) -> Result<(), RejectReason> {
    match quantity {
        Lots(0) => Err(RejectReason::ZeroQuantity),
        Lots(1..=QUANTITY_LOTS_MAX) => Ok(()),
        _ => Err(RejectReason::QuantityTooLarge { quantity }),
    }
}

fn validate_price(price: Ticks) -> Result<(), RejectReason> {
    match price {
        Ticks(0) => Err(RejectReason::ZeroPrice),
        Ticks(1..=PRICE_TICKS_MAX) => Ok(()),
        _ => Err(RejectReason::PriceTooHigh { price }),
    }
}
