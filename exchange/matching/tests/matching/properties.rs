//! What holds for any sequence of commands.

use crate::model::{Done, Model, ModelTrade};
use crate::{cancel, order};
use exchange_matching::{Command, Engine, Limits, OrdStatus, Outcome, Side, Symbol};
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use std::collections::BTreeMap;

/// Few prices, users and symbols, so that orders meet.
fn commands() -> impl Strategy<Value = Vec<Command>> {
    let place = (
        0..3usize,
        0..2usize,
        any::<bool>(),
        prop::option::weighted(0.85, prop_oneof![20 => 95u64..106, 1 => Just(0)]),
        prop_oneof![20 => 1u64..20, 1 => Just(0)],
    )
        .prop_map(Some);
    let step = prop_oneof![5 => place, 1 => Just(None)];
    let steps = prop::collection::vec((step, any::<prop::sample::Index>(), 0..20u32), 0..200);
    steps.prop_map(|steps| {
        let mut last_id = 0u64;
        let mut commands = Vec::new();
        for (step, index, odd) in steps {
            commands.push(match step {
                Some((user, symbol, is_buy, price, quantity)) => {
                    // Now and then an id that was used before, now and then a gap.
                    let id = match odd {
                        0 => last_id,
                        1 => last_id + 5,
                        _ => last_id + 1,
                    };
                    last_id = id.max(last_id);
                    let side = if is_buy { Side::Buy } else { Side::Sell };
                    let user = ["ann", "bob", "cat"][user];
                    Command::Place(order(id, user, Symbol::ALL[symbol], side, price, quantity))
                }
                None => cancel(1 + index.index(last_id as usize + 2) as u64),
            });
        }
        commands
    })
}

/// The engine's outcome in the model's words; tells it if the engine's outcome contradicts itself.
fn in_model_words(outcome: &Outcome) -> Result<Done, TestCaseError> {
    let execution = match outcome {
        Outcome::Placed(execution) => execution,
        Outcome::Cancelled(_) => return Ok(Done::Cancelled),
        Outcome::Rejected(_) => return Ok(Done::Rejected),
    };
    let trades: Vec<ModelTrade> = execution
        .trades
        .iter()
        .map(|trade| ModelTrade {
            maker: trade.maker_order_id.0,
            taker: trade.taker_order_id.0,
            price: trade.price.0,
            quantity: trade.quantity.0,
        })
        .collect();
    let prevented = execution
        .makers
        .iter()
        .filter(|maker| maker.status == OrdStatus::Cancelled)
        .map(|maker| maker.order_id.0)
        .collect();
    // One update for each trade, in its order, and no maker twice.
    let traded: Vec<u64> = execution
        .makers
        .iter()
        .filter(|maker| maker.status != OrdStatus::Cancelled)
        .map(|maker| maker.order_id.0)
        .collect();
    prop_assert_eq!(traded, trades.iter().map(|trade| trade.maker).collect::<Vec<_>>());
    let mut makers: Vec<u64> = execution.makers.iter().map(|maker| maker.order_id.0).collect();
    makers.sort_unstable();
    makers.dedup();
    prop_assert_eq!(makers.len(), execution.makers.len());
    let filled: u64 = trades.iter().map(|trade| trade.quantity).sum();
    prop_assert_eq!(filled, execution.order.cum_qty.0);
    Ok(Done::Placed { trades, prevented })
}

/// Every order in the model stands in the engine as the model says, and no other does.
fn same_orders(engine: &Engine, model: &Model) -> Result<(), TestCaseError> {
    let newest_first: Vec<_> = engine.orders_newest_first().collect();
    prop_assert_eq!(newest_first.len(), model.orders.len());
    for (found, expected) in newest_first.iter().rev().zip(&model.orders) {
        let status = match (expected.cancelled, expected.traded) {
            (true, _) => OrdStatus::Cancelled,
            (false, traded) if traded == expected.quantity => OrdStatus::Filled,
            (false, 0) => OrdStatus::New,
            (false, _) => OrdStatus::PartiallyFilled,
        };
        prop_assert_eq!(found.order_id.0, expected.id);
        prop_assert_eq!(found.status, status);
        prop_assert_eq!(found.cum_qty.0, expected.traded);
        prop_assert_eq!(found.leaves_qty().0, expected.leaves());
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

proptest! {
    #[test]
    fn engine_does_what_the_model_does(commands in commands()) {
        let mut engine = Engine::default();
        let mut model = Model::default();
        let mut trades = Vec::new();
        for command in &commands {
            let outcome = engine.apply(command.clone());
            prop_assert_eq!(in_model_words(&outcome)?, model.apply(command));
            prop_assert_eq!(engine.verify(), Ok(()));
            if let Outcome::Placed(execution) = outcome {
                trades.extend(execution.trades);
            }
        }
        same_orders(&engine, &model)?;
        same_books(&engine, &model)?;

        // Quantity is conserved: what an order traded is what the trades it is part of say, on either side.
        for order in &model.orders {
            let by_trades: u64 = trades
                .iter()
                .filter(|t| t.maker_order_id.0 == order.id || t.taker_order_id.0 == order.id)
                .map(|t| t.quantity.0)
                .sum();
            prop_assert_eq!(by_trades, order.traded);
            prop_assert!(by_trades <= order.quantity);
        }
        for (expected_id, trade) in (1..).zip(&trades) {
            prop_assert_eq!(trade.trade_id.0, expected_id);
            prop_assert!(trade.price.0 > 0 && trade.quantity.0 > 0);
        }
        prop_assert_eq!(engine.last_trade_id().0, trades.len() as u64);
        for symbol in Symbol::ALL {
            let last = trades.iter().rev().find(|trade| trade.symbol == *symbol);
            prop_assert_eq!(engine.last_price(*symbol), last.map(|trade| trade.price));
        }
    }

    #[test]
    fn the_same_commands_give_the_same_state(
        commands in commands(),
        finished_orders_max in 0usize..20,
        live_orders_max in 1usize..40,
    ) {
        let limits = Limits { live_orders_max, finished_orders_max };
        let (mut once, mut again) = (Engine::new(limits), Engine::new(limits));
        let outcomes: Vec<_> = commands.iter().map(|command| once.apply(command.clone())).collect();
        for (command, outcome) in commands.iter().zip(outcomes) {
            prop_assert_eq!(again.apply(command.clone()), outcome);
            prop_assert!(again.live_orders() <= live_orders_max);
            prop_assert!(again.orders_newest_first().count() <= live_orders_max + finished_orders_max);
        }
        prop_assert_eq!(once.digest(), again.digest());
        prop_assert_eq!(again.verify(), Ok(()));
    }

}

proptest! {
    // A digest walks over all orders, and this one takes a digest at every step.
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    /// A command that changes anything changes the digest, and a rejected one does not.
    #[test]
    fn the_digest_sees_every_change(commands in commands()) {
        let mut engine = Engine::default();
        for command in commands {
            let before = engine.digest();
            let outcome = engine.apply(command);
            let changed = !matches!(outcome, Outcome::Rejected(_));
            prop_assert_eq!(engine.digest() != before, changed);
        }
    }
}
