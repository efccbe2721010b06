//! What happens, as a stream in Redis: ordered, repeatable, and read on from anywhere.
//!
//! An entry's id is the number of the journal's record behind it, and a number within the record. So Redis
//! itself refuses an entry that it has already or that comes out of order, where to go on is what its last
//! entry says, and a stream that was lost is written again with the ids it had.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use exchange_api::{OrderChange, OrderView, TradeView};
use exchange_journal::Journal;
use exchange_matching::{EndReason, Order, Ticks};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Pipeline, RedisError};
use serde::Serialize;
use tokio::sync::watch;
use tokio::task::JoinError;

use super::metrics::Metrics;
use super::relay::{Batch, DeriveError, Deriver};
use super::tape::Printed;
use super::view::order_view;
use crate::common::Backoff;

/// The stream.
pub const STREAM: &str = "exchange:events";
/// What there are.
pub const KINDS: [&str; 5] =
    ["order.placed", "order.replaced", "order.cancelled", "order.expired", "trade.executed"];
/// Names the journal whose events these are.
const OWNER: &str = "exchange:events:journal";
/// Entries that are kept, a few more or less.
const KEPT: u64 = 100_000;
/// Records that are written in one transaction.
const RECORDS_AT_ONCE: usize = 64;
/// An idle Redis is asked this often whether it still has the stream.
const HEARTBEAT: Duration = Duration::from_secs(1);
const TIMEOUT: Duration = Duration::from_secs(2);

/// Why one attempt ended.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// Redis, or the way to it.
    #[error(transparent)]
    Redis(#[from] RedisError),
    /// The journal.
    #[error(transparent)]
    Derive(#[from] DeriveError),
    /// Replaying panicked: a bug.
    #[error("replaying the journal for the events broke off")]
    Broken(#[from] JoinError),
    /// An event that is no JSON: cannot happen.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// Somebody else writes, or Redis has lost what it had.
    #[error("the stream ends with record {found}, and not with {expected} as it was left")]
    Moved {
        /// Where it ends.
        found: u64,
        /// Where it should.
        expected: u64,
    },
}

/// The publisher's belongings.
#[derive(Debug)]
pub struct Publisher {
    /// Where to write.
    pub client: Client,
    /// What happened.
    pub journal: Arc<Journal>,
    /// Its name.
    pub journal_id: String,
    /// Brings news of more records.
    pub durable: watch::Receiver<u64>,
    /// Counts what was written.
    pub metrics: Metrics,
}

/// A record's entries.
struct Entries {
    seq: u64,
    /// Each one's kind and its JSON.
    entries: Vec<(&'static str, String)>,
}

impl Publisher {
    /// Publishes until it is dropped, which it may be at any moment. Never gives up.
    pub async fn run(mut self) {
        let mut backoff = Backoff::default();
        let mut deriver = Some(Deriver::new(Arc::clone(&self.journal)));
        // A Redis that is away for a day is told of once.
        let mut was_connected = true;
        loop {
            let session = self.session(&mut deriver, &mut backoff, &mut was_connected);
            let Err(error) = session.await;
            if std::mem::take(&mut was_connected) {
                tracing::warn!("events to Redis: {error}; trying again");
            }
            tokio::time::sleep(backoff.failed()).await;
        }
    }

    /// One connection, until it fails.
    async fn session(
        &mut self,
        deriver: &mut Option<Deriver>,
        backoff: &mut Backoff,
        was_connected: &mut bool,
    ) -> Result<Infallible, PublishError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(TIMEOUT))
            .set_response_timeout(Some(TIMEOUT));
        let mut redis = self.client.get_multiplexed_async_connection_with_config(&config).await?;
        // What is older would be cut off again; the journal has it.
        let oldest = self.journal.durable_seq().saturating_sub(KEPT);
        let written = self.own(&mut redis).await?;
        let mut at_seq = written.max(oldest);
        self.derive(deriver, move |deriver| deriver.seek(at_seq)).await?;
        *was_connected = true;
        tracing::info!(at_seq, "events to Redis: connected");
        let mut last_entry = written;
        loop {
            self.durable.borrow_and_update();
            let records = self.derive(deriver, next_records).await?;
            let Some(last) = records.last() else {
                backoff.succeeded();
                self.idle(&mut redis, last_entry).await?;
                continue;
            };
            at_seq = last.seq;
            let mut pipe = redis::pipe();
            pipe.atomic();
            for Entries { seq, entries } in &records {
                for (number, (kind, json)) in entries.iter().enumerate() {
                    add(&mut pipe, &format!("{seq}-{number}"), kind, json);
                    last_entry = *seq;
                }
            }
            if records.iter().any(|record| !record.entries.is_empty()) {
                let _: () = pipe.query_async(&mut redis).await?;
            }
            backoff.succeeded();
            for (kind, _) in records.iter().flat_map(|record| &record.entries) {
                self.metrics.events_published.with_label_values(&[kind]).inc();
            }
            tracing::debug!(at_seq, "events to Redis: written");
        }
    }

    /// Makes the stream this journal's, and tells which record its last entry is of.
    async fn own(&self, redis: &mut MultiplexedConnection) -> Result<u64, PublishError> {
        let owner: Option<String> = redis::cmd("GET").arg(OWNER).query_async(redis).await?;
        if owner.as_deref() != Some(&self.journal_id) {
            let mut pipe = redis::pipe();
            pipe.atomic().cmd("DEL").arg(STREAM).ignore();
            pipe.cmd("SET").arg(OWNER).arg(&self.journal_id).ignore();
            let _: () = pipe.query_async(redis).await?;
        }
        last_seq(redis).await
    }

    /// Waits for more records, and meanwhile sees to it that what was written is still there.
    async fn idle(
        &mut self,
        redis: &mut MultiplexedConnection,
        expected: u64,
    ) -> Result<(), PublishError> {
        match tokio::time::timeout(HEARTBEAT, self.durable.changed()).await {
            Ok(Ok(())) => return Ok(()),
            // The sequencer has ended; the service is about to.
            Ok(Err(_)) => tokio::time::sleep(HEARTBEAT).await,
            Err(_) => {}
        }
        let found = last_seq(redis).await?;
        if found == expected { Ok(()) } else { Err(PublishError::Moved { found, expected }) }
    }

    /// Reading and replaying may take long, and must not keep the runtime's threads.
    async fn derive<T: Send + 'static>(
        &self,
        kept: &mut Option<Deriver>,
        work: impl FnOnce(&mut Deriver) -> Result<T, DeriveError> + Send + 'static,
    ) -> Result<T, PublishError> {
        let journal = Arc::clone(&self.journal);
        let mut deriver = kept.take().unwrap_or_else(|| Deriver::new(journal));
        let (deriver, done) = tokio::task::spawn_blocking(move || {
            let done = work(&mut deriver);
            (deriver, done)
        })
        .await?;
        // After an error its state may lie between two records: start over then.
        if done.is_ok() {
            *kept = Some(deriver);
        }
        Ok(done?)
    }
}

