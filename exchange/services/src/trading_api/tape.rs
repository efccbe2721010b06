//! What was traded: the newest trades, and sums over all of them.

use std::collections::VecDeque;

use exchange_api::TradeView;
use exchange_matching::{Side, Symbol, Trade, TradeId};

/// A trade and when it was made.
#[derive(Clone, Copy, Debug)]
pub struct Printed {
    /// The trade.
    pub trade: Trade,
    /// When the record that made it was taken, in microseconds since 1970.
    pub at_us: u64,
}

/// All trades of a symbol in sum; what would not fit stays at its greatest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// How many.
    pub trades: u64,
    /// Lots.
    pub volume: u64,
    /// Ticks times lots.
    pub value: u64,
}

/// Named after the paper strip on which exchanges printed their trades.
#[derive(Debug)]
pub struct Tape {
    newest: VecDeque<Printed>,
    newest_max: usize,
    totals: [Totals; Symbol::ALL.len()],
}

impl Tape {
    /// Nothing traded yet; remembers so many trades.
    pub fn new(newest_max: usize) -> Self {
        Self { newest: VecDeque::new(), newest_max, totals: Default::default() }
    }

    /// Adds the next trade.
    pub fn print(&mut self, trade: &Trade, at_us: u64) {
        let totals = &mut self.totals[trade.symbol.index()];
        let (quantity, price) = (trade.quantity.get(), trade.price.get());
        totals.trades += 1;
        totals.volume = totals.volume.saturating_add(quantity);
        totals.value = totals.value.saturating_add(quantity.saturating_mul(price));
        self.newest.push_back(Printed { trade: *trade, at_us });
        if self.newest.len() > self.newest_max {
            self.newest.pop_front();
        }
    }

    /// The remembered trades before one, the newest first.
    pub fn newest_first(&self, before: Option<TradeId>) -> impl Iterator<Item = &Printed> {
        // They are contiguous, so that where one lies can be counted.
        let end = match (self.newest.front(), before) {
            (Some(first), Some(before)) => {
                let ahead = before.get().saturating_sub(first.trade.trade_id.get());
                usize::try_from(ahead).unwrap_or(usize::MAX).min(self.newest.len())
            }
            _ => self.newest.len(),
        };
        self.newest.range(..end).rev()
    }

    /// Everything traded of a symbol.
    pub fn totals(&self, symbol: Symbol) -> Totals {
        self.totals[symbol.index()]
    }
}

impl Printed {
    /// As clients are told of it.
    pub fn view(&self) -> TradeView {
        let trade = &self.trade;
        let (maker, taker) = (trade.maker_order_id, trade.taker_order_id);
        let (buy, sell) = match trade.taker_side {
            Side::Buy => (taker, maker),
            Side::Sell => (maker, taker),
        };
        TradeView {
            trade_id: trade.trade_id.to_string(),
            symbol: trade.symbol.to_string(),
            price: trade.price.get(),
            quantity: trade.quantity.get(),
            buy_order_id: buy.to_string(),
            sell_order_id: sell.to_string(),
            taker_side: trade.taker_side.to_string(),
            executed_at_ms: self.at_us / 1000,
        }
    }
}

#[cfg(test)]
mod tests {
    use exchange_matching::{Lots, OrderId, Ticks};

    use super::*;

    fn trade(id: u64) -> Trade {
        Trade {
            trade_id: TradeId(id),
            symbol: Symbol::AdaUsd,
            maker_order_id: OrderId(1),
            taker_order_id: OrderId(2),
            taker_side: Side::Sell,
            price: Ticks(10),
            quantity: Lots(id),
        }
    }

    #[test]
    fn old_trades_are_forgotten_and_summed_all_the_same() {
        let mut tape = Tape::new(3);
        assert_eq!(tape.newest_first(Some(TradeId(1))).count(), 0);
        for id in 1..=5 {
            tape.print(&trade(id), id);
        }
        let ids = |before: Option<u64>| -> Vec<u64> {
            tape.newest_first(before.map(TradeId)).map(|one| one.trade.trade_id.get()).collect()
        };
        assert_eq!(ids(None), [5, 4, 3]);
        assert_eq!(ids(Some(5)), [4, 3]);
        assert_eq!(ids(Some(3)), [0; 0]);
        assert_eq!(ids(Some(1)), [0; 0]);
        assert_eq!(ids(Some(u64::MAX)), [5, 4, 3]);
        let totals = tape.totals(Symbol::AdaUsd);
        assert_eq!(totals, Totals { trades: 5, volume: 15, value: 150 });
        assert_eq!(tape.totals(Symbol::BtcUsd), Totals::default());
        let view = tape.newest_first(None).next().unwrap().view();
        assert_eq!((view.buy_order_id.as_str(), view.sell_order_id.as_str()), ("1", "2"));
    }
}
