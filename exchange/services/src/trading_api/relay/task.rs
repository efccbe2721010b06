//! The relay's loop.

use std::convert::Infallible;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use exchange_journal::Journal;
use tokio::sync::watch;
use tokio::task::JoinError;

use super::batch::{BATCH_RECORDS_MAX, Batch, DeriveError, Deriver};
use super::hint::Hint;
use super::state::RelayState;
use super::store::{Session, Store, StoreError};
use crate::common::Backoff;
use crate::trading_api::metrics::Metrics;

/// An idle connection is tried this often, so that `/ready` knows of a database that has
/// gone before an order does.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// Why one attempt ended.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The journal.
    #[error(transparent)]
    Derive(#[from] DeriveError),
    /// Replaying panicked: a bug.
    #[error("replaying the journal for the database broke off")]
    Broken(#[from] JoinError),
}

impl RelayError {
    /// Trouble that time does not mend: the database and the journal do not belong together.
    fn halts(&self) -> bool {
        !matches!(
            self,
            Self::Store(
                StoreError::TimedOut { .. }
                    | StoreError::Failed { .. }
                    | StoreError::CursorMoved { .. }
            )
        )
    }
}

/// The relay's belongings.
#[derive(Debug)]
pub struct Relay<S> {
    journal: Arc<Journal>,
    /// Away while a thread of its own works on it.
    deriver: Option<Deriver>,
    store: S,
    state: Arc<RelayState>,
    journal_id: String,
    durable: watch::Receiver<u64>,
    hint: Hint,
    metrics: Metrics,
    /// A batch of which it is not known whether it was written.
    unsure: Option<Batch>,
}

impl<S: Store> Relay<S> {
    /// A relay from `journal` to `store`. `durable` brings news of more records.
    pub fn new(
        journal: Arc<Journal>,
        journal_id: String,
        store: S,
        state: Arc<RelayState>,
        durable: watch::Receiver<u64>,
        hint: Hint,
        metrics: Metrics,
    ) -> Self {
        let deriver = Some(Deriver::new(Arc::clone(&journal)));
        Self { journal, deriver, store, state, journal_id, durable, hint, metrics, unsure: None }
    }

    /// Relays until it is dropped, which it may be at any moment. Never gives up.
    pub async fn run(mut self) {
        let mut backoff = Backoff::default();
        loop {
            let Err(error) = self.session(&mut backoff).await;
            self.metrics.relay_errors.inc();
            let text = chain(&error);
            let wait = backoff.failed();
            tracing::warn!(again_in_ms = wait.as_millis(), "relay to PostgreSQL: {text}");
            self.state.failed(text, error.halts());
            tokio::time::sleep(wait).await;
        }
    }

    /// One connection, until it fails.
    async fn session(&mut self, backoff: &mut Backoff) -> Result<Infallible, RelayError> {
        self.state.begin();
        let (mut session, cursor) = self.store.open(&self.journal_id).await?;
        // The answer to the last write may have been lost with the old connection; the
        // cursor knows whether the batch was.
        self.unsure = self.unsure.take().filter(|batch| batch.from_seq == cursor);
        if self.unsure.is_none() {
            let relayed_orders = self
                .derive(move |deriver| {
                    deriver.seek(cursor)?;
                    Ok(deriver.taken())
                })
                .await?;
            self.relayed(relayed_orders);
        }
        self.state.succeeded();
        tracing::info!(
            cursor,
            backlog_orders = self.state.backlog_orders_now(),
            "relay to PostgreSQL: connected"
        );
        loop {
            self.durable.borrow_and_update();
            let batch = match self.unsure.take() {
                Some(batch) => batch,
                None => self.derive(|deriver| deriver.next(BATCH_RECORDS_MAX)).await?,
            };
            if batch.to_seq == batch.from_seq {
                self.idle(&mut session, batch.to_seq).await?;
                continue;
            }
            self.state.begin();
            if let Err(error) = session.write(&batch).await {
                self.unsure = Some(batch);
                return Err(error.into());
            }
            self.state.succeeded();
            backoff.succeeded();
            self.metrics.relay_batches.inc();
            self.relayed(batch.taken);
        }
    }

    /// Waits for more records, and meanwhile sees to it that the connection still works.
    async fn idle(&mut self, session: &mut S::Session, at_seq: u64) -> Result<(), RelayError> {
        match tokio::time::timeout(HEARTBEAT, self.durable.changed()).await {
            Ok(Ok(())) => return Ok(()),
            // The sequencer has ended; the service is about to.
            Ok(Err(_)) => tokio::time::sleep(HEARTBEAT).await,
            Err(_) => {}
        }
        self.state.begin();
        let cursor = session.cursor().await?;
        if cursor != at_seq {
            return Err(StoreError::CursorMoved { expected_seq: at_seq }.into());
        }
        self.state.succeeded();
        self.note();
        Ok(())
    }

    fn relayed(&mut self, orders: u64) {
        self.state.set_relayed_orders(orders);
        self.note();
    }

    fn note(&mut self) {
        let orders = self.state.relayed_orders();
        if let Err(error) = self.hint.write(&self.journal_id, orders) {
            tracing::debug!("could not note how far the database is: {error}");
        }
    }

    /// Reading and replaying may take long, and must not keep the runtime's threads.
    async fn derive<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut Deriver) -> Result<T, DeriveError> + Send + 'static,
    ) -> Result<T, RelayError> {
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

/// An error with all its sources, in one line.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}
