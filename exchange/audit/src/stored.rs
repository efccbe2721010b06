//! What PostgreSQL has.

use std::time::Duration;

use tokio_postgres::{Client, Config, IsolationLevel, NoTls, Row};

use crate::tables::{OrderRow, Tables, TradeRow};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Reading a few million rows takes some seconds.
const READ_TIMEOUT: Duration = Duration::from_secs(300);
/// How often the cursor is looked at while it is waited for.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Why the database cannot be asked.
#[derive(Debug, thiserror::Error)]
pub enum StoredError {
    /// It does not answer, or not what was asked.
    #[error("could not {what}: is it up, and the one that the exchange writes to?")]
    Failed {
        /// What was attempted.
        what: &'static str,
        /// Why it failed.
        #[source]
        source: tokio_postgres::Error,
    },
    /// It takes too long.
    #[error("it took longer than {} s to {what}", after.as_secs())]
    TimedOut {
        /// What was attempted.
        what: &'static str,
        /// How long was waited.
        after: Duration,
    },
}

/// Connects to the database.
///
/// # Errors
/// When it does not answer within some seconds.
pub async fn connect(config: &Config) -> Result<Client, StoredError> {
    let mut config = config.clone();
    config.application_name("exchange-audit").connect_timeout(CONNECT_TIMEOUT);
    let (client, connection) =
        bounded("connect to PostgreSQL", CONNECT_TIMEOUT, config.connect(NoTls)).await?;
    // It ends with the client.
    tokio::spawn(connection);
    Ok(client)
}

/// Waits until the database has a record of the journal, or for as long as is given. Returns which
/// record it has last.
///
/// # Errors
/// When it does not answer.
pub async fn wait_for(client: &Client, seq: u64, settle: Duration) -> Result<u64, StoredError> {
    let what = "read how far the database is";
    let until = tokio::time::Instant::now() + settle;
    loop {
        let asked = client.query_one("SELECT seq FROM relay_cursor", &[]);
        let row = bounded(what, CONNECT_TIMEOUT, asked);
        let cursor =
            unsigned(row.await?.try_get(0).map_err(|source| StoredError::Failed { what, source })?);
        if cursor >= seq || tokio::time::Instant::now() >= until {
            return Ok(cursor);
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// All rows as they are in one moment.
///
/// # Errors
/// When the database does not answer, or has no such tables.
pub async fn read(client: &mut Client) -> Result<Tables, StoredError> {
    bounded("read its tables", READ_TIMEOUT, read_all(client)).await
}

async fn read_all(client: &mut Client) -> Result<Tables, tokio_postgres::Error> {
    let snapshot = client
        .build_transaction()
        .isolation_level(IsolationLevel::RepeatableRead)
        .read_only(true)
        .start()
        .await?;
    let cursor = snapshot.query_one("SELECT journal_id, seq FROM relay_cursor", &[]).await?;
    let orders = snapshot
        .query(
            "SELECT order_id, client_order_id, user_id, symbol, side, type, time_in_force, post_only,
                    quantity, price, replaced_seq, status, filled, value, end_reason, journal_seq,
                    changed_seq, round(extract(epoch FROM created_at) * 1000000)::bigint
             FROM orders",
            &[],
        )
        .await?;
    let trades = snapshot
        .query(
            "SELECT trade_id, symbol, price, quantity, taker_side, maker_order_id, taker_order_id,
                    journal_seq, round(extract(epoch FROM executed_at) * 1000000)::bigint
             FROM trades",
            &[],
        )
        .await?;
    snapshot.rollback().await?;
    Ok(Tables {
        journal_id: cursor.try_get(0)?,
        cursor: unsigned(cursor.try_get(1)?),
        orders: orders.iter().map(order).collect::<Result<_, _>>()?,
        trades: trades.iter().map(trade).collect::<Result<_, _>>()?,
    })
}

fn order(row: &Row) -> Result<(i64, OrderRow), tokio_postgres::Error> {
    let order = OrderRow {
        client_order_id: row.try_get(1)?,
        user_id: row.try_get(2)?,
        symbol: row.try_get(3)?,
        side: row.try_get(4)?,
        kind: row.try_get(5)?,
        time_in_force: row.try_get(6)?,
        post_only: row.try_get(7)?,
        quantity: row.try_get(8)?,
        price: row.try_get(9)?,
        replaced_seq: row.try_get(10)?,
        status: row.try_get(11)?,
        filled: row.try_get(12)?,
        value: row.try_get(13)?,
        end_reason: row.try_get(14)?,
        journal_seq: row.try_get(15)?,
        changed_seq: row.try_get(16)?,
        created_us: row.try_get(17)?,
    };
    Ok((row.try_get(0)?, order))
}

fn trade(row: &Row) -> Result<(i64, TradeRow), tokio_postgres::Error> {
    let trade = TradeRow {
        symbol: row.try_get(1)?,
        price: row.try_get(2)?,
        quantity: row.try_get(3)?,
        taker_side: row.try_get(4)?,
        maker_order_id: row.try_get(5)?,
        taker_order_id: row.try_get(6)?,
        journal_seq: row.try_get(7)?,
        executed_us: row.try_get(8)?,
    };
    Ok((row.try_get(0)?, trade))
}

async fn bounded<T>(
    what: &'static str,
    after: Duration,
    work: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T, StoredError> {
    match tokio::time::timeout(after, work).await {
        Ok(done) => done.map_err(|source| StoredError::Failed { what, source }),
        Err(_) => Err(StoredError::TimedOut { what, after }),
    }
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
