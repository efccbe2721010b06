//! The service does what its OpenAPI document says, and the document says all that it does.

use std::collections::BTreeSet;

use exchange_journal::sim::SimStorage;
use hyper::Method;
use serde_json::{Value, json};

use crate::support::api::{Api, Caller, NO_REDIS, nowhere, order, parts};

/// What a request was answered with.
struct Exchanged {
    method: &'static str,
    /// The path as the document has it.
    path: &'static str,
    request: Option<Value>,
    status: u16,
    /// Nothing where it is no JSON.
    answer: Option<Value>,
}

/// `{}` in the path stands for the words after it.
async fn ask(
    caller: &Caller,
    method: &'static str,
    path: &'static str,
    words: &[&str],
    request: Option<Value>,
) -> Exchanged {
    let mut real = String::new();
    let (mut rest, mut words) = (path, words.iter());
    while let Some((before, after)) = rest.split_once('{') {
        let (_, after) = after.split_once('}').unwrap();
        real += before;
        real += words.next().unwrap();
        rest = after;
    }
    real += rest;
    real.extend(words.copied());
    let body = request.as_ref().map(|body| body.to_string().into_bytes()).unwrap_or_default();
    let method_sent = Method::from_bytes(method.as_bytes()).unwrap();
    let reply = caller.call(method_sent, &real, &[], body).await.unwrap();
    let answer = serde_json::from_slice(&reply.body).ok();
    Exchanged { method, path, request, status: reply.status.as_u16(), answer }
}

/// Everything there is, once as it should be and once for each way in which it can go wrong without a broken
/// disk.
async fn everything(caller: &Caller) -> Vec<Exchanged> {
    let mut all = Vec::new();
    let mut ask = async |method, path, words: &[&str], request| {
        all.push(ask(caller, method, path, words, request).await);
    };
    let resting = |user: &str, side: &str| {
        json!({"user_id": user, "symbol": "SOLUSD", "side": side, "type": "LIMIT",
               "quantity": 2, "price": 100, "time_in_force": "DAY", "post_only": false})
    };
    let market =
        json!({"user_id": "m", "symbol": "SOLUSD", "side": "BUY", "type": "MARKET", "quantity": 1});
    ask("POST", "/api/orders", &[], Some(resting("a", "SELL"))).await;
    ask("POST", "/api/orders", &[], Some(market)).await;
    ask("POST", "/api/orders", &[], Some(order("key", 0))).await;
    ask("POST", "/api/orders", &[], Some(order("key", 1))).await;
    ask("POST", "/api/orders", &[], Some(json!({"quantity": 1}))).await;
    ask("POST", "/api/orders", &[], Some(json!("x".repeat(20_000)))).await;
    let mut wrong = resting("a", "SELL");
    wrong["quantity"] = json!(0);
    ask("POST", "/api/orders", &[], Some(wrong)).await;
    ask("POST", "/api/orders", &[], Some(resting("b", "SELL"))).await;

    let one = "/api/orders/{id}";
    ask("GET", one, &["1"], None).await;
    ask("GET", one, &["99"], None).await;
    ask("PATCH", one, &["1"], Some(json!({"price": 101, "quantity": 3}))).await;
    ask("PATCH", one, &["1"], Some(json!({"quantity": 1}))).await;
    ask("PATCH", one, &["1"], Some(json!({}))).await;
    ask("PATCH", one, &["1"], Some(json!({"price": 0}))).await;
    ask("PATCH", one, &["1"], Some(json!("x".repeat(20_000)))).await;
    ask("PATCH", one, &["99"], Some(json!({"price": 1}))).await;
    ask("DELETE", one, &["1"], None).await;
    ask("DELETE", one, &["99"], None).await;
    let fok = json!({"user_id": "f", "symbol": "SOLUSD", "side": "BUY", "type": "LIMIT", "quantity": 2,
                     "price": 100, "time_in_force": "FOK", "client_order_id": "fok"});
    ask("POST", "/api/orders", &[], Some(fok)).await;
    ask("DELETE", one, &["5"], None).await;

    for path in ["/api/orders", "/api/trades"] {
        ask("GET", path, &[], None).await;
        ask("GET", path, &["?limit=1"], None).await;
        ask("GET", path, &["?limit=0"], None).await;
        ask("GET", path, &["?before=x"], None).await;
    }
    ask("GET", "/api/trades", &["?symbol=SOLUSD"], None).await;
    ask("GET", "/api/trades", &["?symbol=NOPE"], None).await;
    ask("GET", "/api/users/{user_id}/orders", &["a"], None).await;
    ask("GET", "/api/users/{user_id}/orders", &["a", "?limit=x"], None).await;
    ask("GET", "/api/users/{user_id}/orders", &["%07"], None).await;
    for (method, path) in [
        ("GET", one),
        ("DELETE", one),
        ("GET", "/api/users/{user_id}/orders"),
        ("GET", "/api/orderbook/{symbol}"),
    ] {
        ask(method, path, &["%FF"], None).await;
    }
    ask("GET", "/api/orderbook/{symbol}", &["BTCUSD"], None).await;
    ask("GET", "/api/orderbook/{symbol}", &["BTCUSD", "?depth=1001"], None).await;
    ask("GET", "/api/orderbook/{symbol}", &["NOPE"], None).await;
    ask("GET", "/api/stream", &["?depth=0"], None).await;
    ask("GET", "/api/stream", &["?symbol=NOPE"], None).await;
    for path in ["/", "/live", "/health", "/ready", "/api/metrics", "/metrics"] {
        ask("GET", path, &[], None).await;
    }
    all
}

