//! From journal records to database rows.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use exchange_journal::{Journal, ReadError, Reader};
use exchange_matching::{OrderId, Trade};

use crate::trading_api::exchange::{ApplyError, Change, Exchange};
use crate::trading_api::record::{Record, RecordError};

/// The records of one batch: one transaction, one round trip.
pub const BATCH_RECORDS_MAX: usize = 256;

/// A row of `orders`.
#[derive(Clone, Debug)]
pub struct OrderRow {
    /// The command that placed it.
    pub place: exchange_matching::Place,
    /// Where it stands at the end of the batch.
    pub state: Change,
    /// The record that placed it.
    pub journal_seq: u64,
    /// The record that last changed it.
    pub changed_seq: u64,
    /// When it was taken.
    pub created_us: u64,
}

/// A row of `trades`.
#[derive(Clone, Copy, Debug)]
pub struct TradeRow {
    /// The trade.
    pub trade: Trade,
    /// The record that caused it.
    pub journal_seq: u64,
    /// When that record was taken.
    pub executed_us: u64,
}

/// What a run of records does to the tables.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// The cursor before.
    pub from_seq: u64,
    /// The cursor after.
    pub to_seq: u64,
    /// The highest order id up to there.
    pub last_order_id: u64,
    /// Orders placed by the batch.
    pub orders: Vec<OrderRow>,
    /// Orders placed before it and changed by it, with the record that changed them last.
    pub changes: BTreeMap<OrderId, (Change, u64)>,
    /// Trades made by it.
    pub trades: Vec<TradeRow>,
}

/// Why the relay cannot go on reading.
#[derive(Debug, thiserror::Error)]
pub enum DeriveError {
    /// The journal could not be read.
    #[error("could not read the journal")]
    Read(#[source] ReadError),
    /// A record could not be read.
    #[error("record {seq} of the journal is not readable")]
    Record {
        /// Which one.
        seq: u64,
        /// Why.
        #[source]
        source: RecordError,
    },
    /// A record does not follow from those before.
    #[error("record {seq} of the journal cannot be carried out")]
    Apply {
        /// Which one.
        seq: u64,
        /// Why.
        #[source]
        source: ApplyError,
    },
    /// The database is further than the journal.
    #[error(
        "the database has records up to {cursor} of this journal, which ends at {journal_end}: \
         the journal was cut or replaced; restore it, or start with an empty database"
    )]
    CursorAhead {
        /// Where the database is.
        cursor: u64,
        /// Where the journal ends.
        journal_end: u64,
    },
}

/// Replays the journal into a state of its own, at the relay's own pace. The rows follow
/// from the records and nothing else, so a batch made again after a crash is the same.
#[derive(Debug)]
pub struct Deriver {
    journal: Arc<Journal>,
    reader: Option<Reader>,
    exchange: Exchange,
    position_seq: u64,
}

impl Deriver {
    /// Starts before the first record.
    #[must_use]
    pub fn new(journal: Arc<Journal>) -> Self {
        Self { journal, reader: None, exchange: Exchange::new(0), position_seq: 0 }
    }

    /// The last record read.
    pub fn position_seq(&self) -> u64 {
        self.position_seq
    }

    /// The highest order id up to there.
    pub fn last_order_id(&self) -> u64 {
        self.exchange.next_order_id().get() - 1
    }

    /// Goes to just after `cursor`; back means from the beginning.
    ///
    /// # Errors
    /// When the journal ends before `cursor`, or cannot be read.
    pub fn seek(&mut self, cursor: u64) -> Result<(), DeriveError> {
        if cursor < self.position_seq {
            *self = Self::new(Arc::clone(&self.journal));
        }
        while self.position_seq < cursor {
            let left = usize::try_from(cursor - self.position_seq).unwrap_or(usize::MAX);
            let batch = self.next(left.min(BATCH_RECORDS_MAX))?;
            if batch.to_seq == batch.from_seq {
                let journal_end = self.position_seq;
                return Err(DeriveError::CursorAhead { cursor, journal_end });
            }
        }
        Ok(())
    }

    /// The next durable records as rows; an empty batch when there are none yet.
    ///
    /// # Errors
    /// When the journal cannot be read or makes no sense.
    pub fn next(&mut self, records_max: usize) -> Result<Batch, DeriveError> {
        let mut batch = Batch { from_seq: self.position_seq, ..Batch::default() };
        let mut in_batch = HashMap::new();
        for _ in 0..records_max {
            let Some((seq, payload)) = self.read()? else { break };
            let record =
                Record::decode(&payload).map_err(|source| DeriveError::Record { seq, source })?;
            let (placed, at_us) = match &record {
                Record::Genesis { .. } => (None, 0),
                Record::Place { place, at_us } => (Some(place.clone()), *at_us),
                Record::Cancel { at_us, .. } => (None, *at_us),
            };
            let effects =
                self.exchange.apply(record).map_err(|source| DeriveError::Apply { seq, source })?;
            let mut changes = effects.changes.into_iter();
            if let Some(place) = placed
                && let Some(state) = changes.next()
            {
                in_batch.insert(state.order_id, batch.orders.len());
                batch.orders.push(OrderRow {
                    place,
                    state,
                    journal_seq: seq,
                    changed_seq: seq,
                    created_us: at_us,
                });
            }
            for change in changes {
                if let Some(row) = in_batch.get(&change.order_id) {
                    let row = &mut batch.orders[*row];
                    row.state = change;
                    row.changed_seq = seq;
                } else {
                    batch.changes.insert(change.order_id, (change, seq));
                }
            }
            batch.trades.extend(effects.trades.into_iter().map(|trade| TradeRow {
                trade,
                journal_seq: seq,
                executed_us: at_us,
            }));
            self.position_seq = seq;
        }
        batch.to_seq = self.position_seq;
        batch.last_order_id = self.last_order_id();
        Ok(batch)
    }

    fn read(&mut self) -> Result<Option<(u64, Vec<u8>)>, DeriveError> {
        let reader = match &mut self.reader {
            Some(reader) => reader,
            none => none.insert(self.journal.reader(1).map_err(DeriveError::Read)?),
        };
        let record = reader.next_record().map_err(DeriveError::Read)?;
        Ok(record.map(|record| (record.seq, record.payload)))
    }
}
