//! `/ready` tells the truth, stage by stage.

use std::time::Duration;

use exchange_journal::sim::SimStorage;
use exchange_services::common::monotonic;
use exchange_services::trading_api::relay::PostgresStore;

use crate::support::api::{Api, order, parts};
use crate::support::need;
use crate::support::postgres::Postgres;
use crate::support::redis::Redis;

#[tokio::test(flavor = "multi_thread")]
async fn ready_degraded_refusing_ready() {
    let mut postgres = need!(Postgres::start().await);
    let redis = need!(Redis::start().await);
    let store = PostgresStore::new(postgres.config());
    let mut parts = parts(SimStorage::new(), store, &redis.url());
    parts.bounds.backlog_orders_max = 5;
    let api = Api::start(parts).await;
    let caller = &api.caller;
    let body = caller.until("ready").await;
    assert_eq!(body["dependencies"]["postgres"], "ok");

    // Stalled: connected, and a batch does not come back.
    let client = postgres.client().await;
    client.batch_execute("BEGIN; LOCK TABLE orders IN ACCESS EXCLUSIVE MODE").await.unwrap();
    assert_eq!(caller.post(&order("s-0", 0)).await.0, 201);
    let began = monotonic();
    let body = caller.until("degraded").await;
    assert!(body["dependencies"]["postgres"].as_str().unwrap().contains("stalled"), "{body}");
    assert!(began.elapsed() < Duration::from_secs(3));
    client.batch_execute("ROLLBACK").await.unwrap();
    caller.until("ready").await;
    caller.until_relayed().await;

    // Away, noticed without any order.
    postgres.kill();
    let body = caller.until("degraded").await;
    assert_ne!(body["dependencies"]["postgres"], "ok");
    assert_eq!(caller.metric("relay_connected").await, 0.0);
    for n in 1..=5 {
        assert_eq!(caller.ready().await, (200, "degraded".to_owned()), "{n}");
        assert_eq!(caller.post(&order(&format!("s-{n}"), n)).await.0, 201);
    }
    assert_eq!(caller.ready().await, (503, "refusing".to_owned()));
    assert_eq!(caller.post(&order("s-6", 6)).await.0, 503);
    assert_eq!(caller.get("/health").await.0, 200);
    postgres.restart().await;
    caller.until("ready").await;
    caller.until_relayed().await;
    assert_eq!(caller.post(&order("s-6", 6)).await.0, 201);
    caller.until_relayed().await;
    assert_eq!(postgres.orders("s-").await.len(), 7);
    api.stop().await;
}
