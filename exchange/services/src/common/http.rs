//! Serving HTTP, the same way in every service.

use std::future::Future;
use std::io;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, MatchedPath, Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use exchange_api::{ApiError, ErrorCode};
use prometheus::{IntGauge, Registry};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use super::clock::monotonic;
use super::listener::BoundedListener;
use super::metrics::{CLASSIC_TEXT, HttpMetrics, encode};

/// No order comes near this size.
const BODY_BYTES_MAX: usize = 16 * 1024;
/// How long requests that are under way may take to end after the signal to stop.
const GRACE: Duration = Duration::from_secs(5);

/// Serving ended badly.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The listener failed.
    #[error("could not go on accepting connections")]
    Accept(#[source] io::Error),
}

/// Serves `routes` on `listener` until `shutdown` resolves, then lets requests under way
/// end, but not for ever.
///
/// # Errors
/// When the listener fails.
pub async fn serve(
    listener: TcpListener,
    routes: Router,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ServeError> {
    let (began, stopping) = oneshot::channel();
    let server =
        axum::serve(BoundedListener::new(listener), routes).with_graceful_shutdown(async move {
            shutdown.await;
            // The receiver is gone only if the server has already ended.
            let _ = began.send(());
        });
    let overdue = async {
        if stopping.await.is_err() {
            std::future::pending::<()>().await;
        }
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        ended = server.into_future() => ended.map_err(ServeError::Accept),
        () = overdue => {
            tracing::warn!(grace_s = GRACE.as_secs(), "connections still open at the end were closed");
            Ok(())
        }
    }
}

/// Adds what every route gets: a bound on bodies, JSON for unknown paths and methods, metrics.
pub fn with_http(routes: Router, metrics: HttpMetrics) -> Router {
    routes
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::from_fn_with_state(metrics, measure))
}

async fn not_found() -> Response {
    error_response(ApiError::new(ErrorCode::NotFound, "there is nothing at this path"))
}

async fn method_not_allowed() -> Response {
    error_response(ApiError::new(
        ErrorCode::MethodNotAllowed,
        "this path does not answer that method",
    ))
}

/// An error as an HTTP answer.
#[must_use]
pub fn error_response(error: ApiError) -> Response {
    let code = error.code;
    let status =
        StatusCode::from_u16(code.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = (status, Json(error.body())).into_response();
    if let Some(seconds) = code.retry_after_seconds() {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

async fn measure(State(metrics): State<HttpMetrics>, request: Request, next: Next) -> Response {
    let started = monotonic();
    // A label per path that somebody tried would be a label per attacker's whim.
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or_else(|| "unmatched".to_owned(), |path| path.as_str().to_owned());
    let method = match *request.method() {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        _ => "other",
    };
    let in_flight = (route != "/metrics").then(|| InFlight::new(&metrics.in_flight));
    let response = next.run(request).await;
    drop(in_flight);
    metrics.duration.with_label_values(&[method, &route]).observe(started.elapsed().as_secs_f64());
    metrics.requests.with_label_values(&[method, &route, response.status().as_str()]).inc();
    response
}

/// Counts a request while its answer is not there; also one whose client went away, for which the
/// answer never comes.
struct InFlight(IntGauge);

impl InFlight {
    fn new(gauge: &IntGauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// The answer to `/metrics`.
#[must_use]
pub fn scrape(registry: &Registry, metrics: &HttpMetrics) -> Response {
    metrics.refresh();
    match encode(registry) {
        Ok(text) => ([(header::CONTENT_TYPE, CLASSIC_TEXT)], text).into_response(),
        Err(error) => {
            tracing::error!("could not write the metrics: {error}");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}
