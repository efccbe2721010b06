//! Orders as clients send them, and commands as the sequencer hands them to the book.

use std::collections::BTreeMap;

use exchange_api::{AUTO_KEY_PREFIX, OrderRequest, parse_key, validate};
use exchange_matching::{
    Cancel, ClientOrderId, Command, Engine, Limits, Lots, OrdStatus, OrderId, OrderKind, Outcome,
    PRICE_TICKS_MAX, Place, QUANTITY_LOTS_MAX, Side, Symbol, Ticks, UserId,
};

/// An order that is taken is one that the book takes; one that is not is the client's mistake.
pub(crate) fn order(bytes: &[u8]) {
    let header = bytes.split(|byte| *byte == b'\n').nth(1).map(crate::text);
    if let Some(key) = header.as_deref().and_then(|header| parse_key(header).ok()) {
        assert!(!key.as_str().starts_with(AUTO_KEY_PREFIX));
    }
    let body = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let Ok(request) = serde_json::from_slice::<OrderRequest>(body) else { return };
    let again = serde_json::to_vec(&request).unwrap();
    let again: OrderRequest = serde_json::from_slice(&again).unwrap();
    match validate(&request, header.as_deref()) {
        Ok(valid) => {
            assert_eq!(validate(&again, header.as_deref()).unwrap(), valid);
            let place = Place {
                order_id: OrderId(1),
                client_order_id: valid.key.unwrap_or_else(|| ClientOrderId::new("a").unwrap()),
                user: valid.user,
                symbol: valid.symbol,
                side: valid.side,
                kind: valid.kind,
                quantity: valid.quantity,
            };
            assert_eq!(Engine::default().check(&place), Ok(()));
        }
        Err(error) => {
            assert!((400..500).contains(&error.code.http_status()));
            serde_json::to_vec(&error.body()).unwrap();
        }
    }
}

pub(crate) fn orders() -> Vec<Vec<u8>> {
    let limit = OrderRequest {
        user_id: "u1".to_owned(),
        symbol: "BTCUSD".to_owned(),
        side: "BUY".to_owned(),
        kind: "LIMIT".to_owned(),
        quantity: 10,
        price: Some(2500),
        client_order_id: Some("key-1".to_owned()),
    };
    let market = OrderRequest {
        kind: "MARKET".to_owned(),
        side: "SELL".to_owned(),
        price: None,
        client_order_id: None,
        ..limit.clone()
    };
    let json = |request: &OrderRequest| serde_json::to_string(request).unwrap();
    let (limit, market) = (json(&limit), json(&market));
    crate::seeds_of([&*limit, &*market, &format!("{limit}\nkey-1"), &format!("{market}\nkey-2")])
}

/// How many bytes a command is made of.
const COMMAND_BYTES: usize = 6;
/// Few, so that the bounds are met.
const LIMITS: Limits = Limits { live_orders_max: 12, finished_orders_max: 8 };
/// A walk over the book after each command makes a long sequence slow.
const COMMANDS_MAX: usize = 256;

