//! Faulty exchanges must be accused, and a sound one never. `TEMBLOR_SEED` draws others than usual.

#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "helpers of tests fail where they stand, and say what they drew"
)]

use std::sync::Arc;
use std::time::Duration;

use exchange_audit::ledger::Ledger;
use exchange_audit::replayed::{Replayed, replay};
use exchange_audit::report::Verdict;
use exchange_audit::tables::Tables;
use exchange_audit::{Check, Evidence, Report, audit};
use exchange_journal::sim::SimStorage;
use exchange_journal::{Journal, Options};
use exchange_matching::{
    ClientOrderId, Lots, OrderId, OrderKind, Place, Replace, Side, Symbol, Ticks, TimeInForce,
    UserId,
};
use exchange_services::trading_api::record::Record;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

const SEEDS: u64 = 1000;
const RECORDS: u64 = 120;
const PREFIX: &str = "run-";

fn first_seed() -> u64 {
    let seed = std::env::var("TEMBLOR_SEED").map_or(1, |text| text.parse().unwrap());
    eprintln!("TEMBLOR_SEED={seed}");
    seed
}

/// An exchange that was at work, and its clients.
struct Run {
    disk: SimStorage,
    ledger: Ledger,
}

fn below(random: &mut StdRng, bound: u64) -> u64 {
    random.next_u64() % bound
}

/// Some orders, cancellations and replacements, and the end of a day now and then; the keys repeat where the exchange takes an order twice.
fn records(random: &mut StdRng, takes_twice: bool) -> Vec<Record> {
    let mut records = vec![Record::Genesis { journal_id: "j".to_owned() }];
    let mut next_id = 1;
    for at_us in 1..RECORDS {
        let earlier = |random: &mut StdRng| OrderId(1 + below(random, next_id - 1));
        let change = match below(random, 20) {
            0 => Some(Record::EndDay { at_us }),
            1..4 if next_id > 1 => Some(Record::Cancel { order_id: earlier(random), at_us }),
            4..8 if next_id > 1 => {
                let (new_price, new_quantity) =
                    [(true, false), (false, true), (true, true)][below(random, 3) as usize];
                let replace = Replace {
                    order_id: earlier(random),
                    price: new_price.then(|| Ticks(95 + below(random, 10))),
                    quantity: new_quantity.then(|| Lots(1 + below(random, 9))),
                };
                Some(Record::Replace { replace, at_us })
            }
            _ => None,
        };
        if let Some(change) = change {
            records.push(change);
            continue;
        }
        let is_limit = below(random, 5) > 0;
        let price_ticks = Ticks(95 + below(random, 10));
        let kind = if is_limit { OrderKind::Limit { price_ticks } } else { OrderKind::Market };
        let possible: Vec<TimeInForce> =
            TimeInForce::ALL.iter().copied().filter(|one| is_limit || !one.may_rest()).collect();
        let time_in_force = possible[below(random, possible.len() as u64) as usize];
        let number = if takes_twice { 1 + below(random, next_id) } else { next_id };
        let place = Place {
            order_id: OrderId(next_id),
            client_order_id: ClientOrderId::new(&format!("{PREFIX}{number}")).unwrap(),
            user: UserId::new(&format!("u{}", below(random, 4))).unwrap(),
            symbol: Symbol::ALL[below(random, 2) as usize],
            side: if below(random, 2) == 0 { Side::Buy } else { Side::Sell },
            kind,
            quantity: Lots(1 + below(random, 9)),
            time_in_force,
            post_only: time_in_force.may_rest() && below(random, 4) == 0,
        };
        records.push(Record::Place { place, at_us });
        next_id += 1;
    }
    records
}

