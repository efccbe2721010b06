//! The run second by second, for plots: what is too much for `result.json`.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::load::Load;
use crate::log::{Log, SECOND_NS};

/// Everything that is drawn over time. Times are seconds from injection, as in the result.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Series {
    /// The load, a point a second, in order.
    pub load: Vec<LoadPoint>,
    /// Each gauge's readings, in order. What was not a finite number is left out.
    pub gauges: BTreeMap<String, Vec<(f64, f64)>>,
    /// Segments sent again, by second; a second without any is left out.
    pub retransmitted: Vec<(f64, u64)>,
    /// Each check's answers, in order.
    pub checks: BTreeMap<String, Vec<(f64, bool)>>,
}

/// One second of load.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LoadPoint {
    /// The second's start.
    pub t_seconds: f64,
    /// Requests planned.
    pub planned: u64,
    /// Acknowledged.
    pub ok: u64,
    /// Refused for certain.
    pub failed: u64,
    /// Sent, outcome not known.
    pub unsure: u64,
    /// Never sent.
    pub unsent: u64,
    /// Median latency of the acknowledged requests, seconds.
    pub p50_seconds: Option<f64>,
    /// 99th percentile.
    pub p99_seconds: Option<f64>,
    /// Greatest.
    pub max_seconds: Option<f64>,
}

pub(crate) fn series(log: &Log<'_>, load: &Load) -> Series {
    let mut gauges: BTreeMap<String, Vec<(f64, f64)>> = BTreeMap::new();
    for gauge in log.gauges.iter().filter(|gauge| gauge.value.is_finite()) {
        let readings = gauges.entry(gauge.gauge.clone()).or_default();
        readings.push((log.t_seconds(gauge.t_ns), gauge.value));
    }
    let mut checks: BTreeMap<String, Vec<(f64, bool)>> = BTreeMap::new();
    for check in &log.checks {
        let answers = checks.entry(check.check.clone()).or_default();
        answers.push((log.t_seconds(check.t_ns), check.ok));
    }
    Series {
        load: load
            .seconds
            .iter()
            .map(|(start_ns, figures)| LoadPoint {
                t_seconds: log.t_seconds(*start_ns),
                planned: figures.planned,
                ok: figures.ok,
                failed: figures.failed,
                unsure: figures.unsure,
                unsent: figures.unsent,
                p50_seconds: figures.p50_seconds,
                p99_seconds: figures.p99_seconds,
                max_seconds: figures.max_seconds,
            })
            .collect(),
        gauges,
        retransmitted: retransmitted(log),
        checks,
    }
}

/// By whole seconds from the injection, those before it with a negative number.
fn retransmitted(log: &Log<'_>) -> Vec<(f64, u64)> {
    let mut by_second: BTreeMap<i64, u64> = BTreeMap::new();
    for segment in &log.retransmits {
        let since_ns = i128::from(segment.t_ns) - i128::from(log.t0_ns);
        let second = since_ns.div_euclid(i128::from(SECOND_NS));
        // A u64 of nanoseconds is at most 18 thousand million seconds.
        let second = i64::try_from(second).unwrap_or(i64::MAX);
        let sum = by_second.entry(second).or_default();
        *sum = sum.saturating_add(u64::from(segment.segments));
    }
    by_second.into_iter().map(|(second, segments)| (whole_seconds(second), segments)).collect()
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
fn whole_seconds(second: i64) -> f64 {
    second as f64
}
