//! The HTTP routes.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use exchange_api::{
    ApiError, CHANNEL_HEADER, ErrorCode, IDEMPOTENCY_HEADER, OrderList, OrderRequest, ReadyState,
    ReplaceRequest, validate, validate_replace,
};
use exchange_matching::{OrderId, Symbol};
use serde::de::DeserializeOwned;

use super::exchange::{Exchange, HeldOrder};
use super::metrics::Metrics;
use super::readiness::Witnesses;
use super::sequencer::SequencerHandle;
use crate::common::{error_response, with_http};

const LIST_DEFAULT: usize = 50;
const LIST_MAX: usize = 1000;
const DEPTH_DEFAULT: usize = 50;
const DEPTH_MAX: usize = 1000;

/// What the handlers share.
#[derive(Clone, Debug)]
pub struct App {
    /// The way to change something.
    pub sequencer: SequencerHandle,
    /// The state, to look at.
    pub exchange: Arc<RwLock<Exchange>>,
    /// Those who know how things are.
    pub witnesses: Witnesses,
    /// What is counted.
    pub metrics: Metrics,
}

impl App {
    fn exchange(&self) -> RwLockReadGuard<'_, Exchange> {
        self.exchange.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All routes of the service.
pub fn routes(app: App) -> Router {
    let metrics = app.metrics.http.clone();
    let routes = Router::new()
        .route("/api/orders", get(list_orders).post(place_order))
        .route("/api/orders/{id}", get(get_order).patch(replace_order).delete(cancel_order))
        .route("/api/orderbook/{symbol}", get(get_book))
        .route("/live", get(live))
        .route("/health", get(health))
        .route("/ready", get(ready))
        .route("/metrics", get(scrape))
        .with_state(app);
    with_http(routes, metrics)
}

async fn place_order(
    State(app): State<App>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let channel = match headers.get(CHANNEL_HEADER) {
        Some(value) if value == "simulator" => "simulator",
        _ => "direct",
    };
    let (request, answer) = match read_order(&headers, body) {
        Err(error) => (OrderRequest::default(), Err(error)),
        Ok((request, Err(error))) => (request, Err(error)),
        Ok((request, Ok(order))) => (request, app.sequencer.place(order, channel).await),
    };
    match answer {
        Ok(view) => (StatusCode::CREATED, Json(view)).into_response(),
        Err(error) => {
            let kind = known(&request.kind, ["LIMIT", "MARKET"]);
            let side = known(&request.side, ["BUY", "SELL"]);
            app.metrics.orders.with_label_values(&[kind, side, "rejected", channel]).inc();
            error_response(error)
        }
    }
}

type ReadOrder = (OrderRequest, Result<exchange_api::ValidOrder, ApiError>);

fn read_order(
    headers: &HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<ReadOrder, ApiError> {
    let request: OrderRequest = read_json(body)?;
    let key = match headers.get(IDEMPOTENCY_HEADER).map(|value| value.to_str()) {
        None => None,
        Some(Ok(key)) => Some(key),
        Some(Err(_)) => {
            let error = ApiError::new(
                ErrorCode::InvalidClientOrderId,
                "the Idempotency-Key header is not printable ASCII",
            );
            return Ok((request, Err(error)));
        }
    };
    let order = validate(&request, key);
    Ok((request, order))
}

fn read_json<T: DeserializeOwned>(body: Result<Bytes, BytesRejection>) -> Result<T, ApiError> {
    let body = body.map_err(|error| {
        let code = match error.status() {
            StatusCode::PAYLOAD_TOO_LARGE => ErrorCode::BodyTooLarge,
            _ => ErrorCode::InvalidRequest,
        };
        ApiError::new(code, error.body_text())
    })?;
    serde_json::from_slice(&body)
        .map_err(|error| ApiError::new(ErrorCode::InvalidRequest, format!("the body: {error}")))
}

/// A label must be one of few words, whatever a client sends.
fn known(word: &str, words: [&'static str; 2]) -> &'static str {
    words.into_iter().find(|known| *known == word).unwrap_or("unknown")
}

async fn list_orders(
    State(app): State<App>,
    Query(query): Query<HashMap<String, String>>,
) -> Response {
    let limit = match bounded(&query, "limit", LIST_DEFAULT, LIST_MAX) {
        Ok(limit) => limit,
        Err(error) => return error_response(error),
    };
    let exchange = app.exchange();
    let orders = exchange.newest_first().take(limit).map(HeldOrder::view).collect();
    Json(OrderList { orders, total: exchange.held_orders() }).into_response()
}

async fn get_order(State(app): State<App>, Path(id): Path<String>) -> Response {
    let view = parse_id(&id).and_then(|order_id| {
        app.exchange().order(order_id).map(HeldOrder::view).ok_or_else(|| no_order(&id))
    });
    view.map_or_else(error_response, |view| Json(view).into_response())
}

async fn cancel_order(State(app): State<App>, Path(id): Path<String>) -> Response {
    let answer = match parse_id(&id) {
        Ok(order_id) => app.sequencer.cancel(order_id).await,
        Err(error) => Err(error),
    };
    answer.map_or_else(error_response, |view| Json(view).into_response())
}

async fn replace_order(
    State(app): State<App>,
    Path(id): Path<String>,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let replace = parse_id(&id).and_then(|order_id| {
        let request: ReplaceRequest = read_json(body)?;
        validate_replace(order_id, request)
    });
    let answer = match replace {
        Ok(replace) => app.sequencer.replace(replace).await,
        Err(error) => Err(error),
    };
    answer.map_or_else(error_response, |view| Json(view).into_response())
}

fn parse_id(id: &str) -> Result<OrderId, ApiError> {
    id.parse().map(OrderId).map_err(|_| no_order(id))
}

fn no_order(id: &str) -> ApiError {
    let id: String = id.chars().take(32).collect();
    ApiError::new(ErrorCode::OrderNotFound, format!("there is no order {id}"))
}

async fn get_book(
    State(app): State<App>,
    Path(symbol): Path<String>,
    Query(query): Query<HashMap<String, String>>,
) -> Response {
    let symbol: Symbol = match symbol.parse() {
        Ok(symbol) => symbol,
        Err(error) => {
            let unknown: exchange_matching::UnknownSymbol = error;
            let mut response =
                error_response(ApiError::new(ErrorCode::UnknownSymbol, unknown.to_string()));
            // In a path, what is not there is not found.
            *response.status_mut() = StatusCode::NOT_FOUND;
            return response;
        }
    };
    match bounded(&query, "depth", DEPTH_DEFAULT, DEPTH_MAX) {
        Ok(depth) => {
            let book = app.exchange().book(symbol, depth);
            Json(book).into_response()
        }
        Err(error) => error_response(error),
    }
}

fn bounded(
    query: &HashMap<String, String>,
    name: &str,
    default: usize,
    max: usize,
) -> Result<usize, ApiError> {
    let Some(text) = query.get(name) else { return Ok(default) };
    text.parse().ok().filter(|value| (1..=max).contains(value)).ok_or_else(|| {
        ApiError::new(
            ErrorCode::InvalidParameter,
            format!("{name} is a whole number from 1 to {max}"),
        )
    })
}

/// The process runs.
async fn live() -> Response {
    Json(serde_json::json!({"status": "live"})).into_response()
}

/// The process runs and can journal.
async fn health(State(app): State<App>) -> Response {
    match app.witnesses.journal_trouble() {
        None => Json(serde_json::json!({"status": "healthy"})).into_response(),
        Some(trouble) => (
            StatusCode::SERVICE_UNAVAILABLE,
            Json(serde_json::json!({"status": "unhealthy", "journal": trouble})),
        )
            .into_response(),
    }
}

async fn ready(State(app): State<App>) -> Response {
    let readiness = app.witnesses.readiness();
    let status = match readiness.status {
        ReadyState::Ready | ReadyState::Degraded => StatusCode::OK,
        ReadyState::Refusing => StatusCode::SERVICE_UNAVAILABLE,
    };
    (status, Json(readiness)).into_response()
}

async fn scrape(State(app): State<App>) -> Response {
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
