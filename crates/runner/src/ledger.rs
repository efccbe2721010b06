//! The database is asked what it has of this run's orders.

use std::time::Duration;

use temblor_event::{Event, LedgerRead, LedgerRows, StoredRow, clock};
use temblor_plan::Ledger;

use crate::http::chain;
use crate::recorder::Recorder;

/// The audit is one question; a database that takes longer than this over it is as good as away.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Rows per event: lines of the log stay short enough to read.
const ROWS_PER_EVENT: usize = 500;

/// Reads every order of the run whose key begins with `prefix`, and records it, with the reason
/// where it cannot be read to the end.
pub(crate) async fn read(ledger: &Ledger, host: &str, prefix: &str, to: &Recorder) {
    let source = format!("postgres at {host}:{}: {}", ledger.of.port, ledger.query);
    let began_ns = clock::now_ns();
    let (rows, error) = match query_within(READ_TIMEOUT, ledger, host, prefix).await {
        Ok(rows) => (rows, None),
        Err(why) => (Vec::new(), Some(why)),
    };
    let count = rows.len() as u64;
    for some in rows.chunks(ROWS_PER_EVENT) {
        to.record(Event::now(LedgerRows { rows: some.to_vec() }));
    }
    to.record(Event::now(LedgerRead { source, rows: count, began_ns, error }));
}

/// The bound is on all of it: the client's own bound on connecting ends with the handshake of TCP,
/// and a database that is stopped still completes that.
async fn query_within(
    bound: Duration,
    ledger: &Ledger,
    host: &str,
    prefix: &str,
) -> Result<Vec<StoredRow>, String> {
    tokio::time::timeout(bound, query(ledger, host, prefix))
        .await
        .unwrap_or_else(|_| Err(format!("no answer within {} s", bound.as_secs_f64())))
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
    // Ends with the client or, where the database owes it an answer, with the run.
    tokio::spawn(connection);
    let rows = client.query(&ledger.query, &[&prefix]).await.map_err(|e| chain(&e))?;
    rows.iter()
        .map(|row| {
            let text = |i| row.try_get::<_, String>(i).map_err(|e| chain(&e));
            Ok(StoredRow { key: text(0)?, order_id: text(1)? })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use temblor_plan::Side;

    use super::*;

    #[tokio::test]
    async fn a_database_that_takes_the_connection_and_says_nothing_is_not_waited_for() {
        // The kernel completes the handshake, as it does for a database that is stopped.
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let ledger = Ledger {
            of: Side { target: "db".into(), port: silent.local_addr().unwrap().port() },
            user: "u".into(),
            database: "d".into(),
            query: "SELECT $1".into(),
            settle: Duration::ZERO,
        };
        let asked = query_within(Duration::from_millis(200), &ledger, "127.0.0.1", "p");
        // Without a bound of its own, this one ends the test.
        let answer = tokio::time::timeout(Duration::from_secs(30), asked).await;
        assert_eq!(answer, Ok(Err("no answer within 0.2 s".to_owned())));
    }
}
