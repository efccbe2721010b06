//! The stream of events in Redis: everything, in its order, once, from wherever one left off.

use std::time::Duration;

use exchange_journal::sim::SimStorage;
use exchange_services::trading_api::events::STREAM;
use serde_json::{Value, json};

use crate::support::api::{Api, Caller, nowhere, parts};
use crate::support::redis::Redis;
use crate::support::{eventually, need};

/// Id, kind, what happened.
type Entry = (String, String, Value);

/// What comes after an id.
async fn after(redis: &Redis, id: &str) -> Vec<Entry> {
    type Raw = Vec<(String, Vec<(String, String)>)>;
    let Some(mut connection) = redis.connection().await else { return Vec::new() };
    let mut range = ::redis::cmd("XRANGE");
    range.arg(STREAM).arg(format!("({id}")).arg("+");
    let raw: Raw = range.query_async(&mut connection).await.unwrap_or_default();
    let entry = |(id, fields): (String, Vec<(String, String)>)| {
        let field = |name: &str| fields.iter().find(|(key, _)| key == name).unwrap().1.clone();
        (id, field("type"), serde_json::from_str(&field("data")).unwrap())
    };
    raw.into_iter().map(entry).collect()
}

async fn until(redis: &Redis, entries: usize) -> Vec<Entry> {
    eventually("the events are there", Duration::from_secs(15), || async {
        let found = after(redis, "0-0").await;
        (found.len() >= entries).then_some(found)
    })
    .await
}

async fn place(caller: &Caller, user: &str, side: &str, quantity: u64, price: u64) {
    let order = json!({"user_id": user, "symbol": "ADAUSD", "side": side, "type": "LIMIT",
                       "quantity": quantity, "price": price});
    assert_eq!(caller.post(&order).await.0, 201);
}

