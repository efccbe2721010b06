//! Orders end up in PostgreSQL exactly once, whatever PostgreSQL does meanwhile.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use exchange_journal::sim::SimStorage;
use exchange_journal::{Journal, Options};
use exchange_services::trading_api::relay::{
    Batch, Deriver, PostgresStore, Session, Store, StoreError,
};
use serde_json::json;

use crate::support::api::{Api, Clients, NO_REDIS, nowhere, order, parts};
use crate::support::eventually;
use crate::support::ledger::Audit;
use crate::support::need;
use crate::support::postgres::Postgres;

#[tokio::test(flavor = "multi_thread")]
async fn a_database_killed_in_the_middle_has_every_order_once_in_the_end() {
    let mut postgres = need!(Postgres::start().await);
    let store = PostgresStore::new(postgres.config());
    let api = Api::start(parts(SimStorage::new(), store, NO_REDIS)).await;
    let clients = Clients::start(&api.caller, 16, "mid-");
    for round in 1..=2 {
        let enough = |count: usize| {
            let clients = &clients;
            eventually("orders are accepted", Duration::from_secs(20), move || async move {
                (clients.acknowledged() >= count).then_some(())
            })
        };
        let before = clients.acknowledged();
        enough(before + 300).await;
        postgres.kill();
        let away = clients.acknowledged();
        enough(away + 300).await;
        assert!(api.caller.metric("relay_backlog_orders").await >= 200.0, "round {round}");
        postgres.restart().await;
    }
    let ledger = clients.stop().await;
    api.caller.until_relayed().await;
    assert_eq!(ledger.audit(&postgres.orders("mid-").await), Audit::default());

    // Not only there, but as the engine has them.
    let (_, held) = api.caller.get("/api/orders?limit=1000").await;
    let rows: BTreeMap<String, (String, i64)> = postgres
        .rows("SELECT order_id::text, status, filled FROM orders", &[])
        .await
        .iter()
        .map(|row| (row.get(0), (row.get(1), row.get(2))))
        .collect();
    let held = held["orders"].as_array().unwrap();
    assert!(held.len() >= 600);
    for order in held {
        let (status, filled) = &rows[order["order_id"].as_str().unwrap()];
        assert_eq!((&order["status"], &order["filled_quantity"]), (&json!(status), &json!(filled)));
    }
    // Each lot that was filled was traded once as a buyer's and once as a seller's.
    let sums = postgres
        .rows(
            "SELECT (SELECT sum(filled)::bigint FROM orders),
                    (SELECT 2 * sum(quantity)::bigint FROM trades),
                    (SELECT count(*) FROM trades)",
            &[],
        )
        .await;
    let (filled, traded, trades): (i64, i64, i64) =
        (sums[0].get(0), sums[0].get(1), sums[0].get(2));
    assert_eq!(filled, traded);
    assert!(trades > 0);
    assert_eq!(api.caller.metric("trades_total").await, trades as f64);
    assert_eq!(api.caller.metric("orders_total").await, rows.len() as f64);
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_database_is_filled_from_an_old_journal() {
    let postgres = need!(Postgres::start().await);
    let storage = SimStorage::new();
    let api = Api::start(parts(storage.clone(), nowhere(), NO_REDIS)).await;
    for n in 0..20 {
        assert_eq!(api.caller.post(&order(&format!("old-{n}"), n)).await.0, 201);
    }
    api.stop().await;

    let store = PostgresStore::new(postgres.config());
    let api = Api::start(parts(storage.restart_process(), store, NO_REDIS)).await;
    api.caller.until_relayed().await;
    assert_eq!(postgres.orders("old-").await.len(), 20);
    // And a database set back to an earlier state is brought up again.
    let rows = "DELETE FROM orders; DELETE FROM trades; UPDATE relay_cursor SET seq = 0";
    postgres.client().await.batch_execute(rows).await.unwrap();
    eventually("the tables are filled again", Duration::from_secs(10), || async {
        (postgres.orders("old-").await.len() == 20).then_some(())
    })
    .await;
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_does_not_belong_to_the_journal_is_not_written_to() {
    let postgres = need!(Postgres::start().await);
    let store = || PostgresStore::new(postgres.config());
    let storage = SimStorage::new();
    let api = Api::start(parts(storage.clone(), store(), NO_REDIS)).await;
    assert_eq!(api.caller.post(&order("kept-0", 0)).await.0, 201);
    api.caller.until_relayed().await;
    let short = storage.snapshot();
    for n in 1..5 {
        assert_eq!(api.caller.post(&order(&format!("kept-{n}"), n)).await.0, 201);
    }
    api.caller.until_relayed().await;
    api.stop().await;

    // Another journal, and this one set back to an earlier state.
    for (storage, says) in
        [(SimStorage::new(), "belongs to journal"), (SimStorage::from_snapshot(short), "ends at 2")]
    {
        let api = Api::start(parts(storage, store(), NO_REDIS)).await;
        let body = api.caller.until("refusing").await;
        assert!(body["reason"].as_str().unwrap().contains(says), "{body}");
        let (status, answer) = api.caller.post(&order("new-0", 0)).await;
        assert_eq!((status, &answer["error"]["code"]), (503, &json!("STORE_MISMATCH")));
        api.stop().await;
    }
    assert_eq!(postgres.orders("").await.len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_written_twice_changes_nothing_the_second_time() {
    let postgres = need!(Postgres::start().await);
    let storage = SimStorage::new();
    let api = Api::start(parts(storage.clone(), nowhere(), NO_REDIS)).await;
    for n in 0..40 {
        assert_eq!(api.caller.post(&order(&format!("twice-{n}"), n)).await.0, 201);
    }
    api.stop().await;
    let (journal, _) =
        Journal::open(Arc::new(storage.restart_process()), Options::default()).unwrap();
    let mut deriver = Deriver::new(Arc::new(journal));
    let batches: Vec<Batch> = [21, 100].map(|records| deriver.next(records).unwrap()).into();
    assert_eq!(deriver.position_seq(), 41);

    let mut store = PostgresStore::new(postgres.config());
    let (mut first, cursor) = store.open("j").await.unwrap();
    assert_eq!(cursor, 0);
    // A second relay, or the same one that did not hear the answer.
    let (mut second, _) = store.open("j").await.unwrap();
    let contents = || async {
        let rows = postgres.rows("SELECT o::text FROM orders o ORDER BY order_id", &[]).await;
        let trades = postgres.rows("SELECT t::text FROM trades t ORDER BY trade_id", &[]).await;
        rows.iter().chain(&trades).map(|row| row.get(0)).collect::<Vec<String>>()
    };
    for batch in &batches {
        first.write(batch).await.unwrap();
        let before = contents().await;
        for session in [&mut first, &mut second] {
            let again = session.write(batch).await;
            assert!(matches!(again, Err(StoreError::CursorMoved { .. })), "{again:?}");
        }
        assert_eq!(contents().await, before);
        assert_eq!(second.cursor().await.unwrap(), batch.to_seq);
    }
    // Nor is a batch written from a place where the cursor is not.
    assert!(second.write(&batches[0]).await.is_err());
    assert_eq!(postgres.orders("twice-").await.len(), 40);
    let foreign = store.open("another").await;
    assert!(matches!(foreign, Err(StoreError::Foreign { .. })));
}
