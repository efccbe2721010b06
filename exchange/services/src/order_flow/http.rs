//! The HTTP routes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use exchange_api::{Readiness, ReadyState};
use prometheus::{Gauge, IntCounterVec, Registry};

use super::flow::Flow;
use crate::common::{HttpMetrics, scrape, with_http};

/// What the handlers share.
#[derive(Clone, Debug)]
pub(super) struct App {
    pub(super) flow: Flow,
    pub(super) rate_per_second: f64,
    pub(super) registry: Registry,
    pub(super) http: HttpMetrics,
    pub(super) outcomes: IntCounterVec,
    pub(super) scraping: Arc<Mutex<()>>,
    pub(super) share: Gauge,
}

pub(super) fn routes(app: App) -> Router {
    let http = app.http.clone();
    let routes = Router::new()
        .route("/api/status", get(status))
        .route("/live", get(alive))
        .route("/health", get(alive))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics))
        .with_state(app);
    with_http(routes, http)
}

async fn status(State(app): State<App>) -> Response {
    Json(serde_json::json!({
        "status": "running",
        "rate_per_second": app.rate_per_second,
        "share_of_rate": app.flow.share(),
        "counts": app.flow.counts(),
    }))
    .into_response()
}

async fn alive() -> Response {
    Json(serde_json::json!({"status": "healthy"})).into_response()
}

async fn ready(State(app): State<App>) -> Json<Readiness> {
    let troubles = app.flow.troubles();
    let well = troubles.iter().all(|(_, trouble)| trouble.is_none());
    let dependencies = troubles
        .map(|(name, trouble)| (name.to_owned(), trouble.unwrap_or_else(|| "ok".to_owned())));
    Json(Readiness {
        status: if well { ReadyState::Ready } else { ReadyState::Degraded },
        dependencies: BTreeMap::from(dependencies),
        reason: None,
    })
}

async fn metrics(State(app): State<App>) -> Response {
    {
        // Two scrapes at once must not both add the same.
        let _one_at_a_time = app.scraping.lock().unwrap_or_else(PoisonError::into_inner);
        for (outcome, count) in app.flow.counts().named() {
            let counter = app.outcomes.with_label_values(&[outcome]);
            counter.inc_by(count.saturating_sub(counter.get()));
        }
    }
    app.share.set(app.flow.share());
    scrape(&app.registry, &app.http)
}
