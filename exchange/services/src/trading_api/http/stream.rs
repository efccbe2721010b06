//! What happens, as it happens: server-sent events.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Query, State};
use axum::http::HeaderName;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use exchange_api::{ApiError, ErrorBody, ErrorCode, Missed};
use exchange_matching::{Symbol, UserId};
use futures_util::stream::poll_fn;
use serde::Serialize;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};
use tokio::time::MissedTickBehavior;

use super::App;
use super::market::symbol_named;
use super::query::{Parameters, bounded};
use crate::common::error_response;
use crate::trading_api::feed::News;

/// Who may listen at the same time.
pub(super) const LISTENERS_MAX: usize = 256;
/// Books are told of at most this often.
const BOOKS_EVERY: Duration = Duration::from_millis(100);
const DEPTH_DEFAULT: usize = 10;
const DEPTH_MAX: usize = 100;
/// Events between the one who writes them and the connection; a slow reader makes the writer wait, which then
/// misses news and says so.
const WRITTEN_MAX: usize = 64;
/// Well within the time after which a proxy gives a quiet answer up.
const KEPT_ALIVE_EVERY: Duration = Duration::from_secs(3);
/// Who reads nothing for so long has gone, and gives its place up.
const READ_WITHIN: Duration = Duration::from_secs(30);
/// A proxy that keeps answers until they are whole would keep these for ever.
const UNBUFFERED: (HeaderName, &str) = (HeaderName::from_static("x-accel-buffering"), "no");

/// Listen to what happens
///
/// Server-sent events, without end: `book` (of each symbol at first and whenever it has changed, at most ten
/// times a second), `trade`, with a `user_id` also `order` for each change of that user's orders, and `missed`
/// where a reader is too slow for all of it. An event's id is the number of the journal's record behind it.
#[utoipa::path(
    get,
    path = "/api/stream",
    params(
        ("symbol" = Option<String>, Query, description = "Only of this symbol."),
        ("user_id" = Option<String>, Query, description = "Also this user's orders."),
        ("depth" = Option<u32>, Query, minimum = 1, maximum = 100, description = "Prices on either side of a book: 10 unless told otherwise."),
    ),
    responses(
        (status = 200, description = "Events, until one of the two ends it.", body = String, content_type = "text/event-stream"),
        (status = 400, description = "A parameter is wrong.", body = ErrorBody),
        (status = 422, description = "The symbol is not traded here, or no user can be called this.", body = ErrorBody),
        (status = 503, description = "As many listen as may.", body = ErrorBody),
    )
)]
pub(super) async fn stream(State(app): State<App>, Query(query): Query<Parameters>) -> Response {
    let listener = match Listener::new(app, &query) {
        Ok(listener) => listener,
        Err(error) => return error_response(error),
    };
    let (write, mut written) = mpsc::channel(WRITTEN_MAX);
    let mut stopping = listener.app.stopping.clone();
    tokio::spawn(async move {
        // However it ends, the stream does.
        tokio::select! {
            () = stopped(&mut stopping) => {}
            _ = listener.run(write) => {}
        }
    });
    let events = poll_fn(move |context| written.poll_recv(context));
    ([UNBUFFERED], Sse::new(events).keep_alive(KeepAlive::new().interval(KEPT_ALIVE_EVERY)))
        .into_response()
}

type Written = Result<Event, Infallible>;

/// The other end has gone.
struct Gone;

struct Listener {
    app: App,
    news: Receiver<Arc<News>>,
    symbols: Vec<Symbol>,
    user: Option<UserId>,
    depth: usize,
    _place: OwnedSemaphorePermit,
}

impl Listener {
    fn new(app: App, query: &Parameters) -> Result<Self, ApiError> {
        let depth = bounded(query, "depth", DEPTH_DEFAULT, DEPTH_MAX)?;
        let symbols = match query.get("symbol") {
            Some(name) => vec![symbol_named(name)?],
            None => Symbol::ALL.to_vec(),
        };
        let user = query.get("user_id").map(|user| UserId::new(user)).transpose();
        let user = user
            .map_err(|error| ApiError::new(ErrorCode::InvalidUserId, format!("user_id {error}")))?;
        let place = Arc::clone(&app.listeners).try_acquire_owned().map_err(|_| {
            let message = format!("{LISTENERS_MAX} listen already, which is the most");
            ApiError::new(ErrorCode::Overloaded, message)
        })?;
        Ok(Self { news: app.feed.listen(), app, symbols, user, depth, _place: place })
    }

    async fn run(mut self, write: mpsc::Sender<Written>) -> Result<(), Gone> {
        let mut every = tokio::time::interval(BOOKS_EVERY);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut told: Vec<Option<u64>> = vec![None; self.symbols.len()];
        loop {
            tokio::select! {
                () = write.closed() => return Err(Gone),
                _ = every.tick() => self.books(&mut told, &write).await?,
                news = self.news.recv() => match news {
                    Ok(news) => self.news_of(&news, &write).await?,
                    Err(RecvError::Lagged(records)) => {
                        send(&write, event("missed", &Missed { records })).await?;
                    }
                    Err(RecvError::Closed) => return Ok(()),
                },
            }
        }
    }

    /// Those books that have changed since they were told of.
    async fn books(
        &self,
        told: &mut [Option<u64>],
        write: &mpsc::Sender<Written>,
    ) -> Result<(), Gone> {
        for (symbol, told) in self.symbols.iter().zip(told) {
            let changed = {
                let exchange = self.app.exchange();
                let version = exchange.version(*symbol);
                (*told != Some(version)).then(|| (version, exchange.book(*symbol, self.depth)))
            };
            if let Some((version, book)) = changed {
                *told = Some(version);
                send(write, event("book", &book)).await?;
            }
        }
        Ok(())
    }

    async fn news_of(&self, news: &News, write: &mpsc::Sender<Written>) -> Result<(), Gone> {
        let id = news.seq.to_string();
        for printed in news.trades.iter().filter(|one| self.symbols.contains(&one.trade.symbol)) {
            send(write, event("trade", &printed.view()).map(|event| event.id(&id))).await?;
        }
        let own = news.orders.iter().filter(|one| self.user.as_ref() == Some(&one.place.user));
        for changed in own.filter(|one| self.symbols.contains(&one.place.symbol)) {
            send(write, event("order", &changed.view()).map(|event| event.id(&id))).await?;
        }
        Ok(())
    }
}

/// Waits until the service is about to end.
async fn stopped(stopping: &mut watch::Receiver<bool>) {
    // Where nobody can tell any more, it has ended.
    let _ = stopping.wait_for(|stopping| *stopping).await;
}

fn event(name: &str, data: &impl Serialize) -> Result<Event, axum::Error> {
    Event::default().event(name).json_data(data)
}

async fn send(
    write: &mpsc::Sender<Written>,
    event: Result<Event, axum::Error>,
) -> Result<(), Gone> {
    // The types have no value that JSON cannot hold.
    let Ok(event) = event else { return Ok(()) };
    write.send_timeout(Ok(event), READ_WITHIN).await.map_err(|_| Gone)
}
