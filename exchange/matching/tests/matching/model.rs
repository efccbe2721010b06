//! A book as simple as can be: all orders in one list in the order of arrival, scanned from end to end for
//! every match. It shares no code with the engine but the vocabulary.

use exchange_matching::{Command, EndReason, OrderKind, Place, Side, Symbol, TimeInForce};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ModelOrder {
    pub(crate) id: u64,
    pub(crate) user: String,
    pub(crate) symbol: Symbol,
    pub(crate) side: Side,
    pub(crate) price: Option<u64>,
    pub(crate) quantity: u64,
    pub(crate) time_in_force: TimeInForce,
    pub(crate) post_only: bool,
    /// Price and quantity of each of its trades.
    pub(crate) fills: Vec<(u64, u64)>,
    pub(crate) ended: Option<EndReason>,
}

impl ModelOrder {
    pub(crate) fn traded(&self) -> u64 {
        self.fills.iter().map(|(_, quantity)| quantity).sum()
    }

    pub(crate) fn leaves(&self) -> u64 {
        if self.ended.is_some() { 0 } else { self.quantity - self.traded() }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ModelTrade {
    pub(crate) maker: u64,
    pub(crate) taker: u64,
    pub(crate) price: u64,
    pub(crate) quantity: u64,
}

/// What a command did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Done {
    /// The orders that it changed, and the trades.
    Changed {
        orders: Vec<u64>,
        trades: Vec<ModelTrade>,
    },
    Rejected,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    /// In the order of arrival, which for a replaced order is that of its last arrival.
    pub(crate) orders: Vec<ModelOrder>,
}

impl Model {
    pub(crate) fn apply(&mut self, command: &Command) -> Done {
        match command {
            Command::Place(place) if self.refuses(place) => Done::Rejected,
            Command::Place(place) => self.arrive(ModelOrder {
                id: place.order_id.0,
                user: place.user.to_string(),
                symbol: place.symbol,
                side: place.side,
                price: place.kind.price().map(|price| price.0),
                quantity: place.quantity.0,
                time_in_force: place.time_in_force,
                post_only: place.post_only,
                fills: Vec::new(),
                ended: None,
            }),
            Command::Cancel(cancel) => match self.live(cancel.order_id.0) {
                Some(at) => {
                    self.orders[at].ended = Some(EndReason::Owner);
                    Done::Changed { orders: vec![cancel.order_id.0], trades: Vec::new() }
                }
                None => Done::Rejected,
            },
            Command::Replace(replace) => {
                let Some(at) = self.live(replace.order_id.0) else { return Done::Rejected };
                let old = self.orders[at].clone();
                let price = replace.price.map_or(old.price, |price| Some(price.0));
                let quantity = replace.quantity.map_or(old.quantity, |quantity| quantity.0);
                let nothing = replace.price.is_none() && replace.quantity.is_none();
                if nothing || quantity <= old.traded() || price == Some(0) {
                    return Done::Rejected;
                }
                if price == old.price && quantity < old.quantity {
                    self.orders[at].quantity = quantity;
                    return Done::Changed { orders: vec![old.id], trades: Vec::new() };
                }
                self.orders.remove(at);
                self.arrive(ModelOrder { price, quantity, ..old })
            }
            Command::EndDay => {
                let mut expired = Vec::new();
                for order in &mut self.orders {
                    if order.leaves() > 0 && order.time_in_force == TimeInForce::Day {
                        order.ended = Some(EndReason::EndOfDay);
                        expired.push(order.id);
                    }
                }
                expired.sort_unstable();
                Done::Changed { orders: expired, trades: Vec::new() }
            }
        }
    }

    fn refuses(&self, place: &Place) -> bool {
        let is_market = place.kind == OrderKind::Market;
        let waits = matches!(place.time_in_force, TimeInForce::Day | TimeInForce::GoodTillCancel);
        self.orders.iter().any(|order| order.id >= place.order_id.0)
            || place.order_id.0 == 0
            || place.quantity.0 == 0
            || place.kind.price().is_some_and(|price| price.0 == 0)
            || (is_market && waits)
            || (place.post_only && !waits)
    }

    fn live(&self, id: u64) -> Option<usize> {
        self.orders.iter().position(|order| order.id == id && order.leaves() > 0)
    }

    fn arrive(&mut self, mut taker: ModelOrder) -> Done {
        let mut touched = vec![taker.id];
        let mut trades = Vec::new();
        if taker.post_only && self.best_match(&taker).is_some() {
            taker.ended = Some(EndReason::PostOnly);
            self.orders.push(taker);
            return Done::Changed { orders: touched, trades };
        }
        // What would happen is tried on a copy of everything.
        let mut after = self.clone();
        let unfilled = taker.clone();
        while taker.leaves() > 0
            && let Some(maker) = after.best_match(&taker)
        {
            let maker = &mut after.orders[maker];
            touched.push(maker.id);
            if maker.user == taker.user {
                maker.ended = Some(EndReason::SelfTradePrevention);
                continue;
            }
            let quantity = maker.leaves().min(taker.leaves());
            let price = maker.price.expect("only limit orders rest");
            maker.fills.push((price, quantity));
            taker.fills.push((price, quantity));
            trades.push(ModelTrade { maker: maker.id, taker: taker.id, price, quantity });
        }
        if taker.time_in_force == TimeInForce::FillOrKill && taker.leaves() > 0 {
            self.orders.push(ModelOrder { ended: Some(EndReason::FillOrKill), ..unfilled });
            return Done::Changed { orders: vec![taker.id], trades: Vec::new() };
        }
        if taker.leaves() > 0 {
            taker.ended = match (taker.price, taker.time_in_force) {
                (None, _) => Some(EndReason::BookExhausted),
                (_, TimeInForce::ImmediateOrCancel) => Some(EndReason::ImmediateOrCancel),
                _ => None,
            };
        }
        *self = after;
        self.orders.push(taker);
        Done::Changed { orders: touched, trades }
    }

    /// The first in the list among those with the best price that the taker accepts.
    fn best_match(&self, taker: &ModelOrder) -> Option<usize> {
        let mut best: Option<usize> = None;
        for (i, maker) in self.orders.iter().enumerate() {
            let Some(price) = maker.price else { continue };
            if maker.symbol != taker.symbol || maker.side == taker.side || maker.leaves() == 0 {
                continue;
            }
            let accepted = match (taker.price, taker.side) {
                (None, _) => true,
                (Some(limit), Side::Buy) => price <= limit,
                (Some(limit), Side::Sell) => price >= limit,
            };
            let better = best.and_then(|best| self.orders[best].price).is_none_or(|so_far| {
                match taker.side {
                    Side::Buy => price < so_far,
                    Side::Sell => price > so_far,
                }
            });
            if accepted && better {
                best = Some(i);
            }
        }
        best
    }
}
