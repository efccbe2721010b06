//! Examples, as data: commands and, in one line each, what came out.

use crate::{buy, cancel, order, sell};
use exchange_matching::{
    Command, Depth, DepthLevel, Engine, Limits, Lots, OrderId, Outcome, PRICE_TICKS_MAX,
    QUANTITY_LOTS_MAX, RejectReason, Side, Symbol, Ticks,
};

/// `STATUS cum/quantity`, then each trade as `quantity@price #maker`, then each maker as `#id STATUS leaves`.
fn told(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Placed(execution) => {
            let order = &execution.order;
            let mut line = format!("{} {}/{}", order.status, order.cum_qty, order.quantity);
            for trade in &execution.trades {
                line += &format!(" | {}@{} #{}", trade.quantity, trade.price, trade.maker_order_id);
            }
            for maker in &execution.makers {
                line += &format!(" | #{} {} {}", maker.order_id, maker.status, maker.leaves_qty);
            }
            line
        }
        Outcome::Cancelled(order) => {
            format!("{} {}/{}", order.status, order.cum_qty, order.quantity)
        }
        Outcome::Rejected(reason) => format!("rejected: {reason}"),
    }
}

fn check(name: &str, steps: &[(Command, &str)]) -> Engine {
    let mut engine = Engine::default();
    for (i, (command, expected)) in steps.iter().enumerate() {
        let outcome = engine.apply(command.clone());
        assert_eq!(told(&outcome), *expected, "{name}, step {i}: {command:?}");
        engine.verify().expect("the rules hold");
    }
    engine
}

#[test]
fn rules_by_example() {
    check("a limit order rests", &[(buy(1, "a", Some(100), 5), "NEW 0/5")]);
    check(
        "better price first, then earlier order, at the maker's price",
        &[
            (sell(1, "a", Some(102), 5), "NEW 0/5"),
            (sell(2, "b", Some(101), 5), "NEW 0/5"),
            (sell(3, "c", Some(101), 5), "NEW 0/5"),
            (
                buy(4, "d", Some(105), 12),
                "FILLED 12/12 | 5@101 #2 | 5@101 #3 | 2@102 #1 | #2 FILLED 0 | #3 FILLED 0 | #1 PARTIALLY_FILLED 3",
            ),
            (buy(5, "d", None, 1), "FILLED 1/1 | 1@102 #1 | #1 PARTIALLY_FILLED 2"),
        ],
    );
    check(
        "a seller takes the highest bid first",
        &[
            (buy(1, "a", Some(99), 1), "NEW 0/1"),
            (buy(2, "b", Some(100), 1), "NEW 0/1"),
            (
                sell(3, "c", Some(99), 3),
                "PARTIALLY_FILLED 2/3 | 1@100 #2 | 1@99 #1 | #2 FILLED 0 | #1 FILLED 0",
            ),
            (buy(4, "a", Some(99), 1), "FILLED 1/1 | 1@99 #3 | #3 FILLED 0"),
        ],
    );
    check(
        "a limit stops at its price",
        &[
            (sell(1, "a", Some(100), 1), "NEW 0/1"),
            (sell(2, "a", Some(101), 1), "NEW 0/1"),
            (buy(3, "b", Some(100), 5), "PARTIALLY_FILLED 1/5 | 1@100 #1 | #1 FILLED 0"),
            (buy(4, "b", Some(99), 5), "NEW 0/5"),
        ],
    );
    let engine = check(
        "a market order never rests and never trades at nothing",
        &[
            (buy(1, "a", None, 5), "CANCELLED 0/5"),
            (sell(2, "a", None, 5), "CANCELLED 0/5"),
            (sell(3, "a", Some(100), 2), "NEW 0/2"),
            (buy(4, "b", None, 5), "CANCELLED 2/5 | 2@100 #3 | #3 FILLED 0"),
        ],
    );
    assert_eq!(engine.live_orders(), 0);
    check(
        "self-trade prevention cancels the resting order and goes on",
        &[
            (sell(1, "a", Some(100), 2), "NEW 0/2"),
            (sell(2, "b", Some(100), 2), "NEW 0/2"),
            (sell(3, "a", Some(101), 2), "NEW 0/2"),
            (
                buy(4, "a", Some(101), 5),
                "PARTIALLY_FILLED 2/5 | 2@100 #2 | #1 CANCELLED 0 | #2 FILLED 0 | #3 CANCELLED 0",
            ),
            (cancel(1), "rejected: order 1 is already CANCELLED"),
        ],
    );
    check(
        "self-trade prevention keeps what the maker had traded",
        &[
            (sell(1, "a", Some(100), 5), "NEW 0/5"),
            (buy(2, "b", Some(100), 2), "FILLED 2/2 | 2@100 #1 | #1 PARTIALLY_FILLED 3"),
            (buy(3, "a", None, 1), "CANCELLED 0/1 | #1 CANCELLED 0"),
        ],
    );
    check(
        "cancelling",
        &[
            (buy(1, "a", Some(100), 5), "NEW 0/5"),
            (buy(2, "b", Some(100), 5), "NEW 0/5"),
            (buy(3, "c", Some(100), 5), "NEW 0/5"),
            (cancel(2), "CANCELLED 0/5"),
            (cancel(2), "rejected: order 2 is already CANCELLED"),
            (cancel(9), "rejected: order 9 is not known"),
            (
                sell(4, "d", Some(100), 7),
                "FILLED 7/7 | 5@100 #1 | 2@100 #3 | #1 FILLED 0 | #3 PARTIALLY_FILLED 3",
            ),
            (cancel(3), "CANCELLED 2/5"),
            (cancel(4), "rejected: order 4 is already FILLED"),
        ],
    );
}

