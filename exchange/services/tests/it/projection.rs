//! Redis shows the books, and nothing depends on it.

use std::time::Duration;

use exchange_journal::sim::SimStorage;
use exchange_services::trading_api::projection::{BOOK_PREFIX, LAST_PRICES};
use serde_json::{Value, json};

use crate::support::api::{Api, nowhere, parts};
use crate::support::redis::Redis;
use crate::support::{eventually, need};

#[tokio::test(flavor = "multi_thread")]
async fn redis_may_go_and_come_back_empty() {
    let mut redis = need!(Redis::start().await);
    let api = Api::start(parts(SimStorage::new(), nowhere(), &redis.url())).await;
    let place = |price: u64, side: &str| {
        let order = json!({"user_id": side, "symbol": "DOTUSD", "side": side, "type": "LIMIT",
                           "quantity": 1, "price": price});
        let caller = api.caller.clone();
        async move { assert_eq!(caller.post(&order).await.0, 201) }
    };
    place(700, "BUY").await;
    place(690, "BUY").await;
    place(700, "SELL").await;
    let (_, book) = api.caller.get("/api/orderbook/DOTUSD").await;
    shows(&redis, &book).await;
    let redis_trouble =
        || async { api.caller.get("/ready").await.1["dependencies"]["redis"].clone() };
    assert_eq!(redis_trouble().await, "ok");

    redis.kill();
    // Orders go on as if nothing had happened.
    for price in 710..760 {
        place(price, "SELL").await;
    }
    eventually("the trouble is told", Duration::from_secs(5), || async {
        (redis_trouble().await != "ok").then_some(())
    })
    .await;
    assert_eq!(api.caller.metric("redis_up").await, 0.0);

    redis.restart().await;
    let (_, book) = api.caller.get("/api/orderbook/DOTUSD").await;
    shows(&redis, &book).await;
    eventually("the last price is there", Duration::from_secs(5), || async {
        (redis.hash(LAST_PRICES, "DOTUSD").await == Some(700)).then_some(())
    })
    .await;

    // Emptied while running, and without any order: written again.
    let mut connection = redis.connection().await.unwrap();
    let _: () = ::redis::cmd("FLUSHALL").query_async(&mut connection).await.unwrap();
    shows(&redis, &book).await;
    assert_eq!(api.caller.metric("redis_up").await, 1.0);
    api.stop().await;
}

async fn shows(redis: &Redis, book: &Value) {
    eventually("Redis shows the book", Duration::from_secs(10), || async {
        let text = redis.get(&format!("{BOOK_PREFIX}DOTUSD")).await?;
        (serde_json::from_str::<Value>(&text).unwrap() == *book).then_some(())
    })
    .await;
}
