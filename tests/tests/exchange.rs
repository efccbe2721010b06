//! The built-in lab as others see it: watched by Prometheus from inside, closed from outside but for
//! what is meant for clients.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail where they stand, as tests do")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use temblor_tests::{Lab, said, skipped, wait_for};

/// Every service that has metrics, and Prometheus itself.
const WATCHED: [&str; 4] =
    ["market-simulator", "order-flow-simulator", "prometheus", "trading-api"];
/// For a service that was just started to be scraped, on a machine with other things to do.
const SCRAPED_WITHIN: Duration = Duration::from_secs(30);

#[test]
fn the_lab_is_watched_and_its_front_passes_on_what_is_for_clients() {
    if skipped() {
        return;
    }
    let lab = Lab::up("tmbexch0");
    prometheus_lives_like_the_others(&lab);
    every_service_is_scraped(&lab);
    orders_come_through_the_front(&lab);
    the_inside_stays_inside(&lab);
    thousands_at_once_are_not_too_many(&lab);
    a_killed_prometheus_comes_back(&lab);
}

fn prometheus_lives_like_the_others(lab: &Lab) {
    let prometheus = lab.service("prometheus");
    assert_eq!(prometheus["state"], "healthy", "{prometheus}");
    assert_eq!(prometheus["port"], 9090);
    let state = lab.state();
    let services = state["services"].as_array().unwrap();
    let namespaces: BTreeSet<_> = services.iter().map(|s| s["netns_inode"].as_u64()).collect();
    assert_eq!(namespaces.len(), services.len(), "each has a namespace of its own: {state}");
    let status = fs::read_to_string(format!("/proc/{}/status", prometheus["pid"])).unwrap();
    let uid = status.lines().find_map(|line| line.strip_prefix("Uid:\t")).unwrap();
    assert!(!uid.starts_with("0\t"), "it runs as root");
    // A target like any other.
    let fault = ["inject", "process.pause", "target=service:prometheus", "--for", "1s", "--plan"];
    let out = lab.command(&fault).output().unwrap();
    assert!(out.status.success(), "{}", said(&out));
    assert!(String::from_utf8_lossy(&out.stdout).contains("undo: "), "{}", said(&out));
}

fn every_service_is_scraped(lab: &Lab) {
    let prometheus = Server::of(lab, "prometheus");
    // Prometheus takes up what it is to scrape some seconds after it is ready.
    let targets = wait_for("every target's first good scrape", SCRAPED_WITHIN, || {
        let answer = prometheus.ask("GET", "/api/v1/targets?state=active", "").json();
        let targets = answer["data"]["activeTargets"].as_array().unwrap().clone();
        let all_up = targets.iter().all(|target| target["health"] == "up");
        (targets.len() >= WATCHED.len() && all_up).then_some(targets)
    });
    let mut names: Vec<_> = targets.iter().map(|t| t["labels"]["service"].clone()).collect();
    names.sort_by_key(Value::to_string);
    assert_eq!(names, WATCHED);
    for target in &targets {
        let name = target["labels"]["service"].as_str().unwrap();
        let server = Server::of(lab, name);
        assert_eq!(target["labels"]["job"], name);
        assert_eq!(target["scrapeUrl"], format!("http://{}:{}/metrics", server.host, server.port));
        assert_eq!(target["scrapeInterval"], "1s");
    }
    all_are_up(&prometheus);
    // What is read of a service is its own: a page that another one serves would have no orders.
    wait_for("orders in Prometheus", SCRAPED_WITHIN, || {
        let orders = prometheus.query("count by (service) (orders_total)");
        orders.contains_key("trading-api").then_some(())
    });
}

fn all_are_up(prometheus: &Server) {
    let expected: BTreeMap<_, _> =
        WATCHED.iter().map(|name| ((*name).to_owned(), "1".to_owned())).collect();
    wait_for("up for every service", SCRAPED_WITHIN, || {
        (prometheus.query("up") == expected).then_some(())
    });
}