/// The document, with no field allowed that it does not name.
fn strict(mut document: Value) -> Value {
    for schema in document["components"]["schemas"].as_object_mut().unwrap().values_mut() {
        if schema.get("properties").is_some() && schema.get("additionalProperties").is_none() {
            schema["additionalProperties"] = json!(false);
        }
    }
    document
}

/// What of an exchange is not as the document says.
fn contradiction(document: &Value, exchanged: &Exchanged) -> Option<String> {
    let Exchanged { method, path, request, status, answer } = exchanged;
    let what = format!("{method} {path}: {status}");
    let operation = &document["paths"][path][method.to_lowercase()];
    let response = &operation["responses"][status.to_string()];
    if response.is_null() {
        return Some(format!("{what} is not in the document"));
    }
    let broken = |content: &Value, value: &Value| {
        let mut schema = content["application/json"]["schema"].clone();
        schema["components"] = document["components"].clone();
        let validator = jsonschema::validator_for(&schema).unwrap();
        let errors: Vec<String> = validator.iter_errors(value).map(|e| e.to_string()).collect();
        (!errors.is_empty()).then(|| format!("{what}: {value}: {errors:?}"))
    };
    // What is taken must be allowed; that something is allowed does not mean that it is taken.
    let refused = request.as_ref().filter(|_| *status < 300);
    let refused = refused.and_then(|body| broken(&operation["requestBody"]["content"], body));
    let answered = match answer {
        Some(answer) => broken(&response["content"], answer),
        None => response["content"]["text/plain"].is_null().then(|| format!("{what} is no JSON")),
    };
    refused.or(answered)
}

