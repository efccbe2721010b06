//! The database is asked what it has of this run's orders.

use std::time::Duration;

use temblor_event::{Event, LedgerRead, LedgerRows, StoredRow, clock};
use temblor_plan::Ledger;

use crate::http::chain;
use crate::recorder::Recorder;

/// The audit is one query; a database that takes longer than this is as good as away.
const QUERY_TIMEOUT: Duration = Duration::from_secs(30);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Rows per event: lines of the log stay short enough to read.
const ROWS_PER_EVENT: usize = 500;

/// Reads every order of the run whose key begins with `prefix`, and records it, with the reason
/// where it cannot be read to the end.
pub(crate) async fn read(ledger: &Ledger, host: &str, prefix: &str, to: &Recorder) {
    let source = format!("postgres at {host}:{}: {}", ledger.of.port, ledger.query);
    let began_ns = clock::now_ns();
    let (rows, error) = match query(ledger, host, prefix).await {
        Ok(rows) => (rows, None),
        Err(why) => (Vec::new(), Some(why)),
    };
    let count = rows.len() as u64;
    for some in rows.chunks(ROWS_PER_EVENT) {
        to.record(Event::now(LedgerRows { rows: some.to_vec() }));
    }
    to.record(Event::now(LedgerRead { source, rows: count, began_ns, error }));
}

async fn query(ledger: &Ledger, host: &str, prefix: &str) -> Result<Vec<StoredRow>, String> {
    let mut config = tokio_postgres::Config::new();
    config
        .host(host)
        .port(ledger.of.port)
        .user(&ledger.user)
        .dbname(&ledger.database)
        .connect_timeout(CONNECT_TIMEOUT)
        .application_name("temblor ledger");
    let (client, connection) =
        config.connect(tokio_postgres::NoTls).await.map_err(|e| chain(&e))?;
    let connection = tokio::spawn(connection);
    let rows = tokio::time::timeout(QUERY_TIMEOUT, client.query(&ledger.query, &[&prefix]))
        .await
        .map_err(|_| format!("no answer within {} s", QUERY_TIMEOUT.as_secs()))
        .and_then(|rows| rows.map_err(|e| chain(&e)));
    // Whether the answer came or not, the connection is not used again.
    connection.abort();
    rows?
        .iter()
        .map(|row| {
            let text = |i| row.try_get::<_, String>(i).map_err(|e| chain(&e));
            Ok(StoredRow { key: text(0)?, order_id: text(1)? })
        })
        .collect()
}
