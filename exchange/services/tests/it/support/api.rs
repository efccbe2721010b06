//! The trading API under test, in this process or as the real program, and its clients.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use exchange_journal::Storage;
use exchange_services::common::unix_us;
use exchange_services::common::{Client, Reply};
use exchange_services::trading_api::day::DayEnd;
use exchange_services::trading_api::relay::{PostgresStore, Store};
use exchange_services::trading_api::sequencer::Bounds;
use exchange_services::trading_api::{Parts, run};
use http_body_util::Full;
use hyper::{Method, Request};
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::ledger::Ledger;
use super::process::Process;
use super::{eventually, free_port};

/// Nothing listens on the discard port of these machines; connecting is refused at once.
pub(crate) const NOWHERE: &str = "host=127.0.0.1 port=9 user=exchange dbname=exchange";
pub(crate) const NO_REDIS: &str = "redis://127.0.0.1:9/";

pub(crate) fn nowhere() -> PostgresStore {
    PostgresStore::new(NOWHERE.parse().unwrap())
}

pub(crate) fn parts<S: Store>(storage: impl Storage + 'static, store: S, redis: &str) -> Parts<S> {
    Parts {
        storage: Arc::new(storage),
        hint: None,
        store,
        redis: redis::Client::open(redis).unwrap(),
        bounds: Bounds { backlog_orders_max: 100_000, live_orders_max: 1_000_000 },
        keys_max: 1_000_000,
        // Not while the test runs, whenever that is.
        day_end: day_end_at(unix_us() / 1_000_000 + 43_200),
    }
}

/// Days that end at the time of the day that this second since 1970 is at.
pub(crate) fn day_end_at(second: u64) -> DayEnd {
    let (hour, minute, second) = (second / 3600 % 24, second / 60 % 60, second % 60);
    format!("{hour:02}:{minute:02}:{second:02}").parse().unwrap()
}

/// What tests ask of a service, wherever it runs.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) base: String,
    client: Client,
}

impl Caller {
    pub(crate) fn new(base: String) -> Self {
        Self { base, client: Client::default() }
    }

    pub(crate) async fn call(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Option<Reply> {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.base));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.client.call(request.body(Full::new(Bytes::from(body))).unwrap()).await.ok()
    }

    pub(crate) async fn get(&self, path: &str) -> (u16, Value) {
        let reply = self.call(Method::GET, path, &[], Vec::new()).await.unwrap();
        (reply.status.as_u16(), serde_json::from_slice(&reply.body).unwrap_or(Value::Null))
    }

    pub(crate) async fn delete(&self, path: &str) -> (u16, Value) {
        let reply = self.call(Method::DELETE, path, &[], Vec::new()).await.unwrap();
        (reply.status.as_u16(), serde_json::from_slice(&reply.body).unwrap())
    }

    pub(crate) async fn patch(&self, path: &str, change: &Value) -> (u16, Value) {
        let reply = self.try_patch(path, change).await.unwrap();
        (reply.status.as_u16(), serde_json::from_slice(&reply.body).unwrap())
    }

    pub(crate) async fn try_patch(&self, path: &str, change: &Value) -> Option<Reply> {
        self.call(Method::PATCH, path, &[], change.to_string().into_bytes()).await
    }

    pub(crate) async fn post(&self, order: &Value) -> (u16, Value) {
        let reply = self.try_post(order).await.unwrap();
        (reply.status.as_u16(), serde_json::from_slice(&reply.body).unwrap())
    }

    pub(crate) async fn try_post(&self, order: &Value) -> Option<Reply> {
        self.call(Method::POST, "/api/orders", &[], order.to_string().into_bytes()).await
    }

    pub(crate) async fn metrics(&self) -> String {
        let reply = self.call(Method::GET, "/metrics", &[], Vec::new()).await.unwrap();
        String::from_utf8(reply.body.to_vec()).unwrap()
    }

    /// The sum over all series of a metric.
    pub(crate) async fn metric(&self, name: &str) -> f64 {
        sum(&self.metrics().await, name)
    }

    pub(crate) async fn ready(&self) -> (u16, String) {
        let (status, body) = self.get("/ready").await;
        (status, body["status"].as_str().unwrap_or_default().to_owned())
    }

    /// Waits until `/ready` says `status`, and gives the whole answer.
    pub(crate) async fn until(&self, status: &str) -> Value {
        eventually(&format!("/ready says {status}"), Duration::from_secs(15), || async {
            let (_, body) = self.get("/ready").await;
            (body["status"] == status).then_some(body)
        })
        .await
    }

    /// Waits until every order is in PostgreSQL.
    pub(crate) async fn until_relayed(&self) {
        eventually("the backlog is drained", Duration::from_secs(60), || async {
            let text = self.metrics().await;
            (sum(&text, "relay_connected") == 1.0 && sum(&text, "relay_backlog_orders") == 0.0)
                .then_some(())
        })
        .await;
    }
}

pub(crate) fn sum(text: &str, name: &str) -> f64 {
    text.lines()
        .filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])))
        .map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap())
        .sum()
}

