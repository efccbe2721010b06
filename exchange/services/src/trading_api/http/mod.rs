//! The HTTP routes, and the document that describes them.
//!
//! A route is made of the same annotated handlers as the document (OpenAPI 3.1, served at
//! `/api/openapi.json`), so that neither can have one that the other has not.

mod market;
mod orders;
mod query;
mod status;
mod stream;
mod word;

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use tokio::sync::{Semaphore, watch};
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::exchange::Exchange;
use super::feed::Feed;
use super::metrics::Metrics;
use super::rates::Rates;
use super::readiness::Witnesses;
use super::sequencer::SequencerHandle;
use crate::common::with_http;

const OPENAPI_PATH: &str = "/api/openapi.json";

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
    /// How much there is a second.
    pub rates: Arc<Rates>,
    /// What happens.
    pub feed: Feed,
    /// Places for those who listen to that.
    pub listeners: Arc<Semaphore>,
    /// Whether the service is about to end.
    pub stopping: watch::Receiver<bool>,
}

/// Places for those who listen to what happens.
#[must_use]
pub fn listeners() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(stream::LISTENERS_MAX))
}

impl App {
    fn exchange(&self) -> RwLockReadGuard<'_, Exchange> {
        self.exchange.read().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(OpenApi)]
#[openapi(info(
    title = "trading-api",
    description = "Takes orders of a small exchange and matches them. Prices are whole ticks, \
                   quantities whole lots. Every error is an object `error` with a stable `code`."
))]
struct Document;

/// All routes of the service.
pub fn routes(app: App) -> Router {
    let metrics = app.metrics.http.clone();
    let (routes, document) = OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(orders::list_orders, orders::place_order))
        .routes(routes!(orders::get_order, orders::replace_order, orders::cancel_order))
        .routes(routes!(orders::list_orders_of_user))
        .routes(routes!(market::get_book))
        .routes(routes!(market::list_trades))
        .routes(routes!(stream::stream))
        .routes(routes!(status::summary))
        .routes(routes!(status::welcome))
        .routes(routes!(status::live))
        .routes(routes!(status::health))
        .routes(routes!(status::ready))
        .routes(routes!(status::scrape))
        .split_for_parts();
    let document = Arc::new(document);
    let document = move || async move { Json(&*document).into_response() };
    with_http(routes.route(OPENAPI_PATH, get(document)).with_state(app), metrics)
}
