//! Many runs under load, each with faults and deaths at moments drawn at random, and an audit after each.
//!
//! The suite has one short run, `make audit-runs` as many as one likes.

use std::time::Duration;

use exchange_audit::report::Verdict;
use exchange_journal::FsStorage;
use exchange_services::common::{monotonic, unix_us};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rustix::process::{Pid, Signal, kill_process};

use crate::support::api::{Clients, NO_REDIS, Program};
use crate::support::audit::audited;
use crate::support::postgres::Postgres;
use crate::support::{eventually, need};

const CLIENTS: usize = 64;
const FAULTS_A_RUN: usize = 4;

/// What happens to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fault {
    /// SIGKILL of the service, which starts again.
    ServiceKilled,
    /// SIGTERM, and it starts again.
    ServiceStopped,
    /// SIGKILL of the database, which starts again.
    DatabaseKilled,
    /// Both at the same time.
    BothKilled,
    /// The relay's connection stands still, maybe in the middle of a transaction.
    ConnectionFrozen,
    /// The database takes nothing.
    DatabaseReadOnly,
}

const FAULTS: [Fault; 6] = [
    Fault::ServiceKilled,
    Fault::ServiceStopped,
    Fault::DatabaseKilled,
    Fault::BothKilled,
    Fault::ConnectionFrozen,
    Fault::DatabaseReadOnly,
];

fn asked<T: std::str::FromStr>(name: &str, default: T) -> T {
    std::env::var(name).map_or(default, |text| {
        text.parse().unwrap_or_else(|_| panic!("{name} is a whole number, not {text:?}"))
    })
}

async fn befall(fault: Fault, random: &mut StdRng, program: &mut Program, postgres: &mut Postgres) {
    let a_while = Duration::from_millis(random.random_range(50..1500));
    match fault {
        Fault::ServiceKilled => {
            program.kill();
            program.start().await;
        }
        Fault::ServiceStopped => {
            assert_eq!(program.terminate(), Some(0));
            program.start().await;
        }
        Fault::DatabaseKilled => {
            postgres.kill();
            tokio::time::sleep(a_while).await;
            postgres.restart().await;
        }
        Fault::BothKilled => {
            program.kill();
            postgres.kill();
            program.start().await;
            tokio::time::sleep(a_while).await;
            postgres.restart().await;
        }
        Fault::ConnectionFrozen => {
            let pids =
                "SELECT pid FROM pg_stat_activity WHERE application_name = 'trading-api relay'";
            let pids: Vec<Pid> = postgres
                .rows(pids, &[])
                .await
                .iter()
                .filter_map(|row| Pid::from_raw(row.get(0)))
                .collect();
            // One that has ended meanwhile stands still anyway.
            pids.iter().for_each(|pid| _ = kill_process(*pid, Signal::STOP));
            tokio::time::sleep(a_while).await;
            pids.iter().for_each(|pid| _ = kill_process(*pid, Signal::CONT));
        }
        Fault::DatabaseReadOnly => {
            let client = postgres.client().await;
            for read_only in ["on", "off"] {
                // A statement of its own each: the first cannot run in a transaction.
                let set = format!("ALTER SYSTEM SET default_transaction_read_only = {read_only}");
                client.batch_execute("SET default_transaction_read_only = off").await.unwrap();
                client.batch_execute(&set).await.unwrap();
                client.batch_execute("SELECT pg_reload_conf()").await.unwrap();
                if read_only == "on" {
                    tokio::time::sleep(a_while).await;
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_run_loses_or_doubles_an_order() {
    let (runs, orders): (u64, usize) = (asked("AUDIT_RUNS", 1), asked("AUDIT_ORDERS", 2000));
    let first: u64 = asked("AUDIT_SEED", unix_us() % 1_000_000);
    eprintln!("AUDIT_SEED={first}: {runs} runs of at least {orders} acknowledged orders");
    let mut acknowledged = 0;
    let mut befallen = std::collections::BTreeMap::<Fault, usize>::new();
    for seed in first..first + runs {
        let began = monotonic();
        let mut random = StdRng::seed_from_u64(seed);
        let mut postgres = need!(Postgres::start().await);
        let dir = tempfile::tempdir().unwrap();
        let journal = dir.path().join("journal");
        let mut program = Program::new(&journal, &postgres.config_text(), NO_REDIS, &[]);
        program.start().await;
        let clients = Clients::start(&program.caller, CLIENTS, "run-");
        let reached = |count: usize| {
            let clients = &clients;
            eventually("orders are acknowledged", Duration::from_secs(120), move || async move {
                (clients.acknowledged() >= count).then_some(())
            })
        };
        let mut faults = Vec::new();
        for n in 1..=FAULTS_A_RUN {
            let share = orders / (FAULTS_A_RUN + 1);
            reached(share * n + random.random_range(0..share)).await;
            let fault = FAULTS[random.random_range(0..FAULTS.len())];
            befall(fault, &mut random, &mut program, &mut postgres).await;
            faults.push(fault);
            *befallen.entry(fault).or_default() += 1;
        }
        reached(orders).await;
        let ledger = clients.stop().await;
        program.caller.until_relayed().await;
        assert_eq!(program.terminate(), Some(0));
        let journal = FsStorage::look(&journal).unwrap();
        let report = audited(&journal, &postgres, &ledger, "run-").await;
        assert_eq!(report.verdict(), Verdict::Kept, "AUDIT_SEED={seed} {faults:?}: {report}");
        acknowledged += ledger.acknowledged();
        let (of_run, took) = (ledger.acknowledged(), began.elapsed());
        eprintln!("seed {seed}: {of_run} acknowledged, all kept, {took:.1?}, {faults:?}");
    }
    eprintln!("{runs} runs, {acknowledged} acknowledged orders: 0 lost, 0 doubled; {befallen:?}");
}
