//! One symbol's book.

use crate::slab::{Queue, Slab, Slot};
use crate::{
    DepthLevel, Inconsistency, Lots, MakerUpdate, OrdStatus, Order, OrderKind, Side, Ticks, Trade,
    TradeId,
};
use std::collections::BTreeMap;

#[derive(Debug, Default)]
struct Level {
    queue: Queue,
    orders: usize,
    /// The sum of LeavesQty, kept so that a depth snapshot need not visit each order. It cannot overflow:
    /// an order is at most 10^9 lots, so that would take 10^10 orders.
    leaves_qty: Lots,
}

/// What one taker did, collected on the way.
#[derive(Debug, Default)]
pub(crate) struct Fills {
    pub(crate) trades: Vec<Trade>,
    pub(crate) makers: Vec<MakerUpdate>,
    /// Resting orders that are finished and out of the book.
    pub(crate) finished: Vec<Order>,
}

#[derive(Debug, Default)]
pub(crate) struct Book {
    slab: Slab,
    bids: BTreeMap<Ticks, Level>,
    asks: BTreeMap<Ticks, Level>,
    pub(crate) last_price: Option<Ticks>,
}

impl Book {
    fn side(&self, side: Side) -> &BTreeMap<Ticks, Level> {
        match side {
            Side::Buy => &self.bids,
            Side::Sell => &self.asks,
        }
    }

    /// The side's levels, best price first: a buyer's best is the highest, a seller's the lowest.
    fn levels(&self, side: Side) -> Box<dyn Iterator<Item = (Ticks, &Level)> + '_> {
        let levels = self.side(side).iter().map(|(price, level)| (*price, level));
        match side {
            Side::Buy => Box::new(levels.rev()),
            Side::Sell => Box::new(levels),
        }
    }

    pub(crate) fn best_price(&self, side: Side) -> Option<Ticks> {
        match side {
            Side::Buy => self.bids.last_key_value(),
            Side::Sell => self.asks.first_key_value(),
        }
        .map(|(price, _)| *price)
    }

    pub(crate) fn order(&self, slot: Slot) -> Option<&Order> {
        self.slab.get(slot)
    }

    /// Trades the taker against the other side as far as price and quantity allow. Every pass either
    /// finishes a resting order or finishes the taker, so it ends.
    pub(crate) fn take(&mut self, taker: &mut Order, last_trade_id: &mut TradeId) -> Fills {
        let mut fills = Fills::default();
        let maker_side = taker.side.opposite();
        while taker.leaves_qty().0 > 0 {
            let levels = match maker_side {
                Side::Buy => &mut self.bids,
                Side::Sell => &mut self.asks,
            };
            let best = match maker_side {
                Side::Buy => levels.last_entry(),
                Side::Sell => levels.first_entry(),
            };
            let Some(mut best) = best else { break };
            let price = *best.key();
            if !accepts(taker, price) {
                break;
            }
            let level = best.get_mut();
            let Some((slot, maker)) = level
                .queue
                .oldest
                .and_then(|slot| self.slab.get_mut(slot).map(|maker| (slot, maker)))
            else {
                debug_assert!(false, "a level without orders is removed with its last order");
                best.remove();
                continue;
            };
            if maker.user == taker.user {
                level.leaves_qty.0 -= maker.leaves_qty().0;
                maker.status = OrdStatus::Cancelled;
            } else {
                let quantity = taker.leaves_qty().min(maker.leaves_qty());
                taker.fill(quantity);
                maker.fill(quantity);
                level.leaves_qty.0 -= quantity.0;
                last_trade_id.0 += 1;
                self.last_price = Some(price);
                fills.trades.push(Trade {
                    trade_id: *last_trade_id,
                    symbol: taker.symbol,
                    maker_order_id: maker.order_id,
                    taker_order_id: taker.order_id,
                    taker_side: taker.side,
                    price,
                    quantity,
                });
            }
            fills.makers.push(MakerUpdate {
                order_id: maker.order_id,
                status: maker.status,
                cum_qty: maker.cum_qty,
                leaves_qty: maker.leaves_qty(),
            });
            if !maker.status.is_live() {
                fills.finished.extend(self.slab.remove(&mut level.queue, slot));
                level.orders -= 1;
                if level.orders == 0 {
                    best.remove();
                }
            }
        }
        fills
    }

    /// Puts an order to rest behind those already at its price.
    pub(crate) fn rest(&mut self, order: Order, price: Ticks) -> Slot {
        let levels = match order.side {
            Side::Buy => &mut self.bids,
            Side::Sell => &mut self.asks,
        };
        let level = levels.entry(price).or_default();
        level.orders += 1;
        level.leaves_qty.0 += order.leaves_qty().0;
        self.slab.push(&mut level.queue, order)
    }

    /// Takes a resting order out of the book.
    pub(crate) fn cancel(&mut self, slot: Slot) -> Option<Order> {
        let order = self.slab.get(slot)?;
        let (side, price, leaves_qty) = (order.side, order.kind.price()?, order.leaves_qty());
        let levels = match side {
            Side::Buy => &mut self.bids,
            Side::Sell => &mut self.asks,
        };
        let level = levels.get_mut(&price)?;
        let mut order = self.slab.remove(&mut level.queue, slot)?;
        order.status = OrdStatus::Cancelled;
        level.orders -= 1;
        level.leaves_qty.0 -= leaves_qty.0;
        if level.orders == 0 {
            levels.remove(&price);
        }
        Some(order)
    }

    pub(crate) fn depth(&self, side: Side, levels_max: usize) -> Vec<DepthLevel> {
        self.levels(side)
            .take(levels_max)
            .map(|(price, level)| DepthLevel {
                price,
                quantity: level.leaves_qty,
                orders: level.orders,
            })
            .collect()
    }

    /// The side's orders in the order in which they would trade.
    pub(crate) fn orders(&self, side: Side) -> impl Iterator<Item = &Order> {
        self.levels(side).flat_map(|(_, level)| self.slab.iter(&level.queue))
    }

    /// Checks what must always hold and gives the number of resting orders.
    pub(crate) fn verify(&self) -> Result<usize, Inconsistency> {
        if let (Some(bid), Some(ask)) = (self.best_price(Side::Buy), self.best_price(Side::Sell))
            && bid >= ask
        {
            return Err(Inconsistency::Crossed { bid, ask });
        }
        let mut resting = 0;
        for side in [Side::Buy, Side::Sell] {
            for (price, level) in self.levels(side) {
                let (mut orders, mut leaves_qty) = (0, 0);
                for order in self.slab.iter(&level.queue) {
                    let order_id = order.order_id;
                    let rests_rightly = order.status.is_live()
                        && order.side == side
                        && order.kind == OrderKind::Limit { price_ticks: price }
                        && order.cum_qty < order.quantity
                        && (order.status == OrdStatus::New) == (order.cum_qty.0 == 0);
                    if !rests_rightly {
                        return Err(Inconsistency::Misplaced { order_id });
                    }
                    orders += 1;
                    leaves_qty += order.leaves_qty().0;
                }
                if orders == 0 || orders != level.orders || leaves_qty != level.leaves_qty.0 {
                    return Err(Inconsistency::LevelSum { price });
                }
                resting += orders;
            }
        }
        Ok(resting)
    }
}

fn accepts(taker: &Order, price: Ticks) -> bool {
    match (taker.kind, taker.side) {
        (OrderKind::Market, _) => true,
        (OrderKind::Limit { price_ticks }, Side::Buy) => price <= price_ticks,
        (OrderKind::Limit { price_ticks }, Side::Sell) => price >= price_ticks,
    }
}
