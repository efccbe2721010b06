//! What holds for any sequence of commands.

use crate::model::{Done, Model, ModelOrder, ModelTrade};
use crate::{cancel, order, replace};
use exchange_matching::{
    Command, Effects, Engine, Limits, OrdStatus, Order, RejectReason, Side, Symbol, TimeInForce,
    Trade,
};
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use std::collections::BTreeMap;

#[derive(Clone, Debug)]
enum Step {
    Place {
        user: usize,
        symbol: usize,
        is_buy: bool,
        price: Option<u64>,
        quantity: u64,
        time_in_force: Option<TimeInForce>,
        post_only: bool,
    },
    Cancel,
    Replace(Option<u64>, Option<u64>),
    EndDay,
}

fn price() -> impl Strategy<Value = u64> {
    prop_oneof![20 => 95u64..106, 1 => Just(0)]
}

fn quantity() -> impl Strategy<Value = u64> {
    prop_oneof![20 => 1u64..20, 1 => Just(0)]
}

/// Few prices, users and symbols, so that orders meet.
fn commands() -> impl Strategy<Value = Vec<Command>> {
    let time_in_force = prop::option::of(prop::sample::select(TimeInForce::ALL));
    let place = (
        (0..3usize, 0..2usize, any::<bool>()),
        prop::option::weighted(0.85, price()),
        quantity(),
        time_in_force,
        prop::bool::weighted(0.15),
    )
        .prop_map(|((user, symbol, is_buy), price, quantity, time_in_force, post_only)| {
            Step::Place { user, symbol, is_buy, price, quantity, time_in_force, post_only }
        });
    let new = (prop::option::of(price()), prop::option::of(quantity()));
    let step = prop_oneof![
        20 => place,
        3 => Just(Step::Cancel),
        5 => new.prop_map(|(price, quantity)| Step::Replace(price, quantity)),
        1 => Just(Step::EndDay),
    ];
    let steps = prop::collection::vec((step, any::<prop::sample::Index>(), 0..20u32), 0..200);
    steps.prop_map(|steps| {
        let mut last_id = 0u64;
        let mut commands = Vec::new();
        for (step, index, odd) in steps {
            // Of an order that was placed, or never.
            let some_id = 1 + index.index(last_id as usize + 2) as u64;
            commands.push(match step {
                Step::Place { user, symbol, is_buy, price, quantity, time_in_force, post_only } => {
                    // Now and then an id that was used before, now and then a gap.
                    let id = match odd {
                        0 => last_id,
                        1 => last_id + 70,
                        _ => last_id + 1,
                    };
                    last_id = id.max(last_id);
                    let side = if is_buy { Side::Buy } else { Side::Sell };
                    let user = ["ann", "bob", "cat"][user];
                    let mut place = order(id, user, Symbol::ALL[symbol], side, price, quantity);
                    place.time_in_force = time_in_force.unwrap_or(place.time_in_force);
                    place.post_only = post_only;
                    Command::Place(place)
                }
                Step::Cancel => cancel(some_id),
                Step::Replace(price, quantity) => replace(some_id, price, quantity),
                Step::EndDay => Command::EndDay,
            });
        }
        commands
    })
}

/// What the engine says, owned.
fn outcome(engine: &mut Engine, command: &Command) -> Result<Effects, RejectReason> {
    let promised = engine.check(command);
    let outcome = engine.apply(command).cloned();
    assert_eq!(outcome.as_ref().map(|_| ()).map_err(|reason| *reason), promised);
    outcome
}

fn in_model_words(outcome: &Result<Effects, RejectReason>) -> Done {
    let Ok(effects) = outcome else { return Done::Rejected };
    let trade = |trade: &Trade| ModelTrade {
        maker: trade.maker_order_id.0,
        taker: trade.taker_order_id.0,
        price: trade.price.0,
        quantity: trade.quantity.0,
    };
    Done::Changed {
        orders: effects.orders.iter().map(|order| order.order_id.0).collect(),
        trades: effects.trades.iter().map(trade).collect(),
    }
}

