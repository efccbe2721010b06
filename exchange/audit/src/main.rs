//! The audit from the command line.

use std::fs::File;
use std::io::{self, BufReader, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser;
use exchange_audit::ledger::Ledger;
use exchange_audit::report::Verdict;
use exchange_audit::{Evidence, Report, audit, replayed, stored};
use exchange_journal::FsStorage;

/// Proves that the exchange kept what it promised, or says where it did not.
///
/// Holds the journal, the database, and what the clients were told against each other. It changes nothing
/// of either, and the exchange may be running meanwhile.
#[derive(Debug, Parser)]
#[command(
    name = "exchange-audit",
    version,
    after_help = "Exit code 0: all was kept; 1: something was not; 2: wrong input; 3: the database has \
        not caught up with the journal, so nothing can be said of the rest; 4: one of them cannot be read."
)]
struct Args {
    /// Directory of the journal.
    #[arg(long, value_name = "DIR")]
    journal: PathBuf,
    /// PostgreSQL, as in 'host=127.0.0.1 port=5432 user=exchange dbname=exchange'.
    #[arg(long, value_name = "WORDS")]
    postgres: tokio_postgres::Config,
    /// What the clients sent and were told: a line {"key":"KEY"} for each order that was sent, and
    /// {"key":"KEY","order_id":"ID"} for each that was acknowledged.
    #[arg(long, value_name = "FILE")]
    ledger: Option<PathBuf>,
    /// How the keys begin of all orders that are in the ledger: others are somebody else's.
    #[arg(long, value_name = "PREFIX", default_value = "", requires = "ledger")]
    prefix: String,
    /// How long to wait for the database to catch up with the journal, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    settle: u64,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let told = |error: anyhow::Error, code: u8| {
        let _ = writeln!(io::stderr(), "exchange-audit: {error:#}");
        ExitCode::from(code)
    };
    let (storage, ledger) = match input(&args) {
        Ok(input) => input,
        Err(error) => return told(error, 2),
    };
    let report = match run(&args, &storage, ledger.as_ref()) {
        Ok(report) => report,
        Err(error) => return told(error, 4),
    };
    let text =
        if args.json { serde_json::to_string_pretty(&report) } else { Ok(report.to_string()) };
    match text {
        // Whoever reads may have heard enough.
        Ok(text) => drop(writeln!(io::stdout(), "{text}")),
        Err(error) => return told(error.into(), 4),
    }
    match report.verdict() {
        Verdict::Kept => ExitCode::SUCCESS,
        Verdict::Broken => ExitCode::from(1),
        Verdict::Behind => ExitCode::from(3),
    }
}

fn input(args: &Args) -> anyhow::Result<(FsStorage, Option<Ledger>)> {
    let storage = FsStorage::look(&args.journal)
        .with_context(|| format!("could not look at {}", args.journal.display()))?;
    let Some(path) = &args.ledger else { return Ok((storage, None)) };
    let file = File::open(path).map_err(Into::into);
    let ledger = file.and_then(|file| Ledger::read(BufReader::new(file)));
    Ok((storage, Some(ledger.with_context(|| format!("the ledger {}", path.display()))?)))
}

fn run(args: &Args, storage: &FsStorage, ledger: Option<&Ledger>) -> anyhow::Result<Report> {
    // Only to know for what to wait: what is read after the database has at least as much.
    let end = exchange_journal::look(storage, |_| ())?.last_seq;
    anyhow::ensure!(end > 0, "there is no journal in {}", args.journal.display());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let stored = runtime.block_on(async {
        let mut client = stored::connect(&args.postgres).await?;
        stored::wait_for(&client, end, Duration::from_secs(args.settle)).await?;
        stored::read(&mut client).await
    })?;
    let replayed = replayed::replay(storage, stored.cursor)?;
    let (stored, replayed) = (&stored, &replayed);
    let clients = ledger.map(|ledger| (ledger, args.prefix.as_str()));
    Ok(audit(&Evidence { stored, replayed, awaited_seq: end, clients }))
}
