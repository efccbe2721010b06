//! Holds what the parties tell against each other.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::ledger::Ledger;
use crate::replayed::Replayed;
use crate::report::{Check, Finding, Report};
use crate::tables::{Fields, OrderRow, Tables, TradeRow};

/// Client order ids that the exchange gives itself, see `exchange_api::AUTO_KEY_PREFIX`.
const GIVEN_KEYS: &str = "auto:";

/// What the parties tell.
#[derive(Debug)]
pub struct Evidence<'a> {
    /// The database.
    pub stored: &'a Tables,
    /// The journal, carried out as far as the database says that it is.
    pub replayed: &'a Replayed,
    /// The journal's last record when the audit began: the database has to have that.
    pub awaited_seq: u64,
    /// What the clients know, and how the keys of all their orders begin, where they tell.
    pub clients: Option<(&'a Ledger, &'a str)>,
}

/// Checks everything.
#[must_use]
pub fn audit(evidence: &Evidence<'_>) -> Report {
    let Evidence { stored, replayed, awaited_seq, clients } = evidence;
    let expected = &replayed.tables;
    let mut findings = vec![
        same_journal(stored, expected),
        not_ahead(stored, replayed),
        as_journalled(Check::OrdersAsJournalled, "order", &stored.orders, &expected.orders),
        as_journalled(Check::TradesAsJournalled, "trade", &stored.trades, &expected.trades),
        gapless(stored),
        once_each(stored),
        orders_consistent(stored),
        filled_is_traded(stored),
        two_sides(stored),
        conserved(stored),
    ];
    if let Some((ledger, prefix)) = clients {
        findings.push(acknowledged_kept(ledger, replayed));
        findings.push(nothing_unasked(ledger, prefix, replayed));
    }
    Report {
        journal_seq: replayed.end.last_seq,
        awaited_seq: *awaited_seq,
        journal_torn_bytes: replayed.end.truncated_bytes,
        database_seq: stored.cursor,
        findings,
    }
}

fn same_journal(stored: &Tables, expected: &Tables) -> Finding {
    let mut finding = Finding::new(Check::SameJournal);
    // Of an empty database the first record is not known yet.
    let is_same = stored.cursor == 0 || stored.journal_id == expected.journal_id;
    finding.look((!is_same).then(|| {
        format!("the database is of {}, the journal is {}", stored.journal_id, expected.journal_id)
    }));
    finding
}

fn not_ahead(stored: &Tables, replayed: &Replayed) -> Finding {
    let mut finding = Finding::new(Check::NotAhead);
    let end = replayed.end.last_seq;
    let is_ahead = stored.cursor > end;
    finding.look(is_ahead.then(|| {
        format!("the database has record {}, and the journal ends with {end}", stored.cursor)
    }));
    finding
}

fn as_journalled<Row: PartialEq + Fields>(
    check: Check,
    what: &str,
    stored: &BTreeMap<i64, Row>,
    expected: &BTreeMap<i64, Row>,
) -> Finding {
    let mut finding = Finding::new(check);
    for (id, row) in expected {
        finding.look(match stored.get(id) {
            None => Some(format!("{what} {id} is missing")),
            Some(stored) if stored == row => None,
            Some(stored) => Some(format!("{what} {id}: {}", differing(stored, row))),
        });
    }
    for id in stored.keys().filter(|id| !expected.contains_key(id)) {
        finding.look(Some(format!("{what} {id} does not follow from the journal")));
    }
    finding
}

/// What is stored, and what should be.
fn differing(stored: &impl Fields, expected: &impl Fields) -> String {
    let both = stored.fields().into_iter().zip(expected.fields());
    let differ = both.filter(|(stored, expected)| stored != expected);
    let told: Vec<String> = differ
        .map(|((field, stored), (_, expected))| format!("{field} is {stored} and not {expected}"))
        .collect();
    told.join(", ")
}

fn gapless(stored: &Tables) -> Finding {
    let mut finding = Finding::new(Check::Gapless);
    let mut ids = |what: &str, ids: &mut dyn Iterator<Item = i64>| {
        let mut next = 1;
        for id in ids {
            finding.look((id != next).then(|| format!("{what} {id} where {next} must follow")));
            next = id.saturating_add(1);
        }
    };
    ids("order", &mut stored.orders.keys().copied());
    ids("trade", &mut stored.trades.keys().copied());
    finding
}

