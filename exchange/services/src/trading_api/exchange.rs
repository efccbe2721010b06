//! The state that the journal stands for: books, orders and the keys clients used.
//!
//! Deterministic: [`Exchange::apply`] looks at nothing but the records it is given, so the
//! sequencer's state, the relay's and the one after a restart are the same.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use exchange_api::{BookLevel, BookView, ValidOrder};
use exchange_matching::{
    ClientOrderId, Command, DepthLevel, Effects, Engine, Limits, Order, OrderId, Place,
    RejectReason, Symbol, Ticks, TradeId, UserId,
};

use super::record::Record;
use super::tape::Tape;

/// Trades that are remembered, at most; never more than orders.
const TRADES_MAX: usize = 100_000;

/// An order with what the exchange adds to it.
#[derive(Clone, Debug)]
pub struct HeldOrder {
    /// As it was placed.
    pub place: Place,
    /// As it is now: it may have been replaced.
    pub state: Order,
    /// As it was when it was first answered; a repetition is answered the same.
    pub first: Order,
    /// When it was taken, in microseconds since 1970.
    pub created_us: u64,
    /// Its key is forgotten; the order goes when it is finished.
    key_forgotten: bool,
}

/// A record that does not follow from those before it.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The matching engine refused what was only journalled because it would not.
    #[error(
        "the matching engine refuses the record: the journal was written under other rules, or is mixed up"
    )]
    Refused(#[source] RejectReason),
    /// A second first record, or none.
    #[error("the journal's first record is not in its place")]
    Genesis,
    /// An order id was left out or given twice.
    #[error("the record places order {found} where order {expected} must follow")]
    OrderId {
        /// The id in the record.
        found: OrderId,
        /// The one that must follow.
        expected: OrderId,
    },
}

