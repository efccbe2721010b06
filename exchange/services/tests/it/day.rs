//! Orders that are good for a day end with it.

use std::time::Duration;

use exchange_audit::report::Verdict;
use exchange_journal::sim::SimStorage;
use exchange_services::common::unix_us;
use exchange_services::trading_api::relay::PostgresStore;
use serde_json::{Value, json};

use crate::support::api::{Api, Caller, NO_REDIS, day_end_at, nowhere, parts};
use crate::support::audit::audited;
use crate::support::ledger::Ledger;
use crate::support::postgres::Postgres;
use crate::support::{eventually, need};

async fn place(caller: &Caller, user: &str, side: &str, in_force: &str) -> Value {
    let order = json!({"user_id": user, "symbol": "ETHUSD", "side": side, "type": "LIMIT",
                       "quantity": 2, "price": 100, "time_in_force": in_force});
    let (status, view) = caller.post(&order).await;
    assert_eq!(status, 201, "{view}");
    view
}

fn now_s() -> u64 {
    unix_us() / 1_000_000
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_ends_by_itself_and_takes_its_orders_along() {
    let postgres = need!(Postgres::start().await);
    let storage = SimStorage::new();
    let store = PostgresStore::new(postgres.config());
    let mut parts = parts(storage.clone(), store, NO_REDIS);
    parts.day_end = day_end_at(now_s() + 6);
    let api = Api::start(parts).await;
    let caller = &api.caller;
    let of_the_day = place(caller, "a", "SELL", "DAY").await;
    assert_eq!(of_the_day["status"], "NEW");
    place(caller, "b", "SELL", "GTC").await;
    let expired = eventually("the day ends", Duration::from_secs(20), || async {
        let (_, order) = caller.get("/api/orders/1").await;
        (order["status"] != "NEW").then_some(order)
    })
    .await;
    assert_eq!(
        (&expired["status"], &expired["reason"], &expired["leaves_quantity"]),
        (&json!("EXPIRED"), &json!("END_OF_DAY"), &json!(0))
    );
    assert_eq!(caller.get("/api/orders/2").await.1["status"], "NEW");
    let (status, answer) = caller.patch("/api/orders/1", &json!({"price": 90})).await;
    assert_eq!((status, &answer["error"]["code"]), (409, &json!("ORDER_ALREADY_CANCELLED")));
    // The next day's orders stand.
    assert_eq!(place(caller, "c", "BUY", "DAY").await["status"], "FILLED");
    assert_eq!(place(caller, "c", "BUY", "DAY").await["status"], "NEW");
    let ended = "orders_ended_total{reason=\"END_OF_DAY\"} 1";
    assert!(caller.metrics().await.lines().any(|line| line == ended));

    // The end of the day is no order, so it is waited for by what comes after it.
    caller.until_relayed().await;
    let rows = postgres.rows("SELECT status, end_reason FROM orders ORDER BY order_id", &[]).await;
    let rows: Vec<(String, Option<String>)> =
        rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    assert_eq!(rows[0], ("EXPIRED".to_owned(), Some("END_OF_DAY".to_owned())));
    assert_eq!(rows[1], ("FILLED".to_owned(), None));
    api.stop().await;
    let report = audited(&storage, &postgres, &Ledger::default(), "none-").await;
    assert_eq!(report.verdict(), Verdict::Kept, "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_that_ends_while_the_service_is_away_ends_before_anything_else() {
    let storage = SimStorage::new();
    let api = Api::start(parts(storage.clone(), nowhere(), NO_REDIS)).await;
    place(&api.caller, "a", "SELL", "DAY").await;
    api.stop().await;
    let next = now_s() + 1;
    eventually("the clock has passed the day's end", Duration::from_secs(5), || async {
        (now_s() >= next).then_some(())
    })
    .await;
    let mut later = parts(storage.restart_process(), nowhere(), NO_REDIS);
    later.day_end = day_end_at(next);
    let api = Api::start(later).await;
    // It would trade with the order of yesterday.
    assert_eq!(place(&api.caller, "b", "BUY", "GTC").await["status"], "NEW");
    assert_eq!(api.caller.get("/api/orders/1").await.1["status"], "EXPIRED");
    api.stop().await;
}
