//! The parts, put together.

use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use anyhow::Context;
use exchange_journal::{Journal, Options, Storage};
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};

use super::day::DayEnd;
use super::events::Publisher;
use super::exchange::Exchange;
use super::feed::Feed;
use super::http::{self, App};
use super::metrics::Metrics;
use super::projection::{Projection, RedisState};
use super::rates::Rates;
use super::readiness::Witnesses;
use super::record::Record;
use super::relay::{Hint, Relay, RelayState, Store};
use super::sequencer::{Bounds, Sequencer, SequencerHandle};
use super::timed::{SyncWatch, TimedStorage};
use crate::common::{monotonic, serve};

/// How late a day may end where no request comes, and how often rates are looked at.
const LOOK_AT_THE_CLOCK: Duration = Duration::from_secs(1);

/// What a service is made of besides its listener.
#[derive(Debug)]
pub struct Parts<S> {
    /// Where the journal is kept.
    pub storage: Arc<dyn Storage>,
    /// Where to note how far the database is, if anywhere.
    pub hint: Option<PathBuf>,
    /// The database.
    pub store: S,
    /// Where to show the books.
    pub redis: redis::Client,
    /// What is taken on.
    pub bounds: Bounds,
    /// Orders whose keys are remembered.
    pub keys_max: usize,
    /// When days end.
    pub day_end: DayEnd,
}

