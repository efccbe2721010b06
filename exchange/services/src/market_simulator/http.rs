//! The HTTP routes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use exchange_api::{ApiError, ErrorCode, MarketView, PriceView, Readiness, ReadyState, SymbolList};
use exchange_matching::{Symbol, UnknownSymbol};
use prometheus::{IntCounter, IntGaugeVec, Registry};

use super::walk::{Price, Walk, reference};
use crate::common::{HttpMetrics, error_response, scrape, unix_us, with_http};

/// What the handlers share.
#[derive(Clone, Debug)]
pub(super) struct App {
    pub(super) walk: Arc<Mutex<Walk>>,
    pub(super) redis_trouble: Arc<Mutex<Option<String>>>,
    pub(super) seed: u64,
    pub(super) registry: Registry,
    pub(super) http: HttpMetrics,
    pub(super) steps: IntCounter,
    pub(super) prices: IntGaugeVec,
    pub(super) redis_up: prometheus::IntGauge,
}

impl App {
    fn price(&self, symbol: Symbol) -> Price {
        self.walk.lock().unwrap_or_else(PoisonError::into_inner).price(symbol)
    }

    fn redis_trouble(&self) -> Option<String> {
        self.redis_trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

pub(super) fn routes(app: App) -> Router {
    let http = app.http.clone();
    let routes = Router::new()
        .route("/api/status", get(status))
        .route("/api/symbols", get(symbols))
        .route("/api/price/{symbol}", get(price))
        .route("/api/market/{symbol}", get(market))
        .route("/live", get(alive))
        .route("/health", get(alive))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics))
        .with_state(app);
    with_http(routes, http)
}

async fn status(State(app): State<App>) -> Response {
    let prices: BTreeMap<&str, i64> =
        Symbol::ALL.iter().map(|symbol| (symbol.as_str(), app.price(*symbol).now)).collect();
    Json(serde_json::json!({
        "status": "running",
        "seed": app.seed,
        "steps": app.steps.get(),
        "prices": prices,
    }))
    .into_response()
}

async fn symbols() -> Json<SymbolList> {
    Json(SymbolList { symbols: Symbol::ALL.iter().map(ToString::to_string).collect() })
}

async fn price(State(app): State<App>, Path(symbol): Path<String>) -> Response {
    match symbol.parse::<Symbol>() {
        Ok(symbol) => Json(PriceView {
            symbol: symbol.to_string(),
            price: app.price(symbol).now.unsigned_abs(),
            updated_at: unix_us() / 1000,
        })
        .into_response(),
        Err(error) => unknown(error),
    }
}

async fn market(State(app): State<App>, Path(symbol): Path<String>) -> Response {
    match symbol.parse::<Symbol>() {
        Ok(symbol) => {
            let Price { now, low, high } = app.price(symbol);
            Json(MarketView {
                symbol: symbol.to_string(),
                price: now.unsigned_abs(),
                reference_price: reference(symbol).unsigned_abs(),
                low: low.unsigned_abs(),
                high: high.unsigned_abs(),
                updated_at: unix_us() / 1000,
            })
            .into_response()
        }
        Err(error) => unknown(error),
    }
}

fn unknown(error: UnknownSymbol) -> Response {
    let mut response = error_response(ApiError::new(ErrorCode::UnknownSymbol, error.to_string()));
    *response.status_mut() = StatusCode::NOT_FOUND;
    response
}

async fn alive() -> Response {
    Json(serde_json::json!({"status": "healthy"})).into_response()
}

async fn ready(State(app): State<App>) -> Json<Readiness> {
    let trouble = app.redis_trouble();
    let status = if trouble.is_some() { ReadyState::Degraded } else { ReadyState::Ready };
    let redis = ("redis".to_owned(), trouble.unwrap_or_else(|| "ok".to_owned()));
    Json(Readiness { status, dependencies: BTreeMap::from([redis]), reason: None })
}

async fn metrics(State(app): State<App>) -> Response {
    for symbol in Symbol::ALL {
        app.prices.with_label_values(&[symbol.as_str()]).set(app.price(*symbol).now);
    }
    app.redis_up.set(app.redis_trouble().is_none().into());
    scrape(&app.registry, &app.http)
}
