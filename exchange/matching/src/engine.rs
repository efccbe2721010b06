//! All books, behind one sequence of commands.

use crate::book::Book;
use crate::digest::Hasher;
use crate::history::History;
use crate::slab::Slot;
use crate::{
    Cancel, Command, Digest, Execution, Lots, OrdStatus, Order, OrderId, Outcome, Place,
    RejectReason, Side, Symbol, Ticks, TradeId,
};
use std::collections::BTreeMap;
use std::fmt;

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

/// The books of all symbols, driven by one sequencer.
///
/// Placing and cancelling cost O(log n) in the number of prices and resting orders, plus the trades made.
#[derive(Debug)]
pub struct Engine {
    limits: Limits,
    /// In the order of [`Symbol::ALL`].
    books: Vec<Book>,
    /// A tree and not a hash map: no randomness comes in, and orders list by id.
    live: BTreeMap<OrderId, (Symbol, Slot)>,
    history: History,
    last_order_id: OrderId,
    last_trade_id: TradeId,
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
            limits,
            books: Symbol::ALL.iter().map(|_| Book::default()).collect(),
            live: BTreeMap::new(),
            history: History::new(limits.finished_orders_max),
            last_order_id: OrderId(0),
            last_trade_id: TradeId(0),
        }
    }

    /// Carries one command out. A rejected command changes nothing.
    pub fn apply(&mut self, command: Command) -> Outcome {
        match command {
            Command::Place(place) => match self.place(place) {
                Ok(execution) => Outcome::Placed(execution),
                Err(reason) => Outcome::Rejected(reason),
            },
            Command::Cancel(Cancel { order_id }) => match self.cancel(order_id) {
                Ok(order) => Outcome::Cancelled(order),
                Err(reason) => Outcome::Rejected(reason),
            },
        }
    }

    /// Tells whether [`Engine::place`] would accept the order now, and changes nothing: a sequencer asks
    /// before it journals, so that nothing is journalled that would be refused.
    ///
    /// # Errors
    /// The reason for which it would be refused.
    pub fn check(&self, place: &Place) -> Result<(), RejectReason> {
        place.validate()?;
        if place.order_id <= self.last_order_id {
            return Err(RejectReason::OrderIdNotGrowing {
                order_id: place.order_id,
                last: self.last_order_id,
            });
        }
        let live_orders_max = self.limits.live_orders_max;
        if place.kind.price().is_some() && self.live.len() >= live_orders_max {
            return Err(RejectReason::BooksFull { live_orders_max });
        }
        Ok(())
    }

    /// Places an order: it trades as far as it can, then rests (limit) or is cancelled (market).
    ///
    /// # Errors
    /// When the order is refused; nothing has changed then.
    pub fn place(&mut self, place: Place) -> Result<Execution, RejectReason> {
        self.check(&place)?;
        let Place { order_id, client_order_id, user, symbol, side, kind, quantity } = place;
        self.last_order_id = order_id;
        let mut order = Order {
            order_id,
            client_order_id,
            user,
            symbol,
            side,
            kind,
            quantity,
            cum_qty: Lots(0),
            status: OrdStatus::New,
        };
        let book = &mut self.books[symbol.index()];
        let fills = book.take(&mut order, &mut self.last_trade_id);
        for finished in fills.finished {
            self.live.remove(&finished.order_id);
            self.history.push(finished);
        }
        match kind.price() {
            Some(price) if order.status.is_live() => {
                let slot = book.rest(order.clone(), price);
                self.live.insert(order_id, (symbol, slot));
            }
            _ => {
                if order.status.is_live() {
                    order.status = OrdStatus::Cancelled;
                }
                self.history.push(order.clone());
            }
        }
        Ok(Execution { order, trades: fills.trades, makers: fills.makers })
    }

    /// Takes a resting order out of its book and gives it as it stands then.
    ///
    /// # Errors
    /// When no such order rests; nothing has changed then.
    pub fn cancel(&mut self, order_id: OrderId) -> Result<Order, RejectReason> {
        let cancelled = self
            .live
            .remove(&order_id)
            .and_then(|(symbol, slot)| self.books[symbol.index()].cancel(slot));
        match cancelled {
            Some(order) => {
                self.history.push(order.clone());
                Ok(order)
            }
            None => Err(match self.history.get(order_id) {
                Some(order) => RejectReason::AlreadyFinished { order_id, status: order.status },
                None => RejectReason::UnknownOrder { order_id },
            }),
        }
    }

    /// The order as it stands: resting, or finished and not yet forgotten.
    #[must_use]
    pub fn order(&self, order_id: OrderId) -> Option<&Order> {
        match self.live.get(&order_id) {
            Some((symbol, slot)) => self.books[symbol.index()].order(*slot),
            None => self.history.get(order_id),
        }
    }

    /// The known orders, newest (greatest id) first.
    pub fn orders_newest_first(&self) -> impl Iterator<Item = &Order> {
        let mut live = self
            .live
            .values()
            .rev()
            .filter_map(|(symbol, slot)| self.books[symbol.index()].order(*slot))
            .peekable();
        let mut finished = self.history.newest_first().peekable();
        std::iter::from_fn(move || match (live.peek(), finished.peek()) {
            (Some(a), Some(b)) if a.order_id < b.order_id => finished.next(),
            (Some(_), _) => live.next(),
            (None, _) => finished.next(),
        })
    }

    /// The symbol's resting orders on one side, in the order in which they would trade.
    pub fn resting(&self, symbol: Symbol, side: Side) -> impl Iterator<Item = &Order> {
        self.books[symbol.index()].orders(side)
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
        self.live.len()
    }

    /// A fingerprint of everything that later outcomes depend on. Costs a walk over all orders.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let mut hasher = Hasher::new();
        hasher.number(self.last_order_id.0);
        hasher.number(self.last_trade_id.0);
        for book in &self.books {
            hasher.number(book.last_price.map_or(0, Ticks::get));
            for side in [Side::Buy, Side::Sell] {
                for order in book.orders(side) {
                    hash_order(&mut hasher, order);
                }
                hasher.number(u64::MAX);
            }
        }
        for order in self.history.in_order_finished() {
            hash_order(&mut hasher, order);
        }
        hasher.finish()
    }

    /// Checks what must always hold: books not crossed, orders where they belong, sums and index right.
    /// Costs a walk over all orders; meant for tests and for the end of a replay.
    ///
    /// # Errors
    /// The first rule found broken.
    pub fn verify(&self) -> Result<(), Inconsistency> {
        let mut resting = 0;
        for book in &self.books {
            resting += book.verify()?;
        }
        let indexed = self
            .live
            .iter()
            .filter(|(order_id, (symbol, slot))| {
                self.books[symbol.index()]
                    .order(*slot)
                    .is_some_and(|order| order.order_id == **order_id)
            })
            .count();
        if resting == indexed && indexed == self.live.len() {
            Ok(())
        } else {
            Err(Inconsistency::Index)
        }
    }
}

fn hash_order(hasher: &mut Hasher, order: &Order) {
    hasher.number(order.order_id.0);
    hasher.text(order.client_order_id.as_str());
    hasher.text(order.user.as_str());
    hasher.text(order.symbol.as_str());
    hasher.text(order.side.as_str());
    hasher.text(order.kind.as_str());
    hasher.number(order.kind.price().map_or(0, Ticks::get));
    hasher.number(order.quantity.0);
    hasher.number(order.cum_qty.0);
    hasher.text(order.status.as_str());
}