/// The book is never crossed, nothing is lost or made of a quantity, and the same commands end in
/// the same state.
pub(crate) fn commands(bytes: &[u8]) {
    let commands: Vec<Command> = decoded(bytes);
    let (mut engine, mut twin) = (Engine::new(LIMITS), Engine::new(LIMITS));
    // For each order how much was asked for, and how much of it has traded.
    let mut asked: BTreeMap<OrderId, (u64, u64)> = BTreeMap::new();
    let mut trades_seen = 0;
    for command in commands {
        let before = (engine.digest(), engine.live_orders());
        let promised = match &command {
            Command::Place(place) => Some(engine.check(place)),
            Command::Cancel(_) => None,
        };
        let outcome = engine.apply(command.clone());
        assert_eq!(twin.apply(command.clone()), outcome);
        engine.verify().unwrap();
        assert!(engine.live_orders() <= LIMITS.live_orders_max);
        match outcome {
            Outcome::Placed(execution) => {
                assert_eq!(promised, Some(Ok(())));
                let order = &execution.order;
                asked.insert(order.order_id, (order.quantity.get(), 0));
                for trade in &execution.trades {
                    trades_seen += 1;
                    assert_eq!(trade.trade_id.get(), trades_seen);
                    assert!(trade.quantity.get() > 0 && trade.price.get() > 0);
                    for id in [trade.maker_order_id, trade.taker_order_id] {
                        let (quantity, traded) = asked.get_mut(&id).unwrap();
                        *traded += trade.quantity.get();
                        assert!(traded <= quantity, "{id} traded {traded} of {quantity}");
                    }
                    let limit = order.kind.price().unwrap_or(trade.price);
                    match order.side {
                        Side::Buy => assert!(trade.price <= limit),
                        Side::Sell => assert!(trade.price >= limit),
                    }
                }
                assert_eq!(order.cum_qty.get(), asked[&order.order_id].1);
                for maker in &execution.makers {
                    let (quantity, traded) = asked[&maker.order_id];
                    assert_eq!(maker.cum_qty.get(), traded);
                    let cancelled = maker.status == OrdStatus::Cancelled;
                    let left = if cancelled { 0 } else { quantity - traded };
                    assert_eq!(maker.leaves_qty.get(), left);
                }
                assert!(order.kind.price().is_some() || !order.status.is_live());
            }
            Outcome::Cancelled(order) => {
                assert_eq!(order.cum_qty.get(), asked[&order.order_id].1);
                assert!(!order.status.is_live());
            }
            Outcome::Rejected(reason) => {
                assert!(promised.is_none_or(|promised| promised == Err(reason)));
                assert_eq!((engine.digest(), engine.live_orders()), before, "{reason}");
            }
        }
        for order in engine.orders_newest_first() {
            assert_eq!(order.cum_qty.get(), asked[&order.order_id].1);
        }
    }
    for symbol in Symbol::ALL.iter().copied() {
        let depth = engine.depth(symbol, 3);
        assert!(depth.bids.len() <= 3 && depth.asks.len() <= 3);
        let resting: u64 =
            engine.resting(symbol, Side::Buy).map(|order| order.leaves_qty().get()).sum();
        let all: u64 = engine.depth(symbol, usize::MAX).bids.iter().map(|l| l.quantity.get()).sum();
        assert_eq!(resting, all);
    }
    assert_eq!(engine.digest(), twin.digest());
}

/// Any bytes are commands. Prices and users are few, so that orders meet.
fn decoded(bytes: &[u8]) -> Vec<Command> {
    let mut last = 0;
    let command = |bytes: &[u8; COMMAND_BYTES]| {
        let [what, who, price, quantity, id, scale] = *bytes;
        if what & 0x03 == 3 {
            return Command::Cancel(Cancel { order_id: OrderId(u64::from(id)) });
        }
        // An id that does not grow is met as well.
        last = if id == 0xff { last } else { last + 1 + u64::from(id & 1) };
        let scale = match scale {
            0..=199 => 1,
            200..=230 => QUANTITY_LOTS_MAX / 16,
            _ => PRICE_TICKS_MAX / 8,
        };
        Command::Place(Place {
            order_id: OrderId(last),
            client_order_id: ClientOrderId::new(&format!("k{last}")).unwrap(),
            user: UserId::new(["a", "b", "c"][usize::from(who % 3)]).unwrap(),
            symbol: Symbol::ALL[usize::from(who / 3) % Symbol::ALL.len().min(2)],
            side: if what & 0x04 == 0 { Side::Buy } else { Side::Sell },
            kind: match what & 0x03 {
                0 => OrderKind::Market,
                _ => OrderKind::Limit { price_ticks: Ticks(u64::from(price & 0x0f) * scale) },
            },
            quantity: Lots(u64::from(quantity & 0x1f) * scale),
        })
    };
    bytes.as_chunks().0.iter().take(COMMANDS_MAX).map(command).collect()
}

pub(crate) fn sequences() -> Vec<Vec<u8>> {
    // Orders that rest, one that takes them, a cancel; then the same user on both sides.
    let resting = [[1, 0, 5, 10, 0, 0], [1, 1, 5, 7, 0, 0], [2, 0, 6, 3, 1, 0]];
    let meets = [[5, 2, 5, 12, 0, 0], [4, 2, 0, 9, 0, 0], [3, 0, 0, 0, 2, 0], [5, 0, 3, 2, 0, 0]];
    let large = [[1, 0, 8, 16, 0, 210], [5, 1, 8, 16, 0, 240], [1, 0, 8, 17, 0, 210]];
    let full: Vec<[u8; COMMAND_BYTES]> = (0..16).map(|at| [1, at % 2, at, 1, 0, 0]).collect();
    vec![
        [&resting[..], &meets].concat().as_flattened().to_vec(),
        [&large[..], &meets].concat().as_flattened().to_vec(),
        [&full[..], &meets].concat().as_flattened().to_vec(),
    ]
}