fn once_each(stored: &Tables) -> Finding {
    let mut finding = Finding::new(Check::OnceEach);
    let mut first = HashMap::new();
    for (id, order) in &stored.orders {
        let key = order.client_order_id.as_str();
        let before = first.insert(key, id);
        finding.look(before.map(|before| format!("{key} has order {before} and order {id}")));
    }
    finding
}

fn orders_consistent(stored: &Tables) -> Finding {
    let mut finding = Finding::new(Check::OrdersConsistent);
    for (id, order) in &stored.orders {
        let OrderRow { quantity, filled, value, price, .. } = order;
        let fits_status = match order.status.as_str() {
            "NEW" => *filled == 0,
            "PARTIALLY_FILLED" => *filled > 0 && filled < quantity,
            "FILLED" => filled == quantity,
            "CANCELLED" | "EXPIRED" => filled < quantity,
            _ => false,
        };
        let may_rest = matches!(order.time_in_force.as_str(), "DAY" | "GTC");
        let rests = matches!(order.status.as_str(), "NEW" | "PARTIALLY_FILLED");
        let fits_kind = match (order.kind.as_str(), price) {
            ("LIMIT", Some(price)) => *price > 0,
            ("MARKET", None) => !may_rest,
            _ => false,
        };
        let fits_terms = match order.time_in_force.as_str() {
            "DAY" => true,
            "GTC" => order.status != "EXPIRED",
            "IOC" | "FOK" => !rests && order.status != "EXPIRED" && !order.post_only,
            _ => false,
        };
        let fits_end = match (order.status.as_str(), order.end_reason.as_deref()) {
            ("EXPIRED", reason) => reason == Some("END_OF_DAY"),
            ("CANCELLED", reason) => reason.is_some_and(|reason| reason != "END_OF_DAY"),
            (_, reason) => reason.is_none(),
        };
        let is_side = matches!(order.side.as_str(), "BUY" | "SELL");
        let is_possible = *quantity > 0
            && (0..=*quantity).contains(filled)
            && *value >= *filled
            && (*filled > 0 || *value == 0);
        let is_right = fits_status && fits_kind && fits_terms && fits_end && is_side && is_possible;
        finding.look((!is_right).then(|| {
            let OrderRow { kind, side, status, time_in_force, .. } = order;
            let price =
                price.map_or_else(|| "no price".to_owned(), |price| format!("price {price}"));
            let end = order.end_reason.as_deref().unwrap_or("no reason");
            format!(
                "order {id}: {status} ({end}), {filled} filled of {quantity} for {value}, \
                 {side} {kind} {time_in_force}, {price}"
            )
        }));
    }
    finding
}

fn filled_is_traded(stored: &Tables) -> Finding {
    let mut finding = Finding::new(Check::FilledIsTraded);
    let mut traded: HashMap<i64, (i64, i64)> = HashMap::new();
    for trade in stored.trades.values() {
        for order_id in [trade.maker_order_id, trade.taker_order_id] {
            let (quantity, value) = traded.entry(order_id).or_default();
            *quantity = quantity.saturating_add(trade.quantity);
            *value = value.saturating_add(trade.quantity.saturating_mul(trade.price));
        }
    }
    for (id, order) in &stored.orders {
        let (quantity, cost) = traded.remove(id).unwrap_or_default();
        let OrderRow { filled, value, .. } = order;
        let is_right = (quantity, cost) == (*filled, *value);
        finding.look((!is_right).then(|| {
            format!(
                "order {id} is filled by {filled} for {value}, and its trades add up to \
                 {quantity} for {cost}"
            )
        }));
    }
    finding
}

