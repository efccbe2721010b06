//! The orders.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use exchange_api::{
    CHANNEL_HEADER, ErrorBody, OrderRequest, OrderView, PriceView, reference_price,
};
use exchange_matching::Symbol;
use http_body_util::Full;
use hyper::{Method, Request, StatusCode};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde::Serialize;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::throttle::Throttle;
use crate::common::{Client, monotonic};

/// Requests under way; when they are used up, an order is skipped.
const IN_FLIGHT_MAX: usize = 64;
/// Orders that may still be cancelled.
const RECENT_MAX: usize = 256;
const USERS: u32 = 20;
const PRICES_EVERY: Duration = Duration::from_secs(1);

/// What became of what was sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Orders answered with 201.
    pub accepted: u64,
    /// Orders answered with another error than 503.
    pub rejected: u64,
    /// Orders answered with 503.
    pub refused: u64,
    /// Orders without an answer.
    pub failed: u64,
    /// Orders not sent because too many requests were under way, or during a pause.
    pub skipped: u64,
    /// Cancels that found their order in the book.
    pub cancelled: u64,
    /// Cancels that came too late or failed.
    pub cancel_failed: u64,
}

impl Counts {
    /// Each with its name as a label.
    #[must_use]
    pub fn named(&self) -> [(&'static str, u64); 7] {
        [
            ("accepted", self.accepted),
            ("rejected", self.rejected),
            ("refused", self.refused),
            ("failed", self.failed),
            ("skipped", self.skipped),
            ("cancelled", self.cancelled),
            ("cancel_failed", self.cancel_failed),
        ]
    }
}

/// One kind of outcome, as a place in [`Counts`].
type Outcome = fn(&mut Counts) -> &mut u64;

/// The users and what they remember; clones share it.
#[derive(Clone, Debug)]
pub struct Flow {
    client: Client,
    api: Arc<str>,
    market: Arc<str>,
    rate_per_second: f64,
    shared: Arc<Mutex<Shared>>,
    in_flight: Arc<Semaphore>,
}

#[derive(Debug)]
struct Shared {
    random: StdRng,
    prices: [i64; Symbol::ALL.len()],
    market_trouble: Option<String>,
    api_trouble: Option<String>,
    recent: VecDeque<String>,
    throttle: Throttle,
    counts: Counts,
    run: u64,
    sent: u64,
}

/// What a user decided to do.
enum Wish {
    Place(OrderRequest),
    Cancel(String),
}

impl Flow {
    /// Users who trade at `api`, `rate_per_second` orders in all, around `market`'s prices.
    /// Both addresses are without a slash at the end.
    #[must_use]
    pub fn new(api: &str, market: &str, rate_per_second: f64, seed: u64) -> Self {
        let prices: Vec<i64> = Symbol::ALL
            .iter()
            .map(|symbol| i64::try_from(reference_price(*symbol).get()).unwrap_or(1))
            .collect();
        let shared = Shared {
            random: StdRng::seed_from_u64(seed),
            prices: prices.try_into().unwrap_or([1; Symbol::ALL.len()]),
            market_trouble: Some("not asked yet".to_owned()),
            api_trouble: None,
            recent: VecDeque::new(),
            throttle: Throttle::default(),
            counts: Counts::default(),
            // A second run must not repeat the first one's client order ids.
            run: RandomState::new().hash_one(seed),
            sent: 0,
        };
        Self {
            client: Client::default(),
            api: api.into(),
            market: market.into(),
            rate_per_second,
            shared: Arc::new(Mutex::new(shared)),
            in_flight: Arc::new(Semaphore::new(IN_FLIGHT_MAX)),
        }
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What became of the orders so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.shared().counts
    }

    /// The share of the full rate that is sent now.
    #[must_use]
    pub fn share(&self) -> f64 {
        self.shared().throttle.share()
    }

