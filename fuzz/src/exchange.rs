//! Orders as clients send them, and commands as the sequencer hands them to the book.

use std::collections::BTreeMap;

use exchange_api::{
    AUTO_KEY_PREFIX, OrderRequest, ReplaceRequest, parse_key, validate, validate_replace,
};
use exchange_audit::ledger::Ledger;
use exchange_matching::{
    Cancel, ClientOrderId, Command, Effects, EndReason, Engine, Limits, Lots, OrdStatus, OrderId,
    OrderKind, PRICE_TICKS_MAX, Place, QUANTITY_LOTS_MAX, Replace, Side, Symbol, Ticks,
    TimeInForce, Trade, UserId,
};
use exchange_services::trading_api::record::Record;

/// An order that is taken is one that the book takes; one that is not is the client's mistake.
pub(crate) fn order(bytes: &[u8]) {
    let header = bytes.split(|byte| *byte == b'\n').nth(1).map(crate::text);
    if let Some(key) = header.as_deref().and_then(|header| parse_key(header).ok()) {
        assert!(!key.as_str().starts_with(AUTO_KEY_PREFIX));
    }
    let body = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    if let Ok(request) = serde_json::from_slice::<ReplaceRequest>(body) {
        match validate_replace(OrderId(1), request) {
            Ok(replace) => assert_eq!(replace.validate(), Ok(())),
            Err(error) => assert!((400..500).contains(&error.code.http_status())),
        }
    }
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
                time_in_force: valid.time_in_force,
                post_only: valid.post_only,
            };
            assert_eq!(Engine::default().check(&Command::Place(place)), Ok(()));
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
        ..OrderRequest::default()
    };
    let whole = OrderRequest { time_in_force: Some("FOK".to_owned()), ..limit.clone() };
    let maker = OrderRequest { post_only: true, ..limit.clone() };
    let market = OrderRequest {
        kind: "MARKET".to_owned(),
        side: "SELL".to_owned(),
        price: None,
        client_order_id: None,
        ..limit.clone()
    };
    let json = |request: &OrderRequest| serde_json::to_string(request).unwrap();
    let (limit, market) = (json(&limit), json(&market));
    let (whole, maker) = (json(&whole), json(&maker));
    crate::seeds_of([
        &*limit,
        &*market,
        &*whole,
        &*maker,
        &format!("{limit}\nkey-1"),
        &format!("{market}\nkey-2"),
        r#"{"price":2500,"quantity":7}"#,
    ])
}

/// How many bytes a command is made of.
const COMMAND_BYTES: usize = 7;
/// Few, so that the bounds are met.
const LIMITS: Limits = Limits { live_orders_max: 12, finished_orders_max: 8 };
/// A walk over the book after each command makes a long sequence slow.
const COMMANDS_MAX: usize = 256;

/// What was asked for of an order, and what has traded of it: lots, and lots times ticks.
#[derive(Clone, Copy, Default)]
struct Asked {
    quantity: u64,
    traded: u64,
    value: u64,
}

impl Asked {
    fn trades(&mut self, trade: &Trade) {
        self.traded += trade.quantity.get();
        self.value += trade.quantity.get() * trade.price.get();
        assert!(self.traded <= self.quantity, "{} of {} traded", self.traded, self.quantity);
    }
}

