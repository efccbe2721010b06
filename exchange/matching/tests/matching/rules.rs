//! Examples of the rules beyond price and time: how long an order stands, post-only, replaced orders.

use crate::examples::{check, told};
use crate::{buy, cancel, day, fok, ioc, order, post_only, replace, sell};
use exchange_matching::{Command, EndReason, Engine, OrdStatus, OrderId, Side, Symbol};

#[test]
fn time_in_force() {
    let engine = check(
        "an immediate-or-cancel order takes what it can get at its price",
        &[
            (sell(1, "a", Some(100), 2), "NEW 0/2"),
            (sell(2, "a", Some(102), 2), "NEW 0/2"),
            (
                ioc(buy(3, "b", Some(101), 5)),
                "CANCELLED 2/5 IMMEDIATE_OR_CANCEL | 2@100 #1 | #1 FILLED 0",
            ),
            (ioc(buy(4, "b", Some(101), 5)), "CANCELLED 0/5 IMMEDIATE_OR_CANCEL"),
        ],
    );
    assert_eq!(engine.live_orders(), 1);
    check(
        "a fill-or-kill order trades whole or not at all",
        &[
            (sell(1, "a", Some(100), 2), "NEW 0/2"),
            (sell(2, "b", Some(101), 2), "NEW 0/2"),
            (sell(3, "c", Some(103), 9), "NEW 0/9"),
            (fok(buy(4, "d", Some(101), 5)), "CANCELLED 0/5 FILL_OR_KILL"),
            (fok(buy(5, "d", Some(102), 5)), "CANCELLED 0/5 FILL_OR_KILL"),
            (
                fok(buy(6, "d", Some(101), 3)),
                "FILLED 3/3 | 2@100 #1 | 1@101 #2 | #1 FILLED 0 | #2 PARTIALLY_FILLED 1",
            ),
            (
                fok(buy(7, "d", None, 10)),
                "FILLED 10/10 | 1@101 #2 | 9@103 #3 | #2 FILLED 0 | #3 FILLED 0",
            ),
            (fok(buy(8, "d", None, 1)), "CANCELLED 0/1 FILL_OR_KILL"),
        ],
    );
    check(
        "its own resting orders fill nothing, and only one that is filled cancels them",
        &[
            (sell(1, "a", Some(100), 5), "NEW 0/5"),
            (sell(2, "b", Some(101), 5), "NEW 0/5"),
            (fok(buy(3, "a", Some(101), 6)), "CANCELLED 0/6 FILL_OR_KILL"),
            (
                fok(buy(4, "a", Some(101), 4)),
                "FILLED 4/4 | 4@101 #2 | #1 CANCELLED 0 | #2 PARTIALLY_FILLED 1",
            ),
        ],
    );
}

#[test]
fn the_end_of_a_day() {
    let engine = check(
        "orders of the day expire in order of id, the others stay",
        &[
            (day(sell(1, "a", Some(105), 5)), "NEW 0/5"),
            (sell(2, "a", Some(104), 5), "NEW 0/5"),
            (day(buy(3, "b", Some(90), 5)), "NEW 0/5"),
            (day(sell(4, "b", Some(103), 5)), "NEW 0/5"),
            (buy(5, "c", Some(103), 2), "FILLED 2/2 | 2@103 #4 | #4 PARTIALLY_FILLED 3"),
            // Back into the queue behind those who came after it: that does not change its turn.
            (replace(1, Some(104), None), "NEW 0/5"),
            (Command::EndDay, "#1 EXPIRED 0 | #3 EXPIRED 0 | #4 EXPIRED 0"),
            (Command::EndDay, ""),
            (cancel(3), "rejected: order 3 is already EXPIRED"),
            (buy(6, "c", Some(105), 9), "PARTIALLY_FILLED 5/9 | 5@104 #2 | #2 FILLED 0"),
        ],
    );
    let expired = engine.order(OrderId(4)).expect("remembered");
    assert_eq!((expired.status, expired.cum_qty.0), (OrdStatus::Expired, 2));
    assert_eq!(expired.end, Some(EndReason::EndOfDay));
}

#[test]
fn a_post_only_order_never_takes() {
    check(
        "it rests where it meets nobody, and trades as a maker",
        &[
            (sell(1, "a", Some(101), 5), "NEW 0/5"),
            (post_only(buy(2, "b", Some(101), 5)), "CANCELLED 0/5 POST_ONLY"),
            (post_only(buy(3, "b", Some(100), 5)), "NEW 0/5"),
            (post_only(sell(4, "c", Some(99), 5)), "CANCELLED 0/5 POST_ONLY"),
            (sell(5, "c", Some(100), 2), "FILLED 2/2 | 2@100 #3 | #3 PARTIALLY_FILLED 3"),
        ],
    );
    check(
        "an order of its own user is met as well, and stays",
        &[
            (sell(1, "a", Some(101), 5), "NEW 0/5"),
            (post_only(buy(2, "a", Some(101), 5)), "CANCELLED 0/5 POST_ONLY"),
            (buy(3, "b", Some(101), 1), "FILLED 1/1 | 1@101 #1 | #1 PARTIALLY_FILLED 4"),
        ],
    );
}

