//! SIGKILL of the real program under load: nothing acknowledged is lost or doubled.

use std::time::Duration;

use exchange_audit::report::Verdict;
use exchange_journal::FsStorage;
use exchange_services::common::unix_us;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::support::api::{Clients, NO_REDIS, NOWHERE, Program, order};
use crate::support::audit::audited;
use crate::support::ledger::Audit;
use crate::support::postgres::Postgres;
use crate::support::{eventually, need};

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_service_loses_and_doubles_nothing() {
    let mut postgres = need!(Postgres::start().await);
    let seed = std::env::var("CRASH_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(unix_us());
    eprintln!("CRASH_SEED={seed} repeats these moments");
    let mut random = StdRng::seed_from_u64(seed);
    let dir = tempfile::tempdir().unwrap();
    let journal = dir.path().join("journal");
    let mut program = Program::new(&journal, &postgres.config_text(), NO_REDIS, &[]);
    program.start().await;
    let clients = Clients::start(&program.caller, 16, "kill-");
    for round in 0..6 {
        let before = clients.acknowledged();
        tokio::time::sleep(Duration::from_millis(random.random_range(20..600))).await;
        program.kill();
        // In every third round both die at the same time.
        if round % 3 == 2 {
            postgres.kill();
            postgres.restart().await;
        }
        eprintln!("round {round}: {} acknowledged", clients.acknowledged() - before);
        program.start().await;
    }
    let ledger = clients.stop().await;
    program.caller.until_relayed().await;
    eprintln!("{} acknowledged in all", ledger.acknowledged());
    assert!(ledger.acknowledged() > 50);
    assert_eq!(ledger.audit(&postgres.orders("kill-").await), Audit::default());
    let journal = FsStorage::look(&journal).unwrap();
    let report = audited(&journal, &postgres, &ledger, "kill-").await;
    assert_eq!(report.verdict(), Verdict::Kept, "{report}");
    assert_eq!(program.terminate(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_services_do_not_share_a_journal() {
    let dir = tempfile::tempdir().unwrap();
    let journal = dir.path().join("journal");
    let mut first = Program::new(&journal, NOWHERE, NO_REDIS, &[]);
    first.start().await;
    let mut second = Program::new(&journal, NOWHERE, NO_REDIS, &[]);
    second.spawn();
    assert_eq!(second.exit_code(), Some(1));
    assert_eq!(first.terminate(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_while_the_database_is_away_does_not_count_relayed_orders_as_backlog() {
    let postgres = need!(Postgres::start().await);
    let dir = tempfile::tempdir().unwrap();
    let bound = ["--backlog-orders-max", "10"];
    let mut program = Program::new(dir.path(), &postgres.config_text(), NO_REDIS, &bound);
    program.start().await;
    for n in 0..30 {
        assert_eq!(program.caller.post(&order(&format!("r-{n}"), n)).await.0, 201);
        program.caller.until_relayed().await;
    }
    eventually("it is noted how far the database is", Duration::from_secs(5), || async {
        let note = std::fs::read_to_string(dir.path().join("relayed-orders")).ok()?;
        note.trim().ends_with(" 30").then_some(())
    })
    .await;
    program.kill();
    drop(postgres);
    program.start().await;
    assert_eq!(program.caller.post(&order("r-30", 0)).await.0, 201);
    assert_eq!(program.caller.metric("relay_backlog_orders").await, 1.0);
}
