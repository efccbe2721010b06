//! While PostgreSQL is away orders are accepted up to a bound, then refused before
//! anything is journalled.

use exchange_journal::sim::SimStorage;
use exchange_services::trading_api::sequencer::Bounds;
use hyper::header::RETRY_AFTER;
use serde_json::json;

use crate::support::api::{Api, NO_REDIS, nowhere, order, parts};

#[tokio::test(flavor = "multi_thread")]
async fn a_full_backlog_refuses_and_journals_nothing() {
    let storage = SimStorage::new();
    let mut parts = parts(storage.clone(), nowhere(), NO_REDIS);
    parts.bounds = Bounds { backlog_orders_max: 10, live_orders_max: 1000 };
    let api = Api::start(parts).await;
    let caller = &api.caller;
    for n in 0..10 {
        assert_eq!(caller.ready().await, (200, "degraded".to_owned()));
        assert_eq!(caller.post(&order(&format!("b-{n}"), 0)).await.0, 201);
    }
    assert_eq!(caller.ready().await, (503, "refusing".to_owned()));
    assert_eq!(caller.metric("relay_backlog_orders").await, 10.0);

    let before = storage.snapshot();
    for n in 10..20 {
        let reply = caller.try_post(&order(&format!("b-{n}"), 0)).await.unwrap();
        assert_eq!(reply.status, 503);
        assert!(reply.retry_after.is_some(), "{RETRY_AFTER}");
        let body: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
        assert_eq!(body["error"]["code"], "BACKLOG_FULL");
    }
    // What was accepted before is still answered, and may still be cancelled.
    let (status, first) = caller.post(&order("b-0", 0)).await;
    assert_eq!(status, 201);
    assert_eq!(storage.snapshot(), before, "something was journalled");
    let path = format!("/api/orders/{}", first["order_id"].as_str().unwrap());
    let (status, cancelled) = caller.delete(&path).await;
    assert_eq!((status, &cancelled["status"]), (200, &json!("CANCELLED")));
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn full_books_refuse_what_would_rest_and_take_the_rest() {
    let mut parts = parts(SimStorage::new(), nowhere(), NO_REDIS);
    parts.bounds.live_orders_max = 3;
    let api = Api::start(parts).await;
    for n in 0..3 {
        assert_eq!(api.caller.post(&order(&format!("l-{n}"), 0)).await.0, 201);
    }
    let (status, body) = api.caller.post(&order("l-3", 0)).await;
    assert_eq!((status, &body["error"]["code"]), (503, &json!("BOOKS_FULL")));
    let market = json!({"user_id": "u", "symbol": "BTCUSD", "side": "SELL", "type": "MARKET",
                        "quantity": 1, "client_order_id": "l-m"});
    let (status, body) = api.caller.post(&market).await;
    assert_eq!((status, &body["status"]), (201, &json!("FILLED")));
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_that_fails_ends_the_service() {
    let storage = SimStorage::new();
    let api = Api::start(parts(storage.clone(), nowhere(), NO_REDIS)).await;
    assert_eq!(api.caller.post(&order("f-0", 0)).await.0, 201);
    // The write goes well, the sync does not.
    storage.fail_at(2);
    // Told that it is not known, or cut off: anything but an acknowledgement.
    if let Some(reply) = api.caller.try_post(&order("f-1", 1)).await {
        assert_eq!(reply.status, 500);
        let body: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
        assert_eq!(body["error"]["code"], "JOURNAL_FAILED");
    }
    assert!(api.ended().await.is_err());

    // After a restart the question has an answer, and the first order is as it was.
    let api = Api::start(parts(storage.restart_process(), nowhere(), NO_REDIS)).await;
    let (status, first) = api.caller.post(&order("f-0", 0)).await;
    assert_eq!((status, &first["order_id"]), (201, &json!("1")));
    assert_eq!(api.caller.post(&order("f-1", 1)).await.0, 201);
    api.stop().await;
}
