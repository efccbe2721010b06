//! The prices in Redis.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use exchange_matching::Symbol;
use redis::RedisError;
use redis::aio::ConnectionManager;

use super::walk::Walk;
use crate::common::{Backoff, unix_us};

/// A hash from symbol to price.
pub const PRICES_HASH: &str = "market:prices";
/// Where every round of prices is published as JSON.
pub const PRICES_CHANNEL: &str = "market:prices";

const EVERY: Duration = Duration::from_millis(250);
const TIMEOUT: Duration = Duration::from_secs(2);

/// Publishes the latest prices for ever; rounds that Redis misses are gone, which is what
/// prices are like. `trouble` tells what is wrong with Redis, if anything.
pub(super) async fn publish(
    mut redis: ConnectionManager,
    walk: Arc<Mutex<Walk>>,
    trouble: Arc<Mutex<Option<String>>>,
) {
    let mut backoff = Backoff::default();
    loop {
        let round = tokio::time::timeout(TIMEOUT, write(&mut redis, &walk)).await;
        let error = match round {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some(format!("no answer within {} s", TIMEOUT.as_secs())),
        };
        let wait = if error.is_none() {
            backoff.succeeded();
            EVERY
        } else {
            backoff.failed()
        };
        {
            let mut trouble = trouble.lock().unwrap_or_else(PoisonError::into_inner);
            match (&*trouble, &error) {
                (None, Some(error)) => tracing::warn!("prices to Redis: {error}"),
                (Some(_), None) => tracing::info!("prices to Redis: connected"),
                _ => {}
            }
            *trouble = error;
        }
        tokio::time::sleep(wait).await;
    }
}

async fn write(redis: &mut ConnectionManager, walk: &Mutex<Walk>) -> Result<(), RedisError> {
    let mut pipe = redis::pipe();
    let mut prices = serde_json::Map::new();
    {
        let walk = walk.lock().unwrap_or_else(PoisonError::into_inner);
        for symbol in Symbol::ALL {
            let price = walk.price(*symbol).now;
            prices.insert(symbol.to_string(), price.into());
            pipe.cmd("HSET").arg(PRICES_HASH).arg(symbol.as_str()).arg(price).ignore();
        }
    }
    let news = serde_json::json!({"prices": prices, "updated_at": unix_us() / 1000});
    pipe.cmd("PUBLISH").arg(PRICES_CHANNEL).arg(news.to_string()).ignore();
    pipe.query_async(redis).await
}
