//! From journal records to database rows.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use exchange_journal::{Journal, ReadError, Reader};
use exchange_matching::{Order, OrderId, Trade};

use crate::trading_api::exchange::{ApplyError, Exchange};
use crate::trading_api::record::{Record, RecordError};

/// The records of one batch: one transaction, one round trip.
pub const BATCH_RECORDS_MAX: usize = 256;

/// A row of `orders`.
#[derive(Clone, Debug)]
pub struct OrderRow {
    /// The command that placed it.
    pub place: exchange_matching::Place,
    /// The record that placed it.
    pub journal_seq: u64,
    /// When it was taken.
    pub created_us: u64,
    /// As it is at the end of the batch.
    pub now: Changed,
}

/// What of an order's row can change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Changed {
    /// As it is.
    pub order: Order,
    /// The record that last changed it.
    pub changed_seq: u64,
    /// The record of the batch that last replaced it, if one did.
    pub replaced_seq: Option<u64>,
}

impl Changed {
    /// As it is after a later record.
    fn then(self, later: Self) -> Self {
        Self { replaced_seq: later.replaced_seq.or(self.replaced_seq), ..later }
    }
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
    /// Orders and replacements up to there, see [`Exchange::taken`].
    pub taken: u64,
    /// Orders placed by the batch.
    pub orders: Vec<OrderRow>,
    /// Orders placed before it and changed by it.
    pub changes: BTreeMap<OrderId, Changed>,
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

