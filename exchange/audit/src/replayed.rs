//! What follows from the journal.

use exchange_journal::{OpenError, Recovered, Storage, look};
use exchange_matching::{
    Command, Effects, EndReason, Engine, Limits, OrderId, Place, RejectReason, Ticks,
};
use exchange_services::trading_api::record::{Record, RecordError};

use crate::tables::{OrderRow, Tables, TradeRow};

/// Why nothing can be said of what follows from the journal.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The journal cannot be read, or is damaged.
    #[error("the journal")]
    Journal(#[from] OpenError),
    /// A record that nobody can read.
    #[error("record {seq} of the journal is not readable")]
    Record {
        /// Which one.
        seq: u64,
        /// Why.
        #[source]
        source: RecordError,
    },
    /// A record that cannot follow those before it.
    #[error("record {seq} of the journal cannot follow those before it: {why}")]
    Order {
        /// Which one.
        seq: u64,
        /// Why not.
        why: String,
    },
}

/// The journal, carried out from its beginning.
#[derive(Debug)]
pub struct Replayed {
    /// As the database has to have them.
    pub tables: Tables,
    /// How the journal ends.
    pub end: Recovered,
    /// All keys, and the orders that were journalled under them, up to the journal's end.
    pub keys: Vec<(String, i64)>,
}

/// Carries the records out up to one, and looks at all of them.
///
/// # Errors
/// When the journal cannot be read, is damaged, or makes no sense.
pub fn replay(storage: &dyn Storage, up_to: u64) -> Result<Replayed, ReplayError> {
    let mut replay = Replay {
        // The engine's own bounds must never refuse what was journalled.
        engine: Engine::new(Limits { live_orders_max: usize::MAX, finished_orders_max: 0 }),
        tables: Tables::default(),
        keys: Vec::new(),
        last_order_id: 0,
    };
    let mut failed = None;
    let end = look(storage, |record| {
        if failed.is_none() {
            failed = replay.record(record.seq, &record.payload, up_to).err();
        }
    })?;
    match failed {
        Some(error) => Err(error),
        None => Ok(Replayed { tables: replay.tables, end, keys: replay.keys }),
    }
}

struct Replay {
    engine: Engine,
    tables: Tables,
    keys: Vec<(String, i64)>,
    last_order_id: u64,
}

impl Replay {
    fn record(&mut self, seq: u64, payload: &[u8], up_to: u64) -> Result<(), ReplayError> {
        let record =
            Record::decode(payload).map_err(|source| ReplayError::Record { seq, source })?;
        let out_of_order = |why: String| ReplayError::Order { seq, why };
        if matches!(record, Record::Genesis { .. }) != (seq == 1) {
            return Err(out_of_order("the first record is not in its place".to_owned()));
        }
        if let Record::Place { place, .. } = &record {
            let (found, expected) = (place.order_id.get(), self.last_order_id + 1);
            if found != expected {
                return Err(out_of_order(format!("order {found} where {expected} must follow")));
            }
            self.last_order_id = found;
            self.keys.push((place.client_order_id.as_str().to_owned(), signed(found)));
        }
        if seq > up_to {
            return Ok(());
        }
        self.tables.cursor = seq;
        if let Record::Genesis { journal_id } = record {
            self.tables.journal_id = journal_id;
            return Ok(());
        }
        let (seq, at_us) = (signed(seq), signed(record.at_us()));
        let Some(command) = record.into_command() else { return Ok(()) };
        match self.engine.apply(&command) {
            Ok(effects) => self.tables.carry_out(effects, &command, seq, at_us),
            // An order that is to be cancelled or replaced was finished, or traded too far, by what was on its
            // way to the disk before.
            Err(
                RejectReason::AlreadyFinished { .. }
                | RejectReason::UnknownOrder { .. }
                | RejectReason::QuantityTraded { .. },
            ) => {}
            Err(refused) => return Err(out_of_order(refused.to_string())),
        }
        Ok(())
    }
}

impl Tables {
    /// What a record did.
    fn carry_out(&mut self, effects: &Effects, command: &Command, seq: i64, at_us: i64) {
        if let Command::Place(place) = command {
            self.orders.insert(id(place.order_id), OrderRow::placed(place, seq, at_us));
        }
        for order in &effects.orders {
            if let Some(row) = self.orders.get_mut(&id(order.order_id)) {
                row.quantity = signed(order.quantity.get());
                row.price = order.kind.price().map(Ticks::get).map(signed);
                row.status = order.status.as_str().to_owned();
                row.filled = signed(order.cum_qty.get());
                row.value = signed(order.cum_value);
                row.end_reason = order.end.map(EndReason::as_str).map(str::to_owned);
                row.changed_seq = seq;
            }
        }
        if let Command::Replace(replace) = command
            && let Some(row) = self.orders.get_mut(&id(replace.order_id))
        {
            row.replaced_seq = Some(seq);
        }
        for trade in &effects.trades {
            let row = TradeRow {
                symbol: trade.symbol.as_str().to_owned(),
                price: signed(trade.price.get()),
                quantity: signed(trade.quantity.get()),
                taker_side: trade.taker_side.as_str().to_owned(),
                maker_order_id: id(trade.maker_order_id),
                taker_order_id: id(trade.taker_order_id),
                journal_seq: seq,
                executed_us: at_us,
            };
            self.trades.insert(signed(trade.trade_id.get()), row);
        }
    }
}

impl OrderRow {
    /// As it is before it has met the book.
    fn placed(place: &Place, seq: i64, at_us: i64) -> Self {
        Self {
            client_order_id: place.client_order_id.as_str().to_owned(),
            user_id: place.user.as_str().to_owned(),
            symbol: place.symbol.as_str().to_owned(),
            side: place.side.as_str().to_owned(),
            kind: place.kind.as_str().to_owned(),
            time_in_force: place.time_in_force.as_str().to_owned(),
            post_only: place.post_only,
            quantity: 0,
            price: None,
            replaced_seq: None,
            status: String::new(),
            filled: 0,
            value: 0,
            end_reason: None,
            journal_seq: seq,
            changed_seq: seq,
            created_us: at_us,
        }
    }
}

fn id(order_id: OrderId) -> i64 {
    signed(order_id.get())
}

/// Every number of an exchange is far below the end of PostgreSQL's.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
