//! PostgreSQL as a [`Store`].

use std::future::Future;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Config, NoTls, Row, Statement};

use super::batch::Batch;
use super::columns::{Columns, signed};
use super::store::{Session, Store, StoreError};

const SCHEMA: &str = include_str!("schema.sql");
const WRITE: &str = include_str!("batch.sql");
/// Whether the tables have what was added to them last.
const NEWEST_COLUMN: &str = "SELECT count(*) FROM pg_attribute
    WHERE attrelid = 'orders'::regclass AND attname = 'end_reason' AND NOT attisdropped";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const QUERY_TIMEOUT: Duration = Duration::from_secs(5);
/// The end of a day is one record and may change a million orders: so many rows may take a second more.
const ROWS_A_SECOND: usize = 5000;

/// A database to connect to.
#[derive(Debug)]
pub struct PostgresStore {
    config: Config,
}

impl PostgresStore {
    /// Takes the address and adds what a client that must not hang needs.
    #[must_use]
    pub fn new(mut config: Config) -> Self {
        // The server's own limits end what a lost client left running there, so that it
        // does not hold the cursor's lock against the next connection.
        let ours = "-c statement_timeout=5s -c lock_timeout=4s \
                    -c idle_in_transaction_session_timeout=5s \
                    -c synchronous_commit=on -c client_min_messages=warning";
        let options = match config.get_options() {
            Some(given) => format!("{ours} {given}"),
            None => ours.to_owned(),
        };
        config
            .options(options)
            .application_name("trading-api relay")
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_user_timeout(QUERY_TIMEOUT)
            .keepalives(true)
            .keepalives_idle(Duration::from_secs(5))
            .keepalives_interval(Duration::from_secs(1))
            .keepalives_retries(5);
        Self { config }
    }
}

/// A connection.
#[derive(Debug)]
pub struct PostgresSession {
    client: Client,
    driver: JoinHandle<()>,
    journal_id: String,
    write: Statement,
}

impl Drop for PostgresSession {
    fn drop(&mut self) {
        // Ends the socket now; a polite goodbye could wait for a network that is away.
        self.driver.abort();
    }
}

impl Store for PostgresStore {
    type Session = PostgresSession;

    async fn open(&mut self, journal_id: &str) -> Result<(PostgresSession, u64), StoreError> {
        let (client, connection) =
            bounded("connecting to PostgreSQL", CONNECT_TIMEOUT, self.config.connect(NoTls))
                .await?;
        let driver = tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!("the connection to PostgreSQL ended: {error}");
            }
        });
        // From here on the driver ends with this guard, also when a query fails.
        let mut unfinished = DriverGuard(Some(driver));
        query("creating the tables", client.batch_execute(SCHEMA)).await?;
        let columns = query("looking at the tables", client.query_one(NEWEST_COLUMN, &[])).await?;
        if columns.get::<_, i64>(0) == 0 {
            return Err(StoreError::Outdated);
        }
        query(
            "creating the cursor",
            client.execute(
                "INSERT INTO relay_cursor (journal_id, seq) VALUES ($1, 0) ON CONFLICT DO NOTHING",
                &[&journal_id],
            ),
        )
        .await?;
        let row: Row = query(
            "reading the cursor",
            client.query_one("SELECT journal_id, seq FROM relay_cursor", &[]),
        )
        .await?;
        let theirs: String = row.get(0);
        if theirs != journal_id {
            return Err(StoreError::Foreign { theirs, ours: journal_id.to_owned() });
        }
        let cursor = unsigned(row.get(1));
        let write = query("preparing the batch", client.prepare(WRITE)).await?;
        let Some(driver) = unfinished.0.take() else {
            unreachable!("the guard holds the driver until here")
        };
        Ok((PostgresSession { client, driver, journal_id: journal_id.to_owned(), write }, cursor))
    }
}

impl PostgresSession {
    /// The server's own limit, too.
    async fn allow(&self, time: Duration) -> Result<(), StoreError> {
        let set = format!("SET statement_timeout = {}", time.as_millis());
        query("setting the time-out", self.client.batch_execute(&set)).await
    }
}

struct DriverGuard(Option<JoinHandle<()>>);

impl Drop for DriverGuard {
    fn drop(&mut self) {
        if let Some(driver) = &self.0 {
            driver.abort();
        }
    }
}

impl Session for PostgresSession {
    async fn write(&mut self, batch: &Batch) -> Result<(), StoreError> {
        let columns = Columns::of(batch);
        let (from, to) = (signed(batch.from_seq), signed(batch.to_seq));
        let cursor: [&(dyn ToSql + Sync); 3] = [&self.journal_id, &from, &to];
        let parameters: Vec<_> = cursor.into_iter().chain(columns.parameters()).collect();
        let rows = batch.orders.len() + batch.changes.len() + batch.trades.len();
        let more = Duration::from_secs((rows / ROWS_A_SECOND) as u64);
        let allowed = QUERY_TIMEOUT + more;
        if !more.is_zero() {
            self.allow(allowed).await?;
        }
        let writing = self.client.query_one(&self.write, &parameters);
        let row = bounded("writing a batch", allowed, writing).await?;
        if !more.is_zero() {
            self.allow(QUERY_TIMEOUT).await?;
        }
        if row.get::<_, i64>(0) != 1 {
            return Err(StoreError::CursorMoved { expected_seq: batch.from_seq });
        }
        let changed: i64 = row.get(2);
        if usize::try_from(changed) != Ok(batch.changes.len()) {
            // Not ours to repair: somebody removed rows. The journal still has them.
            tracing::error!(
                from_seq = batch.from_seq,
                to_seq = batch.to_seq,
                expected = batch.changes.len(),
                changed,
                "the database lacks orders that were written to it before"
            );
        }
        Ok(())
    }

    async fn cursor(&mut self) -> Result<u64, StoreError> {
        let row =
            query("reading the cursor", self.client.query_one("SELECT seq FROM relay_cursor", &[]))
                .await?;
        Ok(unsigned(row.get(0)))
    }
}

async fn query<T>(
    what: &'static str,
    work: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T, StoreError> {
    bounded(what, QUERY_TIMEOUT, work).await
}

/// tokio-postgres waits for ever; nothing here may.
async fn bounded<T>(
    what: &'static str,
    after: Duration,
    work: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T, StoreError> {
    match tokio::time::timeout(after, work).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(source)) => Err(StoreError::Failed { what, source: source.into() }),
        Err(_) => Err(StoreError::TimedOut { what, after }),
    }
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
