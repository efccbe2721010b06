//! The same answer twice, and a conflict refused.

use exchange_journal::sim::SimStorage;
use hyper::Method;
use serde_json::{Value, json};

use crate::support::api::{Api, NO_REDIS, nowhere, order, parts};

#[tokio::test(flavor = "multi_thread")]
async fn a_repetition_is_answered_the_same_also_after_a_restart() {
    let storage = SimStorage::new();
    let api = Api::start(parts(storage.clone(), nowhere(), NO_REDIS)).await;
    // Rests, and is traded away by the second: the first answer must not change with it.
    let maker = json!({"user_id": "a", "symbol": "ETHUSD", "side": "SELL", "type": "LIMIT",
                       "quantity": 5, "price": 10, "client_order_id": "maker"});
    let taker = json!({"user_id": "b", "symbol": "ETHUSD", "side": "BUY", "type": "LIMIT",
                       "quantity": 8, "price": 12, "client_order_id": "taker"});
    let first = (api.caller.post(&maker).await, api.caller.post(&taker).await);
    assert_eq!((first.0.0, &first.0.1["status"]), (201, &json!("NEW")));
    assert_eq!((first.1.0, &first.1.1["status"]), (201, &json!("PARTIALLY_FILLED")));
    let again = (api.caller.post(&maker).await, api.caller.post(&taker).await);
    assert_eq!(first, again);
    let id = first.0.1["order_id"].as_str().unwrap();
    assert_eq!(api.caller.get(&format!("/api/orders/{id}")).await.1["status"], "FILLED");
    assert_eq!(api.caller.metric("orders_total").await, 2.0);
    api.stop().await;

    let api = Api::start(parts(storage.restart_process(), nowhere(), NO_REDIS)).await;
    let restarted = (api.caller.post(&maker).await, api.caller.post(&taker).await);
    assert_eq!(first, restarted);
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_used_for_another_order_is_refused() {
    let api = Api::start(parts(SimStorage::new(), nowhere(), NO_REDIS)).await;
    assert_eq!(api.caller.post(&order("k", 0)).await.0, 201);
    for (field, value) in [
        ("quantity", json!(77)),
        ("price", json!(77)),
        ("side", json!("SELL")),
        ("symbol", json!("SOLUSD")),
        ("user_id", json!("somebody-else")),
        ("time_in_force", json!("IOC")),
        ("post_only", json!(true)),
    ] {
        let mut other = order("k", 0);
        other[field] = value;
        let (status, body) = api.caller.post(&other).await;
        assert_eq!((status, &body["error"]["code"]), (409, &json!("IDEMPOTENCY_CONFLICT")));
    }
    // The header is the same key.
    let mut body = order("k", 0);
    body.as_object_mut().unwrap().remove("client_order_id");
    let headers = [("Idempotency-Key", "k")];
    let reply = api
        .caller
        .call(Method::POST, "/api/orders", &headers, body.to_string().into_bytes())
        .await
        .unwrap();
    assert_eq!(reply.status, 201);
    let view: Value = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!((&view["order_id"], &view["client_order_id"]), (&json!("1"), &json!("k")));
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_order_many_times_at_once_is_one_order() {
    let storage = SimStorage::new();
    let api = Api::start(parts(storage, nowhere(), NO_REDIS)).await;
    for round in 0..20 {
        let key = format!("once-{round}");
        let calls: Vec<_> = (0..16)
            .map(|n| {
                let caller = api.caller.clone();
                // One of them is another order with the same key.
                let mut order = order(&key, 0);
                if n == 7 {
                    order["quantity"] = json!(99);
                }
                tokio::spawn(async move { caller.post(&order).await })
            })
            .collect();
        let mut answers = Vec::new();
        for call in calls {
            answers.push(call.await.unwrap());
        }
        let accepted: Vec<_> = answers.iter().filter(|(status, _)| *status == 201).collect();
        let conflicts = answers.iter().filter(|(status, _)| *status == 409).count();
        assert!(accepted.iter().all(|answer| *answer == accepted[0]), "{answers:?}");
        // Whichever came first decides what conflicts.
        assert!([(15, 1), (1, 15)].contains(&(accepted.len(), conflicts)), "{answers:?}");
    }
    assert_eq!(api.caller.get("/api/orders").await.1["total"], 20);
    assert_eq!(crate::support::api::sum(&accepted(&api).await, "orders_total"), 20.0);
    api.stop().await;
}

async fn accepted(api: &Api) -> String {
    let text = api.caller.metrics().await;
    text.lines().filter(|line| line.contains("status=\"accepted\"")).collect::<Vec<_>>().join("\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_forgotten_oldest_first() {
    let mut parts = parts(SimStorage::new(), nowhere(), NO_REDIS);
    parts.keys_max = 3;
    parts.bounds.backlog_orders_max = 2;
    // Nothing is relayed, so the bound on the backlog is what keeps the keys.
    let api = Api::start(parts).await;
    assert_eq!(api.caller.post(&order("k-0", 0)).await.0, 201);
    assert_eq!(api.caller.post(&order("k-1", 0)).await.0, 201);
    assert_eq!(api.caller.post(&order("k-2", 0)).await.0, 503);
    assert_eq!(api.caller.post(&order("k-0", 0)).await.1["order_id"], "1");
    api.stop().await;
}
