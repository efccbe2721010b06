//! What the trading API counts.

use exchange_matching::{EndReason, Symbol};
use prometheus::{
    Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

use crate::common::HttpMetrics;

/// From a tenth of a millisecond (a cache that lies, or a very good disk) to ten seconds.
const SYNC_BUCKETS: [f64; 15] = [
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    10.0,
];

/// Every metric of the service. Each field is set somewhere; a test holds us to it.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// Where they are registered.
    pub registry: Registry,
    /// Requests and uptime.
    pub http: HttpMetrics,
    /// Orders by what became of them; a repetition of an accepted order is not counted again.
    pub orders: IntCounterVec,
    /// Orders that got another price or quantity.
    pub orders_replaced: IntCounter,
    /// Orders that ended before all of them traded.
    pub orders_ended: IntCounterVec,
    /// Trades made.
    pub trades: IntCounterVec,
    /// Orders resting in the books.
    pub active_orders: IntGauge,
    /// Prices on either side of a book.
    pub order_book_depth: IntGaugeVec,
    /// Orders journalled but not yet known to be in PostgreSQL.
    pub relay_backlog_orders: IntGauge,
    /// Batches written to PostgreSQL.
    pub relay_batches: IntCounter,
    /// Attempts of the relay that failed.
    pub relay_errors: IntCounter,
    /// Whether the relay has a connection.
    pub relay_connected: IntGauge,
    /// Entries written to the stream of events.
    pub events_published: IntCounterVec,
    /// Whether Redis answered last.
    pub redis_up: IntGauge,
    /// How long syncing the journal took.
    pub journal_fsync_duration: Histogram,
    /// How often the journal was synced.
    pub journal_fsyncs: IntCounter,
}

impl Metrics {
    /// Declares all of them.
    ///
    /// # Errors
    /// A name that is taken: a mistake in the program.
    pub fn new() -> prometheus::Result<Self> {
        let registry = Registry::new();
        let metrics = Self {
            http: HttpMetrics::new(&registry)?,
            orders: IntCounterVec::new(
                Opts::new("orders_total", "Orders answered, by what became of them."),
                &["type", "side", "status", "channel"],
            )?,
            orders_replaced: IntCounter::new(
                "orders_replaced_total",
                "Resting orders that got another price or quantity.",
            )?,
            orders_ended: IntCounterVec::new(
                Opts::new("orders_ended_total", "Orders that ended before all of them traded."),
                &["reason"],
            )?,
            trades: IntCounterVec::new(Opts::new("trades_total", "Trades made."), &["symbol"])?,
            active_orders: IntGauge::new("active_orders", "Orders resting in the books.")?,
            order_book_depth: IntGaugeVec::new(
                Opts::new("order_book_depth", "Prices at which orders rest."),
                &["symbol", "side"],
            )?,
            relay_backlog_orders: IntGauge::new(
                "relay_backlog_orders",
                "Orders journalled but not yet in PostgreSQL.",
            )?,
            relay_batches: IntCounter::new(
                "relay_batches_total",
                "Batches written to PostgreSQL.",
            )?,
            relay_errors: IntCounter::new(
                "relay_errors_total",
                "Attempts to connect or write to PostgreSQL that failed.",
            )?,
            relay_connected: IntGauge::new(
                "relay_connected",
                "Whether the relay has a connection to PostgreSQL.",
            )?,
            events_published: IntCounterVec::new(
                Opts::new("events_published_total", "Entries written to the stream in Redis."),
                &["type"],
            )?,
            redis_up: IntGauge::new("redis_up", "Whether Redis answered last.")?,
            journal_fsync_duration: Histogram::with_opts(
                HistogramOpts::new(
                    "journal_fsync_duration_seconds",
                    "Time taken to sync the journal.",
                )
                .buckets(SYNC_BUCKETS.to_vec()),
            )?,
            journal_fsyncs: IntCounter::new(
                "journal_fsyncs_total",
                "Times the journal was synced.",
            )?,
            registry,
        };
        let registry = &metrics.registry;
        registry.register(Box::new(metrics.orders.clone()))?;
        registry.register(Box::new(metrics.orders_replaced.clone()))?;
        registry.register(Box::new(metrics.orders_ended.clone()))?;
        registry.register(Box::new(metrics.trades.clone()))?;
        registry.register(Box::new(metrics.active_orders.clone()))?;
        registry.register(Box::new(metrics.order_book_depth.clone()))?;
        registry.register(Box::new(metrics.relay_backlog_orders.clone()))?;
        registry.register(Box::new(metrics.relay_batches.clone()))?;
        registry.register(Box::new(metrics.relay_errors.clone()))?;
        registry.register(Box::new(metrics.relay_connected.clone()))?;
        registry.register(Box::new(metrics.events_published.clone()))?;
        registry.register(Box::new(metrics.redis_up.clone()))?;
        registry.register(Box::new(metrics.journal_fsync_duration.clone()))?;
        registry.register(Box::new(metrics.journal_fsyncs.clone()))?;
        // A counter that appears only with its first event hides that event from a rate.
        for symbol in Symbol::ALL {
            metrics.trades.with_label_values(&[symbol.as_str()]).inc_by(0);
        }
        for kind in super::events::KINDS {
            metrics.events_published.with_label_values(&[kind]).inc_by(0);
        }
        for reason in EndReason::ALL {
            metrics.orders_ended.with_label_values(&[reason.as_str()]).inc_by(0);
        }
        for kind in ["LIMIT", "MARKET"] {
            for side in ["BUY", "SELL"] {
                for channel in ["direct", "simulator"] {
                    for status in ["accepted", "rejected"] {
                        metrics.orders.with_label_values(&[kind, side, status, channel]).inc_by(0);
                    }
                }
            }
        }
        Ok(metrics)
    }
}