    /// What is wrong with the trading API and the market simulator, if anything.
    #[must_use]
    pub fn troubles(&self) -> [(&'static str, Option<String>); 2] {
        let shared = self.shared();
        [
            ("trading-api", shared.api_trouble.clone()),
            ("market-simulator", shared.market_trouble.clone()),
        ]
    }

    /// Sends orders at random moments, on average as many as asked for, until dropped.
    pub async fn send(self) {
        let mut at = Instant::now();
        loop {
            let (gap, wish) = self.next();
            at += gap;
            // After a pause of the whole machine, do not send everything that was missed.
            at = at.max(Instant::now());
            tokio::time::sleep_until(at).await;
            let Some(wish) = wish else {
                self.shared().counts.skipped += 1;
                continue;
            };
            match Arc::clone(&self.in_flight).try_acquire_owned() {
                Ok(place) => {
                    let flow = self.clone();
                    tokio::spawn(async move {
                        flow.carry_out(wish).await;
                        drop(place);
                    });
                }
                Err(_) => self.shared().counts.skipped += 1,
            }
        }
    }

    /// When the next user acts, and what they do; nothing during a pause.
    fn next(&self) -> (Duration, Option<Wish>) {
        let mut shared = self.shared();
        let rate = self.rate_per_second * shared.throttle.share();
        let uniform: f64 = shared.random.random_range(f64::EPSILON..1.0);
        let gap = Duration::try_from_secs_f64(-uniform.ln() / rate.max(0.001))
            .unwrap_or(Duration::from_secs(60))
            .min(Duration::from_secs(60));
        if shared.throttle.is_paused(monotonic()) {
            return (gap, None);
        }
        (gap, Some(shared.wish()))
    }

    async fn carry_out(&self, wish: Wish) {
        let (request, cancel) = match wish {
            Wish::Place(order) => {
                let body = serde_json::to_vec(&order).unwrap_or_default();
                let request = Request::builder()
                    .method(Method::POST)
                    .uri(format!("{}/api/orders", self.api))
                    .header("content-type", "application/json")
                    .header(CHANNEL_HEADER, "simulator")
                    .body(Full::new(Bytes::from(body)));
                (request, false)
            }
            Wish::Cancel(order_id) => {
                let request = Request::builder()
                    .method(Method::DELETE)
                    .uri(format!("{}/api/orders/{order_id}", self.api))
                    .header(CHANNEL_HEADER, "simulator")
                    .body(Full::default());
                (request, true)
            }
        };
        // The address was checked at the start; a request that cannot be made is one that failed.
        let reply = match request {
            Ok(request) => self.client.call(request).await.map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        let mut shared = self.shared();
        let now = monotonic();
        let outcome: Outcome = match reply {
            Ok(reply) if reply.status.is_success() => {
                shared.throttle.succeeded();
                shared.api_trouble = None;
                if cancel {
                    |counts| &mut counts.cancelled
                } else {
                    if let Ok(view) = serde_json::from_slice::<OrderView>(&reply.body) {
                        shared.remember(view);
                    }
                    |counts| &mut counts.accepted
                }
            }
            Ok(reply) => {
                if reply.status.is_server_error() {
                    shared.throttle.failed(now, reply.retry_after);
                    let message = serde_json::from_slice::<ErrorBody>(&reply.body)
                        .map_or_else(|_| reply.status.to_string(), |body| body.error.message);
                    shared.api_trouble = Some(message);
                }
                match reply.status {
                    _ if cancel => |counts| &mut counts.cancel_failed,
                    StatusCode::SERVICE_UNAVAILABLE => |counts| &mut counts.refused,
                    _ => |counts| &mut counts.rejected,
                }
            }
            Err(error) => {
                shared.throttle.failed(now, None);
                shared.api_trouble = Some(error);
                if cancel {
                    |counts| &mut counts.cancel_failed
                } else {
                    |counts| &mut counts.failed
                }
            }
        };
        *outcome(&mut shared.counts) += 1;
    }

    /// Keeps the prices up to date until dropped; without the market, the last known or the
    /// reference prices serve.
    pub async fn follow_market(self) {
        loop {
            for symbol in Symbol::ALL {
                let asked = self.ask_price(*symbol).await;
                let mut shared = self.shared();
                match asked {
                    Ok(price) => {
                        shared.prices[symbol.index()] = price;
                        shared.market_trouble = None;
                    }
                    Err(error) => shared.market_trouble = Some(error),
                }
            }
            tokio::time::sleep(PRICES_EVERY).await;
        }
    }

    async fn ask_price(&self, symbol: Symbol) -> Result<i64, String> {
        let request = Request::builder()
            .uri(format!("{}/api/price/{symbol}", self.market))
            .body(Full::default())
            .map_err(|error| error.to_string())?;
        let reply = self.client.call(request).await.map_err(|error| error.to_string())?;
        let view: PriceView =
            serde_json::from_slice(&reply.body).map_err(|error| error.to_string())?;
        i64::try_from(view.price).map_err(|error| error.to_string())
    }
}

impl Shared {
    /// One in ten cancels, one in five of the rest takes what the market offers, and the
    /// others name a price within half a percent of it.
    fn wish(&mut self) -> Wish {
        if self.random.random_range(0..10) == 0
            && let Some(order_id) = self.recent.pop_front()
        {
            return Wish::Cancel(order_id);
        }
        self.sent += 1;
        let symbol = Symbol::ALL[self.random.random_range(0..Symbol::ALL.len())];
        let buy = self.random.random_range(0..2) == 0;
        let market = self.random.random_range(0..5) == 0;
        let price = self.prices[symbol.index()];
        let spread = (price / 200).max(2);
        let limit = (price + self.random.random_range(-spread..=spread)).max(1);
        Wish::Place(OrderRequest {
            user_id: format!("simulated-{}", self.random.random_range(1..=USERS)),
            symbol: symbol.to_string(),
            side: if buy { "BUY" } else { "SELL" }.to_owned(),
            kind: if market { "MARKET" } else { "LIMIT" }.to_owned(),
            quantity: self.random.random_range(1..=100),
            price: (!market).then_some(limit),
            client_order_id: Some(format!("flow-{:016x}-{}", self.run, self.sent)),
            ..OrderRequest::default()
        })
    }

    fn remember(&mut self, view: OrderView) {
        if matches!(view.status.as_str(), "NEW" | "PARTIALLY_FILLED") {
            if self.recent.len() == RECENT_MAX {
                self.recent.pop_front();
            }
            self.recent.push_back(view.order_id);
        }
    }
}
