//! What happens, as a stream in Redis: ordered, repeatable, and read on from anywhere.
//!
//! An entry's id is the number of the journal's record behind it, and a number within the record. So Redis
//! itself refuses an entry that it has already or that comes out of order, where to go on is what its last
//! entry says, and a stream that was lost is written again with the ids it had.

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use exchange_api::{OrderChange, OrderView, TradeView};
use exchange_journal::Journal;
use exchange_matching::{EndReason, Order, Ticks};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, RedisError};
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
/// Entries that are written in one transaction.
const ENTRIES_AT_ONCE: usize = 1000;
/// Records that are looked at together.
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
    /// Somebody else writes, or Redis has lost what it had.
    #[error("the stream is not as it was left")]
    Moved,
}

/// An entry's id: the record, and the number within it. `0-0` is before the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct EntryId {
    seq: u64,
    number: u64,
}

impl EntryId {
    fn parse(text: &str) -> Option<Self> {
        let (seq, number) = text.split_once('-')?;
        Some(Self { seq: seq.parse().ok()?, number: number.parse().ok()? })
    }
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.seq, self.number)
    }
}

#[derive(Debug)]
struct Entry {
    id: EntryId,
    kind: &'static str,
    json: String,
}

/// Where to write to, and from what.
#[derive(Debug)]
pub struct Publisher {
    client: Client,
    journal: Arc<Journal>,
    journal_id: String,
    durable: watch::Receiver<u64>,
    metrics: Metrics,
    /// Away while a thread of its own works on it.
    deriver: Option<Deriver>,
    /// Derived, and not known to be written.
    pending: VecDeque<Entry>,
    /// The last entry that is.
    written: EntryId,
    /// A Redis that is away for a day is told of once.
    is_told: bool,
}

impl Publisher {
    /// A publisher of `journal` to `client`. `durable` brings news of more records.
    pub fn new(
        client: Client,
        journal: Arc<Journal>,
        journal_id: String,
        durable: watch::Receiver<u64>,
        metrics: Metrics,
    ) -> Self {
        Self {
            client,
            journal,
            journal_id,
            durable,
            metrics,
            deriver: None,
            pending: VecDeque::new(),
            written: EntryId::default(),
            is_told: false,
        }
    }

    /// Publishes until it is dropped, which it may be at any moment. Never gives up.
    pub async fn run(mut self) {
        let mut backoff = Backoff::default();
        loop {
            let Err(error) = self.session(&mut backoff).await;
            if !std::mem::replace(&mut self.is_told, true) {
                tracing::warn!("events to Redis: {error}; trying again");
            }
            tokio::time::sleep(backoff.failed()).await;
        }
    }

