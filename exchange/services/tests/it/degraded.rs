//! What it does while something that it depends on is not well: each has its behaviour, its word in `/ready`
//! and its metric. Databases that are away, slow or locked, and a Redis that is away, have tests beside their
//! relay and projection.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use exchange_audit::report::Verdict;
use exchange_journal::FsStorage;
use exchange_journal::sim::SimStorage;
use exchange_services::trading_api::relay::PostgresStore;
use serde_json::Value;

use crate::support::api::{Api, Caller, NO_REDIS, Program, order, parts};
use crate::support::audit::audited;
use crate::support::ledger::Ledger;
use crate::support::postgres::Postgres;
use crate::support::{eventually, need};

/// Orders go on, and `/ready` says what is wrong with the database.
async fn goes_on_while(caller: &Caller, trouble: &str, keys: &str) {
    let orders = AtomicUsize::new(0);
    let said = eventually(trouble, Duration::from_secs(15), || async {
        // A write is what it takes to find some things out, and settings reach a connection when they do.
        let n = orders.fetch_add(1, Ordering::Relaxed);
        assert_eq!(caller.post(&order(&format!("{keys}before-{n}"), n)).await.0, 201);
        let (_, body) = caller.get("/ready").await;
        let said = body["dependencies"]["postgres"].as_str()?.to_owned();
        said.contains(trouble).then_some((body, said))
    });
    let (body, _): (Value, String) = said.await;
    assert_eq!(body["status"], "degraded", "{body}");
    for n in 0..5 {
        assert_eq!(caller.post(&order(&format!("{keys}{n}"), n)).await.0, 201);
    }
    assert!(caller.metric("relay_errors_total").await > 0.0);
    assert_eq!(caller.metric("relay_connected").await, 0.0);
    assert_eq!(caller.get("/health").await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_takes_nothing_or_nobody_is_waited_for() {
    let postgres = need!(Postgres::start().await);
    let storage = SimStorage::new();
    let store = PostgresStore::new(postgres.config());
    let api = Api::start(parts(storage.clone(), store, NO_REDIS)).await;
    let caller = &api.caller;
    assert_eq!(caller.post(&order("d-first", 0)).await.0, 201);
    caller.until_relayed().await;

    // It takes no writes.
    let client = postgres.client().await;
    let read_only = async |value: &str| {
        let set = format!("ALTER SYSTEM SET default_transaction_read_only = {value}");
        for statement in
            ["SET default_transaction_read_only = off", &set, "SELECT pg_reload_conf()"]
        {
            client.batch_execute(statement).await.unwrap();
        }
    };
    read_only("on").await;
    goes_on_while(caller, "read-only", "ro-").await;
    read_only("off").await;
    caller.until_relayed().await;

    // It takes no more connections: all are in use, and the relay's is lost.
    let mut others = Vec::new();
    while let Ok((other, connection)) = postgres.config().connect(tokio_postgres::NoTls).await {
        tokio::spawn(connection);
        others.push(other);
    }
    assert!(others.len() > 10, "{}", others.len());
    // Ours takes the place that becomes free before the relay is back.
    let lose = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                WHERE application_name = 'trading-api relay'";
    let in_its_place = eventually("the relay has lost its place", Duration::from_secs(10), || {
        let (client, config) = (&client, postgres.config());
        async move {
            client.batch_execute(lose).await.unwrap();
            let (other, connection) = config.connect(tokio_postgres::NoTls).await.ok()?;
            tokio::spawn(connection);
            Some(other)
        }
    })
    .await;
    goes_on_while(caller, "too many clients", "tc-").await;
    drop((others, in_its_place));
    caller.until_relayed().await;
    let ledger = Ledger::default();
    api.stop().await;
    let report = audited(&storage, &postgres, &ledger, "nobody's-").await;
    assert_eq!(report.verdict(), Verdict::Kept, "{report}");
}

/// A small file system of the test's own.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount(bytes: u64) -> Result<Self, String> {
        if !rustix::process::geteuid().is_root() {
            return Err("needs root (a small file system)".to_owned());
        }
        let disk = Self(tempfile::tempdir().unwrap());
        let size = format!("size={bytes},mode=700");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "small"])
            .arg(disk.path())
            .status()
            .unwrap();
        assert!(mounted.success());
        Ok(disk)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("--lazy").arg(self.path()).status();
        assert!(
            unmounted.is_ok_and(|status| status.success()),
            "{} is mounted",
            self.path().display()
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_ends_the_service_and_loses_nothing() {
    let disk = need!(SmallDisk::mount(256 * 1024));
    let postgres = need!(Postgres::start().await);
    let journal = disk.path().join("journal");
    let mut program = Program::new(&journal, &postgres.config_text(), NO_REDIS, &[]);
    program.start().await;
    let mut ledger = Ledger::default();
    let mut n = 0;
    // What is told of the last one, if anything, is that it is not known.
    let last = loop {
        let key = format!("full-{n}");
        ledger.attempt(&key);
        let reply = program.caller.try_post(&order(&key, n)).await;
        match reply {
            Some(reply) if reply.status == 201 => {
                let view: Value = serde_json::from_slice(&reply.body).unwrap();
                ledger.acknowledge(&key, view["order_id"].as_str().unwrap());
            }
            other => break other,
        }
        n += 1;
        assert!(n < 10_000, "the disk is never full");
    };
    if let Some(reply) = last {
        let answer: Value = serde_json::from_slice(&reply.body).unwrap();
        assert_eq!(
            (reply.status.as_u16(), &answer["error"]["code"]),
            (500, &"JOURNAL_FAILED".into())
        );
    }
    assert!(ledger.acknowledged() > 100);
    assert_eq!(
        program.exit_code(),
        Some(1),
        "it does not go on with a journal that it cannot write"
    );

    // With room on the disk it goes on where it was.
    let mut more = Command::new("mount");
    more.args(["-o", "remount,size=8m"]).arg(disk.path());
    assert!(more.status().unwrap().success());
    program.start().await;
    let key = "full-again";
    ledger.attempt(key);
    let (status, view) = program.caller.post(&order(key, 0)).await;
    assert_eq!(status, 201, "{view}");
    ledger.acknowledge(key, view["order_id"].as_str().unwrap());
    program.caller.until_relayed().await;
    assert_eq!(program.terminate(), Some(0));
    let storage = FsStorage::look(&journal).unwrap();
    let report = audited(&storage, &postgres, &ledger, "full-").await;
    assert_eq!(report.verdict(), Verdict::Kept, "{report}");
}