fn same_order(found: &Order, expected: &ModelOrder) -> Result<(), TestCaseError> {
    let status = match (expected.ended, expected.traded()) {
        (Some(exchange_matching::EndReason::EndOfDay), _) => OrdStatus::Expired,
        (Some(_), _) => OrdStatus::Cancelled,
        (None, traded) if traded == expected.quantity => OrdStatus::Filled,
        (None, 0) => OrdStatus::New,
        (None, _) => OrdStatus::PartiallyFilled,
    };
    let value: u64 = expected.fills.iter().map(|(price, quantity)| price * quantity).sum();
    prop_assert_eq!(found.order_id.0, expected.id);
    prop_assert_eq!(found.status, status);
    prop_assert_eq!(found.end, expected.ended);
    prop_assert_eq!(found.kind.price().map(|price| price.0), expected.price);
    prop_assert_eq!(found.quantity.0, expected.quantity);
    prop_assert_eq!(found.time_in_force, expected.time_in_force);
    prop_assert_eq!(found.post_only, expected.post_only);
    prop_assert_eq!(found.cum_qty.0, expected.traded());
    prop_assert_eq!(found.cum_value, value);
    prop_assert_eq!(found.leaves_qty().0, expected.leaves());
    if found.status.is_live() {
        prop_assert_eq!(found.leaves_qty().0 + found.cum_qty.0, found.quantity.0);
    }
    Ok(())
}

/// What the rules say of one command's effects, without the model.
fn by_the_rules(command: &Command, effects: &Effects) -> Result<(), TestCaseError> {
    let Command::Place(place) = command else { return Ok(()) };
    let order = &effects.orders[0];
    if place.time_in_force == TimeInForce::FillOrKill {
        prop_assert!(order.cum_qty == order.quantity || effects.trades.is_empty());
        prop_assert!(order.status == OrdStatus::Filled || effects.orders.len() == 1);
    }
    if place.post_only {
        prop_assert_eq!((effects.orders.len(), effects.trades.len()), (1, 0));
    }
    prop_assert!(place.may_rest() || !order.status.is_live());
    Ok(())
}

/// Every order in the model stands in the engine as the model says, and no other does.
fn same_orders(engine: &Engine, model: &Model) -> Result<(), TestCaseError> {
    let mut by_id: Vec<_> = model.orders.iter().collect();
    by_id.sort_by_key(|order| std::cmp::Reverse(order.id));
    let newest_first: Vec<_> = engine.orders_newest_first().collect();
    prop_assert_eq!(newest_first.len(), by_id.len());
    for (found, expected) in newest_first.iter().zip(by_id) {
        same_order(found, expected)?;
        prop_assert_eq!(engine.order(found.order_id), Some(*found));
    }
    Ok(())
}

/// Depth and queue order, computed from the model's list.
fn same_books(engine: &Engine, model: &Model) -> Result<(), TestCaseError> {
    for symbol in Symbol::ALL {
        for side in [Side::Buy, Side::Sell] {
            let mut resting: Vec<_> = model
                .orders
                .iter()
                .filter(|o| o.symbol == *symbol && o.side == side && o.leaves() > 0)
                .collect();
            // A stable sort keeps the order of arrival within a price.
            resting.sort_by_key(|o| match side {
                Side::Buy => u64::MAX - o.price.expect("only limit orders rest"),
                Side::Sell => o.price.expect("only limit orders rest"),
            });
            let found: Vec<u64> = engine.resting(*symbol, side).map(|o| o.order_id.0).collect();
            prop_assert_eq!(found, resting.iter().map(|o| o.id).collect::<Vec<_>>());

            let mut levels: BTreeMap<u64, (u64, usize)> = BTreeMap::new();
            for order in &resting {
                let level = levels.entry(order.price.expect("only limit orders rest")).or_default();
                level.0 += order.leaves();
                level.1 += 1;
            }
            let mut expected: Vec<_> = levels.into_iter().map(|(p, (q, n))| (p, q, n)).collect();
            let depth = engine.depth(*symbol, usize::MAX);
            let found = match side {
                Side::Buy => {
                    expected.reverse();
                    depth.bids
                }
                Side::Sell => depth.asks,
            };
            let found: Vec<_> = found.iter().map(|l| (l.price.0, l.quantity.0, l.orders)).collect();
            prop_assert_eq!(found, expected);
        }
    }
    Ok(())
}

