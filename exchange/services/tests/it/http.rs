//! What the routes answer.

use exchange_journal::sim::SimStorage;
use hyper::Method;
use serde_json::{Value, json};

use crate::support::api::{Api, NO_REDIS, nowhere, order, parts};

#[tokio::test(flavor = "multi_thread")]
async fn every_bad_order_has_its_code() {
    let api = Api::start(parts(SimStorage::new(), nowhere(), NO_REDIS)).await;
    let with = |field: &str, value: Value| {
        let mut order = order("x", 0);
        order[field] = value;
        order.to_string()
    };
    let without = |field: &str| {
        let mut order = order("x", 0);
        order.as_object_mut().unwrap().remove(field);
        order.to_string()
    };
    let mut post_only_ioc = order("x", 0);
    post_only_ioc["post_only"] = json!(true);
    post_only_ioc["time_in_force"] = json!("IOC");
    let post_only_ioc = post_only_ioc.to_string();
    let cases = [
        (String::new(), 400, "INVALID_REQUEST"),
        ("{".to_owned(), 400, "INVALID_REQUEST"),
        ("[]".to_owned(), 400, "INVALID_REQUEST"),
        (without("user_id"), 400, "INVALID_REQUEST"),
        (without("quantity"), 400, "INVALID_REQUEST"),
        (with("quantity", json!(1.5)), 400, "INVALID_REQUEST"),
        (with("quantity", json!("1")), 400, "INVALID_REQUEST"),
        (with("price", json!(0.1)), 400, "INVALID_REQUEST"),
        (with("stop_price", json!(1)), 400, "INVALID_REQUEST"),
        (with("post_only", json!("yes")), 400, "INVALID_REQUEST"),
        (with("time_in_force", json!("GTD")), 422, "INVALID_TIME_IN_FORCE"),
        (with("time_in_force", json!("day")), 422, "INVALID_TIME_IN_FORCE"),
        (post_only_ioc, 422, "POST_ONLY_NOT_ALLOWED"),
        (with("quantity", json!(0)), 422, "INVALID_QUANTITY"),
        (with("quantity", json!(-3)), 422, "INVALID_QUANTITY"),
        (with("quantity", json!(1_000_000_001_u64)), 422, "INVALID_QUANTITY"),
        (with("price", json!(0)), 422, "INVALID_PRICE"),
        (with("price", json!(1_000_000_001_u64)), 422, "INVALID_PRICE"),
        (without("price"), 422, "PRICE_REQUIRED"),
        (with("type", json!("MARKET")), 422, "PRICE_NOT_ALLOWED"),
        (with("type", json!("STOP")), 422, "INVALID_TYPE"),
        (with("side", json!("HOLD")), 422, "INVALID_SIDE"),
        (with("symbol", json!("btcusd")), 422, "UNKNOWN_SYMBOL"),
        (with("user_id", json!("")), 422, "INVALID_USER_ID"),
        (with("client_order_id", json!("")), 422, "INVALID_CLIENT_ORDER_ID"),
        (with("client_order_id", json!("auto:1")), 422, "INVALID_CLIENT_ORDER_ID"),
        (with("user_id", json!("x".repeat(20_000))), 413, "BODY_TOO_LARGE"),
    ];
    for (body, status, code) in &cases {
        let body = body.clone().into_bytes();
        let reply = api.caller.call(Method::POST, "/api/orders", &[], body.clone()).await.unwrap();
        let answer: Value = serde_json::from_slice(&reply.body).unwrap();
        assert_eq!(
            (reply.status.as_u16(), answer["error"]["code"].as_str().unwrap()),
            (*status, *code),
            "{}: {answer}",
            String::from_utf8_lossy(&body)
        );
        assert!(answer["error"]["message"].as_str().is_some_and(|message| message.len() > 5));
    }
    let headers = [("Idempotency-Key", "other")];
    let body = order("x", 0).to_string().into_bytes();
    let reply = api.caller.call(Method::POST, "/api/orders", &headers, body).await.unwrap();
    assert_eq!(reply.status, 400);
    let rejected = api.caller.metric("orders_total").await;
    assert_eq!(rejected, cases.len() as f64 + 1.0);
    assert_eq!(api.caller.get("/api/orders").await.1["total"], 0);
    api.stop().await;
}