/// What became of a client's key before.
#[derive(Debug)]
pub enum KeyUse<'a> {
    /// Never used, or so long ago that it is forgotten.
    Free,
    /// Used for the same order.
    Same(&'a HeldOrder),
    /// Used for a different order.
    Different(&'a HeldOrder),
}

/// Books, orders, keys.
#[derive(Debug)]
pub struct Exchange {
    engine: Engine,
    journal_id: Option<String>,
    replaces: u64,
    last_at_us: u64,
    tape: Tape,
    orders: BTreeMap<OrderId, HeldOrder>,
    /// Those that the last record ended, and that are held no longer.
    forgotten: HashMap<OrderId, HeldOrder>,
    /// The held orders of each user.
    of_users: HashMap<UserId, BTreeSet<OrderId>>,
    keys: HashMap<ClientOrderId, OrderId>,
    /// The orders whose keys are held, oldest first.
    keyed: VecDeque<OrderId>,
    keys_max: usize,
    updated_us: [u64; Symbol::ALL.len()],
    /// Counts changes of each book, so that a reader can tell whether it has the latest.
    versions: [u64; Symbol::ALL.len()],
}

impl Exchange {
    /// An empty exchange that remembers the newest `keys_max` orders with their keys.
    /// Resting orders are held besides.
    #[must_use]
    pub fn new(keys_max: usize) -> Self {
        // The bound on resting orders is kept by the sequencer, before it journals; an
        // engine with a bound of its own could refuse a journalled order after an upgrade.
        let limits = Limits { live_orders_max: usize::MAX, finished_orders_max: 0 };
        Self {
            engine: Engine::new(limits),
            journal_id: None,
            replaces: 0,
            last_at_us: 0,
            tape: Tape::new(keys_max.min(TRADES_MAX)),
            orders: BTreeMap::new(),
            forgotten: HashMap::new(),
            of_users: HashMap::new(),
            keys: HashMap::new(),
            keyed: VecDeque::new(),
            keys_max,
            updated_us: [0; Symbol::ALL.len()],
            versions: [0; Symbol::ALL.len()],
        }
    }

    /// Carries out one record.
    ///
    /// # Errors
    /// When the record cannot follow those before it; the journal is not to be trusted then.
    pub fn apply(&mut self, record: Record) -> Result<Effects, ApplyError> {
        let at_us = record.at_us();
        self.last_at_us = self.last_at_us.max(at_us);
        self.forgotten.clear();
        match (record, &self.journal_id) {
            (Record::Genesis { journal_id }, None) if self.engine.last_order_id() == OrderId(0) => {
                self.journal_id = Some(journal_id);
                Ok(Effects::default())
            }
            (Record::Genesis { .. }, _) | (_, None) => Err(ApplyError::Genesis),
            (Record::Place { place, .. }, Some(_)) => self.place(place, at_us),
            (record, Some(_)) => {
                self.replaces += u64::from(matches!(record, Record::Replace { .. }));
                Ok(record
                    .into_command()
                    .map(|command| self.alter(&command, at_us))
                    .unwrap_or_default())
            }
        }
    }

    fn place(&mut self, place: Place, at_us: u64) -> Result<Effects, ApplyError> {
        let order_id = place.order_id;
        let expected = self.next_order_id();
        if order_id != expected {
            return Err(ApplyError::OrderId { found: order_id, expected });
        }
        let symbol = place.symbol;
        let command = Command::Place(place);
        let effects = self.engine.apply(&command).map_err(ApplyError::Refused)?.clone();
        let Command::Place(place) = command else { return Ok(effects) };
        self.print(&effects, at_us);
        if let Some(state) = effects.orders.first().copied() {
            self.hold(HeldOrder {
                place,
                state,
                first: state,
                created_us: at_us,
                key_forgotten: false,
            });
        }
        for maker in effects.orders.iter().skip(1) {
            self.change(maker);
        }
        self.touch(symbol, at_us);
        Ok(effects)
    }

    /// A command about orders that are there already. One that is refused has no effects: what was on its
    /// way to the disk before may have ended the order, or traded too much of it. Then the command came too
    /// late, and so it does in every replay.
    fn alter(&mut self, command: &Command, at_us: u64) -> Effects {
        let Ok(effects) = self.engine.apply(command) else { return Effects::default() };
        let effects = effects.clone();
        self.print(&effects, at_us);
        for order in &effects.orders {
            self.change(order);
            self.touch(order.symbol, at_us);
        }
        effects
    }

    fn print(&mut self, effects: &Effects, at_us: u64) {
        for trade in &effects.trades {
            self.tape.print(trade, at_us);
        }
    }

    fn hold(&mut self, order: HeldOrder) {
        let order_id = order.place.order_id;
        match self.of_users.get_mut(&order.place.user) {
            Some(orders) => _ = orders.insert(order_id),
            None => _ = self.of_users.insert(order.place.user.clone(), [order_id].into()),
        }
        self.keys.insert(order.place.client_order_id.clone(), order_id);
        self.orders.insert(order_id, order);
        self.keyed.push_back(order_id);
        while self.keyed.len() > self.keys_max {
            let Some(oldest) = self.keyed.pop_front() else { break };
            if let Some(order) = self.orders.get_mut(&oldest) {
                order.key_forgotten = true;
                let live = order.state.status.is_live();
                // A key that was forgotten and used again belongs to the later order.
                if self.keys.get(&order.place.client_order_id) == Some(&oldest) {
                    self.keys.remove(&order.place.client_order_id);
                }
                if !live {
                    self.forget(oldest);
                }
            }
        }
    }

    fn change(&mut self, changed: &Order) {
        if let Some(order) = self.orders.get_mut(&changed.order_id) {
            order.state = *changed;
            if order.key_forgotten && !changed.status.is_live() {
                self.forget(changed.order_id);
            }
        }
    }

    fn forget(&mut self, order_id: OrderId) {
        let Some(order) = self.orders.remove(&order_id) else { return };
        let user = &order.place.user;
        if let Some(orders) = self.of_users.get_mut(user) {
            orders.remove(&order_id);
            if orders.is_empty() {
                self.of_users.remove(user);
            }
        }
        self.forgotten.insert(order_id, order);
    }

    fn touch(&mut self, symbol: Symbol, at_us: u64) {
        self.updated_us[symbol.index()] = at_us;
        self.versions[symbol.index()] += 1;
    }

    /// The id of the next order. Ids are contiguous from 1, so that counting orders is
    /// subtracting ids.
    #[must_use]
    pub fn next_order_id(&self) -> OrderId {
        OrderId(self.engine.last_order_id().get() + 1)
    }

    /// Orders and replacements of orders in all the records so far: what waits for the database is counted
    /// in them. There are never more cancellations than orders, so those need no count.
    #[must_use]
    pub fn taken(&self) -> u64 {
        self.engine.last_order_id().get() + self.replaces
    }

    /// When the latest of the records was taken, in microseconds since 1970; 0 before the first.
    #[must_use]
    pub fn last_at_us(&self) -> u64 {
        self.last_at_us
    }

    /// Whether the order would be changed so now.
    ///
    /// # Errors
    /// Why it would not be.
    pub fn check(&self, command: &Command) -> Result<(), RejectReason> {
        self.engine.check(command)
    }

    /// The journal's own name, once its first record has been applied.
    #[must_use]
    pub fn journal_id(&self) -> Option<&str> {
        self.journal_id.as_deref()
    }

    /// What became of `order`'s key before.
    #[must_use]
    pub fn key_use(&self, key: &ClientOrderId, order: &ValidOrder) -> KeyUse<'_> {
        match self.keys.get(key).and_then(|order_id| self.orders.get(order_id)) {
            None => KeyUse::Free,
            Some(held) if same_order(&held.place, order) => KeyUse::Same(held),
            Some(held) => KeyUse::Different(held),
        }
    }

    /// An order that is held.
    #[must_use]
    pub fn order(&self, order_id: OrderId) -> Option<&HeldOrder> {
        self.orders.get(&order_id)
    }

    /// An order that is held, or was until the last record: whoever tells of what that did needs it.
    #[must_use]
    pub fn just_held(&self, order_id: OrderId) -> Option<&HeldOrder> {
        self.order(order_id).or_else(|| self.forgotten.get(&order_id))
    }

    /// The held orders before one, the newest first.
    pub fn newest_first(&self, before: Option<OrderId>) -> impl Iterator<Item = &HeldOrder> {
        self.orders.range(..before.unwrap_or(OrderId(u64::MAX))).rev().map(|(_, order)| order)
    }

    /// A user's held orders before one, the newest first.
    pub fn newest_first_of(
        &self,
        user: &UserId,
        before: Option<OrderId>,
    ) -> impl Iterator<Item = &HeldOrder> {
        let ids = self.of_users.get(user).into_iter();
        let ids = ids.flat_map(move |ids| ids.range(..before.unwrap_or(OrderId(u64::MAX))).rev());
        ids.filter_map(|order_id| self.orders.get(order_id))
    }

    /// How many orders of a user are held.
    #[must_use]
    pub fn held_orders_of(&self, user: &UserId) -> usize {
        self.of_users.get(user).map_or(0, BTreeSet::len)
    }

    /// What was traded.
    #[must_use]
    pub fn tape(&self) -> &Tape {
        &self.tape
    }

    /// The id of the last trade; 0 if there was none.
    #[must_use]
    pub fn last_trade_id(&self) -> TradeId {
        self.engine.last_trade_id()
    }

    /// How many orders are held.
    #[must_use]
    pub fn held_orders(&self) -> usize {
        self.orders.len()
    }

    /// How many orders rest in the books.
    #[must_use]
    pub fn live_orders(&self) -> usize {
        self.engine.live_orders()
    }

    /// Grows with every change of the symbol's book.
    #[must_use]
    pub fn version(&self, symbol: Symbol) -> u64 {
        self.versions[symbol.index()]
    }

    /// At how many prices orders rest on either side, counted up to a thousand.
    #[must_use]
    pub fn levels(&self, symbol: Symbol) -> (usize, usize) {
        let depth = self.engine.depth(symbol, 1000);
        (depth.bids.len(), depth.asks.len())
    }

    /// The best `levels_max` prices of either side of a book.
    #[must_use]
    pub fn book(&self, symbol: Symbol, levels_max: usize) -> BookView {
        let depth = self.engine.depth(symbol, levels_max);
        BookView {
            symbol: symbol.as_str().to_owned(),
            bids: depth.bids.into_iter().map(level).collect(),
            asks: depth.asks.into_iter().map(level).collect(),
            last_price: self.engine.last_price(symbol).map(Ticks::get),
            updated_at: self.updated_us[symbol.index()] / 1000,
        }
    }
}

