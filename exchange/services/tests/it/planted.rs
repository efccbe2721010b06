//! Faulty versions must be caught: a checker that has never failed has shown nothing.

use std::sync::Arc;
use std::time::Duration;

use exchange_audit::report::Verdict;
use exchange_audit::{Check, Report};
use exchange_journal::Storage;
use exchange_journal::sim::{Lie, LyingStorage, SimStorage};
use exchange_services::trading_api::relay::{
    Batch, PostgresSession, PostgresStore, Session, Store, StoreError,
};

use crate::support::api::{Api, Clients, NO_REDIS, nowhere, order, parts};
use crate::support::audit::audited;
use crate::support::ledger::{Audit, Ledger};
use crate::support::postgres::Postgres;
use crate::support::{eventually, need};

/// A relay that moves its cursor over one batch without writing it.
struct Skipping {
    inner: PostgresStore,
    skip: u32,
}

struct SkippingSession {
    inner: PostgresSession,
    until_skip: u32,
}

impl Store for Skipping {
    type Session = SkippingSession;

    async fn open(&mut self, journal_id: &str) -> Result<(SkippingSession, u64), StoreError> {
        let (inner, cursor) = self.inner.open(journal_id).await?;
        Ok((SkippingSession { inner, until_skip: self.skip }, cursor))
    }
}

impl Session for SkippingSession {
    async fn write(&mut self, batch: &Batch) -> Result<(), StoreError> {
        if batch.orders.is_empty() || self.until_skip != 1 {
            if !batch.orders.is_empty() {
                self.until_skip = self.until_skip.saturating_sub(1);
            }
            return self.inner.write(batch).await;
        }
        self.until_skip = 0;
        let nothing = Batch { from_seq: batch.from_seq, to_seq: batch.to_seq, ..Batch::default() };
        self.inner.write(&nothing).await
    }

    async fn cursor(&mut self) -> Result<u64, StoreError> {
        self.inner.cursor().await
    }
}

async fn audit_with(postgres: &Postgres, skip: u32) -> (Audit, Report) {
    postgres.empty().await;
    let store = Skipping { inner: PostgresStore::new(postgres.config()), skip };
    let disk = SimStorage::new();
    let api = Api::start(parts(disk.clone(), store, NO_REDIS)).await;
    let clients = Clients::start(&api.caller, 4, "skip-");
    eventually("orders are accepted", Duration::from_secs(20), || async {
        (clients.acknowledged() >= 100).then_some(())
    })
    .await;
    let mut ledger = clients.stop().await;
    api.caller.until_relayed().await;
    // All of them may have been one batch: there is another after it.
    let key = "skip-last";
    ledger.attempt(key);
    let (_, view) = api.caller.post(&order(key, 0)).await;
    ledger.acknowledge(key, view["order_id"].as_str().unwrap());
    api.caller.until_relayed().await;
    let audit = ledger.audit(&postgres.orders("skip-").await);
    let report = audited(&disk, postgres, &ledger, "skip-").await;
    api.stop().await;
    (audit, report)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_skips_a_batch_is_caught() {
    let postgres = need!(Postgres::start().await);
    // The first batch with orders: the only one that is certain to come.
    let (audit, report) = audit_with(&postgres, 1).await;
    assert!(!audit.lost.is_empty(), "the ledger did not see it");
    assert_eq!((audit.duplicated.len(), audit.unexpected.len()), (0, 0));
    // The same relay without the fault.
    let broken: Vec<Check> = report.broken().collect();
    for check in [Check::OrdersAsJournalled, Check::Gapless] {
        assert!(broken.contains(&check), "{check:?}: {report}");
    }
    let (audit, report) = audit_with(&postgres, 0).await;
    assert_eq!(audit, Audit::default());
    assert_eq!(report.verdict(), Verdict::Kept, "{report}");
}

/// Orders are acknowledged while the database is away, then the machine crashes.
async fn crash_with(
    postgres: &Postgres,
    storage: impl Storage + 'static,
    disk: &SimStorage,
) -> (Audit, Report) {
    postgres.empty().await;
    let api = Api::start(parts(storage, nowhere(), NO_REDIS)).await;
    let mut ledger = Ledger::default();
    for n in 0..50 {
        let key = format!("crash-{n}");
        ledger.attempt(&key);
        let (status, answer) = api.caller.post(&order(&key, n)).await;
        assert_eq!(status, 201);
        ledger.acknowledge(&key, answer["order_id"].as_str().unwrap());
    }
    // Of what was not synced this seed leaves little; honest storage does not mind any seed.
    let rebooted = disk.reboot(1);
    // The journal is dead, so the service may end in any way.
    drop(api);
    let store = PostgresStore::new(postgres.config());
    let api = Api::start(parts(rebooted.clone(), store, NO_REDIS)).await;
    api.caller.until_relayed().await;
    let audit = ledger.audit(&postgres.orders("crash-").await);
    let report = audited(&rebooted, postgres, &ledger, "crash-").await;
    api.stop().await;
    (audit, report)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_acknowledgement_before_the_sync_is_caught() {
    let postgres = need!(Postgres::start().await);
    for lie in [Lie::Never, Lie::Late] {
        let disk = SimStorage::new();
        let lying = LyingStorage::new(Arc::new(disk.clone()), lie);
        let (audit, report) = crash_with(&postgres, lying, &disk).await;
        assert!(!audit.lost.is_empty(), "{lie:?}: the ledger did not see it");
        let broken: Vec<Check> = report.broken().collect();
        assert_eq!(broken, [Check::AcknowledgedKept], "{lie:?}: {report}");
    }
    // The same service on a storage that keeps its word.
    let disk = SimStorage::new();
    let (audit, report) = crash_with(&postgres, disk.clone(), &disk).await;
    assert_eq!(audit, Audit::default());
    assert_eq!(report.verdict(), Verdict::Kept, "{report}");
}