    /// Orders and replacements up to there.
    pub fn taken(&self) -> u64 {
        self.exchange.taken()
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
            let at_us = record.at_us();
            let (placed, replaced) = match &record {
                Record::Place { place, .. } => (Some(place.clone()), None),
                Record::Replace { replace, .. } => (None, Some(replace.order_id)),
                _ => (None, None),
            };
            let effects =
                self.exchange.apply(record).map_err(|source| DeriveError::Apply { seq, source })?;
            let mut changes = effects.orders.into_iter().map(|order| Changed {
                order,
                changed_seq: seq,
                replaced_seq: (replaced == Some(order.order_id)).then_some(seq),
            });
            if let Some(place) = placed
                && let Some(now) = changes.next()
            {
                in_batch.insert(place.order_id, batch.orders.len());
                batch.orders.push(OrderRow { place, journal_seq: seq, created_us: at_us, now });
            }
            for change in changes {
                let order_id = change.order.order_id;
                if let Some(row) = in_batch.get(&order_id) {
                    let now = &mut batch.orders[*row].now;
                    *now = now.then(change);
                } else {
                    let before = batch.changes.get(&order_id);
                    let now = before.map_or(change, |before| before.then(change));
                    batch.changes.insert(order_id, now);
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
        batch.taken = self.taken();
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

#[cfg(test)]
mod tests {
    use exchange_journal::Options;
    use exchange_journal::sim::SimStorage;
    use exchange_matching::{
        ClientOrderId, Lots, OrderKind, Place, Replace, Side, Symbol, Ticks, TimeInForce, UserId,
    };
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Place { user: u8, buy: bool, limit: Option<u64>, quantity: u64, day: bool },
        Cancel { order_id: u64 },
        Replace { order_id: u64, price: Option<u64>, quantity: Option<u64> },
        EndDay,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let place = (
            0..4_u8,
            any::<bool>(),
            prop::option::weighted(0.8, 95..105_u64),
            1..9_u64,
            any::<bool>(),
        )
            .prop_map(|(user, buy, limit, quantity, day)| Step::Place {
                user,
                buy,
                limit,
                quantity,
                day,
            });
        let replace =
            (1..40_u64, prop::option::of(95..105_u64), prop::option::of(1..9_u64), 95..105_u64)
                .prop_map(|(order_id, price, quantity, other)| Step::Replace {
                    order_id,
                    price: price.or(quantity.is_none().then_some(other)),
                    quantity,
                });
        let cancel = (1..40_u64).prop_map(|order_id| Step::Cancel { order_id });
        let step = prop_oneof![16 => place, 4 => cancel, 4 => replace, 1 => Just(Step::EndDay)];
        prop::collection::vec(step, 1..60)
    }

    fn records(steps: &[Step]) -> Vec<Record> {
        let mut records = vec![Record::Genesis { journal_id: "j".to_owned() }];
        let mut next_id = 1;
        for (at_us, step) in (1..).zip(steps) {
            records.push(match *step {
                Step::Place { user, buy, limit, quantity, day } => {
                    let order_id = OrderId(next_id);
                    next_id += 1;
                    let kind = limit.map_or(OrderKind::Market, |price| OrderKind::Limit {
                        price_ticks: Ticks(price),
                    });
                    let place = Place {
                        order_id,
                        client_order_id: ClientOrderId::new(&format!("k{order_id}")).unwrap(),
                        user: UserId::new(&format!("u{user}")).unwrap(),
                        symbol: Symbol::AdaUsd,
                        side: if buy { Side::Buy } else { Side::Sell },
                        kind,
                        quantity: Lots(quantity),
                        time_in_force: match kind {
                            OrderKind::Limit { .. } if day => TimeInForce::Day,
                            kind => kind.default_time_in_force(),
                        },
                        post_only: false,
                    };
                    Record::Place { place, at_us }
                }
                // Also of orders that are not there, or not any more.
                Step::Cancel { order_id } => Record::Cancel { order_id: OrderId(order_id), at_us },
                Step::Replace { order_id, price, quantity } => {
                    let (price, quantity) = (price.map(Ticks), quantity.map(Lots));
                    let replace = Replace { order_id: OrderId(order_id), price, quantity };
                    Record::Replace { replace, at_us }
                }
                Step::EndDay => Record::EndDay { at_us },
            });
        }
        records
    }

    /// The tables, as plain as can be.
    #[derive(Debug, Default, PartialEq)]
    struct Tables {
        orders: BTreeMap<OrderId, Changed>,
        trades: Vec<(Trade, u64)>,
    }

    impl Tables {
        fn write(&mut self, batch: &Batch) {
            for row in &batch.orders {
                let id = row.place.order_id;
                assert!(self.orders.insert(id, row.now).is_none());
            }
            for (id, change) in &batch.changes {
                let before = self.orders.get_mut(id).expect("changed before it was there");
                *before = before.then(*change);
            }
            self.trades.extend(batch.trades.iter().map(|row| (row.trade, row.journal_seq)));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// However the records fall into batches, and wherever the relay is set back to, the
        /// tables are the same in the end, and say what the exchange itself says.
        #[test]
        fn batches_do_not_matter(steps in steps(), sizes in prop::collection::vec(1..7_usize, 1..9)) {
            let records = records(&steps);
            let (journal, _) =
                Journal::open(Arc::new(SimStorage::new()), Options::default()).unwrap();
            let mut exchange = Exchange::new(usize::MAX);
            let mut last = 0;
            for record in &records {
                last = journal.append(record.encode().unwrap(), |_| ()).unwrap();
                exchange.apply(record.clone()).unwrap();
            }
            journal.wait_durable_after(last - 1, std::time::Duration::from_secs(10)).unwrap();
            let journal = Arc::new(journal);

            let mut whole = Tables::default();
            whole.write(&Deriver::new(Arc::clone(&journal)).next(usize::MAX).unwrap());

            let mut deriver = Deriver::new(journal);
            let mut tables = Tables::default();
            for size in sizes.iter().cycle() {
                let batch = deriver.next(*size).unwrap();
                if batch.to_seq == batch.from_seq {
                    break;
                }
                tables.write(&batch);
                // Set back, as after a crash, to before the batch and to after it.
                deriver.seek(batch.from_seq).unwrap();
                deriver.seek(batch.to_seq).unwrap();
            }
            prop_assert_eq!(&tables, &whole);
            prop_assert_eq!(deriver.position_seq(), last);
            prop_assert!(deriver.seek(last + 1).is_err());
            prop_assert_eq!(tables.orders.len(), exchange.held_orders());
            for (id, changed) in &tables.orders {
                let held = exchange.order(*id).unwrap();
                prop_assert_eq!(changed.order, held.state);
            }
        }
    }
}
