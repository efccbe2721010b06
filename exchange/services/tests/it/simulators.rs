//! The two simulators.

use std::time::Duration;

use clap::Parser;
use exchange_journal::sim::SimStorage;
use exchange_services::market_simulator::PRICES_HASH;
use exchange_services::{market_simulator, order_flow};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::support::api::{Api, Caller, nowhere, parts, sum};
use crate::support::redis::Redis;
use crate::support::{eventually, need};

const BOUND: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
async fn prices_are_made_published_and_traded_around() {
    let mut redis = need!(Redis::start().await);
    let market_listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let market = Caller::new(format!("http://{}", market_listener.local_addr().unwrap()));
    let (stop_market, stopped) = oneshot::channel::<()>();
    let client = ::redis::Client::open(redis.url()).unwrap();
    let market_task = tokio::spawn(market_simulator::run(market_listener, client, 3, async {
        let _ = stopped.await;
    }));
    market.until("ready").await;
    assert_eq!(market.get("/api/symbols").await.1["symbols"].as_array().unwrap().len(), 6);
    let price = || async { market.get("/api/price/BTCUSD").await.1["price"].as_u64().unwrap() };
    let first = price().await;
    eventually("the price moves", BOUND, || async { (price().await != first).then_some(()) }).await;
    eventually("Redis has the price", BOUND, || async {
        redis.hash(PRICES_HASH, "BTCUSD").await.filter(|price| *price > 4_000_000)
    })
    .await;
    assert_eq!(market.get("/api/price/NOPE").await.0, 404);
    assert!(market.get("/api/market/ADAUSD").await.1["reference_price"] == 150);
    assert!(market.metric("market_steps_total").await >= 1.0);
    assert!(market.get("/api/status").await.1["steps"].as_u64().unwrap() >= 1);

    // Without Redis there are prices all the same.
    redis.kill();
    market.until("degraded").await;
    let second = price().await;
    eventually("the price moves", BOUND, || async { (price().await != second).then_some(()) })
        .await;
    redis.restart().await;
    market.until("ready").await;

    let mut api_parts = parts(SimStorage::new(), nowhere(), &redis.url());
    api_parts.bounds.backlog_orders_max = 60;
    let api = Api::start(api_parts).await;
    let flow_listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let flow = Caller::new(format!("http://{}", flow_listener.local_addr().unwrap()));
    let args = order_flow::Args::parse_from([
        "order-flow-simulator",
        "--api",
        &api.caller.base,
        "--market",
        &market.base,
        "--rate-per-second",
        "200",
    ]);
    let (stop_flow, stopped) = oneshot::channel::<()>();
    let flow_task = tokio::spawn(async move {
        order_flow::run(flow_listener, &args, async {
            let _ = stopped.await;
        })
        .await
    });
    // The database is away: the backlog fills up, orders are refused, the flow gives way.
    let status = eventually("the flow is refused and gives way", BOUND, || async {
        let (_, status) = flow.get("/api/status").await;
        (status["counts"]["refused"].as_u64()? > 0 && status["share_of_rate"].as_f64()? < 1.0)
            .then_some(status)
    })
    .await;
    assert_eq!(status["counts"]["accepted"], 60);
    assert_eq!(status["counts"]["rejected"], 0, "{status}");
    let text = api.caller.metrics().await;
    let simulated: f64 = text
        .lines()
        .filter(|l| l.contains("simulator") && l.contains("accepted"))
        .map(|l| sum(l, "orders_total"))
        .sum();
    assert_eq!(simulated, 60.0);
    assert!(flow.metric("order_flow_requests_total").await >= 60.0);
    flow.until("degraded").await;

    stop_flow.send(()).unwrap();
    flow_task.await.unwrap().unwrap();
    api.stop().await;
    stop_market.send(()).unwrap();
    market_task.await.unwrap().unwrap();
}
