//! Checks and gauges: asked over and over while the run lasts.

use std::time::Duration;

use temblor_event::{CheckResult, Event, Gauge as Reading, clock};
use temblor_plan::{Ask, Check, Gauge, HttpQuestion};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use crate::http::Http;
use crate::metrics;
use crate::recorder::Recorder;

/// How long a page of metrics may take. Longer than a check may: a late figure is still one.
const METRICS_TIMEOUT: Duration = Duration::from_secs(2);

/// Asks a check every so often, until the runtime ends.
pub(crate) fn check(
    runtime: &Runtime,
    http: &Http,
    check: &Check,
    host: &str,
    to: &Recorder,
) -> JoinHandle<()> {
    let (check, to, http) = (check.clone(), to.clone(), http.clone());
    let address = format!("{host}:{}", check.ask.of().port);
    runtime.spawn(async move {
        let mut tick = tokio::time::interval(check.every);
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tick.tick().await;
            let asked_ns = clock::now_ns();
            let (ok, seen) = match &check.ask {
                Ask::Http(question) => {
                    let url = format!("http://{address}{}", question.path);
                    judge_answer(question, http.get(&url, check.timeout).await)
                }
                Ask::Tcp(_) => connects(&address, check.timeout).await,
            };
            let took_ns = clock::now_ns() - asked_ns;
            let result = CheckResult { check: check.name.clone(), ok, took_ns, seen };
            to.record(Event::at(asked_ns, result));
        }
    })
}

/// Reads a gauge every so often, until the runtime ends. A reading that fails is a gap, not a 0.
pub(crate) fn gauge(
    runtime: &Runtime,
    http: &Http,
    gauge: &Gauge,
    host: &str,
    to: &Recorder,
) -> JoinHandle<()> {
    let (gauge, to, http) = (gauge.clone(), to.clone(), http.clone());
    let url = format!("http://{host}:{}{}", gauge.metric.of.port, gauge.metric.path);
    runtime.spawn(async move {
        let mut tick = tokio::time::interval(gauge.every);
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tick.tick().await;
            match read(&http, &url, &gauge.metric).await {
                Ok(value) => to.record(Event::now(Reading { gauge: gauge.name.clone(), value })),
                Err(why) => tracing::debug!(gauge = gauge.name, why, "not read"),
            }
        }
    })
}

/// The metric's value now.
pub(crate) async fn read(
    http: &Http,
    url: &str,
    metric: &temblor_plan::Metric,
) -> Result<f64, String> {
    let (status, page) = http.get(url, METRICS_TIMEOUT).await?;
    if status != 200 {
        return Err(format!("{url} answered {status}"));
    }
    metrics::sum(&String::from_utf8_lossy(&page), &metric.metric, &metric.labels)
        .map_err(|why| format!("{url}: {why}"))
}

/// Whether a connection is accepted within the time.
async fn connects(address: &str, within: Duration) -> (bool, String) {
    match tokio::time::timeout(within, TcpStream::connect(address)).await {
        Ok(Ok(_)) => (true, "accepted".to_owned()),
        Ok(Err(error)) => (false, error.to_string()),
        Err(_) => (false, format!("no answer within {} ms", within.as_millis())),
    }
}

fn judge_answer(
    http: &HttpQuestion,
    answer: Result<(u16, bytes::Bytes), String>,
) -> (bool, String) {
    let (status, body) = match answer {
        Ok(answer) => answer,
        Err(why) => return (false, why),
    };
    if status != http.status {
        return (false, format!("{status} instead of {}", http.status));
    }
    let Some(json) = &http.json else { return (true, status.to_string()) };
    let value = serde_json::from_slice::<serde_json::Value>(&body)
        .ok()
        .and_then(|v| v.get(&json.field).cloned())
        .map(|v| v.as_str().map_or_else(|| v.to_string(), str::to_owned));
    match value {
        Some(value) => (value == json.equals, format!("{status}, {} is \"{value}\"", json.field)),
        None => (false, format!("{status}, without a field {}", json.field)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use temblor_plan::{JsonField, Side};

    #[test]
    fn an_answer_is_yes_only_when_all_of_it_is_right() {
        let check = |json| HttpQuestion {
            of: Side { target: "api".into(), port: 8080 },
            path: "/ready".into(),
            status: 200,
            json,
        };
        let field = || Some(JsonField { field: "status".into(), equals: "ready".into() });
        let body = |s: &str| bytes::Bytes::copy_from_slice(s.as_bytes());
        for (json, answer, expected, seen) in [
            (None, Ok((200, body(""))), true, "200"),
            (None, Ok((503, body(""))), false, "503 instead of 200"),
            (field(), Ok((200, body(r#"{"status":"ready"}"#))), true, "is \"ready\""),
            (field(), Ok((200, body(r#"{"status":"degraded"}"#))), false, "is \"degraded\""),
            (field(), Ok((200, body(r#"{"state":"ready"}"#))), false, "without a field"),
            (field(), Ok((200, body("no json"))), false, "without a field"),
            (field(), Err("no answer within 1000 ms".into()), false, "no answer"),
        ] {
            let (ok, said) = judge_answer(&check(json), answer);
            assert!(ok == expected && said.contains(seen), "{said}");
        }
    }
}