/// Journalled, and acknowledged as soon as it is.
fn run(random: &mut StdRng, takes_twice: bool) -> Run {
    let disk = SimStorage::new();
    let (journal, _) = Journal::open(Arc::new(disk.clone()), Options::default()).unwrap();
    let mut ledger = Ledger::default();
    let mut last = 0;
    for record in records(random, takes_twice) {
        last = journal.append(record.encode().unwrap(), |_| ()).unwrap();
        if let Record::Place { place, .. } = record {
            let id = i64::try_from(place.order_id.get()).unwrap();
            let key = place.client_order_id.as_str();
            // A client that was answered twice keeps the first answer.
            if !ledger.acknowledged.contains_key(key) {
                ledger.acknowledge(key, id);
            }
        }
    }
    journal.wait_durable_after(last - 1, Duration::from_secs(10)).unwrap();
    ledger.attempt("run-of a client that was never answered");
    Run { disk, ledger }
}

fn judged(stored: &Tables, replayed: &Replayed, ledger: &Ledger) -> Report {
    let awaited_seq = replayed.end.last_seq;
    audit(&Evidence { stored, replayed, awaited_seq, clients: Some((ledger, PREFIX)) })
}

#[test]
fn a_sound_exchange_is_never_accused() {
    let first = first_seed();
    for seed in first..first + SEEDS {
        let mut random = StdRng::seed_from_u64(seed);
        let Run { disk, ledger } = run(&mut random, false);
        let whole = replay(&disk, u64::MAX).unwrap();
        let report = judged(&whole.tables, &whole, &ledger);
        assert_eq!(report.verdict(), Verdict::Kept, "seed {seed}: {report}");
        // While the relay is on its way.
        let up_to = 1 + below(&mut random, RECORDS - 1);
        let some = replay(&disk, up_to).unwrap();
        let report = judged(&some.tables, &some, &ledger);
        let expected = if up_to < RECORDS { Verdict::Behind } else { Verdict::Kept };
        assert_eq!(report.verdict(), expected, "seed {seed}: {report}");
    }
}

/// What is wrong with the database (nothing where it has no row that this could be wrong with), and which
/// checks have to see it: all of the first ones, of which the second ones do not know the journal.
type Planted = (fn(&mut Tables, &mut StdRng) -> Option<()>, &'static [Check], &'static [Check]);

fn any(random: &mut StdRng, ids: impl Iterator<Item = i64>) -> Option<i64> {
    let ids: Vec<i64> = ids.collect();
    (!ids.is_empty()).then(|| ids[below(random, ids.len() as u64) as usize])
}