/// Whether a repeated key comes with the order it came with first.
#[must_use]
pub fn same_order(place: &Place, order: &ValidOrder) -> bool {
    place.user == order.user
        && place.symbol == order.symbol
        && place.side == order.side
        && place.kind == order.kind
        && place.quantity == order.quantity
        && place.time_in_force == order.time_in_force
        && place.post_only == order.post_only
}

fn level(level: DepthLevel) -> BookLevel {
    BookLevel { price: level.price.get(), quantity: level.quantity.get(), orders: level.orders }
}

#[cfg(test)]
mod tests {
    use exchange_matching::{Lots, OrderKind, Side, TimeInForce, UserId};

    use super::*;

    fn order(key: &str, side: Side, price: u64) -> ValidOrder {
        ValidOrder {
            user: UserId::new(key).unwrap(),
            symbol: Symbol::DotUsd,
            side,
            kind: OrderKind::Limit { price_ticks: Ticks(price) },
            quantity: Lots(1),
            time_in_force: TimeInForce::GoodTillCancel,
            post_only: false,
            key: Some(ClientOrderId::new(key).unwrap()),
        }
    }

    fn place(exchange: &mut Exchange, order: &ValidOrder) -> OrderId {
        let order_id = exchange.next_order_id();
        let place = Place {
            order_id,
            client_order_id: order.key.clone().unwrap(),
            user: order.user.clone(),
            symbol: order.symbol,
            side: order.side,
            kind: order.kind,
            quantity: order.quantity,
            time_in_force: order.time_in_force,
            post_only: order.post_only,
        };
        exchange.apply(Record::Place { place, at_us: order_id.get() }).unwrap();
        order_id
    }

