//! One symbol's book.

use crate::levels::{Level, Levels};
use crate::orders::Orders;
use crate::slab::{Resting, Slot};
use crate::users::UserNumber;
use crate::{
    DepthLevel, Effects, EndReason, Inconsistency, Lots, OrdStatus, Order, OrderKind, Side, Ticks,
    Trade, TradeId,
};

#[derive(Debug)]
pub(crate) struct Book {
    bids: Levels,
    asks: Levels,
    pub(crate) last_price: Option<Ticks>,
}

impl Default for Book {
    fn default() -> Self {
        let (bids, asks) = (Levels::new(Side::Buy), Levels::new(Side::Sell));
        Self { bids, asks, last_price: None }
    }
}

impl Book {
    fn side(&self, side: Side) -> &Levels {
        match side {
            Side::Buy => &self.bids,
            Side::Sell => &self.asks,
        }
    }

    fn side_mut(&mut self, side: Side) -> &mut Levels {
        match side {
            Side::Buy => &mut self.bids,
            Side::Sell => &mut self.asks,
        }
    }

    /// Whether the taker would meet a resting order, its own user's among them.
    pub(crate) fn meets(&self, taker: &Order) -> bool {
        self.side(taker.side.opposite()).best().is_some_and(|price| taker.accepts(price))
    }

    /// Whether all of the taker would trade. Orders of its own user do not count: they would be cancelled.
    pub(crate) fn fills(&self, taker: &Order, user: UserNumber, orders: &Orders) -> bool {
        let mut missing = taker.leaves_qty().0;
        let levels = self.side(taker.side.opposite()).iter();
        for level in levels.take_while(|level| taker.accepts(level.price)) {
            for maker in orders.slab.queued(&level.queue).filter(|maker| maker.user != user) {
                missing = missing.saturating_sub(maker.order.leaves_qty().0);
                if missing == 0 {
                    return true;
                }
            }
        }
        missing == 0
    }

    /// Trades the taker against the other side as far as price and quantity allow. Every pass either
    /// finishes a resting order or finishes the taker, so it ends.
    pub(crate) fn take(
        &mut self,
        taker: &mut Order,
        user: UserNumber,
        orders: &mut Orders,
        last_trade_id: &mut TradeId,
        effects: &mut Effects,
    ) {
        let levels = match taker.side {
            Side::Buy => &mut self.asks,
            Side::Sell => &mut self.bids,
        };
        while taker.leaves_qty().0 > 0
            && let Some((at, level)) = levels.best_mut()
            && taker.accepts(level.price)
        {
            let (oldest, price) = (level.queue.oldest, level.price);
            let found =
                oldest.and_then(|slot| orders.slab.get_mut(slot).map(|found| (slot, found)));
            let Some((slot, Resting { order: maker, user: owner, .. })) = found else {
                debug_assert!(false, "a level without orders is removed with its last order");
                levels.remove(at);
                continue;
            };
            if *owner == user {
                level.leaves_qty.0 -= maker.leaves_qty().0;
                maker.finish(EndReason::SelfTradePrevention);
            } else {
                let quantity = taker.leaves_qty().min(maker.leaves_qty());
                taker.fill(quantity, price);
                maker.fill(quantity, price);
                level.leaves_qty.0 -= quantity.0;
                last_trade_id.0 += 1;
                self.last_price = Some(price);
                effects.trades.push(Trade {
                    trade_id: *last_trade_id,
                    symbol: taker.symbol,
                    maker_order_id: maker.order_id,
                    taker_order_id: taker.order_id,
                    taker_side: taker.side,
                    price,
                    quantity,
                });
            }
            effects.orders.push(*maker);
            if !maker.status.is_live() {
                if let Some(finished) = orders.slab.remove(&mut level.queue, slot) {
                    orders.finished(finished.order, finished.user);
                }
                level.orders -= 1;
                if level.orders == 0 {
                    levels.remove(at);
                }
            }
        }
    }

    /// Puts an order to rest behind those already at its price.
    pub(crate) fn rest(
        &mut self,
        order: Order,
        price: Ticks,
        user: UserNumber,
        orders: &mut Orders,
    ) {
        let (at, level) = self.side_mut(order.side).at(price);
        orders.rest(level, Resting { order, user, level: at });
    }

    /// Takes a resting order out of the book, as it stood.
    pub(crate) fn remove(&mut self, slot: Slot, orders: &mut Orders) -> Option<Resting> {
        let Resting { order, level: at, .. } = orders.slab.get(slot)?;
        let levels = self.side_mut(order.side);
        let level = levels.level_mut(*at);
        let resting = orders.slab.remove(&mut level.queue, slot)?;
        level.orders -= 1;
        level.leaves_qty.0 -= resting.order.leaves_qty().0;
        if level.orders == 0 {
            levels.remove(resting.level);
        }
        Some(resting)
    }

    /// Makes a resting order smaller where it stands.
    pub(crate) fn reduce(
        &mut self,
        slot: Slot,
        quantity: Lots,
        orders: &mut Orders,
    ) -> Option<Order> {
        let Resting { order, level: at, .. } = orders.slab.get_mut(slot)?;
        let level = self.side_mut(order.side).level_mut(*at);
        level.leaves_qty.0 -= order.quantity.0 - quantity.0;
        order.quantity = quantity;
        Some(*order)
    }

    pub(crate) fn depth(&self, side: Side, levels_max: usize) -> Vec<DepthLevel> {
        let levels = self.side(side).iter().take(levels_max);
        let level = |level: &Level| DepthLevel {
            price: level.price,
            quantity: level.leaves_qty,
            orders: level.orders,
        };
        levels.map(level).collect()
    }

    /// The side's orders in the order in which they would trade.
    pub(crate) fn resting<'a>(
        &'a self,
        side: Side,
        orders: &'a Orders,
    ) -> impl Iterator<Item = &'a Resting> {
        self.side(side).iter().flat_map(|level| orders.slab.queued(&level.queue))
    }

    /// Checks what must always hold and gives the number of resting orders.
    pub(crate) fn verify(&self, orders: &Orders) -> Result<usize, Inconsistency> {
        if let (Some(bid), Some(ask)) = (self.bids.best(), self.asks.best())
            && bid >= ask
        {
            return Err(Inconsistency::Crossed { bid, ask });
        }
        let mut resting = 0;
        for side in [Side::Buy, Side::Sell] {
            for level in self.side(side).iter() {
                let price = level.price;
                let (mut count, mut leaves_qty) = (0, 0);
                for Resting { order, .. } in orders.slab.queued(&level.queue) {
                    if !rests_rightly(order, side, price) {
                        return Err(Inconsistency::Misplaced { order_id: order.order_id });
                    }
                    count += 1;
                    leaves_qty += order.leaves_qty().0;
                }
                if count == 0 || count != level.orders || leaves_qty != level.leaves_qty.0 {
                    return Err(Inconsistency::LevelSum { price });
                }
                resting += count;
            }
        }
        Ok(resting)
    }
}

fn rests_rightly(order: &Order, side: Side, price: Ticks) -> bool {
    order.status.is_live()
        && order.end.is_none()
        && order.side == side
        && order.kind == OrderKind::Limit { price_ticks: price }
        && order.time_in_force.may_rest()
        && order.cum_qty < order.quantity
        && (order.status == OrdStatus::New) == (order.cum_qty.0 == 0)
        && (order.cum_value == 0) == (order.cum_qty.0 == 0)
}