/// The book is never crossed, nothing is lost or made of a quantity, and the same commands end in
/// the same state.
pub(crate) fn commands(bytes: &[u8]) {
    let commands: Vec<Command> = decoded(bytes);
    let (mut engine, mut twin) = (Engine::new(LIMITS), Engine::new(LIMITS));
    let mut asked: BTreeMap<OrderId, Asked> = BTreeMap::new();
    let mut trades_seen = 0;
    for command in commands {
        let before = (engine.digest(), engine.live_orders());
        let promised = engine.check(&command);
        let outcome = engine.apply(&command).cloned();
        assert_eq!(twin.apply(&command).cloned(), outcome);
        engine.verify().unwrap();
        assert!(engine.live_orders() <= LIMITS.live_orders_max);
        assert_eq!(promised, outcome.as_ref().map(|_| ()).map_err(|reason| *reason));
        let Ok(effects) = outcome else {
            assert_eq!((engine.digest(), engine.live_orders()), before);
            continue;
        };
        match &command {
            Command::Place(place) => {
                let quantity = place.quantity.get();
                asked.insert(place.order_id, Asked { quantity, ..Asked::default() });
                assert!(place.may_rest() || !effects.orders[0].status.is_live());
            }
            Command::Replace(Replace { order_id, quantity: Some(quantity), .. }) => {
                asked.get_mut(order_id).unwrap().quantity = quantity.get();
            }
            Command::Replace(_) | Command::Cancel(_) | Command::EndDay => {}
        }
        for trade in &effects.trades {
            trades_seen += 1;
            assert_eq!(trade.trade_id.get(), trades_seen);
            assert!(trade.quantity.get() > 0 && trade.price.get() > 0);
            for id in [trade.maker_order_id, trade.taker_order_id] {
                asked.get_mut(&id).unwrap().trades(trade);
            }
        }
        follows(&command, &effects, &asked);
        for order in engine.orders_newest_first() {
            assert_eq!(order.cum_qty.get(), asked[&order.order_id].traded);
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

/// What the rules say of a command's effects.
fn follows(command: &Command, effects: &Effects, asked: &BTreeMap<OrderId, Asked>) {
    for order in &effects.orders {
        let Asked { quantity, traded, value } = asked[&order.order_id];
        assert_eq!(order.quantity.get(), quantity);
        assert_eq!((order.cum_qty.get(), order.cum_value), (traded, value));
        let left = if order.status.is_live() { quantity - traded } else { 0 };
        assert_eq!(order.leaves_qty().get(), left);
        assert_eq!(order.status == OrdStatus::Filled, traded == quantity);
        assert_eq!(order.end.is_some(), !order.status.is_live() && traded < quantity);
        assert_eq!(order.status == OrdStatus::Expired, order.end == Some(EndReason::EndOfDay));
    }
    let Some(order) = effects.orders.first() else {
        assert!(*command == Command::EndDay && effects.trades.is_empty());
        return;
    };
    for trade in &effects.trades {
        assert_eq!((trade.taker_order_id, trade.taker_side), (order.order_id, order.side));
        let limit = order.kind.price().unwrap_or(trade.price);
        match order.side {
            Side::Buy => assert!(trade.price <= limit),
            Side::Sell => assert!(trade.price >= limit),
        }
    }
    assert!(!order.post_only || effects.trades.is_empty(), "a post-only order took");
    if order.time_in_force == TimeInForce::FillOrKill {
        assert!(order.status == OrdStatus::Filled || effects.orders.len() == 1);
        assert!(order.status == OrdStatus::Filled || order.cum_qty.get() == 0);
    }
}

/// Any bytes are commands. Prices and users are few, so that orders meet.
fn decoded(bytes: &[u8]) -> Vec<Command> {
    let mut last = 0;
    let command = |bytes: &[u8; COMMAND_BYTES]| {
        let [what, who, price, quantity, id, scale, terms] = *bytes;
        let scale = match scale {
            0..=199 => 1,
            200..=230 => QUANTITY_LOTS_MAX / 16,
            _ => PRICE_TICKS_MAX / 8,
        };
        let price_ticks = Ticks(u64::from(price & 0x0f) * scale);
        let lots = Lots(u64::from(quantity & 0x1f) * scale);
        if what & 0x03 == 3 {
            let order_id = OrderId(u64::from(id));
            return match what >> 3 & 0x03 {
                0 | 1 => Command::Cancel(Cancel { order_id }),
                2 => Command::Replace(Replace {
                    order_id,
                    price: (terms & 0x01 != 0).then_some(price_ticks),
                    quantity: (terms & 0x02 != 0).then_some(lots),
                }),
                _ => Command::EndDay,
            };
        }
        let kind = match what & 0x03 {
            0 => OrderKind::Market,
            _ => OrderKind::Limit { price_ticks },
        };
        // An id that does not grow is met as well.
        last = if id == 0xff { last } else { last + 1 + u64::from(id & 1) };
        Command::Place(Place {
            order_id: OrderId(last),
            client_order_id: ClientOrderId::new(&format!("k{last}")).unwrap(),
            user: UserId::new(["a", "b", "c"][usize::from(who % 3)]).unwrap(),
            symbol: Symbol::ALL[usize::from(who / 3) % Symbol::ALL.len().min(2)],
            side: if what & 0x04 == 0 { Side::Buy } else { Side::Sell },
            kind,
            quantity: lots,
            // As the kind has it, or any.
            time_in_force: match terms & 0x04 {
                0 => kind.default_time_in_force(),
                _ => TimeInForce::ALL[usize::from(terms & 0x03)],
            },
            post_only: terms & 0x08 != 0,
        })
    };
    bytes.as_chunks().0.iter().take(COMMANDS_MAX).map(command).collect()
}

pub(crate) fn sequences() -> Vec<Vec<u8>> {
    // Orders that rest, one that takes them, a cancel; then the same user on both sides.
    let resting = [[1, 0, 5, 10, 0, 0, 0], [1, 1, 5, 7, 0, 0, 0], [2, 0, 6, 3, 1, 0, 0]];
    let meets = [
        [5, 2, 5, 12, 0, 0, 0],
        [4, 2, 0, 9, 0, 0, 0],
        [3, 0, 0, 0, 2, 0, 0],
        [5, 0, 3, 2, 0, 0, 0],
    ];
    let large = [[1, 0, 8, 16, 0, 210, 0], [5, 1, 8, 16, 0, 240, 0], [1, 0, 8, 17, 0, 210, 0]];
    let full: Vec<[u8; COMMAND_BYTES]> = (0..16).map(|at| [1, at % 2, at, 1, 0, 0, 0]).collect();
    // Smaller, and at another price where it trades; of the day, immediate or cancel, fill or kill, post-only.
    let replaced = [[0x13, 0, 0, 4, 1, 0, 2], [0x13, 0, 3, 0, 2, 0, 1], [5, 2, 5, 2, 0, 0, 0]];
    let terms = [[5, 1, 6, 9, 0, 0, 4], [5, 2, 5, 30, 0, 0, 6], [5, 2, 5, 30, 0, 0, 7]];
    let ends = [[1, 2, 6, 5, 0, 0, 8], [5, 2, 4, 3, 0, 0, 7], [0x1b, 0, 0, 0, 0, 0, 0]];
    vec![
        [&resting[..], &meets].concat().as_flattened().to_vec(),
        [&large[..], &meets].concat().as_flattened().to_vec(),
        [&full[..], &meets].concat().as_flattened().to_vec(),
        [&resting[..], &replaced, &terms, &ends, &meets].concat().as_flattened().to_vec(),
        [&full[..], &terms, &replaced, &ends].concat().as_flattened().to_vec(),
    ]
}

/// A ledger says of each line what was sent, and of some what was acknowledged, or is refused.
pub(crate) fn ledger(bytes: &[u8]) {
    let Ok(ledger) = Ledger::read(bytes) else { return };
    let lines = bytes.iter().filter(|byte| **byte == b'\n').count() + 1;
    assert!(ledger.attempted.len() <= lines);
    for (key, ids) in &ledger.acknowledged {
        assert!(ledger.attempted.contains(key) && ids.iter().all(|id| *id > 0), "{key}");
    }
}

pub(crate) fn ledgers() -> Vec<Vec<u8>> {
    crate::seeds_of([
        "{\"key\":\"a\"}\n{\"key\":\"a\",\"order_id\":\"7\"}\n",
        "\n{\"order_id\":\"9223372036854775807\",\"key\":\"\\u00e4\"}\n{\"key\":\"\",\"order_id\":null}",
    ])
}

/// What is read of the journal is something that could have been written to it.
pub(crate) fn record(bytes: &[u8]) {
    let Ok(record) = Record::decode(bytes) else { return };
    assert_eq!(Record::decode(&record.encode().unwrap()).unwrap(), record);
}

pub(crate) fn records() -> Vec<Vec<u8>> {
    crate::seeds_of([
        "\u{3}{\"genesis\":{\"journal_id\":\"a\"}}",
        "\u{1}{\"place\":{\"id\":7,\"key\":\"k\",\"user\":\"u\",\"symbol\":\"ETHUSD\",\"buy\":false,\
         \"quantity\":5,\"limit\":12,\"at_us\":1700000000000000}}",
        "\u{2}{\"place\":{\"id\":7,\"key\":\"k\",\"user\":\"u\",\"symbol\":\"ETHUSD\",\"buy\":true,\
         \"quantity\":5,\"limit\":12,\"in_force\":\"DAY\",\"post_only\":true,\"at_us\":1}}",
        "\u{3}{\"cancel\":{\"id\":3,\"at_us\":9}}",
        "\u{3}{\"replace\":{\"id\":3,\"price\":5,\"quantity\":6,\"at_us\":9}}",
        "\u{3}{\"end_day\":{\"at_us\":9}}",
    ])
}
