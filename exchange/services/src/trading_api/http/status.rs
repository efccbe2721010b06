//! How the service is doing.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use exchange_api::{Health, Readiness, ReadyState, Summary, SymbolSummary, Welcome};
use exchange_matching::Symbol;

use super::{App, OPENAPI_PATH};

/// Say hello
#[utoipa::path(
    get,
    path = "/",
    responses((status = 200, description = "Who answers here.", body = Welcome))
)]
pub(super) async fn welcome() -> Response {
    let (service, version) = ("trading-api", env!("CARGO_PKG_VERSION"));
    let welcome = Welcome {
        service: service.to_owned(),
        version: version.to_owned(),
        openapi: OPENAPI_PATH.to_owned(),
    };
    Json(welcome).into_response()
}

/// Ask whether the process runs
#[utoipa::path(
    get,
    path = "/live",
    responses((status = 200, description = "It does.", body = Health))
)]
pub(super) async fn live() -> Response {
    Json(Health { status: "live".to_owned(), journal: None }).into_response()
}

/// Ask whether it can journal
#[utoipa::path(
    get,
    path = "/health",
    responses(
        (status = 200, description = "It can.", body = Health),
        (status = 503, description = "It cannot.", body = Health),
    )
)]
pub(super) async fn health(State(app): State<App>) -> Response {
    let journal = app.witnesses.journal_trouble();
    let (code, status) = match &journal {
        None => (StatusCode::OK, "healthy"),
        Some(_) => (StatusCode::SERVICE_UNAVAILABLE, "unhealthy"),
    };
    (code, Json(Health { status: status.to_owned(), journal })).into_response()
}

/// Ask what it can do for its clients now
#[utoipa::path(
    get,
    path = "/ready",
    responses(
        (status = 200, description = "It takes orders, all being well or not.", body = Readiness),
        (status = 503, description = "It refuses orders.", body = Readiness),
    )
)]
pub(super) async fn ready(State(app): State<App>) -> Response {
    let readiness = app.witnesses.readiness();
    let status = match readiness.status {
        ReadyState::Ready | ReadyState::Degraded => StatusCode::OK,
        ReadyState::Refusing => StatusCode::SERVICE_UNAVAILABLE,
    };
    (status, Json(readiness)).into_response()
}

/// Sum it up
///
/// For people and pages; Prometheus has `/metrics`.
#[utoipa::path(
    get,
    path = "/api/metrics",
    responses((status = 200, description = "Counted since the exchange began, unless it says otherwise.", body = Summary))
)]
pub(super) async fn summary(State(app): State<App>) -> Response {
    let placing = app.metrics.http.duration.with_label_values(&["POST", "/api/orders"]);
    #[expect(clippy::cast_precision_loss, reason = "an average is rounded anyway")]
    let placed = placing.get_sample_count() as f64;
    let rate = app.rates.rate();
    let exchange = app.exchange();
    let of_symbol = |symbol: &Symbol| {
        let (totals, best) = (exchange.tape().totals(*symbol), exchange.book(*symbol, 1));
        SymbolSummary {
            trade_count: totals.trades,
            volume: totals.volume,
            value: totals.value,
            last_price: best.last_price,
            best_bid: best.bids.first().map(|level| level.price),
            best_ask: best.asks.first().map(|level| level.price),
        }
    };
    let symbols = Symbol::ALL.iter().map(|symbol| (symbol.to_string(), of_symbol(symbol)));
    let symbol_metrics: std::collections::BTreeMap<_, _> = symbols.collect();
    let summary = Summary {
        uptime_seconds: app.metrics.http.uptime_seconds(),
        order_count: exchange.next_order_id().get() - 1,
        live_orders: exchange.live_orders() as u64,
        trade_count: exchange.last_trade_id().get(),
        total_volume: symbol_metrics.values().map(|one| one.volume).fold(0, u64::saturating_add),
        total_value: symbol_metrics.values().map(|one| one.value).fold(0, u64::saturating_add),
        orders_per_sec: rate.map(|rate| rate.orders),
        trades_per_sec: rate.map(|rate| rate.trades),
        rate_seconds: rate.map(|rate| rate.over.as_secs_f64()),
        avg_latency_seconds: (placed > 0.0).then(|| placing.get_sample_sum() / placed),
        symbol_metrics,
    };
    drop(exchange);
    Json(summary).into_response()
}

/// Scrape it
#[utoipa::path(
    get,
    path = "/metrics",
    responses((status = 200, description = "Prometheus's text format.", body = String, content_type = "text/plain"))
)]
pub(super) async fn scrape(State(app): State<App>) -> Response {
    let metrics = &app.metrics;
    metrics.relay_backlog_orders.set(gauge(app.witnesses.relay.backlog_orders_now()));
    metrics.relay_connected.set(app.witnesses.relay.connected().into());
    metrics.redis_up.set(app.witnesses.redis.trouble().is_none().into());
    {
        let exchange = app.exchange();
        metrics.active_orders.set(gauge(exchange.live_orders() as u64));
        for symbol in Symbol::ALL {
            let (bids, asks) = exchange.levels(*symbol);
            let depth = &metrics.order_book_depth;
            depth.with_label_values(&[symbol.as_str(), "bid"]).set(gauge(bids as u64));
            depth.with_label_values(&[symbol.as_str(), "ask"]).set(gauge(asks as u64));
        }
    }
    crate::common::scrape(&metrics.registry, &metrics.http)
}

fn gauge(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
