//! What follows from the journal.

use exchange_journal::{OpenError, Recovered, Storage, look};
use exchange_matching::{Engine, Execution, Limits, Order, OrderId, RejectReason};
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
        match record {
            Record::Genesis { journal_id } => self.tables.journal_id = journal_id,
            Record::Place { place, at_us } => {
                let execution = self
                    .engine
                    .place(place)
                    .map_err(|refused| out_of_order(refused.to_string()))?;
                self.placed(execution, signed(seq), signed(at_us));
            }
            Record::Cancel { order_id, .. } => match self.engine.cancel(order_id) {
                Ok(order) => self.changed(&order, signed(seq)),
                // It was finished by what was on its way to the disk before it.
                Err(RejectReason::AlreadyFinished { .. } | RejectReason::UnknownOrder { .. }) => {}
                Err(refused) => return Err(out_of_order(refused.to_string())),
            },
        }
        Ok(())
    }

    fn placed(&mut self, execution: Execution, seq: i64, at_us: i64) {
        let Execution { order, trades, makers } = execution;
        let row = OrderRow {
            client_order_id: order.client_order_id.as_str().to_owned(),
            user_id: order.user.as_str().to_owned(),
            symbol: order.symbol.as_str().to_owned(),
            side: order.side.as_str().to_owned(),
            kind: order.kind.as_str().to_owned(),
            quantity: signed(order.quantity.get()),
            price: order.kind.price().map(|price| signed(price.get())),
            status: order.status.as_str().to_owned(),
            filled: signed(order.cum_qty.get()),
            journal_seq: seq,
            changed_seq: seq,
            created_us: at_us,
        };
        self.tables.orders.insert(id(order.order_id), row);
        for maker in makers {
            if let Some(row) = self.tables.orders.get_mut(&id(maker.order_id)) {
                row.status = maker.status.as_str().to_owned();
                row.filled = signed(maker.cum_qty.get());
                row.changed_seq = seq;
            }
        }
        for trade in trades {
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
            self.tables.trades.insert(signed(trade.trade_id.get()), row);
        }
    }

    fn changed(&mut self, order: &Order, seq: i64) {
        if let Some(row) = self.tables.orders.get_mut(&id(order.order_id)) {
            row.status = order.status.as_str().to_owned();
            row.filled = signed(order.cum_qty.get());
            row.changed_seq = seq;
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
