//! The book in Redis: for those who only want to look.
//!
//! Never on the way to an acknowledgement, and never the truth: the latest state wins, at
//! most ten times a second for each symbol, and all of it is written again whenever Redis
//! has been away or has lost it.

use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use exchange_matching::Symbol;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Client, RedisError};
use tokio::time::{Instant, MissedTickBehavior};

use super::exchange::Exchange;
use crate::common::Backoff;

/// Holds the JSON of a book under this prefix and the symbol's name.
pub const BOOK_PREFIX: &str = "exchange:book:";
/// A hash from symbol to the price of its last trade.
pub const LAST_PRICES: &str = "exchange:last_prices";
/// Names the journal whose books these are; gone when Redis has lost its memory.
const OWNER: &str = "exchange:projection";
const LEVELS_MAX: usize = 50;
const EVERY: Duration = Duration::from_millis(100);
/// An idle Redis is asked this often whether it still knows what it was told.
const HEARTBEAT: Duration = Duration::from_secs(1);
const TIMEOUT: Duration = Duration::from_secs(1);

/// How Redis is doing.
#[derive(Debug)]
pub struct RedisState(Mutex<Option<String>>);

impl Default for RedisState {
    fn default() -> Self {
        Self(Mutex::new(Some("not connected yet".to_owned())))
    }
}

impl RedisState {
    fn set(&self, trouble: Option<String>) -> bool {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let turned = held.is_some() != trouble.is_some();
        *held = trouble;
        turned
    }

    /// What is wrong with it, if anything.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Why a round failed.
#[derive(Debug, thiserror::Error)]
pub enum ProjectionError {
    /// Redis, or the way to it.
    #[error(transparent)]
    Redis(#[from] RedisError),
    /// A book that is no JSON: cannot happen.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// No answer.
    #[error("no answer within {} s", TIMEOUT.as_secs() * 2)]
    TimedOut,
}

/// The projection's belongings.
#[derive(Debug)]
pub struct Projection {
    /// Where to write.
    pub client: Client,
    /// What to write.
    pub exchange: Arc<RwLock<Exchange>>,
    /// Whose books they are.
    pub journal_id: String,
    /// How it is going.
    pub state: Arc<RedisState>,
}

/// A connection that comes back by itself and never waits long.
///
/// # Errors
/// When the address makes no sense.
pub fn connection(client: Client) -> Result<ConnectionManager, RedisError> {
    let config = ConnectionManagerConfig::new()
        .set_connection_timeout(Some(TIMEOUT))
        .set_response_timeout(Some(TIMEOUT))
        .set_number_of_retries(1)
        .set_max_delay(Duration::from_millis(200));
    ConnectionManager::new_lazy_with_config(client, config)
}

impl Projection {
    /// Projects until it is dropped, which it may be at any moment.
    ///
    /// # Errors
    /// When the address makes no sense.
    pub async fn run(self) -> Result<(), RedisError> {
        let mut redis = connection(self.client.clone())?;
        let mut backoff = Backoff::default();
        let mut written: [Option<u64>; Symbol::ALL.len()] = [None; Symbol::ALL.len()];
        let mut asked: Option<Instant> = None;
        let mut ticks = tokio::time::interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let stale = self.stale(&written);
            if stale.is_empty() && asked.is_some_and(|at| at.elapsed() < HEARTBEAT) {
                continue;
            }
            let round = tokio::time::timeout(TIMEOUT * 2, self.write(&mut redis, &stale)).await;
            match round.unwrap_or(Err(ProjectionError::TimedOut)) {
                Ok(remembered) => {
                    if self.state.set(None) {
                        tracing::info!("projection to Redis: connected");
                    }
                    backoff.succeeded();
                    asked = Some(Instant::now());
                    if remembered {
                        for (symbol, version) in stale {
                            written[symbol.index()] = Some(version);
                        }
                    } else {
                        // It was empty or somebody else's: everything has to go there.
                        written = [None; Symbol::ALL.len()];
                    }
                }
                Err(error) => {
                    written = [None; Symbol::ALL.len()];
                    asked = None;
                    if self.state.set(Some(error.to_string())) {
                        tracing::warn!("projection to Redis: {error}");
                    }
                    tokio::time::sleep(backoff.failed()).await;
                }
            }
        }
    }

    fn stale(&self, written: &[Option<u64>]) -> Vec<(Symbol, u64)> {
        let exchange = self.exchange.read().unwrap_or_else(PoisonError::into_inner);
        Symbol::ALL
            .iter()
            .map(|symbol| (*symbol, exchange.version(*symbol)))
            .filter(|(symbol, version)| written[symbol.index()] != Some(*version))
            .collect()
    }

    /// Writes the books named and tells whether Redis still knew whose they are.
    async fn write(
        &self,
        redis: &mut ConnectionManager,
        stale: &[(Symbol, u64)],
    ) -> Result<bool, ProjectionError> {
        let mut pipe = redis::pipe();
        pipe.cmd("GET").arg(OWNER).cmd("SET").arg(OWNER).arg(&self.journal_id).ignore();
        for (symbol, _) in stale {
            let book = {
                let exchange = self.exchange.read().unwrap_or_else(PoisonError::into_inner);
                exchange.book(*symbol, LEVELS_MAX)
            };
            pipe.cmd("SET")
                .arg(format!("{BOOK_PREFIX}{symbol}"))
                .arg(serde_json::to_string(&book)?)
                .ignore();
            if let Some(price) = book.last_price {
                pipe.cmd("HSET").arg(LAST_PRICES).arg(symbol.as_str()).arg(price).ignore();
            }
        }
        let (owner,): (Option<String>,) = pipe.query_async(redis).await?;
        Ok(owner.as_deref() == Some(&self.journal_id))
    }
}