/// What is asked of an order beside its price is in the journal: the same after a restart.
#[tokio::test(flavor = "multi_thread")]
async fn terms_of_an_order_hold_and_are_told() {
    let order = |key: &str, user: &str, side: &str, price: u64, quantity: u64, terms: Value| {
        let mut order = json!({"user_id": user, "symbol": "ADAUSD", "side": side, "type": "LIMIT",
                               "quantity": quantity, "price": price, "client_order_id": key});
        order.as_object_mut().unwrap().extend(terms.as_object().unwrap().clone());
        order
    };
    let post_only = json!({"post_only": true});
    let (ioc, fok) = (json!({"time_in_force": "IOC"}), json!({"time_in_force": "FOK"}));
    // The order, and of its answer: status, reason, traded, left, what it cost.
    let steps = [
        (order("1", "a", "SELL", 100, 5, post_only.clone()), json!(["NEW", null, 0, 5, 0])),
        (order("2", "b", "SELL", 103, 5, json!({})), json!(["NEW", null, 0, 5, 0])),
        (order("3", "c", "BUY", 100, 1, post_only), json!(["CANCELLED", "POST_ONLY", 0, 0, 0])),
        (
            order("4", "c", "BUY", 103, 11, fok.clone()),
            json!(["CANCELLED", "FILL_OR_KILL", 0, 0, 0]),
        ),
        (order("5", "c", "BUY", 103, 7, fok), json!(["FILLED", null, 7, 0, 706])),
        (
            order("6", "c", "BUY", 103, 9, ioc),
            json!(["CANCELLED", "IMMEDIATE_OR_CANCEL", 3, 0, 309]),
        ),
    ];
    let mut storage = SimStorage::new();
    for _ in 0..2 {
        let api = Api::start(parts(storage.clone(), nowhere(), NO_REDIS)).await;
        for (order, expected) in &steps {
            let (status, view) = api.caller.post(order).await;
            let told = ["status", "reason", "filled_quantity", "leaves_quantity", "filled_value"]
                .map(|field| view[field].clone());
            assert_eq!((status, &json!(told)), (201, expected), "{order}: {view}");
            assert_eq!(view["post_only"], json!(order["post_only"] == true), "{view}");
            let in_force = order.get("time_in_force").cloned().unwrap_or(json!("GTC"));
            assert_eq!(view["time_in_force"], in_force, "{view}");
        }
        assert_eq!(api.caller.get("/api/orderbook/ADAUSD").await.1["asks"], json!([]));
        api.stop().await;
        storage = storage.restart_process();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_live_and_end_as_told() {
    let api = Api::start(parts(SimStorage::new(), nowhere(), NO_REDIS)).await;
    let caller = &api.caller;
    let place = |user: &str, side: &str, price: Option<u64>, quantity: u64| {
        let mut order = json!({"user_id": user, "symbol": "SOLUSD", "side": side,
                               "type": "MARKET", "quantity": quantity});
        if let Some(price) = price {
            order["type"] = json!("LIMIT");
            order["price"] = json!(price);
        }
        let caller = caller.clone();
        async move { caller.post(&order).await }
    };
    // A market order that finds nothing was still accepted.
    let (status, alone) = place("u", "BUY", None, 5).await;
    assert_eq!(
        (status, &alone["status"], &alone["filled_quantity"]),
        (201, &json!("CANCELLED"), &json!(0))
    );
    assert_eq!(alone["client_order_id"], "auto:1");
    assert_eq!(place("a", "SELL", Some(100), 5).await.1["status"], "NEW");
    assert_eq!(place("b", "SELL", Some(101), 5).await.1["status"], "NEW");
    assert_eq!(place("c", "BUY", Some(99), 7).await.1["status"], "NEW");
    let (_, taker) = place("d", "BUY", None, 8).await;
    assert_eq!((&taker["status"], &taker["filled_quantity"]), (&json!("FILLED"), &json!(8)));
    // Its own order is in the way: that one goes, and the new one is accepted.
    let (status, own) = place("c", "SELL", Some(99), 1).await;
    assert_eq!((status, &own["status"]), (201, &json!("NEW")));

    let (status, book) = caller.get("/api/orderbook/SOLUSD").await;
    assert_eq!(status, 200);
    assert_eq!(book["bids"], json!([]));
    assert_eq!(
        book["asks"],
        json!([{"price": 99, "quantity": 1, "orders": 1}, {"price": 101, "quantity": 2, "orders": 1}])
    );
    assert_eq!(book["last_price"], 101);
    assert!(book["updated_at"].as_u64().unwrap() > 1_600_000_000_000);
    assert_eq!(caller.get("/api/orderbook/NOPE").await.0, 404);
    assert_eq!(caller.get("/api/orderbook/SOLUSD?depth=0").await.0, 400);

    let (_, list) = caller.get("/api/orders?limit=2").await;
    let ids: Vec<_> = list["orders"].as_array().unwrap().iter().map(|o| &o["order_id"]).collect();
    assert_eq!(ids, [&json!("6"), &json!("5")]);
    assert_eq!(caller.get("/api/orders?limit=1001").await.0, 400);
    assert_eq!(caller.get("/api/orders/2").await.1["status"], "FILLED");

    assert_eq!(caller.delete("/api/orders/2").await.1["error"]["code"], "ORDER_ALREADY_FILLED");
    let (status, cancelled) = caller.delete("/api/orders/3").await;
    assert_eq!((status, &cancelled["status"]), (200, &json!("CANCELLED")));
    assert_eq!(caller.delete("/api/orders/3").await, (status, cancelled));
    for path in ["/api/orders/99", "/api/orders/abc", "/api/orders/-1"] {
        assert_eq!(caller.delete(path).await.1["error"]["code"], "ORDER_NOT_FOUND");
        assert_eq!(caller.get(path).await.0, 404);
    }
    assert_eq!(caller.get("/nowhere").await.1["error"]["code"], "NOT_FOUND");
    let reply = caller.call(Method::PUT, "/api/orders", &[], Vec::new()).await.unwrap();
    assert_eq!(reply.status, 405);
    for path in ["/live", "/health"] {
        assert_eq!(caller.get(path).await.0, 200, "{path}");
    }
    api.stop().await;
}