/// One after the other, so that each has its own entries.
fn next_records(deriver: &mut Deriver) -> Result<Vec<Entries>, DeriveError> {
    let mut records = Vec::new();
    while records.len() < RECORDS_AT_ONCE {
        let batch = deriver.next(1)?;
        if batch.to_seq == batch.from_seq {
            break;
        }
        records.push(Entries { seq: batch.to_seq, entries: entries(&batch) });
    }
    Ok(records)
}

/// First the order that was placed, then its trades, then what became of other orders beside trading.
fn entries(record: &Batch) -> Vec<(&'static str, String)> {
    let mut entries = Vec::new();
    let mut add = |kind, json: Result<String, serde_json::Error>| {
        // The types have no value that JSON cannot hold.
        entries.extend(json.ok().map(|json| (kind, json)));
    };
    for row in &record.orders {
        let placed: OrderView = order_view(&row.place, row.created_us, &row.now.order);
        add("order.placed", json(&placed));
    }
    for row in &record.trades {
        let traded: TradeView = Printed { trade: row.trade, at_us: row.executed_us }.view();
        add("trade.executed", json(&traded));
    }
    for changed in record.changes.values() {
        let kind = match changed.order.end {
            Some(EndReason::EndOfDay) => "order.expired",
            Some(_) => "order.cancelled",
            None if changed.replaced_seq.is_some() => "order.replaced",
            // That it traded, its trades have told.
            None => continue,
        };
        add(kind, json(&change(&changed.order)));
    }
    entries
}

fn json(event: &impl Serialize) -> Result<String, serde_json::Error> {
    serde_json::to_string(event)
}

fn change(order: &Order) -> OrderChange {
    OrderChange {
        order_id: order.order_id.to_string(),
        symbol: order.symbol.to_string(),
        status: order.status.to_string(),
        quantity: order.quantity.get(),
        price: order.kind.price().map(Ticks::get),
        filled_quantity: order.cum_qty.get(),
        leaves_quantity: order.leaves_qty().get(),
        filled_value: order.cum_value,
        reason: order.end.map(|reason| reason.as_str().to_owned()),
    }
}

fn add(pipe: &mut Pipeline, id: &str, kind: &str, json: &str) {
    pipe.cmd("XADD").arg(STREAM).arg("MAXLEN").arg("~").arg(KEPT).arg(id);
    pipe.arg("type").arg(kind).arg("data").arg(json).ignore();
}

/// The record behind the stream's last entry; 0 where there is none.
async fn last_seq(redis: &mut MultiplexedConnection) -> Result<u64, PublishError> {
    type Found = Vec<(String, Vec<(String, String)>)>;
    let mut last = redis::cmd("XREVRANGE");
    last.arg(STREAM).arg("+").arg("-").arg("COUNT").arg(1);
    let found: Found = last.query_async(redis).await?;
    let seq = found.first().and_then(|(id, _)| id.split_once('-')?.0.parse().ok());
    Ok(seq.unwrap_or(0))
}
