//! From the command line to a running service.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use prometheus::{IntCounter, IntGauge, IntGaugeVec, Opts, Registry};
use tokio::net::TcpListener;
use tokio::time::MissedTickBehavior;

use super::http::{App, routes};
use super::publish::publish;
use super::walk::Walk;
use crate::common::{HttpMetrics, bind, serve, terminated};
use crate::trading_api::projection::connection;

const STEP_EVERY: Duration = Duration::from_millis(250);

/// Makes prices up and publishes them.
#[derive(Clone, Debug, Parser)]
#[command(name = "market-simulator", version)]
pub struct Args {
    /// Address and port to serve HTTP on; port 0 takes a free one.
    #[arg(long, env = "MARKET_SIMULATOR_LISTEN", default_value = "127.0.0.1:8081")]
    pub listen: SocketAddr,
    /// Redis, as in redis://127.0.0.1:6379/.
    #[arg(long, env = "MARKET_SIMULATOR_REDIS")]
    pub redis: String,
    /// The same seed makes the same prices.
    #[arg(long, env = "MARKET_SIMULATOR_SEED", default_value_t = 1)]
    pub seed: u64,
}

/// Runs the service as its arguments say, until SIGTERM.
///
/// # Errors
/// When it cannot start or cannot go on.
pub async fn main(args: Args) -> anyhow::Result<()> {
    let redis = redis::Client::open(args.redis.as_str())
        .context("--redis is not understood; it looks like redis://127.0.0.1:6379/")?;
    let shutdown = terminated().context("could not watch for signals")?;
    let bound = bind(args.listen).await?;
    tracing::info!(address = %bound.address, seed = args.seed, "market-simulator: listening");
    run(bound.listener, redis, args.seed, shutdown).await
}

/// Runs the service until `shutdown` resolves.
///
/// # Errors
/// When it cannot start or cannot go on.
pub async fn run(
    listener: TcpListener,
    redis: redis::Client,
    seed: u64,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> anyhow::Result<()> {
    let registry = Registry::new();
    let app = declare(registry, seed).context("could not declare the metrics")?;
    let redis = connection(redis).context("could not use the address of Redis")?;
    let mut background = tokio::task::JoinSet::new();
    background.spawn(publish(redis, Arc::clone(&app.walk), Arc::clone(&app.redis_trouble)));
    let (walk, steps) = (Arc::clone(&app.walk), app.steps.clone());
    background.spawn(async move {
        let mut ticks = tokio::time::interval(STEP_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            walk.lock().unwrap_or_else(PoisonError::into_inner).step();
            steps.inc();
        }
    });
    serve(listener, routes(app), shutdown).await.context("serving HTTP failed")
}

fn declare(registry: Registry, seed: u64) -> prometheus::Result<App> {
    let app = App {
        walk: Arc::new(Mutex::new(Walk::new(seed))),
        redis_trouble: Arc::new(Mutex::new(Some("not connected yet".to_owned()))),
        seed,
        http: HttpMetrics::new(&registry)?,
        steps: IntCounter::new("market_steps_total", "Steps that the prices took.")?,
        prices: IntGaugeVec::new(
            Opts::new("market_price_ticks", "The price now, in ticks."),
            &["symbol"],
        )?,
        redis_up: IntGauge::new("redis_up", "Whether Redis answered last.")?,
        registry,
    };
    app.registry.register(Box::new(app.steps.clone()))?;
    app.registry.register(Box::new(app.prices.clone()))?;
    app.registry.register(Box::new(app.redis_up.clone()))?;
    Ok(app)
}