const PLANTED: &[(&str, Planted)] = &[
    (
        "the cursor moves outside of the transaction, which is lost",
        (
            |tables, random| {
                let from = 2 + below(random, RECORDS / 2) as i64;
                let orders = tables.orders.len();
                let is_kept = |seq: i64| seq < from || seq > from + 8;
                tables.orders.retain(|_, order| is_kept(order.journal_seq));
                tables.trades.retain(|_, trade| is_kept(trade.journal_seq));
                (tables.orders.len() < orders).then_some(())
            },
            &[Check::OrdersAsJournalled],
            &[Check::Gapless],
        ),
    ),
    (
        "an error of the relay is swallowed: what changed of an order is not stored",
        (
            |tables, random| {
                let filled = |order: &&mut exchange_audit::tables::OrderRow| order.filled > 0;
                let count = tables.orders.values_mut().filter(|order| filled(order)).count();
                let chosen = below(random, count.max(1) as u64) as usize;
                let order = tables.orders.values_mut().filter(filled).nth(chosen)?;
                (order.filled, order.value, order.end_reason) = (0, 0, None);
                order.status = if order.kind == "LIMIT" { "NEW" } else { "CANCELLED" }.to_owned();
                Some(())
            },
            &[Check::OrdersAsJournalled],
            &[Check::FilledIsTraded, Check::Conserved],
        ),
    ),
    (
        "a trade is not stored",
        (
            |tables, random| {
                let id = any(random, tables.trades.keys().copied())?;
                tables.trades.remove(&id);
                Some(())
            },
            &[Check::TradesAsJournalled],
            &[Check::FilledIsTraded],
        ),
    ),
    (
        "a fill is of more than there was",
        (
            |tables, random| {
                let id = any(random, tables.trades.keys().copied())?;
                let trade = tables.trades.get_mut(&id).unwrap();
                trade.quantity += 10;
                for order in [trade.maker_order_id, trade.taker_order_id] {
                    let order = tables.orders.get_mut(&order).unwrap();
                    order.filled += 10;
                    order.value += 10 * trade.price;
                }
                Some(())
            },
            &[Check::TradesAsJournalled, Check::OrdersAsJournalled],
            &[Check::OrdersConsistent],
        ),
    ),
    (
        "a trade is at a price that nobody asked for",
        (
            |tables, random| {
                let id = any(random, tables.trades.keys().copied())?;
                tables.trades.get_mut(&id).unwrap().price += 1;
                Some(())
            },
            &[Check::TradesAsJournalled],
            &[Check::FilledIsTraded],
        ),
    ),
    (
        "the maker's price is not the one that it had",
        (
            |tables, random| {
                let never_replaced = |id: &i64| tables.orders[id].replaced_seq.is_none();
                let trades = tables.trades.values().map(|trade| trade.maker_order_id);
                let id = any(random, trades.filter(never_replaced))?;
                *tables.orders.get_mut(&id).unwrap().price.as_mut().unwrap() += 1;
                Some(())
            },
            &[Check::OrdersAsJournalled],
            &[Check::TwoSides],
        ),
    ),
    (
        "a replacement is not stored",
        (
            |tables, random| {
                let replaced = |(id, order): (&i64, &exchange_audit::tables::OrderRow)| {
                    order.replaced_seq.map(|_| *id)
                };
                let id = any(random, tables.orders.iter().filter_map(replaced))?;
                let order = tables.orders.get_mut(&id).unwrap();
                order.replaced_seq = None;
                Some(())
            },
            &[Check::OrdersAsJournalled],
            &[],
        ),
    ),
    (
        "an order that was good for the day is not ended with it",
        (
            |tables, random| {
                let expired = |(id, order): (&i64, &exchange_audit::tables::OrderRow)| {
                    (order.status == "EXPIRED").then_some(*id)
                };
                let id = any(random, tables.orders.iter().filter_map(expired))?;
                tables.orders.get_mut(&id).unwrap().time_in_force = "GTC".to_owned();
                Some(())
            },
            &[Check::OrdersAsJournalled],
            &[Check::OrdersConsistent],
        ),
    ),
    (
        "what an order cost is rounded",
        (
            |tables, random| {
                let filled = |(id, order): (&i64, &exchange_audit::tables::OrderRow)| {
                    (order.filled > 0).then_some(*id)
                };
                let id = any(random, tables.orders.iter().filter_map(filled))?;
                tables.orders.get_mut(&id).unwrap().value += 1;
                Some(())
            },
            &[Check::OrdersAsJournalled],
            &[Check::FilledIsTraded, Check::Conserved],
        ),
    ),
    (
        "somebody trades with himself",
        (
            |tables, random| {
                let id = any(random, tables.trades.keys().copied())?;
                let trade = &tables.trades[&id];
                let user = tables.orders[&trade.maker_order_id].user_id.clone();
                tables.orders.get_mut(&trade.taker_order_id).unwrap().user_id = user;
                Some(())
            },
            &[Check::OrdersAsJournalled],
            &[Check::TwoSides],
        ),
    ),
    (
        "there is an order that nobody journalled",
        (
            |tables, _| {
                let (id, order) = tables.orders.last_key_value().unwrap();
                let (id, order) = (id + 1, order.clone());
                tables.orders.insert(id, order);
                Some(())
            },
            &[Check::OrdersAsJournalled],
            &[Check::OnceEach],
        ),
    ),
    (
        "it has the rows of another journal",
        (
            |tables, _| {
                tables.journal_id = "another".to_owned();
                Some(())
            },
            &[Check::SameJournal],
            &[],
        ),
    ),
];