    fn used(exchange: &Exchange, order: &ValidOrder) -> bool {
        !matches!(exchange.key_use(order.key.as_ref().unwrap(), order), KeyUse::Free)
    }

    #[test]
    fn old_keys_go_but_resting_orders_stay_until_they_end() {
        let mut exchange = Exchange::new(2);
        exchange.apply(Record::Genesis { journal_id: "j".to_owned() }).unwrap();
        let orders: Vec<_> = (0..4).map(|n| order(&format!("k{n}"), Side::Sell, 100 + n)).collect();
        let ids: Vec<_> = orders.iter().map(|order| place(&mut exchange, order)).collect();
        assert_eq!(
            orders.iter().map(|o| used(&exchange, o)).collect::<Vec<_>>(),
            [false, false, true, true]
        );
        assert_eq!(exchange.held_orders(), 4, "all of them rest");
        // The oldest is traded away: now nothing of it is needed.
        place(&mut exchange, &order("buyer", Side::Buy, 100));
        assert!(exchange.order(ids[0]).is_none());
        exchange.apply(Record::Cancel { order_id: ids[1], at_us: 9 }).unwrap();
        assert!(exchange.order(ids[1]).is_none());
        let ended = exchange.just_held(ids[1]).unwrap().view();
        assert_eq!((ended.status.as_str(), ended.reason.as_deref()), ("CANCELLED", Some("OWNER")));
        assert!(exchange.just_held(ids[0]).is_none(), "only those of the last record");
        assert_eq!((exchange.held_orders(), exchange.live_orders()), (3, 2));
        // Each user has one order or none, and the users of those that are gone are gone.
        let of = |user: &str| exchange.held_orders_of(&UserId::new(user).unwrap());
        assert_eq!(["k0", "k1", "k2", "k3", "buyer"].map(of), [0, 0, 1, 1, 1]);
        assert_eq!(exchange.of_users.len(), 3);
    }

    #[test]
    fn records_out_of_order_are_refused() {
        let mut exchange = Exchange::new(10);
        let genesis = || Record::Genesis { journal_id: "j".to_owned() };
        let mut early = Exchange::new(10);
        assert!(early.apply(Record::Cancel { order_id: OrderId(1), at_us: 0 }).is_err());
        exchange.apply(genesis()).unwrap();
        assert!(exchange.apply(genesis()).is_err());
        let order = order("k", Side::Buy, 5);
        place(&mut exchange, &order);
        let place = exchange.order(OrderId(1)).unwrap().place.clone();
        for order_id in [1, 3] {
            let place = Place { order_id: OrderId(order_id), ..place.clone() };
            assert!(exchange.apply(Record::Place { place, at_us: 0 }).is_err());
        }
    }
}
