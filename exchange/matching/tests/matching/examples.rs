//! Examples, as data: commands and, in one line each, what came out.

use crate::{buy, cancel, changed, fok, ioc, order, post_only, replace, sell};
use exchange_matching::{
    Command, Depth, DepthLevel, Effects, EndReason, Engine, Limits, Lots, OrdStatus, OrderId,
    PRICE_TICKS_MAX, QUANTITY_LOTS_MAX, RejectReason, Side, Symbol, Ticks, TimeInForce,
};

/// `STATUS cum/quantity`, and why it ended if not by its owner; then each trade as `quantity@price #maker`, then
/// each other order as `#id STATUS leaves`. For the end of a day only the latter.
pub(crate) fn told(outcome: Result<&Effects, RejectReason>, command: &Command) -> String {
    let effects = match outcome {
        Ok(effects) => effects,
        Err(reason) => return format!("rejected: {reason}"),
    };
    let mut parts = Vec::new();
    let named = usize::from(*command != Command::EndDay);
    for order in &effects.orders[..named] {
        let mut part = format!("{} {}/{}", order.status, order.cum_qty, order.quantity);
        if let Some(reason) = order.end.filter(|reason| *reason != EndReason::Owner) {
            part += &format!(" {reason}");
        }
        parts.push(part);
    }
    for trade in &effects.trades {
        parts.push(format!("{}@{} #{}", trade.quantity, trade.price, trade.maker_order_id));
    }
    for order in &effects.orders[named..] {
        parts.push(format!("#{} {} {}", order.order_id, order.status, order.leaves_qty()));
    }
    parts.join(" | ")
}

