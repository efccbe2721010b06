//! A book as simple as can be: all orders in one list in the order of arrival, scanned from end to end for
//! every match. It shares no code with the engine but the vocabulary.

use exchange_matching::{Command, OrderKind, Side, Symbol};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ModelOrder {
    pub(crate) id: u64,
    pub(crate) user: String,
    pub(crate) symbol: Symbol,
    pub(crate) side: Side,
    pub(crate) price: Option<u64>,
    pub(crate) quantity: u64,
    pub(crate) traded: u64,
    pub(crate) cancelled: bool,
}

impl ModelOrder {
    pub(crate) fn leaves(&self) -> u64 {
        if self.cancelled { 0 } else { self.quantity - self.traded }
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
    Placed { trades: Vec<ModelTrade>, prevented: Vec<u64> },
    Cancelled,
    Rejected,
}

#[derive(Debug, Default)]
pub(crate) struct Model {
    pub(crate) orders: Vec<ModelOrder>,
}

impl Model {
    pub(crate) fn apply(&mut self, command: &Command) -> Done {
        match command {
            Command::Cancel(cancel) => {
                let found =
                    self.orders.iter_mut().find(|o| o.id == cancel.order_id.0 && o.leaves() > 0);
                match found {
                    Some(order) => {
                        order.cancelled = true;
                        Done::Cancelled
                    }
                    None => Done::Rejected,
                }
            }
            Command::Place(place) => {
                let price = match place.kind {
                    OrderKind::Limit { price_ticks } => Some(price_ticks.0),
                    OrderKind::Market => None,
                };
                let grows = place.order_id.0 > self.orders.last().map_or(0, |last| last.id);
                if !grows || place.quantity.0 == 0 || price == Some(0) {
                    return Done::Rejected;
                }
                self.place(ModelOrder {
                    id: place.order_id.0,
                    user: place.user.to_string(),
                    symbol: place.symbol,
                    side: place.side,
                    price,
                    quantity: place.quantity.0,
                    traded: 0,
                    cancelled: false,
                })
            }
        }
    }

    fn place(&mut self, mut taker: ModelOrder) -> Done {
        let (mut trades, mut prevented) = (Vec::new(), Vec::new());
        while taker.leaves() > 0
            && let Some(maker) = self.best_match(&taker)
        {
            let maker = &mut self.orders[maker];
            if maker.user == taker.user {
                maker.cancelled = true;
                prevented.push(maker.id);
                continue;
            }
            let quantity = maker.leaves().min(taker.leaves());
            maker.traded += quantity;
            taker.traded += quantity;
            let price = maker.price.expect("only limit orders rest");
            trades.push(ModelTrade { maker: maker.id, taker: taker.id, price, quantity });
        }
        taker.cancelled = taker.price.is_none() && taker.leaves() > 0;
        self.orders.push(taker);
        Done::Placed { trades, prevented }
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