/// A limit order that crosses some of the others.
pub(crate) fn order(key: &str, n: usize) -> Value {
    let symbol = ["BTCUSD", "ADAUSD", "DOTUSD"][n % 3];
    json!({
        "user_id": format!("user-{}", n % 7),
        "symbol": symbol,
        "side": if n.is_multiple_of(2) { "BUY" } else { "SELL" },
        "type": "LIMIT",
        "quantity": 1 + n % 5,
        "price": 100 + (n * 7) % 11,
        "time_in_force": if n.is_multiple_of(3) { "DAY" } else { "GTC" },
        "client_order_id": key,
    })
}

/// The service in this process.
pub(crate) struct Api {
    pub(crate) caller: Caller,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Api {
    pub(crate) async fn start<S: Store>(parts: Parts<S>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let caller = Caller::new(format!("http://{}", listener.local_addr().unwrap()));
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(run(listener, parts, async {
            let _ = stopped.await;
        }));
        let api = Self { caller, stop: Some(stop), task };
        eventually("the service answers", Duration::from_secs(10), || async {
            let reply = api.caller.call(Method::GET, "/live", &[], Vec::new()).await?;
            reply.status.is_success().then_some(())
        })
        .await;
        api
    }

    /// Ends it cleanly.
    pub(crate) async fn stop(mut self) {
        let _ = self.stop.take().unwrap().send(());
        self.task.await.unwrap().unwrap();
    }

    /// Waits until it ends by itself.
    pub(crate) async fn ended(self) -> anyhow::Result<()> {
        tokio::time::timeout(Duration::from_secs(10), self.task).await.unwrap().unwrap()
    }
}

/// The real program.
pub(crate) struct Program {
    pub(crate) caller: Caller,
    command: Command,
    process: Option<Process>,
}

impl Program {
    pub(crate) fn new(journal: &Path, postgres: &str, redis: &str, extra: &[&str]) -> Self {
        let port = free_port();
        let mut command = Command::new(env!("CARGO_BIN_EXE_trading-api"));
        command
            .args(["--listen", &format!("127.0.0.1:{port}"), "--postgres", postgres])
            .args(["--redis", redis, "--journal"])
            .arg(journal)
            .args(extra)
            .env("RUST_LOG", "warn")
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        Self { caller: Caller::new(format!("http://127.0.0.1:{port}")), command, process: None }
    }

    pub(crate) fn spawn(&mut self) {
        self.process = Some(Process::spawn(&mut self.command, Signal::KILL));
    }

    pub(crate) async fn start(&mut self) {
        self.spawn();
        eventually("trading-api answers", Duration::from_secs(10), || async {
            let reply = self.caller.call(Method::GET, "/live", &[], Vec::new()).await?;
            reply.status.is_success().then_some(())
        })
        .await;
    }

    pub(crate) fn kill(&mut self) {
        self.process.take().unwrap().kill();
    }

    /// SIGTERM, and the exit code.
    pub(crate) fn terminate(&mut self) -> Option<i32> {
        let mut process = self.process.take().unwrap();
        process.signal(Signal::TERM);
        process.wait().code()
    }

    pub(crate) fn exit_code(&mut self) -> Option<i32> {
        self.process.take().unwrap().wait().code()
    }
}

/// Clients that place orders until told to stop, and repeat each one with the same key
/// until it is answered. Some they replace, whatever comes of that.
pub(crate) struct Clients {
    pub(crate) ledger: Arc<Mutex<Ledger>>,
    stop: tokio::sync::watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Clients {
    pub(crate) fn start(caller: &Caller, count: usize, prefix: &str) -> Self {
        let ledger = Arc::new(Mutex::new(Ledger::default()));
        let (stop, stopped) = tokio::sync::watch::channel(false);
        let tasks = (0..count)
            .map(|client| {
                let (caller, ledger, stopped) =
                    (caller.clone(), Arc::clone(&ledger), stopped.clone());
                let prefix = prefix.to_owned();
                tokio::spawn(async move {
                    for n in 0.. {
                        if *stopped.borrow() {
                            return;
                        }
                        let key = format!("{prefix}{client}-{n}");
                        ledger.lock().unwrap().attempt(&key);
                        let order = order(&key, client + n * 31);
                        let (status, answer) = eventually(
                            "the order is answered",
                            Duration::from_secs(20),
                            || async {
                                let reply = caller.try_post(&order).await?;
                                // What a 5xx means is asked again, with the same key.
                                (!reply.status.is_server_error()).then_some(reply)
                            },
                        )
                        .await
                        .into_parts();
                        assert_eq!(status, 201, "{answer}");
                        let order_id = answer["order_id"].as_str().unwrap();
                        ledger.lock().unwrap().acknowledge(&key, order_id);
                        if n % 4 == 1 {
                            let path = format!("/api/orders/{order_id}");
                            let change = json!({"price": 100 + n % 11, "quantity": 1 + n % 7});
                            let _ = caller.try_patch(&path, &change).await;
                        }
                    }
                })
            })
            .collect();
        Self { ledger, stop, tasks }
    }

    pub(crate) async fn stop(self) -> Ledger {
        self.stop.send_replace(true);
        for task in self.tasks {
            task.await.unwrap();
        }
        self.ledger.lock().unwrap().clone()
    }

    pub(crate) fn acknowledged(&self) -> usize {
        self.ledger.lock().unwrap().acknowledged()
    }
}

trait IntoParts {
    fn into_parts(self) -> (u16, Value);
}

impl IntoParts for Reply {
    fn into_parts(self) -> (u16, Value) {
        (self.status.as_u16(), serde_json::from_slice(&self.body).unwrap())
    }
}