/// Runs the service until `shutdown` resolves or the journal fails.
///
/// # Errors
/// When it cannot start or cannot go on. Everything that was acknowledged is in the
/// journal; starting again continues from there.
pub async fn run<S: Store>(
    listener: TcpListener,
    parts: Parts<S>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> anyhow::Result<()> {
    let Parts { storage, hint, store, redis, bounds, keys_max, day_end } = parts;
    anyhow::ensure!(
        keys_max as u64 > bounds.backlog_orders_max,
        "as many keys must be remembered as orders may wait for the database: a key may be \
         forgotten only when its order is in the database (keys {keys_max}, backlog {})",
        bounds.backlog_orders_max
    );
    let metrics = Metrics::new().context("could not declare the metrics")?;
    let sync_watch = Arc::new(SyncWatch::default());
    let timed = TimedStorage::new(storage, Arc::clone(&sync_watch), metrics.clone());
    let (journal, exchange) =
        tokio::task::spawn_blocking(move || recover(Arc::new(timed), keys_max))
            .await
            .context("replaying the journal broke off")??;
    let journal = Arc::new(journal);
    let journal_id = exchange.journal_id().unwrap_or_default().to_owned();
    let taken = exchange.taken();
    let hint = Hint::new(hint);
    let relay_state = Arc::new(RelayState::new(taken, hint.read(&journal_id)));
    tracing::info!(taken, live = exchange.live_orders(), %journal_id, "journal replayed");

    let exchange = Arc::new(RwLock::new(exchange));
    let redis_state = Arc::new(RedisState::default());
    let (durable, news) = watch::channel(journal.durable_seq());
    let relay = Relay::new(
        Arc::clone(&journal),
        journal_id.clone(),
        store,
        Arc::clone(&relay_state),
        news,
        hint,
        metrics.clone(),
    );
    let publisher = Publisher::new(
        redis.clone(),
        Arc::clone(&journal),
        journal_id.clone(),
        durable.subscribe(),
        metrics.clone(),
    );
    let projection = Projection {
        client: redis,
        exchange: Arc::clone(&exchange),
        journal_id,
        state: Arc::clone(&redis_state),
    };
    let feed = Feed::default();
    let (sequencer, handle) = Sequencer::new(
        Arc::clone(&journal),
        Arc::clone(&exchange),
        Arc::clone(&relay_state),
        bounds,
        day_end,
        (durable, feed.clone()),
        metrics.clone(),
    );
    let stop = StopOnDrop(handle.clone());
    let (stop_streams, stopping) = watch::channel(false);
    let rates = Arc::new(Rates::default());
    let clock = tell_time(handle.clone(), Arc::clone(&exchange), Arc::clone(&rates));
    let (told, mut sequencer_ended) = oneshot::channel();
    std::thread::Builder::new()
        .name("sequencer".to_owned())
        .spawn(move || {
            let _ = told.send(sequencer.run());
        })
        .context("could not start the sequencer's thread")?;

    let app = App {
        sequencer: handle,
        exchange,
        witnesses: Witnesses {
            relay: relay_state,
            redis: redis_state,
            journal: Arc::clone(&journal),
            sync_watch,
            backlog_orders_max: bounds.backlog_orders_max,
        },
        metrics,
        rates,
        feed,
        listeners: http::listeners(),
        stopping,
    };
    // Streams have no end of their own, and must not hold up the service's.
    let shutdown = async move {
        shutdown.await;
        stop_streams.send_replace(true);
    };
    // They end when this set is dropped, in whatever way this function ends.
    let mut background = tokio::task::JoinSet::new();
    background.spawn(relay.run());
    background.spawn(publisher.run());
    background.spawn(clock);
    background.spawn(async move {
        if let Err(error) = projection.run().await {
            tracing::error!("projection to Redis ended: {error}");
        }
    });

    tokio::select! {
        served = serve(listener, http::routes(app), shutdown) => {
            served.context("serving HTTP failed")?;
            drop(stop);
            let ended = sequencer_ended.await.context("the sequencer broke off")?;
            ended.context("the sequencer failed at the end")
        }
        ended = &mut sequencer_ended => {
            let ended = ended.context("the sequencer broke off")?;
            ended?;
            anyhow::bail!("the sequencer ended by itself")
        }
    }
}

/// Days end also where nobody asks for anything, and rates need to be looked at.
async fn tell_time(sequencer: SequencerHandle, exchange: Arc<RwLock<Exchange>>, rates: Arc<Rates>) {
    let mut every = tokio::time::interval(LOOK_AT_THE_CLOCK);
    loop {
        every.tick().await;
        sequencer.tick();
        let (orders, trades) = {
            let exchange = exchange.read().unwrap_or_else(PoisonError::into_inner);
            (exchange.next_order_id().get() - 1, exchange.last_trade_id().get())
        };
        rates.look(monotonic(), orders, trades);
    }
}

/// The thread ends with the service, also when the service is merely dropped.
struct StopOnDrop(SequencerHandle);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// Opens the journal and replays it; a new journal gets its first record.
fn recover(storage: Arc<dyn Storage>, keys_max: usize) -> anyhow::Result<(Journal, Exchange)> {
    let (journal, recovered) =
        Journal::open(storage, Options::default()).context("could not open the journal")?;
    if recovered.truncated_bytes > 0 {
        tracing::warn!(
            bytes = recovered.truncated_bytes,
            "the journal's end was torn by a crash and is cut away; none of it was acknowledged"
        );
    }
    if recovered.last_seq == 0 {
        let genesis = Record::Genesis { journal_id: new_journal_id() };
        journal.append_wait(genesis.encode()?).context("could not begin the journal")?;
    }
    let mut exchange = Exchange::new(keys_max);
    let mut reader = journal.reader(1).context("could not read the journal from its beginning")?;
    while let Some(record) = reader.next_record().context("could not read the journal")? {
        let seq = record.seq;
        let record = Record::decode(&record.payload)
            .with_context(|| format!("record {seq} of the journal is not readable"))?;
        exchange
            .apply(record)
            .with_context(|| format!("record {seq} of the journal cannot be carried out"))?;
    }
    Ok((journal, exchange))
}

/// Different from every other journal's, which is all that is asked of it.
fn new_journal_id() -> String {
    let (a, b) = (RandomState::new().hash_one(0_u8), RandomState::new().hash_one(1_u8));
    format!("{a:016x}{b:016x}")
}