/// What was bought was sold, by the orders' own count and by the trades; and nobody traded with themselves.
fn conserved(engine: &Engine, model: &Model, trades: &[Trade]) -> Result<(), TestCaseError> {
    let user = |id: u64| model.orders.iter().find(|order| order.id == id).map(|order| &order.user);
    let mut of_order: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
    for (expected_id, trade) in (1..).zip(trades) {
        prop_assert_eq!(trade.trade_id.0, expected_id);
        prop_assert!(trade.price.0 > 0 && trade.quantity.0 > 0);
        prop_assert_ne!(user(trade.maker_order_id.0), user(trade.taker_order_id.0));
        for id in [trade.maker_order_id.0, trade.taker_order_id.0] {
            let sums = of_order.entry(id).or_default();
            sums.0 += trade.quantity.0;
            sums.1 += trade.quantity.0 * trade.price.0;
        }
    }
    let mut of_symbol: BTreeMap<(Symbol, Side), (u64, u64)> = BTreeMap::new();
    for order in engine.orders_newest_first() {
        let by_trades = of_order.get(&order.order_id.0).copied().unwrap_or_default();
        prop_assert_eq!((order.cum_qty.0, order.cum_value), by_trades);
        prop_assert!(order.cum_qty <= order.quantity);
        let sums = of_symbol.entry((order.symbol, order.side)).or_default();
        *sums = (sums.0 + order.cum_qty.0, sums.1 + order.cum_value);
    }
    let sums = |symbol, side| of_symbol.get(&(symbol, side)).copied().unwrap_or_default();
    for symbol in Symbol::ALL {
        prop_assert_eq!(sums(*symbol, Side::Buy), sums(*symbol, Side::Sell));
        let last = trades.iter().rev().find(|trade| trade.symbol == *symbol);
        prop_assert_eq!(engine.last_price(*symbol), last.map(|trade| trade.price));
    }
    prop_assert_eq!(engine.last_trade_id().0, trades.len() as u64);
    Ok(())
}

proptest! {
    #[test]
    fn engine_does_what_the_model_does(commands in commands()) {
        let mut engine = Engine::default();
        let mut model = Model::default();
        let mut trades = Vec::new();
        for command in &commands {
            let outcome = outcome(&mut engine, command);
            prop_assert_eq!(in_model_words(&outcome), model.apply(command));
            prop_assert_eq!(engine.verify(), Ok(()));
            let Ok(effects) = outcome else { continue };
            by_the_rules(command, &effects)?;
            for found in &effects.orders {
                let expected = model.orders.iter().find(|order| order.id == found.order_id.0);
                same_order(found, expected.expect("the model has it"))?;
            }
            trades.extend(effects.trades);
        }
        same_orders(&engine, &model)?;
        same_books(&engine, &model)?;
        conserved(&engine, &model, &trades)?;
    }

    #[test]
    fn the_same_commands_give_the_same_state(
        commands in commands(),
        finished_orders_max in 0usize..20,
        live_orders_max in 1usize..40,
    ) {
        let limits = Limits { live_orders_max, finished_orders_max };
        let (mut once, mut again) = (Engine::new(limits), Engine::new(limits));
        let outcomes: Vec<_> = commands.iter().map(|command| outcome(&mut once, command)).collect();
        for (command, before) in commands.iter().zip(outcomes) {
            prop_assert_eq!(outcome(&mut again, command), before);
            prop_assert!(again.live_orders() <= live_orders_max);
            prop_assert!(again.orders_newest_first().count() <= live_orders_max + finished_orders_max);
            prop_assert_eq!(again.verify(), Ok(()));
        }
        prop_assert_eq!(once.digest(), again.digest());
    }

}

proptest! {
    // A digest walks over all orders, and this one takes a digest at every step.
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    /// A command that changes anything changes the digest, and any other does not.
    #[test]
    fn the_digest_sees_every_change(commands in commands()) {
        let mut engine = Engine::default();
        for command in commands {
            let queues = |engine: &Engine| -> Vec<Order> {
                let sides = [Side::Buy, Side::Sell];
                let books = Symbol::ALL.iter().flat_map(|s| sides.map(|side| (*s, side)));
                books.flat_map(|(s, side)| engine.resting(s, side).copied().collect::<Vec<_>>()).collect()
            };
            let (digest, before) = (engine.digest(), queues(&engine));
            let accepted = engine.apply(&command).is_ok();
            // A replace may put an order back where it was, and a day may end with nothing to expire.
            let changed = accepted && match command {
                Command::Place(_) => true,
                Command::Cancel(_) | Command::Replace(_) | Command::EndDay => before != queues(&engine),
            };
            prop_assert_eq!(engine.digest() != digest, changed);
        }
    }
}