#[test]
fn what_cannot_be_is_rejected_and_changes_nothing() {
    let mut engine = Engine::new(Limits { live_orders_max: 1, finished_orders_max: 10 });
    engine.apply(buy(5, "a", Some(100), 1));
    let before = engine.digest();
    let too_much = QUANTITY_LOTS_MAX + 1;
    let too_high = PRICE_TICKS_MAX + 1;
    let cases = [
        (buy(6, "a", Some(1), 0), RejectReason::ZeroQuantity),
        (buy(6, "a", None, 0), RejectReason::ZeroQuantity),
        (
            buy(6, "a", Some(1), too_much),
            RejectReason::QuantityTooLarge { quantity: Lots(too_much) },
        ),
        (sell(6, "a", Some(0), 1), RejectReason::ZeroPrice),
        (sell(6, "a", Some(too_high), 1), RejectReason::PriceTooHigh { price: Ticks(too_high) }),
        (
            buy(5, "a", Some(1), 1),
            RejectReason::OrderIdNotGrowing { order_id: OrderId(5), last: OrderId(5) },
        ),
        (buy(6, "a", Some(1), 1), RejectReason::BooksFull { live_orders_max: 1 }),
    ];
    for (command, reason) in cases {
        assert_eq!(engine.apply(command.clone()), Outcome::Rejected(reason), "{command:?}");
        let Command::Place(place) = command else { unreachable!("all cases place") };
        assert_eq!(engine.check(&place), Err(reason));
    }
    assert_eq!(engine.digest(), before);
    assert_eq!(told(&engine.apply(sell(6, "b", None, 1))), "FILLED 1/1 | 1@100 #5 | #5 FILLED 0");
}

#[test]
fn the_largest_orders_trade_without_overflow() {
    let mut engine = Engine::default();
    for id in 1..=100 {
        engine.apply(sell(id, "a", Some(PRICE_TICKS_MAX), QUANTITY_LOTS_MAX));
    }
    let depth = engine.depth(Symbol::BtcUsd, 1);
    assert_eq!(depth.asks[0].quantity, Lots(100 * QUANTITY_LOTS_MAX));
    let outcome = engine.apply(buy(101, "b", None, QUANTITY_LOTS_MAX));
    assert!(told(&outcome).starts_with("FILLED 1000000000/1000000000 | 1000000000@1000000000 #1"));
}

#[test]
fn depth_is_best_first_and_bounded() {
    let mut engine = Engine::default();
    for (id, (side, price, quantity)) in (1..).zip([
        (Side::Buy, 98, 1),
        (Side::Buy, 99, 2),
        (Side::Buy, 99, 3),
        (Side::Sell, 102, 4),
        (Side::Sell, 101, 5),
        (Side::Sell, 103, 6),
    ]) {
        engine.place(order(id, "a", Symbol::EthUsd, side, Some(price), quantity)).expect("placed");
    }
    let level = |price, quantity, orders| DepthLevel {
        price: Ticks(price),
        quantity: Lots(quantity),
        orders,
    };
    let expected = Depth {
        bids: vec![level(99, 5, 2), level(98, 1, 1)],
        asks: vec![level(101, 5, 1), level(102, 4, 1)],
    };
    assert_eq!(engine.depth(Symbol::EthUsd, 2), expected);
    assert_eq!(engine.depth(Symbol::BtcUsd, 2), Depth { bids: vec![], asks: vec![] });
    assert_eq!(engine.last_price(Symbol::EthUsd), None);
}

#[test]
fn finished_orders_are_remembered_up_to_a_bound() {
    let mut engine = Engine::new(Limits { live_orders_max: 10, finished_orders_max: 2 });
    for id in 1..=4 {
        engine.apply(buy(id, "a", Some(100), 1));
    }
    for id in [2, 1, 4] {
        engine.apply(cancel(id));
    }
    assert_eq!(engine.order(OrderId(2)), None, "finished first, forgotten first");
    let known: Vec<u64> = engine.orders_newest_first().map(|order| order.order_id.get()).collect();
    assert_eq!(known, [4, 3, 1]);
    assert_eq!(told(&engine.apply(cancel(2))), "rejected: order 2 is not known");
    assert_eq!(
        told(&engine.apply(buy(2, "a", Some(1), 1))),
        "rejected: order id 2 does not follow 4, the last accepted one"
    );
}

/// The digest is part of what is compared between processes and versions: if this fails, the meaning of the
/// digest has changed, and recorded ones no longer compare.
#[test]
fn the_digest_is_stable() {
    let mut engine = Engine::default();
    for command in
        [sell(1, "a", Some(100), 5), buy(2, "b", Some(101), 3), buy(3, "c", Some(90), 1), cancel(3)]
    {
        engine.apply(command);
    }
    assert_eq!(engine.digest().to_string(), "699a0a5b637d0d82");
}
