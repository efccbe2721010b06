//! A network that swallows: no reset, no error, only silence.

use std::time::Duration;

use exchange_audit::report::Verdict;
use exchange_journal::sim::SimStorage;
use exchange_services::common::monotonic;
use exchange_services::trading_api::relay::PostgresStore;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::support::api::{Api, Clients, NO_REDIS, parts};
use crate::support::audit::audited;
use crate::support::ledger::Audit;
use crate::support::postgres::Postgres;
use crate::support::{eventually, need};

/// Stands between the relay and PostgreSQL. When `cut`, what PostgreSQL answers is
/// swallowed, while what it is asked still arrives: so it does work of which the relay
/// hears nothing. Connections that were cut once stay dead.
async fn proxy(to_port: u16, cut: watch::Receiver<bool>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            let Ok(far) = TcpStream::connect(("127.0.0.1", to_port)).await else { continue };
            let (near_read, near_write) = near.into_split();
            let (far_read, far_write) = far.into_split();
            tokio::spawn(forward(near_read, far_write, None));
            tokio::spawn(forward(far_read, near_write, Some(cut.clone())));
        }
    });
    port
}

async fn forward(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    cut: Option<watch::Receiver<bool>>,
) {
    let mut buffer = vec![0; 16 * 1024];
    let mut dead = false;
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        dead |= cut.as_ref().is_some_and(|cut| *cut.borrow());
        if !dead && to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_are_swallowed_lose_and_double_nothing() {
    let postgres = need!(Postgres::start().await);
    let (cut, is_cut) = watch::channel(false);
    let port = proxy(postgres.port(), is_cut).await;
    let config = format!("host=127.0.0.1 port={port} user=exchange dbname=postgres");
    let store = PostgresStore::new(config.parse().unwrap());
    let disk = SimStorage::new();
    let api = Api::start(parts(disk.clone(), store, NO_REDIS)).await;
    api.caller.until_relayed().await;
    let clients = Clients::start(&api.caller, 4, "cut-");
    let more = |count: usize| {
        let wanted = clients.acknowledged() + count;
        let clients = &clients;
        async move {
            eventually("orders are accepted", Duration::from_secs(20), || async {
                (clients.acknowledged() >= wanted).then_some(())
            })
            .await;
        }
    };
    more(100).await;
    let errors = api.caller.metric("relay_errors_total").await;

    cut.send_replace(true);
    let began = monotonic();
    eventually("the stall is told", Duration::from_secs(4), || async {
        let (_, body) = api.caller.get("/ready").await;
        body["dependencies"]["postgres"].as_str()?.contains("stalled").then_some(())
    })
    .await;
    more(100).await;
    // The connection is given up in time, although nothing ever says that it is dead.
    eventually("the relay gives the connection up", Duration::from_secs(9), || async {
        (api.caller.metric("relay_errors_total").await > errors).then_some(())
    })
    .await;
    eprintln!("given up after {:?}", began.elapsed());
    more(100).await;

    cut.send_replace(false);
    let began = monotonic();
    let ledger = clients.stop().await;
    api.caller.until_relayed().await;
    eprintln!("drained {:?} after healing", began.elapsed());
    assert_eq!(ledger.audit(&postgres.orders("cut-").await), Audit::default());
    let report = audited(&disk, &postgres, &ledger, "cut-").await;
    assert_eq!(report.verdict(), Verdict::Kept, "{report}");
    api.stop().await;
}
