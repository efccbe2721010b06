//! Resting orders get other prices and quantities.

use exchange_journal::sim::SimStorage;
use hyper::Method;
use serde_json::{Value, json};

use crate::support::api::{Api, Caller, NO_REDIS, nowhere, parts};

async fn place(caller: &Caller, user: &str, side: &str, price: u64, quantity: u64) -> Value {
    let order = json!({"user_id": user, "symbol": "SOLUSD", "side": side, "type": "LIMIT",
                       "quantity": quantity, "price": price});
    let (status, view) = caller.post(&order).await;
    assert_eq!(status, 201, "{view}");
    view
}

fn told(view: &Value) -> Value {
    ["status", "price", "quantity", "filled_quantity", "leaves_quantity", "avg_price"]
        .iter()
        .map(|field| view[field].clone())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replaced_order_keeps_or_loses_its_place_as_the_rules_say() {
    let storage = SimStorage::new();
    let api = Api::start(parts(storage.clone(), nowhere(), NO_REDIS)).await;
    let caller = &api.caller;
    for user in ["a", "b"] {
        place(caller, user, "SELL", 100, 5).await;
    }
    // Smaller, and what it is already: the first stays the first.
    for change in
        [json!({"quantity": 3}), json!({"quantity": 3}), json!({"price": 100, "quantity": 3})]
    {
        let (status, view) = caller.patch("/api/orders/1", &change).await;
        assert_eq!((status, told(&view)), (200, json!(["NEW", 100, 3, 0, 3, null])));
    }
    place(caller, "c", "BUY", 100, 1).await;
    let (_, first) = caller.get("/api/orders/1").await;
    assert_eq!(told(&first), json!(["PARTIALLY_FILLED", 100, 3, 1, 2, 100.0]));
    // Larger: the second is the first now.
    let (_, view) = caller.patch("/api/orders/1", &json!({"quantity": 4})).await;
    assert_eq!(told(&view), json!(["PARTIALLY_FILLED", 100, 4, 1, 3, 100.0]));
    place(caller, "c", "BUY", 100, 5).await;
    assert_eq!(caller.get("/api/orders/2").await.1["status"], "FILLED");
    // At another price it may trade at once; its average is over all its trades.
    place(caller, "d", "BUY", 97, 2).await;
    let (status, view) = caller.patch("/api/orders/1", &json!({"price": 96})).await;
    assert_eq!((status, told(&view)), (200, json!(["PARTIALLY_FILLED", 96, 4, 3, 1, 98.0])));
    assert_eq!(view["filled_value"], 294);
    assert_eq!(caller.metric("orders_replaced_total").await, 3.0);

    let book = caller.get("/api/orderbook/SOLUSD").await.1;
    assert_eq!(book["asks"], json!([{"price": 96, "quantity": 1, "orders": 1}]));
    let (_, before) = caller.get("/api/orders").await;
    api.stop().await;
    let api = Api::start(parts(storage.restart_process(), nowhere(), NO_REDIS)).await;
    assert_eq!(api.caller.get("/api/orders").await.1, before, "the same after a restart");
    assert_eq!(api.caller.get("/api/orderbook/SOLUSD").await.1, book);
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replacement_that_cannot_be_has_its_code() {
    let api = Api::start(parts(SimStorage::new(), nowhere(), NO_REDIS)).await;
    let caller = &api.caller;
    place(caller, "a", "SELL", 100, 5).await;
    place(caller, "b", "BUY", 100, 2).await;
    place(caller, "a", "SELL", 200, 1).await;
    caller.delete("/api/orders/3").await;
    let cases = [
        ("1", json!({}), 400, "INVALID_REQUEST"),
        ("1", json!({"side": "BUY"}), 400, "INVALID_REQUEST"),
        ("1", json!({"price": 1.5}), 400, "INVALID_REQUEST"),
        ("1", json!({"price": 0}), 422, "INVALID_PRICE"),
        ("1", json!({"quantity": -1}), 422, "INVALID_QUANTITY"),
        ("1", json!({"quantity": 2}), 409, "QUANTITY_ALREADY_TRADED"),
        ("1", json!({"quantity": 1, "price": 90}), 409, "QUANTITY_ALREADY_TRADED"),
        ("2", json!({"quantity": 9}), 409, "ORDER_ALREADY_FILLED"),
        ("3", json!({"quantity": 9}), 409, "ORDER_ALREADY_CANCELLED"),
        ("4", json!({"quantity": 9}), 404, "ORDER_NOT_FOUND"),
        ("x", json!({"quantity": 9}), 404, "ORDER_NOT_FOUND"),
    ];
    let (_, before) = caller.get("/api/orders").await;
    for (order, change, status, code) in cases {
        let (got, answer) = caller.patch(&format!("/api/orders/{order}"), &change).await;
        assert_eq!((got, &answer["error"]["code"]), (status, &json!(code)), "{order} {change}");
    }
    let large = vec![b' '; 20_000];
    let reply = caller.call(Method::PATCH, "/api/orders/1", &[], large).await.unwrap();
    assert_eq!(reply.status, 413);
    assert_eq!(caller.get("/api/orders").await.1, before, "nothing has changed");
    assert_eq!(caller.metric("orders_replaced_total").await, 0.0);
    api.stop().await;
}

/// Whoever does not hear an answer asks again: the same is done once, and each is told what is so then.
#[tokio::test(flavor = "multi_thread")]
async fn replacements_at_the_same_time_are_one_after_the_other() {
    let api = Api::start(parts(SimStorage::new(), nowhere(), NO_REDIS)).await;
    let caller = &api.caller;
    place(caller, "a", "SELL", 100, 50).await;
    let asked = (0..64_u64).map(|n| {
        let caller = caller.clone();
        tokio::spawn(async move {
            let change = json!({"price": 100 + n % 4});
            caller.patch("/api/orders/1", &change).await
        })
    });
    let asked: Vec<_> = asked.collect();
    for (n, answer) in (0..).zip(asked) {
        let (status, view) = answer.await.unwrap();
        assert_eq!((status, &view["price"]), (200, &json!(100 + n % 4)));
    }
    let done = caller.metric("orders_replaced_total").await;
    assert!((1.0..=64.0).contains(&done), "{done}");
    let book = caller.get("/api/orderbook/SOLUSD").await.1;
    assert_eq!(book["asks"].as_array().unwrap().len(), 1, "{book}");
    // With its cancellation under way it is there for one of the two, never for both.
    let change = json!({"quantity": 7});
    let (cancelled, replaced) =
        tokio::join!(caller.delete("/api/orders/1"), caller.patch("/api/orders/1", &change));
    assert_eq!((cancelled.0, &cancelled.1["status"]), (200, &json!("CANCELLED")));
    let code = &replaced.1["error"]["code"];
    assert!(replaced.0 == 200 || code == "ORDER_ALREADY_CANCELLED", "{replaced:?}");
    assert_eq!(caller.get("/api/orderbook/SOLUSD").await.1["asks"], json!([]));
    api.stop().await;
}

/// Unlike cancellations, replacements are not let past the bound on what waits for the database.
#[tokio::test(flavor = "multi_thread")]
async fn replacements_are_counted_to_what_waits_for_the_database() {
    let storage = SimStorage::new();
    let bounded = |storage| {
        let mut parts = parts(storage, nowhere(), NO_REDIS);
        parts.bounds.backlog_orders_max = 4;
        parts
    };
    let api = Api::start(bounded(storage.clone())).await;
    place(&api.caller, "a", "SELL", 100, 50).await;
    for price in 101..104 {
        assert_eq!(api.caller.patch("/api/orders/1", &json!({"price": price})).await.0, 200);
    }
    assert_eq!(api.caller.metric("relay_backlog_orders").await, 4.0);
    api.stop().await;
    let api = Api::start(bounded(storage.restart_process())).await;
    let (status, answer) = api.caller.patch("/api/orders/1", &json!({"price": 104})).await;
    assert_eq!((status, &answer["error"]["code"]), (503, &json!("BACKLOG_FULL")));
    assert_eq!(api.caller.delete("/api/orders/1").await.0, 200);
    api.stop().await;
}