fn orders_come_through_the_front(lab: &Lab) {
    let front = Server::of(lab, "nginx");
    let order = json!({
        "user_id": "front", "symbol": "BTCUSD", "side": "BUY", "type": "LIMIT", "quantity": 5,
        "price": 100
    });
    let placed = front.ask("POST", "/api/orders", &order.to_string());
    assert_eq!(placed.status, 201, "{placed:?}");
    let id = placed.json()["order_id"].as_str().unwrap().to_owned();
    let path = format!("/api/orders/{id}");
    let list = front.ask("GET", "/api/orders?limit=10", "");
    assert_eq!(list.status, 200, "{list:?}");
    let replaced = front.ask("PATCH", &path, r#"{"quantity": 3}"#);
    assert_eq!(replaced.status, 200, "{replaced:?}");
    let cancelled = front.ask("DELETE", &path, "");
    assert_eq!(cancelled.status, 200, "{cancelled:?}");
    let asked = front.ask("GET", &path, "");
    assert_eq!((asked.status, &asked.json()["status"]), (200, &json!("CANCELLED")), "{asked:?}");
    let missing = front.ask("GET", "/", "");
    assert_eq!(missing.status, 404, "{missing:?}");
    for answer in [placed, list, replaced, cancelled, asked, missing] {
        answer.assert_guarded();
    }
    for path in ["/health", "/ready", "/live", "/front", "/api/orderbook/BTCUSD"] {
        let answer = front.ask("GET", path, "");
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        answer.assert_guarded();
    }
}

fn the_inside_stays_inside(lab: &Lab) {
    // It is there, for whoever is inside.
    assert_eq!(Server::of(lab, "trading-api").ask("GET", "/metrics", "").status, 200);
    let front = Server::of(lab, "nginx");
    for path in [
        "/metrics",
        "/metrics?x=1",
        "/metrics/",
        "//metrics",
        "/api/../metrics",
        "/api/%2e%2e/metrics",
        "/%6detrics",
        "http://elsewhere/metrics",
        "/debug/",
        "/debug/pprof/profile",
        "/debug/pprof/heap?seconds=1",
        "/api/../debug/pprof/profile",
    ] {
        for method in ["GET", "POST", "HEAD"] {
            let answer = front.ask(method, path, "");
            assert_eq!(answer.status, 403, "{method} {path}: {answer:?}");
            answer.assert_guarded();
        }
    }
    // The way back out of a refused directory leads to the service by the name that was asked for,
    // and it has no such page.
    for path in ["/metrics/../api/orders", "/metrics/%2e%2e/api/orders"] {
        let answer = front.ask("GET", path, "");
        assert!(!answer.body.contains("# TYPE"), "{path}: {answer:?}");
    }
}

/// As many as one connection can carry, one after the other without a pause, and none refused.
fn thousands_at_once_are_not_too_many(lab: &Lab) {
    const REQUESTS: usize = 3_000;
    let front = Server::of(lab, "nginx");
    for path in ["/live", "/api/orders/1"] {
        let stream = front.connect();
        let mut writer = stream.try_clone().unwrap();
        let (host, asked) = (front.host.clone(), path.to_owned());
        let writing = std::thread::spawn(move || {
            for n in 1..=REQUESTS {
                let last = if n == REQUESTS { "Connection: close\r\n" } else { "" };
                let request = format!("GET {asked} HTTP/1.1\r\nHost: {host}\r\n{last}\r\n");
                writer.write_all(request.as_bytes()).unwrap();
            }
        });
        let mut text = String::new();
        (&stream).take(64 << 20).read_to_string(&mut text).unwrap();
        writing.join().unwrap();
        let answers = text.matches("HTTP/1.1 ").count();
        let refused = text.matches("HTTP/1.1 429").count() + text.matches("HTTP/1.1 503").count();
        assert_eq!((answers, refused), (REQUESTS, 0), "{path}");
    }
}

fn a_killed_prometheus_comes_back(lab: &Lab) {
    let before = lab.service("prometheus");
    let pid = i32::try_from(before["pid"].as_i64().unwrap()).unwrap();
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    let after = wait_for("Prometheus' return", SCRAPED_WITHIN, || {
        let now = lab.service("prometheus");
        (now["restarts"] == 1 && now["state"] == "healthy").then_some(now)
    });
    assert_eq!(after["netns_inode"], before["netns_inode"]);
    assert_ne!(after["pid"], before["pid"]);
    let prometheus = Server::of(lab, "prometheus");
    all_are_up(&prometheus);
    // It remembers what it saw before it was killed: itself, as another process.
    wait_for("both lives of Prometheus in its memory", SCRAPED_WITHIN, || {
        let changes = prometheus.query("changes(process_start_time_seconds[5m])");
        (changes.get("prometheus").map(String::as_str) == Some("1")).then_some(())
    });
}

/// A service of the lab's, asked from the host.
struct Server {
    host: String,
    port: u16,
}

/// An answer, with the names of its headers in lower case.
#[derive(Debug)]
struct Answer {
    status: u16,
    headers: BTreeMap<String, String>,
    body: String,
}

impl Server {
    fn of(lab: &Lab, service: &str) -> Self {
        let service = lab.service(service);
        let port = service["port"].as_u64().unwrap();
        Self {
            host: service["address"].as_str().unwrap().to_owned(),
            port: u16::try_from(port).unwrap(),
        }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect((self.host.as_str(), self.port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream
    }

    /// Asks in HTTP/1.0, whose answers end with the connection and come in no chunks.
    fn ask(&self, method: &str, path: &str, body: &str) -> Answer {
        let mut stream = self.connect();
        write!(
            stream,
            "{method} {path} HTTP/1.0\r\nHost: {}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            self.host,
            body.len()
        )
        .unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{text}"));
        let mut lines = head.lines();
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        Answer { status, headers, body: body.to_owned() }
    }

    /// What Prometheus says now, by service.
    fn query(&self, promql: &str) -> BTreeMap<String, String> {
        let escaped: String = promql.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let answer = self.ask("GET", &format!("/api/v1/query?query={escaped}"), "").json();
        assert_eq!(answer["status"], "success", "{answer}");
        let results = answer["data"]["result"].as_array().unwrap();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        results.iter().map(|r| (text(&r["metric"]["service"]), text(&r["value"][1]))).collect()
    }
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    /// It tells browsers what to refrain from, and nobody which nginx this is.
    #[track_caller]
    fn assert_guarded(&self) {
        for (name, value) in [
            ("server", "nginx"),
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "no-referrer"),
        ] {
            assert_eq!(self.headers.get(name).map(String::as_str), Some(value), "{self:?}");
        }
    }
}