fn kinds(entries: &[Entry]) -> Vec<&str> {
    entries.iter().map(|(_, kind, _)| kind.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_in_the_order_of_the_journal_and_come_back_with_their_ids() {
    let mut redis = need!(Redis::start().await);
    let storage = SimStorage::new();
    let api = Api::start(parts(storage.clone(), nowhere(), &redis.url())).await;
    let caller = &api.caller;
    place(caller, "a", "SELL", 5, 100).await;
    place(caller, "a", "SELL", 5, 101).await;
    caller.patch("/api/orders/1", &json!({"price": 99})).await;
    // It meets both, and then an order of its own user goes.
    place(caller, "b", "BUY", 7, 101).await;
    place(caller, "a", "BUY", 1, 101).await;
    caller.delete("/api/orders/4").await;
    let expected = [
        "order.placed",
        "order.placed",
        "order.replaced",
        "order.placed",
        "trade.executed",
        "trade.executed",
        "order.placed",
        "order.cancelled",
        "order.cancelled",
    ];
    let first = until(&redis, expected.len()).await;
    assert_eq!(kinds(&first), expected);
    // The journal's first record is its own name.
    let ids: Vec<&str> = first.iter().map(|(id, ..)| id.as_str()).collect();
    assert_eq!(ids, ["2-0", "3-0", "4-0", "5-0", "5-1", "5-2", "6-0", "6-1", "7-0"]);
    assert_eq!((&first[4].2["price"], &first[4].2["sell_order_id"]), (&json!(99), &json!("1")));
    assert_eq!(first[7].2["reason"], "SELF_TRADE_PREVENTION");
    assert_eq!(first[8].2["reason"], "OWNER");
    // They are counted once Redis has answered.
    eventually("they are counted", Duration::from_secs(5), || async {
        (caller.metric("events_published_total").await == expected.len() as f64).then_some(())
    })
    .await;

    // Redis dies and comes back empty; meanwhile things happen.
    redis.kill();
    place(caller, "c", "SELL", 1, 200).await;
    redis.restart().await;
    let again = until(&redis, expected.len() + 1).await;
    assert_eq!(again[..expected.len()], first);
    assert_eq!(kinds(&again[expected.len()..]), ["order.placed"]);

    // A consumer that has read up to somewhere misses and repeats nothing when the service starts again.
    let read_up_to = again[4].0.clone();
    api.stop().await;
    let api = Api::start(parts(storage.restart_process(), nowhere(), &redis.url())).await;
    place(&api.caller, "c", "SELL", 1, 201).await;
    let all = until(&redis, expected.len() + 2).await;
    assert_eq!(all[..again.len()], again);
    assert_eq!(after(&redis, &read_up_to).await, all[5..]);
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_events_of_another_journal_go() {
    let redis = need!(Redis::start().await);
    for user in ["first", "second"] {
        let api = Api::start(parts(SimStorage::new(), nowhere(), &redis.url())).await;
        place(&api.caller, user, "SELL", 1, 100).await;
        eventually("only its own are there", Duration::from_secs(10), || async {
            let all = after(&redis, "0-0").await;
            let users: Vec<_> = all.iter().map(|(_, _, data)| data["user_id"].clone()).collect();
            (users == [json!(user)]).then_some(())
        })
        .await;
        api.stop().await;
    }
}

/// By somebody, while all is quiet or while there is more to tell: noticed, and written again.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_deleted_or_emptied_is_written_again() {
    let redis = need!(Redis::start().await);
    let api = Api::start(parts(SimStorage::new(), nowhere(), &redis.url())).await;
    for price in 100..300 {
        place(&api.caller, "a", "SELL", 1, price).await;
    }
    let mut before = until(&redis, 200).await;
    let mut connection = redis.connection().await.unwrap();
    let done = async |connection: &mut ::redis::aio::MultiplexedConnection, command: &[&str]| {
        let mut harm = ::redis::cmd(command[0]);
        command[1..].iter().for_each(|word| _ = harm.arg(*word));
        let _: ::redis::Value = harm.query_async(connection).await.unwrap();
    };
    for (harm, is_quiet) in [
        (["DEL", STREAM].as_slice(), true),
        (&["DEL", STREAM], false),
        (&["XTRIM", STREAM, "MAXLEN", "0"], true),
        (&["XDEL", STREAM, "the last"], true),
    ] {
        let last = before.last().unwrap().0.clone();
        let harm: Vec<&str> = harm
            .iter()
            .map(|word| if *word == "the last" { last.as_str() } else { word })
            .collect();
        done(&mut connection, &harm).await;
        if !is_quiet {
            place(&api.caller, "a", "SELL", 1, 900).await;
        }
        let all = before.len() + usize::from(!is_quiet);
        let found = eventually(
            &format!("all is there again after {harm:?}"),
            Duration::from_secs(15),
            || async {
                let found = after(&redis, "0-0").await;
                (found.len() == all).then_some(found)
            },
        )
        .await;
        assert_eq!(found[..before.len()], before, "{harm:?}");
        before = found;
    }
    api.stop().await;
}

/// An older copy of the journal was put back: what was told after it never happened.
#[tokio::test(flavor = "multi_thread")]
async fn events_beyond_the_journals_end_go() {
    let redis = need!(Redis::start().await);
    let storage = SimStorage::new();
    let api = Api::start(parts(storage.clone(), nowhere(), &redis.url())).await;
    place(&api.caller, "a", "SELL", 1, 100).await;
    until(&redis, 1).await;
    let mut connection = redis.connection().await.unwrap();
    let mut add = ::redis::cmd("XADD");
    add.arg(STREAM).arg("99-0").arg("type").arg("order.placed").arg("data").arg("{}");
    let _: ::redis::Value = add.query_async(&mut connection).await.unwrap();
    let ids = async || -> Vec<String> {
        after(&redis, "0-0").await.into_iter().map(|(id, ..)| id).collect()
    };
    eventually("only what happened is there", Duration::from_secs(10), async || {
        (ids().await == ["2-0"]).then_some(())
    })
    .await;
    api.stop().await;
}
