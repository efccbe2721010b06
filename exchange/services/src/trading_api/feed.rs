//! News of what was carried out, for whoever listens.

use std::sync::Arc;

use exchange_api::OrderView;
use exchange_matching::{Effects, Order, Place};
use tokio::sync::broadcast;

use super::exchange::Exchange;
use super::tape::Printed;
use super::view::order_view;

/// Records that a slow listener may be behind before it misses some.
const BEHIND_MAX: usize = 4096;

/// What one record of the journal did.
#[derive(Clone, Debug)]
pub struct News {
    /// The record's number.
    pub seq: u64,
    /// The trades that it made.
    pub trades: Vec<Printed>,
    /// The orders that it changed.
    pub orders: Vec<Changed>,
}

/// An order as it is after a record. Whoever wants to show it makes a view of it: most listeners want few.
#[derive(Clone, Debug)]
pub struct Changed {
    /// As it was placed.
    pub place: Place,
    /// As it is.
    state: Order,
    created_us: u64,
}

impl Changed {
    /// As clients are told of it.
    #[must_use]
    pub fn view(&self) -> OrderView {
        order_view(&self.place, self.created_us, &self.state)
    }
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
        if self.0.receiver_count() == 0 {
            return;
        }
        let trades = effects.trades.iter().map(|trade| Printed { trade: *trade, at_us }).collect();
        let changed = |order: &Order| {
            let held = exchange.just_held(order.order_id)?;
            let (place, created_us) = (held.place.clone(), held.created_us);
            Some(Changed { place, state: *order, created_us })
        };
        let orders = effects.orders.iter().filter_map(changed).collect();
        // The last listener may have left meanwhile.
        let _ = self.0.send(Arc::new(News { seq, trades, orders }));
    }
}

#[cfg(test)]
mod tests {
    use exchange_matching::{
        ClientOrderId, Lots, OrderId, OrderKind, Side, Symbol, Ticks, TimeInForce, UserId,
    };

    use super::*;
    use crate::trading_api::record::Record;

    /// Also of an order that is forgotten as soon as it ends, because its key is.
    #[test]
    fn the_end_of_an_old_order_is_told() {
        let mut exchange = Exchange::new(0);
        let (feed, mut news) = (Feed::default(), Feed::default().listen());
        assert!(news.try_recv().is_err());
        news = feed.listen();
        let place = Place {
            order_id: OrderId(1),
            client_order_id: ClientOrderId::new("k").unwrap(),
            user: UserId::new("u").unwrap(),
            symbol: Symbol::AdaUsd,
            side: Side::Buy,
            kind: OrderKind::Limit { price_ticks: Ticks(5) },
            quantity: Lots(1),
            time_in_force: TimeInForce::Day,
            post_only: false,
        };
        for (seq, record) in (1..).zip([
            Record::Genesis { journal_id: "j".to_owned() },
            Record::Place { place, at_us: 1 },
            Record::EndDay { at_us: 2 },
        ]) {
            let effects = exchange.apply(record).unwrap();
            feed.tell(&exchange, seq, seq, &effects);
        }
        let told = |news: Arc<News>| -> Vec<String> {
            news.orders.iter().map(|changed| changed.view().status).collect()
        };
        assert_eq!(told(news.try_recv().unwrap()), [""; 0]);
        assert_eq!(told(news.try_recv().unwrap()), ["NEW"]);
        assert_eq!(told(news.try_recv().unwrap()), ["EXPIRED"]);
        assert_eq!(exchange.held_orders(), 0);
    }
}