#[test]
fn replacing() {
    check(
        "a smaller quantity keeps the place, what had traded counts",
        &[
            (sell(1, "a", Some(100), 9), "NEW 0/9"),
            (sell(2, "b", Some(100), 9), "NEW 0/9"),
            (buy(3, "c", Some(100), 2), "FILLED 2/2 | 2@100 #1 | #1 PARTIALLY_FILLED 7"),
            (replace(1, None, Some(4)), "PARTIALLY_FILLED 2/4"),
            (replace(1, Some(100), Some(3)), "PARTIALLY_FILLED 2/3"),
            (
                replace(1, None, Some(2)),
                "rejected: quantity 2 is not above the 2 lots that have traded",
            ),
            (
                buy(4, "c", Some(100), 2),
                "FILLED 2/2 | 1@100 #1 | 1@100 #2 | #1 FILLED 0 | #2 PARTIALLY_FILLED 8",
            ),
            (replace(1, None, Some(9)), "rejected: order 1 is already FILLED"),
        ],
    );
    // Anything else goes behind #2: more, another price and back, the same again.
    for steps in [
        vec![replace(1, None, Some(6))],
        vec![replace(1, Some(101), Some(4)), replace(1, Some(100), Some(3))],
        vec![replace(1, Some(101), None), replace(1, Some(100), None)],
        vec![replace(1, Some(100), Some(5))],
        vec![replace(1, None, Some(5))],
    ] {
        let mut engine = Engine::default();
        for command in [sell(1, "a", Some(100), 5), sell(2, "b", Some(100), 5)].iter().chain(&steps)
        {
            engine.apply(command).expect("accepted");
        }
        let taker = buy(3, "c", Some(100), 1);
        let found = told(engine.apply(&taker), &taker);
        assert_eq!(found, "FILLED 1/1 | 1@100 #2 | #2 PARTIALLY_FILLED 4", "{steps:?}");
    }
    check(
        "an order that arrives anew may trade, under its old id",
        &[
            (sell(1, "a", Some(105), 4), "NEW 0/4"),
            (buy(2, "b", Some(100), 6), "NEW 0/6"),
            (sell(3, "a", Some(100), 1), "FILLED 1/1 | 1@100 #2 | #2 PARTIALLY_FILLED 5"),
            (replace(2, Some(105), Some(8)), "PARTIALLY_FILLED 5/8 | 4@105 #1 | #1 FILLED 0"),
            (sell(4, "c", Some(105), 3), "FILLED 3/3 | 3@105 #2 | #2 FILLED 0"),
        ],
    );
    check(
        "it meets its own user's orders as any taker does",
        &[
            (sell(1, "a", Some(105), 4), "NEW 0/4"),
            (buy(2, "a", Some(100), 6), "NEW 0/6"),
            (replace(2, Some(105), None), "NEW 0/6 | #1 CANCELLED 0"),
        ],
    );
    check(
        "it keeps its conditions",
        &[
            (sell(1, "a", Some(105), 4), "NEW 0/4"),
            (post_only(buy(2, "b", Some(100), 6)), "NEW 0/6"),
            (day(buy(3, "b", Some(99), 6)), "NEW 0/6"),
            (sell(4, "c", Some(100), 1), "FILLED 1/1 | 1@100 #2 | #2 PARTIALLY_FILLED 5"),
            (replace(2, Some(105), None), "CANCELLED 1/6 POST_ONLY"),
            (replace(3, Some(98), None), "NEW 0/6"),
            (Command::EndDay, "#3 EXPIRED 0"),
        ],
    );
}

#[test]
fn what_orders_traded_for_is_exact() {
    let engine = check(
        "each side counts every trade at the maker's price",
        &[
            (sell(1, "a", Some(100), 3), "NEW 0/3"),
            (sell(2, "b", Some(107), 3), "NEW 0/3"),
            (
                buy(3, "c", Some(110), 5),
                "FILLED 5/5 | 3@100 #1 | 2@107 #2 | #1 FILLED 0 | #2 PARTIALLY_FILLED 1",
            ),
            (replace(2, Some(111), None), "PARTIALLY_FILLED 2/3"),
            (buy(4, "c", None, 1), "FILLED 1/1 | 1@111 #2 | #2 FILLED 0"),
        ],
    );
    let value = |id| engine.order(OrderId(id)).map(|order| order.cum_value);
    assert_eq!([1, 2, 3, 4].map(value), [300, 325, 514, 111].map(Some));
}

/// Users are numbered inside, and numbers are given again: that must not make strangers of one or one of two.
#[test]
fn users_come_and_go() {
    let mut engine = Engine::default();
    let mut id = 0;
    let mut next = |user: &str, side, price| {
        id += 1;
        Command::Place(order(id, user, Symbol::BtcUsd, side, Some(price), 1))
    };
    for round in 0..5 {
        let (one, other) = (format!("user-{round}"), format!("user-{}", round + 1));
        let resting = next(&one, Side::Sell, 100);
        assert_eq!(told(engine.apply(&resting), &resting), "NEW 0/1");
        let own = next(&one, Side::Buy, 100);
        assert!(told(engine.apply(&own), &own).starts_with("NEW 0/1 | #"), "prevented");
        let foreign = next(&other, Side::Sell, 100);
        assert!(told(engine.apply(&foreign), &foreign).starts_with("FILLED 1/1 | 1@100"));
        engine.verify().expect("the rules hold");
    }
    assert_eq!(engine.live_orders(), 0);
}
