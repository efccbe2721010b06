//! The metrics are in the classic text format, and each of them is used.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use exchange_journal::sim::SimStorage;
use hyper::Method;

use crate::support::api::{Api, NO_REDIS, nowhere, order, parts, sum};

#[tokio::test(flavor = "multi_thread")]
async fn the_format_is_the_classic_one() {
    let api = Api::start(parts(SimStorage::new(), nowhere(), NO_REDIS)).await;
    for n in 0..10 {
        assert_eq!(api.caller.post(&order(&format!("m-{n}"), n)).await.0, 201);
    }
    let headers = [("X-Order-Channel", "simulator")];
    let body = order("m-s", 0).to_string().into_bytes();
    let reply = api.caller.call(Method::POST, "/api/orders", &headers, body).await.unwrap();
    assert_eq!(reply.status, 201);
    let text = api.caller.metrics().await;

    let mut types = BTreeMap::new();
    let mut helped = BTreeSet::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            helped.insert(rest.split_once(' ').unwrap().0.to_owned());
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert!(types.insert(name.to_owned(), kind.to_owned()).is_none(), "{name} twice");
        } else {
            assert!(!line.starts_with('#'), "{line}");
            let (series, value) = line.rsplit_once(' ').unwrap();
            value.parse::<f64>().unwrap_or_else(|_| panic!("{line}"));
            let name = series.split('{').next().unwrap();
            let family = ["_bucket", "_sum", "_count"]
                .iter()
                .filter_map(|suffix| name.strip_suffix(suffix))
                .find(|family| types.get(*family).is_some_and(|kind| kind == "histogram"))
                .unwrap_or(name);
            assert!(types.contains_key(family), "{line}: its type does not come before it");
            assert!(series == name || series.ends_with('}'), "{line}");
        }
    }
    assert_eq!(types.keys().cloned().collect::<BTreeSet<_>>(), helped);
    for (name, kind) in [
        ("http_requests_total", "counter"),
        ("http_request_duration_seconds", "histogram"),
        ("orders_total", "counter"),
        ("trades_total", "counter"),
        ("orders_replaced_total", "counter"),
        ("orders_ended_total", "counter"),
        ("active_orders", "gauge"),
        ("order_book_depth", "gauge"),
        ("relay_backlog_orders", "gauge"),
        ("relay_batches_total", "counter"),
        ("relay_errors_total", "counter"),
        ("relay_connected", "gauge"),
        ("redis_up", "gauge"),
        ("events_published_total", "counter"),
        ("journal_fsync_duration_seconds", "histogram"),
        ("journal_fsyncs_total", "counter"),
        ("service_uptime_seconds", "gauge"),
    ] {
        assert_eq!(types.get(name).map(String::as_str), Some(kind), "{name}");
    }
    assert_eq!(sum(&text, "relay_backlog_orders"), 11.0);
    let simulated: f64 = text
        .lines()
        .filter(|l| l.contains("channel=\"simulator\""))
        .map(|l| sum(l, "orders_total"))
        .sum();
    assert_eq!(simulated, 1.0);
    assert_eq!(
        sum(&text, "journal_fsyncs_total"),
        sum(&text, "journal_fsync_duration_seconds_count")
    );
    promtool(&text);
    api.stop().await;
}

/// The format's own checker, where it is installed.
fn promtool(text: &str) {
    let spawned = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut child) = spawned else {
        eprintln!("promtool is not installed: its check is left out");
        return;
    };
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A metric that nobody sets looks like a quiet system.
#[test]
fn every_declared_metric_is_set_somewhere() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let declared = fs::read_to_string(source.join("trading_api/metrics.rs")).unwrap();
    let fields: Vec<&str> = declared
        .lines()
        .filter_map(|line| line.trim().strip_prefix("pub ")?.split_once(": "))
        .filter(|(_, kind)| kind.starts_with("Int") || kind.starts_with("Histogram"))
        .map(|(field, _)| field)
        .collect();
    assert!(fields.len() >= 11, "{fields:?}");
    let mut code = String::new();
    let mut dirs = vec![source];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else if !path.ends_with("metrics.rs") {
                let text = fs::read_to_string(path).unwrap();
                code.extend(text.chars().filter(|c| !c.is_whitespace()));
            }
        }
    }
    for field in fields {
        let set = [".inc(", ".set(", ".observe(", ".with_label_values("]
            .iter()
            .any(|method| code.contains(&format!("metrics.{field}{method}")));
        assert!(set || code.contains(&format!("&metrics.{field};")), "{field} is never set");
    }
}
