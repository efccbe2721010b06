//! What is answered when all went well.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// An order: the answer to `POST`, `GET`, `PATCH` and `DELETE`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct OrderView {
    /// The exchange's name for it.
    pub order_id: String,
    /// The client's name for it, or one made up by the exchange.
    pub client_order_id: String,
    /// `NEW`, `PARTIALLY_FILLED`, `FILLED`, `CANCELLED` or `EXPIRED`: in the answer to `POST` as it
    /// was when the order had just been carried out, else as it is now.
    pub status: String,
    /// The same as a sentence.
    pub message: String,
    /// Who trades.
    pub user_id: String,
    /// What is traded.
    pub symbol: String,
    /// `BUY` or `SELL`.
    pub side: String,
    /// `LIMIT` or `MARKET`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Lots ordered in all, as last replaced.
    pub quantity: u64,
    /// Limit in ticks, as last replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<u64>,
    /// `DAY`, `GTC`, `IOC` or `FOK`.
    pub time_in_force: String,
    /// Whether it was never to trade at its arrival.
    pub post_only: bool,
    /// Lots traded.
    pub filled_quantity: u64,
    /// Lots that can still trade.
    pub leaves_quantity: u64,
    /// What the traded lots cost, in ticks times lots; exact.
    pub filled_value: u64,
    /// The average price of what has traded (FIX AvgPx), in ticks: `filled_value` by `filled_quantity`, rounded
    /// to the nearest double.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub avg_price: Option<f64>,
    /// Why it ended before all of it traded, as `SELF_TRADE_PREVENTION`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When the exchange took it, in milliseconds since 1970.
    pub created_at_ms: u64,
}

/// The answer to `GET /api/orders` and `GET /api/users/:user_id/orders`, newest first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct OrderList {
    /// At most as many as asked for.
    pub orders: Vec<OrderView>,
    /// How many are held in memory in all, of this user where one is named.
    pub total: usize,
    /// Where to go on: the value of `before` that gives the next older ones. Nothing: these were the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_before: Option<String>,
}

/// A trade.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TradeView {
    /// Its number; they run from 1 without a gap.
    pub trade_id: String,
    /// What was traded.
    pub symbol: String,
    /// Ticks.
    pub price: u64,
    /// Lots.
    pub quantity: u64,
    /// The order that bought.
    pub buy_order_id: String,
    /// The order that sold.
    pub sell_order_id: String,
    /// `BUY` or `SELL`: what the order did that came later.
    pub taker_side: String,
    /// When, in milliseconds since 1970.
    pub executed_at_ms: u64,
}

/// The answer to `GET /api/trades`, newest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TradeList {
    /// At most as many as asked for.
    pub trades: Vec<TradeView>,
    /// Where to go on: the value of `before` that gives the next older ones. Nothing: these were the last that
    /// are held in memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_before: Option<String>,
}

/// What was traded of a symbol since the exchange began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SymbolSummary {
    /// Trades.
    pub trade_count: u64,
    /// Lots.
    pub volume: u64,
    /// What they cost, in ticks times lots.
    pub value: u64,
    /// The price of the latest trade, in ticks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_price: Option<u64>,
    /// What is paid for it at the best, in ticks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub best_bid: Option<u64>,
    /// For what it is offered at the best, in ticks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub best_ask: Option<u64>,
}

/// The answer to `GET /api/metrics`: for people and pages. Prometheus scrapes `/metrics`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Summary {
    /// How long the service has run.
    pub uptime_seconds: f64,
    /// Orders taken since the exchange began.
    pub order_count: u64,
    /// Orders that rest in the books.
    pub live_orders: u64,
    /// Trades since the exchange began.
    pub trade_count: u64,
    /// Lots traded since then.
    pub total_volume: u64,
    /// What they cost, in ticks times lots.
    pub total_value: u64,
    /// Orders taken, a second, over the time in `rate_seconds`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub orders_per_sec: Option<f64>,
    /// Trades, a second, over the same time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trades_per_sec: Option<f64>,
    /// Over how much time the rates are: half a minute, less after a start, nothing just after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_seconds: Option<f64>,
    /// How long placing an order took on average, since the service started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub avg_latency_seconds: Option<f64>,
    /// Each symbol.
    pub symbol_metrics: BTreeMap<String, SymbolSummary>,
}

/// The answer to `GET /live` and `GET /health`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Health {
    /// `live`; `healthy` or `unhealthy`.
    pub status: String,
    /// What is wrong with the journal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub journal: Option<String>,
}

/// The answer to `GET /`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Welcome {
    /// Its name.
    pub service: String,
    /// Its version.
    pub version: String,
    /// Where its interface is described.
    pub openapi: String,
}

/// One price of a book.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BookLevel {
    /// Ticks.
    pub price: u64,
    /// Lots waiting there.
    pub quantity: u64,
    /// Orders waiting there.
    pub orders: usize,
}

/// The answer to `GET /api/orderbook/:symbol`; best prices first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BookView {
    /// What is traded.
    pub symbol: String,
    /// Buyers, highest first.
    pub bids: Vec<BookLevel>,
    /// Sellers, lowest first.
    pub asks: Vec<BookLevel>,
    /// The price of the latest trade.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_price: Option<u64>,
    /// When the book last changed, in milliseconds since 1970; 0 before its first order.
    pub updated_at: u64,
}

/// What a service can do for its clients now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ReadyState {
    /// All is well.
    Ready,
    /// It works, but something it depends on does not.
    Degraded,
    /// It refuses work.
    Refusing,
}

/// The answer to `GET /ready`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Readiness {
    /// In one word.
    pub status: ReadyState,
    /// Each dependency: `ok`, or what is wrong with it.
    pub dependencies: BTreeMap<String, String>,
    /// Why work is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The answer to the market simulator's `GET /api/price/:symbol`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PriceView {
    /// What is traded.
    pub symbol: String,
    /// Ticks.
    pub price: u64,
    /// Milliseconds since 1970.
    pub updated_at: u64,
}

/// The answer to the market simulator's `GET /api/market/:symbol`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MarketView {
    /// What is traded.
    pub symbol: String,
    /// Ticks.
    pub price: u64,
    /// The price the walk returns to, in ticks.
    pub reference_price: u64,
    /// The lowest price since the start, in ticks.
    pub low: u64,
    /// The highest price since the start, in ticks.
    pub high: u64,
    /// Milliseconds since 1970.
    pub updated_at: u64,
}

/// The answer to the market simulator's `GET /api/symbols`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SymbolList {
    /// Their names.
    pub symbols: Vec<String>,
}

/// An event of `GET /api/stream`: its reader was too slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Missed {
    /// So many records of the journal were not told of.
    pub records: u64,
}

/// What became of an order, as the stream of events in Redis has it. Who placed it is told with its
/// `order.placed`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OrderChange {
    /// Which order.
    pub order_id: String,
    /// What it trades.
    pub symbol: String,
    /// Where it stands.
    pub status: String,
    /// Lots ordered in all.
    pub quantity: u64,
    /// Limit in ticks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<u64>,
    /// Lots traded.
    pub filled_quantity: u64,
    /// Lots that can still trade.
    pub leaves_quantity: u64,
    /// What the traded lots cost, in ticks times lots.
    pub filled_value: u64,
    /// Why it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}