pub(crate) fn check(name: &str, steps: &[(Command, &str)]) -> Engine {
    let mut engine = Engine::default();
    for (i, (command, expected)) in steps.iter().enumerate() {
        let found = told(engine.apply(command), command);
        assert_eq!(found, *expected, "{name}, step {i}: {command:?}");
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
            (buy(1, "a", None, 5), "CANCELLED 0/5 BOOK_EXHAUSTED"),
            (sell(2, "a", None, 5), "CANCELLED 0/5 BOOK_EXHAUSTED"),
            (sell(3, "a", Some(100), 2), "NEW 0/2"),
            (buy(4, "b", None, 5), "CANCELLED 2/5 BOOK_EXHAUSTED | 2@100 #3 | #3 FILLED 0"),
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
            (buy(3, "a", None, 1), "CANCELLED 0/1 BOOK_EXHAUSTED | #1 CANCELLED 0"),
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
    engine.apply(&buy(5, "a", Some(100), 9)).expect("placed");
    engine.apply(&sell(6, "b", None, 4)).expect("traded");
    let before = engine.digest();
    let too_much = QUANTITY_LOTS_MAX + 1;
    let too_high = PRICE_TICKS_MAX + 1;
    let market =
        |time_in_force| changed(buy(7, "a", None, 1), |place| place.time_in_force = time_in_force);
    let cannot_rest = |time_in_force| RejectReason::MarketCannotRest { time_in_force };
    let must_rest = |time_in_force| RejectReason::PostOnlyMustRest { time_in_force };
    let (four, five) = (OrderId(4), OrderId(5));
    // With the numbers that FIX has for it, of a new order and of a cancel or replace.
    let cases = [
        (buy(7, "a", Some(1), 0), RejectReason::ZeroQuantity, Some(13), Some(99)),
        (buy(7, "a", None, 0), RejectReason::ZeroQuantity, Some(13), Some(99)),
        (
            buy(7, "a", Some(1), too_much),
            RejectReason::QuantityTooLarge { quantity: Lots(too_much) },
            Some(3),
            Some(99),
        ),
        (sell(7, "a", Some(0), 1), RejectReason::ZeroPrice, Some(99), Some(99)),
        (
            sell(7, "a", Some(too_high), 1),
            RejectReason::PriceTooHigh { price: Ticks(too_high) },
            Some(3),
            Some(99),
        ),
        (
            buy(5, "a", Some(1), 1),
            RejectReason::OrderIdNotGrowing { order_id: five, last: OrderId(6) },
            Some(6),
            None,
        ),
        (buy(7, "a", Some(1), 1), RejectReason::BooksFull { live_orders_max: 1 }, Some(0), None),
        (market(TimeInForce::Day), cannot_rest(TimeInForce::Day), Some(11), None),
        (
            market(TimeInForce::GoodTillCancel),
            cannot_rest(TimeInForce::GoodTillCancel),
            Some(11),
            None,
        ),
        (
            post_only(buy(7, "a", None, 1)),
            must_rest(TimeInForce::ImmediateOrCancel),
            Some(11),
            None,
        ),
        (
            post_only(ioc(buy(7, "a", Some(1), 1))),
            must_rest(TimeInForce::ImmediateOrCancel),
            Some(11),
            None,
        ),
        (
            post_only(fok(buy(7, "a", Some(1), 1))),
            must_rest(TimeInForce::FillOrKill),
            Some(11),
            None,
        ),
        (cancel(4), RejectReason::UnknownOrder { order_id: four }, None, Some(1)),
        (replace(4, Some(1), None), RejectReason::UnknownOrder { order_id: four }, None, Some(1)),
        (
            cancel(6),
            RejectReason::AlreadyFinished { order_id: OrderId(6), status: OrdStatus::Filled },
            None,
            Some(0),
        ),
        (replace(5, None, None), RejectReason::NothingToReplace, None, Some(99)),
        (replace(5, Some(0), None), RejectReason::ZeroPrice, Some(99), Some(99)),
        (replace(5, None, Some(0)), RejectReason::ZeroQuantity, Some(13), Some(99)),
        (
            replace(5, Some(99), Some(4)),
            RejectReason::QuantityTraded { quantity: Lots(4), cum_qty: Lots(4) },
            None,
            Some(0),
        ),
    ];
    for (command, reason, new, cancel) in cases {
        assert_eq!(engine.check(&command), Err(reason), "{command:?}");
        assert_eq!(engine.apply(&command), Err(reason), "{command:?}");
        assert_eq!((reason.ord_rej_reason(), reason.cxl_rej_reason()), (new, cancel), "{reason:?}");
    }
    assert_eq!(engine.digest(), before);
    // What cannot rest passes full books, and so does what is there already.
    for (command, expected) in [
        (sell(7, "b", None, 1), "FILLED 1/1 | 1@100 #5 | #5 PARTIALLY_FILLED 4"),
        (ioc(sell(8, "b", Some(101), 1)), "CANCELLED 0/1 IMMEDIATE_OR_CANCEL"),
        (fok(sell(9, "b", Some(100), 1)), "FILLED 1/1 | 1@100 #5 | #5 PARTIALLY_FILLED 3"),
        (replace(5, Some(98), Some(10)), "PARTIALLY_FILLED 6/10"),
    ] {
        assert_eq!(told(engine.apply(&command), &command), expected, "{command:?}");
    }
}

#[test]
fn the_largest_orders_trade_without_overflow() {
    let mut engine = Engine::default();
    for id in 1..=100 {
        engine.apply(&sell(id, "a", Some(PRICE_TICKS_MAX), QUANTITY_LOTS_MAX)).expect("placed");
    }
    let depth = engine.depth(Symbol::BtcUsd, 1);
    assert_eq!(depth.asks[0].quantity, Lots(100 * QUANTITY_LOTS_MAX));
    let command = buy(101, "b", None, QUANTITY_LOTS_MAX);
    let effects = engine.apply(&command).expect("traded");
    assert_eq!(effects.orders[0].cum_value, PRICE_TICKS_MAX * QUANTITY_LOTS_MAX);
    let found = told(Ok(effects), &command);
    assert!(found.starts_with("FILLED 1000000000/1000000000 | 1000000000@1000000000 #1"));
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
        let place = order(id, "a", Symbol::EthUsd, side, Some(price), quantity);
        engine.apply(&Command::Place(place)).expect("placed");
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
        engine.apply(&buy(id, "a", Some(100), 1)).expect("placed");
    }
    for id in [2, 1, 4] {
        engine.apply(&cancel(id)).expect("cancelled");
    }
    assert_eq!(engine.order(OrderId(2)), None, "finished first, forgotten first");
    let known: Vec<u64> = engine.orders_newest_first().map(|order| order.order_id.get()).collect();
    assert_eq!(known, [4, 3, 1]);
    assert_eq!(engine.apply(&cancel(2)), Err(RejectReason::UnknownOrder { order_id: OrderId(2) }));
    let reason = RejectReason::OrderIdNotGrowing { order_id: OrderId(2), last: OrderId(4) };
    assert_eq!(engine.apply(&buy(2, "a", Some(1), 1)), Err(reason));
    engine.verify().expect("the rules hold");
}

/// The digest is part of what is compared between processes and versions: if this fails, the meaning of the
/// digest has changed, and recorded ones no longer compare.
#[test]
fn the_digest_is_stable() {
    let mut engine = Engine::default();
    for command in
        [sell(1, "a", Some(100), 5), buy(2, "b", Some(101), 3), buy(3, "c", Some(90), 1), cancel(3)]
    {
        engine.apply(&command).expect("accepted");
    }
    assert_eq!(engine.digest().to_string(), "794ae2ff428a9988");
}