fn two_sides(stored: &Tables) -> Finding {
    let mut finding = Finding::new(Check::TwoSides);
    for (id, trade) in &stored.trades {
        let sides =
            (stored.orders.get(&trade.maker_order_id), stored.orders.get(&trade.taker_order_id));
        let wrong = match sides {
            (Some(maker), Some(taker)) => cannot_be(trade, maker, taker),
            _ => Some("one of its orders is missing"),
        };
        finding.look(wrong.map(|why| {
            let TradeRow { price, quantity, maker_order_id, taker_order_id, .. } = trade;
            format!("trade {id} of {quantity} at {price}, orders {maker_order_id} and {taker_order_id}: {why}")
        }));
    }
    finding
}

/// Why these two orders could not have traded so.
fn cannot_be(trade: &TradeRow, maker: &OrderRow, taker: &OrderRow) -> Option<&'static str> {
    // Of an order that was replaced after this trade, nobody but the journal knows its price at the time.
    let known = |order: &OrderRow| order.replaced_seq.is_none_or(|seq| seq <= trade.journal_seq);
    let accepts = |order: &OrderRow| match (order.price, order.side.as_str()) {
        _ if !known(order) => true,
        (None, _) => true,
        (Some(limit), "BUY") => trade.price <= limit,
        (Some(limit), _) => trade.price >= limit,
    };
    if trade.quantity <= 0 || trade.price <= 0 {
        Some("it is of nothing, or for nothing")
    } else if maker.side == taker.side || taker.side != trade.taker_side {
        Some("its orders are not of opposite sides")
    } else if maker.symbol != trade.symbol || taker.symbol != trade.symbol {
        Some("its orders are not for what it traded")
    } else if maker.user_id == taker.user_id {
        Some("somebody traded with himself")
    } else if known(maker) && maker.price != Some(trade.price) {
        Some("it is not at the price of the order that rested")
    } else if !accepts(taker) {
        Some("it is at a price that the later order did not accept")
    } else {
        None
    }
}

fn conserved(stored: &Tables) -> Finding {
    let mut finding = Finding::new(Check::Conserved);
    /// Lots, and what they cost; saturating would make two wrong sums alike.
    type Sum = (i128, i128);
    let mut sums: BTreeMap<&str, (Sum, Sum)> = BTreeMap::new();
    for order in stored.orders.values() {
        let (bought, sold) = sums.entry(&order.symbol).or_default();
        let (lots, value) = if order.side == "BUY" { bought } else { sold };
        *lots += i128::from(order.filled);
        *value += i128::from(order.value);
    }
    for (symbol, (bought, sold)) in sums {
        let differ = bought != sold;
        finding.look(differ.then(|| {
            let ((bought, paid), (sold, received)) = (bought, sold);
            format!("{symbol}: {bought} lots bought for {paid}, {sold} sold for {received}")
        }));
    }
    finding
}

fn acknowledged_kept(ledger: &Ledger, replayed: &Replayed) -> Finding {
    let mut finding = Finding::new(Check::AcknowledgedKept);
    let mut journalled: HashMap<&str, Vec<i64>> = HashMap::new();
    for (key, id) in &replayed.keys {
        journalled.entry(key).or_default().push(*id);
    }
    for (key, told) in &ledger.acknowledged {
        let found = journalled.get(key.as_str());
        let wrong = match (told.first(), found.map(Vec::as_slice)) {
            _ if told.len() > 1 => Some(format!("{key} was acknowledged as orders {told:?}")),
            (_, None) => Some(format!("{key} is in no record of the journal")),
            (Some(told), Some([only])) if told == only => None,
            (told, Some(found)) => {
                Some(format!("{key} was acknowledged as {told:?}, and is in it as {found:?}"))
            }
        };
        finding.look(wrong);
    }
    finding
}

fn nothing_unasked(ledger: &Ledger, prefix: &str, replayed: &Replayed) -> Finding {
    let mut finding = Finding::new(Check::NothingUnasked);
    let mut seen = HashSet::new();
    let of_clients = |key: &str| key.starts_with(prefix) && !key.starts_with(GIVEN_KEYS);
    for (key, id) in replayed.keys.iter().filter(|(key, _)| of_clients(key)) {
        let wrong = if !ledger.attempted.contains(key) {
            Some(format!("order {id} has the key {key}, which nobody sent"))
        } else if !seen.insert(key) {
            Some(format!("{key} was sent once, and order {id} is not its first"))
        } else {
            None
        };
        finding.look(wrong);
    }
    finding
}
