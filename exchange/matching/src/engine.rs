//! All books, behind one sequence of commands.

use crate::book::Book;
use crate::orders::Orders;
use crate::slab::Slot;
use crate::users::UserNumber;
use crate::{
    Cancel, Command, Depth, Digest, Effects, EndReason, Inconsistency, Order, OrderId, OrderKind,
    Place, RejectReason, Replace, Side, Symbol, Ticks, TimeInForce, TradeId, digest,
};

/// Bounds on what the engine keeps. They are part of the rules: a replay under other limits may end in
/// another state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How many orders may rest at the same time, over all symbols.
    pub live_orders_max: usize,
    /// How many finished orders stay known; the one that finished first is forgotten first.
    pub finished_orders_max: usize,
}

impl Default for Limits {
    /// A million resting orders and a hundred thousand finished ones: a few hundred megabytes at worst.
    fn default() -> Self {
        Self { live_orders_max: 1_000_000, finished_orders_max: 100_000 }
    }
}

/// The books of all symbols, driven by one sequencer.
///
/// A command costs O(log n) in the number of prices, plus the orders it meets; a fill-or-kill order also looks
/// at the orders it could meet, and the end of a day at all. Nothing is allocated once the books have had the
/// size they have, but for the map of prices and for users who come and go.
#[derive(Debug)]
pub struct Engine {
    limits: Limits,
    /// In the order of [`Symbol::ALL`].
    books: Vec<Book>,
    orders: Orders,
    last_order_id: OrderId,
    last_trade_id: TradeId,
    /// What the last command did; kept for its memory.
    effects: Effects,
}

impl Default for Engine {
    fn default() -> Self {
        Self::new(Limits::default())
    }
}

