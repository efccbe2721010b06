//! Orders and trades as rows, wherever they come from.

use std::collections::BTreeMap;

/// An order. Numbers are as PostgreSQL has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderRow {
    /// The client's name for it.
    pub client_order_id: String,
    /// Who placed it.
    pub user_id: String,
    /// What it trades.
    pub symbol: String,
    /// `BUY` or `SELL`.
    pub side: String,
    /// `LIMIT` or `MARKET`.
    pub kind: String,
    /// `DAY`, `GTC`, `IOC` or `FOK`.
    pub time_in_force: String,
    /// Whether it was never to trade at its arrival.
    pub post_only: bool,
    /// Lots ordered in all, as last replaced.
    pub quantity: i64,
    /// Ticks, of a limit order, as last replaced.
    pub price: Option<i64>,
    /// The record that last replaced it.
    pub replaced_seq: Option<i64>,
    /// `NEW`, `PARTIALLY_FILLED`, `FILLED`, `CANCELLED` or `EXPIRED`.
    pub status: String,
    /// Lots traded.
    pub filled: i64,
    /// What they cost, in ticks times lots.
    pub value: i64,
    /// Why it ended before all of it traded.
    pub end_reason: Option<String>,
    /// The record that placed it.
    pub journal_seq: i64,
    /// The record that last changed it.
    pub changed_seq: i64,
    /// When it was taken, in microseconds since 1970.
    pub created_us: i64,
}

/// A trade.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TradeRow {
    /// What was traded.
    pub symbol: String,
    /// Ticks.
    pub price: i64,
    /// Lots.
    pub quantity: i64,
    /// Which way the order traded that came later.
    pub taker_side: String,
    /// The order that rested.
    pub maker_order_id: i64,
    /// The order that came later.
    pub taker_order_id: i64,
    /// The record that caused it.
    pub journal_seq: i64,
    /// When that record was taken, in microseconds since 1970.
    pub executed_us: i64,
}

/// All orders and trades up to a record of the journal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tables {
    /// Which journal they are of.
    pub journal_id: String,
    /// The last record that is in them.
    pub cursor: u64,
    /// By their ids.
    pub orders: BTreeMap<i64, OrderRow>,
    /// By their ids.
    pub trades: BTreeMap<i64, TradeRow>,
}

/// A row, field by field: people are told of those that differ.
pub trait Fields {
    /// Each field's name, and what is in it.
    fn fields(&self) -> Vec<(&'static str, String)>;
}

macro_rules! fields {
    ($row:ty: $($field:ident),+) => {
        impl Fields for $row {
            fn fields(&self) -> Vec<(&'static str, String)> {
                vec![$((stringify!($field), format!("{:?}", self.$field))),+]
            }
        }
    };
}

fields!(OrderRow: client_order_id, user_id, symbol, side, kind, time_in_force, post_only, quantity, price,
    replaced_seq, status, filled, value, end_reason, journal_seq, changed_seq, created_us);
fields!(TradeRow: symbol, price, quantity, taker_side, maker_order_id, taker_order_id, journal_seq,
    executed_us);
