//! From the command line to the parts.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use clap::Parser;
use exchange_journal::FsStorage;

use super::day::DayEnd;
use super::relay::PostgresStore;
use super::sequencer::Bounds;
use super::server::{Parts, run};
use crate::common::{bind, terminated};

/// The note beside the journal's own files.
const HINT_FILE: &str = "relayed-orders";

/// Takes orders, journals them, and relays them to PostgreSQL.
#[derive(Clone, Debug, Parser)]
#[command(name = "trading-api", version)]
pub struct Args {
    /// Address and port to serve HTTP on; port 0 takes a free one.
    #[arg(long, env = "TRADING_API_LISTEN", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
    /// Directory of the journal; made if it does not exist.
    #[arg(long, env = "TRADING_API_JOURNAL")]
    pub journal: PathBuf,
    /// PostgreSQL, as in 'host=127.0.0.1 port=5432 user=exchange dbname=exchange'.
    #[arg(long, env = "TRADING_API_POSTGRES")]
    pub postgres: String,
    /// Redis, as in redis://127.0.0.1:6379/.
    #[arg(long, env = "TRADING_API_REDIS")]
    pub redis: String,
    /// Orders that may wait for PostgreSQL before new ones are refused with 503.
    #[arg(long, env = "TRADING_API_BACKLOG_ORDERS_MAX", default_value_t = 100_000)]
    pub backlog_orders_max: u64,
    /// Orders that may rest in the books.
    #[arg(long, env = "TRADING_API_LIVE_ORDERS_MAX", default_value_t = 1_000_000)]
    pub live_orders_max: usize,
    /// Orders whose client order ids are remembered, the newest; more than may wait for PostgreSQL.
    #[arg(long, env = "TRADING_API_KEYS_MAX", default_value_t = 1_000_000)]
    pub keys_max: usize,
    /// Time of the day, in UTC, at which DAY orders expire.
    #[arg(long, env = "TRADING_API_DAY_ENDS_AT", default_value_t = DayEnd::default())]
    pub day_ends_at: DayEnd,
}

/// Runs the service as its arguments say, until SIGTERM.
///
/// # Errors
/// When it cannot start or cannot go on.
pub async fn main(args: Args) -> anyhow::Result<()> {
    let postgres = args.postgres.parse::<tokio_postgres::Config>().context(
        "--postgres is not understood; it looks like 'host=127.0.0.1 port=5432 user=exchange dbname=exchange'",
    )?;
    let redis = redis::Client::open(args.redis.as_str())
        .context("--redis is not understood; it looks like redis://127.0.0.1:6379/")?;
    let storage = FsStorage::open(&args.journal)
        .with_context(|| format!("could not use {} for the journal", args.journal.display()))?;
    let parts = Parts {
        storage: Arc::new(storage),
        hint: Some(args.journal.join(HINT_FILE)),
        store: PostgresStore::new(postgres),
        redis,
        bounds: Bounds {
            backlog_orders_max: args.backlog_orders_max,
            live_orders_max: args.live_orders_max,
        },
        keys_max: args.keys_max,
        day_end: args.day_ends_at,
    };
    let shutdown = terminated().context("could not watch for signals")?;
    let bound = bind(args.listen).await?;
    tracing::info!(address = %bound.address, "trading-api: listening");
    run(bound.listener, parts, shutdown).await
}
