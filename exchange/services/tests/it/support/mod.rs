//! Servers, clients and the ledger that the tests use.

pub(crate) mod api;
pub(crate) mod audit;
pub(crate) mod ledger;
pub(crate) mod postgres;
pub(crate) mod process;
pub(crate) mod redis;

use std::future::Future;
use std::time::Duration;

use exchange_services::common::monotonic;

/// Waits until `condition` gives something, for at most `bound`.
pub(crate) async fn eventually<T, F: Future<Output = Option<T>>>(
    what: &str,
    bound: Duration,
    mut condition: impl FnMut() -> F,
) -> T {
    let began = monotonic();
    loop {
        if let Some(value) = condition().await {
            return value;
        }
        assert!(began.elapsed() < bound, "not within {bound:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Gives the test up, saying why, when a server it needs is not installed.
macro_rules! need {
    ($server:expr) => {
        match $server {
            Ok(server) => server,
            Err(why) => {
                eprintln!("skipped: {why}");
                return;
            }
        }
    };
}
pub(crate) use need;