impl Engine {
    /// Empty books.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits: Limits {
                live_orders_max: limits.live_orders_max.min(Slot::MAX as usize),
                ..limits
            },
            books: Symbol::ALL.iter().map(|_| Book::default()).collect(),
            orders: Orders::new(limits.finished_orders_max),
            last_order_id: OrderId(0),
            last_trade_id: TradeId(0),
            effects: Effects::default(),
        }
    }

    /// Carries one command out and lends what it did, until the next command.
    ///
    /// # Errors
    /// When the command is refused; nothing has changed then.
    pub fn apply(&mut self, command: &Command) -> Result<&Effects, RejectReason> {
        match command {
            Command::Place(place) => {
                self.check_place(place)?;
                self.effects.clear();
                self.place(place);
            }
            Command::Cancel(cancel) => {
                let slot = self.resting_slot(cancel.order_id)?;
                self.effects.clear();
                self.end(slot, EndReason::Owner);
            }
            Command::Replace(replace) => {
                let slot = self.check_replace(replace)?;
                self.effects.clear();
                self.replace(slot, replace);
            }
            Command::EndDay => {
                self.effects.clear();
                self.end_day();
            }
        }
        Ok(&self.effects)
    }

    /// Tells whether [`Engine::apply`] would accept the command now, and changes nothing: a sequencer asks
    /// before it journals, so that nothing is journalled that would be refused.
    ///
    /// # Errors
    /// The reason for which it would be refused.
    pub fn check(&self, command: &Command) -> Result<(), RejectReason> {
        match command {
            Command::Place(place) => self.check_place(place),
            Command::Cancel(Cancel { order_id }) => self.resting_slot(*order_id).map(|_| ()),
            Command::Replace(replace) => self.check_replace(replace).map(|_| ()),
            Command::EndDay => Ok(()),
        }
    }

    fn check_place(&self, place: &Place) -> Result<(), RejectReason> {
        place.validate()?;
        let (order_id, last) = (place.order_id, self.last_order_id);
        if order_id <= last {
            return Err(RejectReason::OrderIdNotGrowing { order_id, last });
        }
        let live_orders_max = self.limits.live_orders_max;
        if place.may_rest() && self.live_orders() >= live_orders_max {
            return Err(RejectReason::BooksFull { live_orders_max });
        }
        Ok(())
    }

    fn check_replace(&self, replace: &Replace) -> Result<Slot, RejectReason> {
        replace.validate()?;
        let slot = self.resting_slot(replace.order_id)?;
        if let Some(quantity) = replace.quantity
            && let Some(resting) = self.orders.slab.get(slot)
            && quantity <= resting.order.cum_qty
        {
            let cum_qty = resting.order.cum_qty;
            return Err(RejectReason::QuantityTraded { quantity, cum_qty });
        }
        Ok(slot)
    }

    fn resting_slot(&self, order_id: OrderId) -> Result<Slot, RejectReason> {
        self.orders.resting(order_id).ok_or_else(|| match self.orders.get(order_id) {
            Some(order) => RejectReason::AlreadyFinished { order_id, status: order.status },
            None => RejectReason::UnknownOrder { order_id },
        })
    }

    fn place(&mut self, place: &Place) {
        self.last_order_id = place.order_id;
        let user = self.orders.enter(place.order_id, &place.user);
        self.arrive(Order::new(place), user);
    }

    /// An order that rests nowhere comes to its book: it trades as far as it can, then rests or ends.
    fn arrive(&mut self, mut order: Order, user: UserNumber) {
        let book = &mut self.books[order.symbol.index()];
        // Its place in the effects; how it stands is known once it has traded.
        self.effects.orders.push(order);
        let in_force = order.time_in_force;
        if order.post_only && book.meets(&order) {
            order.finish(EndReason::PostOnly);
        } else if in_force == TimeInForce::FillOrKill && !book.fills(&order, user, &self.orders) {
            order.finish(EndReason::FillOrKill);
        } else {
            let (orders, effects) = (&mut self.orders, &mut self.effects);
            book.take(&mut order, user, orders, &mut self.last_trade_id, effects);
        }
        self.effects.orders[0] = order;
        if !order.status.is_live() {
            return self.orders.finished(order, user);
        }
        match order.kind {
            OrderKind::Limit { price_ticks } if in_force.may_rest() => {
                return book.rest(order, price_ticks, user, &mut self.orders);
            }
            OrderKind::Limit { .. } => order.finish(EndReason::ImmediateOrCancel),
            OrderKind::Market => order.finish(EndReason::BookExhausted),
        }
        self.effects.orders[0] = order;
        self.orders.finished(order, user);
    }

    /// Takes a resting order out for good.
    fn end(&mut self, slot: Slot, reason: EndReason) {
        let Some((mut order, user)) = self.leave(slot) else { return };
        order.finish(reason);
        self.effects.orders.push(order);
        self.orders.finished(order, user);
    }

    fn replace(&mut self, slot: Slot, replace: &Replace) {
        let Some(old) = self.orders.slab.get(slot).map(|resting| resting.order) else { return };
        let quantity = replace.quantity.unwrap_or(old.quantity);
        let kind = replace.price.map_or(old.kind, |price_ticks| OrderKind::Limit { price_ticks });
        if kind == old.kind && quantity < old.quantity {
            let book = &mut self.books[old.symbol.index()];
            self.effects.orders.extend(book.reduce(slot, quantity, &mut self.orders));
        } else if let Some((mut order, user)) = self.leave(slot) {
            (order.kind, order.quantity) = (kind, quantity);
            self.arrive(order, user);
        }
    }

    fn leave(&mut self, slot: Slot) -> Option<(Order, UserNumber)> {
        let symbol = self.orders.slab.get(slot)?.order.symbol;
        let resting = self.books[symbol.index()].remove(slot, &mut self.orders)?;
        Some((resting.order, resting.user))
    }

    fn end_day(&mut self) {
        let resting = self.orders.slab.all().map(|resting| &resting.order);
        let of_the_day = resting.filter(|order| order.time_in_force == TimeInForce::Day);
        let mut expiring: Vec<_> = of_the_day.map(|order| order.order_id).collect();
        expiring.sort_unstable();
        for order_id in expiring {
            if let Some(slot) = self.orders.resting(order_id) {
                self.end(slot, EndReason::EndOfDay);
            }
        }
    }

    /// The order as it stands: resting, or finished and not yet forgotten.
    #[must_use]
    pub fn order(&self, order_id: OrderId) -> Option<&Order> {
        self.orders.get(order_id)
    }

    /// The known orders, newest (greatest id) first. Costs a walk over all of them.
    pub fn orders_newest_first(&self) -> impl Iterator<Item = &Order> {
        self.orders.newest_first().into_iter()
    }

    /// The symbol's resting orders on one side, in the order in which they would trade.
    pub fn resting(&self, symbol: Symbol, side: Side) -> impl Iterator<Item = &Order> {
        self.books[symbol.index()].resting(side, &self.orders).map(|resting| &resting.order)
    }

    /// The best `levels_max` prices of either side.
    #[must_use]
    pub fn depth(&self, symbol: Symbol, levels_max: usize) -> Depth {
        let book = &self.books[symbol.index()];
        Depth { bids: book.depth(Side::Buy, levels_max), asks: book.depth(Side::Sell, levels_max) }
    }

    /// The price of the symbol's last trade.
    #[must_use]
    pub fn last_price(&self, symbol: Symbol) -> Option<Ticks> {
        self.books[symbol.index()].last_price
    }

    /// The id of the last accepted order, 0 if there was none: the next one must be greater.
    #[must_use]
    pub const fn last_order_id(&self) -> OrderId {
        self.last_order_id
    }

    /// The id of the last trade, 0 if there was none.
    #[must_use]
    pub const fn last_trade_id(&self) -> TradeId {
        self.last_trade_id
    }

    /// How many orders rest, over all symbols.
    #[must_use]
    pub fn live_orders(&self) -> usize {
        self.orders.slab.len()
    }

    /// A fingerprint of everything that later outcomes depend on. Costs a walk over all orders.
    #[must_use]
    pub fn digest(&self) -> Digest {
        digest::of(&self.books, &self.orders, self.last_order_id, self.last_trade_id)
    }

    /// Checks what must always hold: books not crossed, orders where they belong, sums and index right.
    /// Costs a walk over all orders; meant for tests and for the end of a replay.
    ///
    /// # Errors
    /// The first rule found broken.
    pub fn verify(&self) -> Result<(), Inconsistency> {
        let mut resting = 0;
        for book in &self.books {
            resting += book.verify(&self.orders)?;
        }
        if resting != self.live_orders() {
            return Err(Inconsistency::Index);
        }
        self.orders.verify()
    }
}