#[test]
fn a_faulty_database_is_always_accused() {
    let first = first_seed();
    for (what, (plant, with_journal, without)) in PLANTED {
        let mut planted = 0;
        for seed in first..first + SEEDS / 4 {
            let mut random = StdRng::seed_from_u64(seed);
            let Run { disk, ledger } = run(&mut random, false);
            let mut whole = replay(&disk, u64::MAX).unwrap();
            let mut stored = whole.tables.clone();
            if plant(&mut stored, &mut random).is_none() {
                continue;
            }
            planted += 1;
            let report = judged(&stored, &whole, &ledger);
            let broken: Vec<Check> = report.broken().collect();
            let all = with_journal.iter().chain(*without);
            for check in all.clone() {
                assert!(broken.contains(check), "{what}, seed {seed}, {check:?}: {report}");
            }
            // A fault that the journal has as well.
            whole.tables = stored.clone();
            let broken: Vec<Check> = judged(&stored, &whole, &ledger).broken().collect();
            for check in *without {
                assert!(broken.contains(check), "{what}, seed {seed}, {check:?}: {broken:?}");
            }
        }
        eprintln!("{what}: in {planted} of {}", SEEDS / 4);
        assert!(planted >= SEEDS / 8, "{what}: in {planted} only");
    }
}

#[test]
fn a_key_that_was_taken_twice_is_always_seen() {
    let first = first_seed();
    for seed in first..first + SEEDS / 4 {
        let mut random = StdRng::seed_from_u64(seed);
        let Run { disk, ledger } = run(&mut random, true);
        let whole = replay(&disk, u64::MAX).unwrap();
        let report = judged(&whole.tables, &whole, &ledger);
        let broken: Vec<Check> = report.broken().collect();
        assert!(broken.contains(&Check::OnceEach), "seed {seed}: {report}");
        assert!(broken.contains(&Check::NothingUnasked), "seed {seed}: {report}");
    }
}

/// An exchange that acknowledges before it syncs, or whose journal loses its end: either way the journal
/// ends earlier than its clients know.
#[test]
fn a_lost_tail_is_always_seen() {
    let first = first_seed();
    for seed in first..first + SEEDS / 4 {
        let mut random = StdRng::seed_from_u64(seed);
        let Run { disk, ledger } = run(&mut random, false);
        let stored = replay(&disk, u64::MAX).unwrap().tables;
        let kept = 1 + below(&mut random, RECORDS / 2);
        let cut = SimStorage::new();
        let (journal, _) = Journal::open(Arc::new(cut.clone()), Options::default()).unwrap();
        exchange_journal::look(&disk, |record| {
            if record.seq <= kept {
                journal.append_wait(record.payload).unwrap();
            }
        })
        .unwrap();
        let replayed = replay(&cut, stored.cursor).unwrap();
        let report = judged(&stored, &replayed, &ledger);
        let broken: Vec<Check> = report.broken().collect();
        for check in [Check::NotAhead, Check::AcknowledgedKept] {
            assert!(broken.contains(&check), "seed {seed}, {check:?}: {report}");
        }
        // The database alone has lost as much.
        let stored = replay(&disk, kept).unwrap().tables;
        let whole = replay(&disk, kept).unwrap();
        assert_eq!(judged(&stored, &whole, &ledger).verdict(), Verdict::Behind, "seed {seed}");
    }
}

#[test]
fn answers_that_differ_and_orders_that_nobody_sent_are_seen() {
    let mut random = StdRng::seed_from_u64(first_seed());
    let Run { disk, mut ledger } = run(&mut random, false);
    let whole = replay(&disk, u64::MAX).unwrap();
    let key = ledger.acknowledged.keys().next().unwrap().clone();
    ledger.acknowledge(&key, 4711);
    let report = judged(&whole.tables, &whole, &ledger);
    assert_eq!(report.broken().collect::<Vec<_>>(), [Check::AcknowledgedKept]);
    ledger.acknowledged.remove(&key);
    ledger.attempted.remove(&key);
    let report = judged(&whole.tables, &whole, &ledger);
    assert_eq!(report.broken().collect::<Vec<_>>(), [Check::NothingUnasked]);
    let mut stored = whole.tables.clone();
    stored.orders.get_mut(&1).unwrap().quantity += 100;
    let told = judged(&stored, &whole, &ledger).to_string();
    assert!(told.contains("order 1: quantity is 1"), "{told}");
    let told = report.to_string();
    assert!(told.contains(&format!("has the key {key}, which nobody sent")), "{told}");
}