    /// One connection, until it fails.
    async fn session(&mut self, backoff: &mut Backoff) -> Result<Infallible, PublishError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(TIMEOUT))
            .set_response_timeout(Some(TIMEOUT));
        let mut redis = self.client.get_multiplexed_async_connection_with_config(&config).await?;
        let found = self.own(&mut redis).await?;
        self.go_on_after(found).await?;
        loop {
            self.durable.borrow_and_update();
            if self.pending.is_empty() && !self.look().await? {
                self.idle(&mut redis).await?;
            }
            if !self.pending.is_empty() {
                self.write(&mut redis).await?;
            }
            backoff.succeeded();
            self.is_told = false;
        }
    }

    /// Makes the stream this journal's, and tells its last entry.
    async fn own(&mut self, redis: &mut MultiplexedConnection) -> Result<EntryId, PublishError> {
        let owner: Option<String> = redis::cmd("GET").arg(OWNER).query_async(redis).await?;
        let last = last_entry(redis).await?;
        let is_ours = owner.as_deref() == Some(&self.journal_id);
        // Redis refuses ids below the last one that it has ever seen here, also where the entry is gone.
        let is_whole = last == last_generated(redis).await?;
        let is_of_this = last.seq <= self.journal.durable_seq();
        if is_ours && is_whole && is_of_this {
            return Ok(last);
        }
        if is_ours && !is_of_this {
            tracing::error!(
                last_event = %last,
                journal_end = self.journal.durable_seq(),
                "the events in Redis go on after the journal's end, which was cut or replaced: they go"
            );
        }
        let mut pipe = redis::pipe();
        pipe.atomic().cmd("DEL").arg(STREAM).ignore();
        pipe.cmd("SET").arg(OWNER).arg(&self.journal_id).ignore();
        let _: () = pipe.query_async(redis).await?;
        Ok(EntryId::default())
    }

    /// Sees to it that what comes next is what comes after `found`.
    async fn go_on_after(&mut self, found: EntryId) -> Result<(), PublishError> {
        let is_known = found == self.written || self.pending.iter().any(|entry| entry.id == found);
        self.written = found;
        if is_known && self.deriver.is_some() {
            // The answer to the last transaction may have been lost with the old connection.
            self.pending.retain(|entry| entry.id > found);
            return Ok(());
        }
        self.pending.clear();
        // What is older would be cut off again; the journal has it.
        let oldest = self.journal.durable_seq().saturating_sub(KEPT);
        // A record's entries may be there in part.
        let seq = found.seq.saturating_sub(1).max(oldest);
        self.derive(move |deriver| deriver.seek(seq)).await
    }

    /// Looks at more records; false where there are none yet.
    async fn look(&mut self) -> Result<bool, PublishError> {
        let (found, is_more) = self.derive(next_entries).await?;
        let written = self.written;
        self.pending.extend(found.into_iter().filter(|entry| entry.id > written));
        Ok(is_more)
    }

    async fn write(&mut self, redis: &mut MultiplexedConnection) -> Result<(), PublishError> {
        let mut pipe = redis::pipe();
        pipe.atomic();
        let entries = || self.pending.iter().take(ENTRIES_AT_ONCE);
        for Entry { id, kind, json } in entries() {
            pipe.cmd("XADD").arg(STREAM);
            // A stream that should be there and is not must not begin in the middle.
            if self.written > EntryId::default() {
                pipe.arg("NOMKSTREAM");
            }
            pipe.arg("MAXLEN").arg("~").arg(KEPT).arg(id.to_string());
            pipe.arg("type").arg(*kind).arg("data").arg(json);
        }
        let ids: Vec<Option<String>> = pipe.query_async(redis).await?;
        if ids.iter().any(Option::is_none) {
            return Err(PublishError::Moved);
        }
        for Entry { id, kind, .. } in self.pending.drain(..ids.len().min(self.pending.len())) {
            self.metrics.events_published.with_label_values(&[kind]).inc();
            self.written = id;
        }
        Ok(())
    }

    /// Waits for more records, and meanwhile sees to it that what was written is still there.
    async fn idle(&mut self, redis: &mut MultiplexedConnection) -> Result<(), PublishError> {
        match tokio::time::timeout(HEARTBEAT, self.durable.changed()).await {
            Ok(Ok(())) => return Ok(()),
            // The sequencer has ended; the service is about to.
            Ok(Err(_)) => tokio::time::sleep(HEARTBEAT).await,
            Err(_) => {}
        }
        if last_entry(redis).await? == self.written { Ok(()) } else { Err(PublishError::Moved) }
    }

    /// Reading and replaying may take long, and must not keep the runtime's threads.
    async fn derive<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut Deriver) -> Result<T, DeriveError> + Send + 'static,
    ) -> Result<T, PublishError> {
        let journal = Arc::clone(&self.journal);
        let mut deriver = self.deriver.take().unwrap_or_else(|| Deriver::new(journal));
        let (deriver, done) = tokio::task::spawn_blocking(move || {
            let done = work(&mut deriver);
            (deriver, done)
        })
        .await?;
        // After an error its state may lie between two records: start over then.
        if done.is_ok() {
            self.deriver = Some(deriver);
        }
        Ok(done?)
    }
}

/// The entries of the next records, and whether there were any records.
fn next_entries(deriver: &mut Deriver) -> Result<(Vec<Entry>, bool), DeriveError> {
    let mut found = Vec::new();
    for looked_at in 0..RECORDS_AT_ONCE {
        // One after the other, so that each has its own entries.
        let batch = deriver.next(1)?;
        if batch.to_seq == batch.from_seq {
            return Ok((found, looked_at > 0));
        }
        let numbered = (0..).zip(entries(&batch));
        found.extend(numbered.map(|(number, (kind, json))| Entry {
            id: EntryId { seq: batch.to_seq, number },
            kind,
            json,
        }));
    }
    Ok((found, true))
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

/// The stream's last entry; `0-0` where there is none.
async fn last_entry(redis: &mut MultiplexedConnection) -> Result<EntryId, RedisError> {
    type Found = Vec<(String, Vec<(String, String)>)>;
    let mut last = redis::cmd("XREVRANGE");
    last.arg(STREAM).arg("+").arg("-").arg("COUNT").arg(1);
    let found: Found = last.query_async(redis).await?;
    Ok(found.first().and_then(|(id, _)| EntryId::parse(id)).unwrap_or_default())
}

/// The greatest id that the stream has ever had; `0-0` where there is no stream.
async fn last_generated(redis: &mut MultiplexedConnection) -> Result<EntryId, RedisError> {
    let exists: bool = redis::cmd("EXISTS").arg(STREAM).query_async(redis).await?;
    if !exists {
        return Ok(EntryId::default());
    }
    let mut info = redis::cmd("XINFO");
    let info: HashMap<String, redis::Value> =
        info.arg("STREAM").arg(STREAM).query_async(redis).await?;
    let id =
        info.get("last-generated-id").map(redis::from_redis_value_ref::<String>).transpose()?;
    Ok(id.as_deref().and_then(EntryId::parse).unwrap_or_default())
}
