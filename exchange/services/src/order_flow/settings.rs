//! From the command line to a running service.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use clap::Parser;
use hyper::Uri;
use prometheus::{Gauge, IntCounterVec, Opts, Registry};
use tokio::net::TcpListener;

use super::flow::Flow;
use super::http::{App, routes};
use crate::common::{HttpMetrics, bind, serve, terminated};

/// Far more than one simulator is meant for.
const RATE_MAX: f64 = 10_000.0;

/// Makes orders up around the market's prices and sends them to the trading API.
#[derive(Clone, Debug, Parser)]
#[command(name = "order-flow-simulator", version)]
pub struct Args {
    /// Address and port to serve HTTP on; port 0 takes a free one.
    #[arg(long, env = "ORDER_FLOW_LISTEN", default_value = "127.0.0.1:8082")]
    pub listen: SocketAddr,
    /// The trading API, as in http://127.0.0.1:8080.
    #[arg(long, env = "ORDER_FLOW_API", value_parser = base)]
    pub api: String,
    /// The market simulator, as in http://127.0.0.1:8081.
    #[arg(long, env = "ORDER_FLOW_MARKET", value_parser = base)]
    pub market: String,
    /// Orders a second, on average.
    #[arg(long, env = "ORDER_FLOW_RATE_PER_SECOND", default_value_t = 20.0, value_parser = rate)]
    pub rate_per_second: f64,
    /// The same seed makes the same users' wishes.
    #[arg(long, env = "ORDER_FLOW_SEED", default_value_t = 1)]
    pub seed: u64,
}

fn base(text: &str) -> Result<String, String> {
    let uri: Uri = text.parse().map_err(|error| format!("{error}"))?;
    match (uri.scheme_str(), uri.authority(), uri.path()) {
        (Some("http"), Some(_), "/") => Ok(text.trim_end_matches('/').to_owned()),
        _ => Err("it looks like http://127.0.0.1:8080, without a path".to_owned()),
    }
}

fn rate(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|rate: &f64| *rate > 0.0 && *rate <= RATE_MAX)
        .ok_or_else(|| format!("a number above 0 and up to {RATE_MAX}"))
}

/// Runs the service as its arguments say, until SIGTERM.
///
/// # Errors
/// When it cannot start or cannot go on.
pub async fn main(args: Args) -> anyhow::Result<()> {
    let shutdown = terminated().context("could not watch for signals")?;
    let bound = bind(args.listen).await?;
    tracing::info!(address = %bound.address, seed = args.seed, "order-flow-simulator: listening");
    run(bound.listener, &args, shutdown).await
}

/// Runs the service until `shutdown` resolves. The address in `args` is not looked at.
///
/// # Errors
/// When it cannot start or cannot go on.
pub async fn run(
    listener: TcpListener,
    args: &Args,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> anyhow::Result<()> {
    let flow = Flow::new(&args.api, &args.market, args.rate_per_second, args.seed);
    let app =
        declare(flow.clone(), args.rate_per_second).context("could not declare the metrics")?;
    let mut background = tokio::task::JoinSet::new();
    background.spawn(flow.clone().follow_market());
    background.spawn(flow.send());
    serve(listener, routes(app), shutdown).await.context("serving HTTP failed")
}

fn declare(flow: Flow, rate_per_second: f64) -> prometheus::Result<App> {
    let registry = Registry::new();
    let app = App {
        flow,
        rate_per_second,
        http: HttpMetrics::new(&registry)?,
        outcomes: IntCounterVec::new(
            Opts::new("order_flow_requests_total", "Requests meant to be made, by outcome."),
            &["outcome"],
        )?,
        scraping: Arc::default(),
        share: Gauge::new("order_flow_share_of_rate", "Share of the full rate that is sent now.")?,
        registry,
    };
    app.registry.register(Box::new(app.outcomes.clone()))?;
    app.registry.register(Box::new(app.share.clone()))?;
    Ok(app)
}