/// All that the document says there is: method, path, status.
fn documented(document: &Value) -> BTreeSet<(String, String, String)> {
    let mut all = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            for status in operation["responses"].as_object().unwrap().keys() {
                all.insert((method.to_uppercase(), path.clone(), status.clone()));
            }
        }
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn the_service_and_its_document_agree() {
    let api = Api::start(parts(SimStorage::new(), nowhere(), NO_REDIS)).await;
    let (status, document) = api.caller.get("/api/openapi.json").await;
    assert_eq!(status, 200);
    assert!(document["openapi"].as_str().unwrap().starts_with("3."), "{}", document["openapi"]);
    let document = strict(document);
    let exchanged = everything(&api.caller).await;
    for one in &exchanged {
        assert_eq!(contradiction(&document, one), None);
    }
    // Each answer was seen, but for those of broken disks and databases, which other tests see.
    let mut unseen = documented(&document);
    for Exchanged { method, path, status, .. } in &exchanged {
        unseen.remove(&((*method).to_owned(), (*path).to_owned(), status.to_string()));
    }
    unseen.retain(|(_, _, status)| status != "500" && status != "503");
    // It has no end; tests of its own listen to it.
    assert!(unseen.remove(&("GET".to_owned(), "/api/stream".to_owned(), "200".to_owned())));
    assert_eq!(unseen, BTreeSet::new());

    // A document that is wrong is found to be so.
    let at_odds = |wrong: &dyn Fn(&mut Value)| {
        let mut document = document.clone();
        wrong(&mut document);
        assert!(exchanged.iter().any(|one| contradiction(&document, one).is_some()));
    };
    at_odds(&|d| {
        d["components"]["schemas"]["OrderView"]["properties"]["quantity"] =
            json!({"type": "string"})
    });
    at_odds(&|d| {
        let properties = &mut d["components"]["schemas"]["OrderView"]["properties"];
        properties.as_object_mut().unwrap().remove("avg_price").unwrap();
    });
    at_odds(&|d| {
        let responses = &mut d["paths"]["/api/orders/{id}"]["delete"]["responses"];
        responses.as_object_mut().unwrap().remove("409").unwrap();
    });
    at_odds(&|d| {
        let codes = &mut d["components"]["schemas"]["ErrorCode"]["enum"];
        codes.as_array_mut().unwrap().retain(|code| code != "ORDER_NOT_FOUND");
    });
    at_odds(&|d| {
        let required = &mut d["components"]["schemas"]["OrderRequest"]["required"];
        required.as_array_mut().unwrap().push(json!("client_order_id"));
    });
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_read_page_by_page() {
    let api = Api::start(parts(SimStorage::new(), nowhere(), NO_REDIS)).await;
    let caller = &api.caller;
    for n in 0..70 {
        assert_eq!(caller.post(&order(&format!("p-{n}"), n)).await.0, 201);
    }
    let all = async |path: &str, list: &str, id: &str| {
        let (mut ids, mut before) = (Vec::new(), String::new());
        loop {
            let separator = if path.contains('?') { '&' } else { '?' };
            let (status, page) = caller.get(&format!("{path}{separator}limit=7{before}")).await;
            assert_eq!(status, 200, "{page}");
            let found = page[list].as_array().unwrap();
            ids.extend(found.iter().map(|one| one[id].as_str().unwrap().parse::<u64>().unwrap()));
            match page["next_before"].as_str() {
                Some(next) => before = format!("&before={next}"),
                None => return ids,
            }
            assert_eq!(found.len(), 7, "only the last page is short");
        }
    };
    let down_to_one: Vec<u64> = (1..=70).rev().collect();
    assert_eq!(all("/api/orders", "orders", "order_id").await, down_to_one);
    let of_one = all("/api/users/user-3/orders", "orders", "order_id").await;
    assert_eq!(of_one, (1..=70).rev().filter(|id| (id - 1) % 7 == 3).collect::<Vec<_>>());
    assert_eq!(caller.get("/api/users/user-3/orders").await.1["total"], of_one.len());
    assert_eq!(caller.get("/api/users/nobody/orders").await.1, json!({"orders": [], "total": 0}));

    let trades = all("/api/trades", "trades", "trade_id").await;
    let (_, summary) = caller.get("/api/metrics").await;
    assert!(trades.len() > 7, "{trades:?}");
    assert_eq!(trades, (1..=trades.len() as u64).rev().collect::<Vec<_>>());
    assert_eq!(
        (&summary["trade_count"], &summary["order_count"]),
        (&json!(trades.len()), &json!(70))
    );
    let mut sum = 0;
    for symbol in ["BTCUSD", "ADAUSD", "DOTUSD", "ETHUSD"] {
        let of_symbol = all(&format!("/api/trades?symbol={symbol}"), "trades", "trade_id").await;
        assert_eq!(summary["symbol_metrics"][symbol]["trade_count"], of_symbol.len());
        sum += of_symbol.len();
    }
    assert_eq!(sum, trades.len());
    let orders = caller.get("/api/orders?limit=1000").await.1;
    let of_all = |field: &str| -> u64 {
        orders["orders"]
            .as_array()
            .unwrap()
            .iter()
            .map(|order| order[field].as_u64().unwrap())
            .sum()
    };
    assert_eq!(summary["total_volume"].as_u64().unwrap() * 2, of_all("filled_quantity"));
    assert_eq!(summary["total_value"].as_u64().unwrap() * 2, of_all("filled_value"));
    assert!(summary["avg_latency_seconds"].as_f64().unwrap() > 0.0);
    api.stop().await;
}
