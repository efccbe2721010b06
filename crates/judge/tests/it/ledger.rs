//! The audit against a model that is too naive to be wrong.

use proptest::prelude::*;
use temblor_event::{Event, LedgerRead, LedgerRows, OrderOutcome, Outcome, StoredRow};
use temblor_judge::LedgerResult;

use crate::good_run::{judged, ms, started};

#[derive(Debug, Clone)]
struct Order {
    key: String,
    outcome: Outcome,
    known: u64,
}

fn audit(orders: &[Order], rows: &[String], began: u64, parts: usize) -> LedgerResult {
    let mut events = vec![Event::at(0, started())];
    events.extend(orders.iter().map(|order| {
        let outcome = OrderOutcome {
            key: order.key.clone(),
            planned_ns: 0,
            sent_ns: None,
            outcome: order.outcome,
            status: None,
            order_id: None,
            error: None,
        };
        Event::at(order.known, outcome)
    }));
    let stored: Vec<StoredRow> =
        rows.iter().map(|key| StoredRow { key: key.clone(), order_id: String::new() }).collect();
    for part in stored.chunks(rows.len() / parts + 1) {
        events.push(Event::at(ms(1), LedgerRows { rows: part.to_vec() }));
    }
    let read = LedgerRead {
        source: "postgres".to_owned(),
        rows: rows.len() as u64,
        began_ns: began,
        error: None,
    };
    events.push(Event::at(ms(2), read));
    judged(&events).result.ledger.expect("there was a read")
}

/// Every figure by looking at everything.
fn model(orders: &[Order], rows: &[String], began: u64) -> [u64; 9] {
    let times = |key: &str| rows.iter().filter(|row| *row == key).count();
    let is = |outcome: Outcome| orders.iter().filter(move |order| order.outcome == outcome);
    let mut different: Vec<&String> = rows.iter().collect();
    different.sort();
    different.dedup();
    let lost = is(Outcome::Ok).filter(|o| o.known < began && times(&o.key) == 0).count();
    let duplicated = different.iter().filter(|key| times(key) >= 2).count();
    let unexpected = different.iter().filter(|key| {
        !orders.iter().any(|order| {
            order.key == ***key
                && (order.outcome == Outcome::Ok || order.outcome == Outcome::Unsure)
        })
    });
    let recovered = is(Outcome::Unsure).filter(|order| times(&order.key) > 0);
    [
        orders.len(),
        is(Outcome::Ok).count(),
        is(Outcome::Unsure).count(),
        is(Outcome::Fail).count(),
        different.len(),
        lost,
        duplicated,
        unexpected.count(),
        recovered.count(),
    ]
    .map(|n| n as u64)
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        4 => Just(Outcome::Ok),
        1 => Just(Outcome::Fail),
        2 => Just(Outcome::Unsure),
        1 => Just(Outcome::Unsent)
    ]
}

fn orders() -> impl Strategy<Value = Vec<Order>> {
    prop::collection::btree_map(0..30_u8, (outcome(), 0..10_u64), 1..25).prop_map(|orders| {
        let order =
            |(key, (outcome, known)): (u8, _)| Order { key: key.to_string(), outcome, known };
        orders.into_iter().map(order).collect()
    })
}

fn rows() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec((0..36_u8).prop_map(|key| key.to_string()), 0..60)
}

proptest! {
    #[test]
    fn it_equals_the_model(
        orders in orders(),
        rows in rows(),
        began in 0..11_u64,
        parts in 1..4_usize,
    ) {
        let ledger = audit(&orders, &rows, began, parts);
        let seen = [
            Some(ledger.attempted),
            Some(ledger.acknowledged),
            Some(ledger.unsure),
            Some(ledger.refused),
            ledger.stored,
            ledger.lost,
            ledger.duplicated,
            ledger.unexpected,
            ledger.recovered,
        ];
        prop_assert_eq!(seen, model(&orders, &rows, began).map(Some));
        prop_assert_eq!(ledger.error, None);
        let parts = ledger.acknowledged + ledger.unsure + ledger.refused + ledger.unsent;
        prop_assert_eq!(parts, ledger.attempted);
        for keys in ledger.examples.values() {
            prop_assert!(keys.len() <= 20);
        }
    }
}

fn order(key: &str, outcome: Outcome, known: u64) -> Order {
    Order { key: key.to_owned(), outcome, known }
}

#[test]
fn an_order_acknowledged_as_the_read_begins_is_concurrent_with_it() {
    for (known, lost) in [(4, 1), (5, 0), (6, 0)] {
        let ledger = audit(&[order("a", Outcome::Ok, known)], &[], 5, 1);
        assert_eq!(ledger.lost, Some(lost), "known at {known}");
        let named = (lost == 1).then(|| vec!["a".to_owned()]);
        assert_eq!(ledger.examples.get("lost").cloned(), named);
    }
}

#[test]
fn a_key_told_twice_stands_for_what_promises_most() {
    for outcomes in [[Outcome::Ok, Outcome::Fail], [Outcome::Fail, Outcome::Ok]] {
        let twice = outcomes.map(|outcome| order("a", outcome, 1));
        let ledger = audit(&twice, &[], 5, 1);
        assert_eq!((ledger.attempted, ledger.acknowledged, ledger.lost), (1, 1, Some(1)));
    }
}

#[test]
fn the_last_read_counts_with_the_rows_since_the_one_before() {
    let read = |t_ms, rows, error: Option<&str>| {
        let read = LedgerRead {
            source: "postgres".to_owned(),
            rows,
            began_ns: ms(t_ms),
            error: error.map(str::to_owned),
        };
        Event::at(ms(t_ms), read)
    };
    let row = StoredRow { key: "a".to_owned(), order_id: String::new() };
    let mut events = vec![
        Event::at(0, started()),
        Event::at(ms(1), LedgerRows { rows: vec![row.clone()] }),
        read(2, 1, Some("connection reset")),
        Event::at(ms(3), LedgerRows { rows: vec![row] }),
        read(4, 1, None),
    ];
    let ledger = judged(&events).result.ledger.expect("there was a read");
    assert_eq!((ledger.stored, ledger.duplicated, ledger.error), (Some(1), Some(0), None));
    events.push(read(5, 0, Some("no route to host")));
    let ledger = judged(&events).result.ledger.expect("there was a read");
    assert_eq!((ledger.stored, ledger.lost, ledger.unexpected), (None, None, None));
    assert_eq!(ledger.error.as_deref(), Some("no route to host"));
}
