//! News of what was carried out, for whoever listens.

use std::sync::Arc;

use exchange_api::{OrderView, TradeView};
use exchange_matching::Effects;
use tokio::sync::broadcast;

use super::exchange::{Exchange, HeldOrder};
use super::tape::Printed;

/// Records that a slow listener may be behind before it misses some.
const BEHIND_MAX: usize = 4096;

/// What one record of the journal did.
#[derive(Clone, Debug)]
pub struct News {
    /// The record's number.
    pub seq: u64,
    /// The trades that it made.
    pub trades: Vec<TradeView>,
    /// The orders that it changed, as they are after it.
    pub orders: Vec<OrderView>,
}

/// Carries news to all who listen; whoever tells never waits for them.
#[derive(Clone, Debug)]
pub struct Feed(broadcast::Sender<Arc<News>>);

impl Default for Feed {
    fn default() -> Self {
        Self(broadcast::Sender::new(BEHIND_MAX))
    }
}

impl Feed {
    /// All news from now on.
    #[must_use]
    pub fn listen(&self) -> broadcast::Receiver<Arc<News>> {
        self.0.subscribe()
    }

    /// Tells what a record did that has just been carried out.
    pub fn tell(&self, exchange: &Exchange, seq: u64, at_us: u64, effects: &Effects) {
        // Writing it down costs more than matching it.
        if self.0.receiver_count() == 0 {
            return;
        }
        let trades = effects.trades.iter().map(|trade| Printed { trade: *trade, at_us }.view());
        let held = effects.orders.iter().filter_map(|order| exchange.order(order.order_id));
        let (trades, orders) = (trades.collect(), held.map(HeldOrder::view).collect());
        // The last listener may have left meanwhile.
        let _ = self.0.send(Arc::new(News { seq, trades, orders }));
    }
}
