//! The page in Prometheus' classic text format.

use prometheus::proto::{
    Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType,
};
use prometheus::{Encoder, TextEncoder};

use crate::bounds;
use crate::family::{Family, Sum, help, in_base, kind, name};

/// The content type of the page.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

const LABEL_CHARS_MAX: usize = 200;

/// The page could not be written: a mistake in this program.
#[derive(Debug, thiserror::Error)]
#[error("the figures could not be written")]
pub struct WriteError(#[from] prometheus::Error);

/// A label's value may be what a stranger called a process: of some length, and without what would
/// move a cursor. Values that are alike then are one.
pub(crate) fn plain(value: &str) -> String {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    value.chars().take(LABEL_CHARS_MAX).map(plain).collect()
}

pub(crate) fn write(families: &[MetricFamily]) -> Result<String, WriteError> {
    let mut text = Vec::with_capacity(64 * 1024);
    TextEncoder::new().encode(families, &mut text)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

pub(crate) fn family(
    metric: &str,
    help: &str,
    kind: MetricType,
    series: Vec<Metric>,
) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(metric.to_owned());
    family.set_help(help.to_owned());
    family.set_field_type(kind);
    family.set_metric(series);
    family
}

pub(crate) fn series(labels: Vec<(&str, String)>, kind: MetricType, value: f64) -> Metric {
    let mut metric = labelled(labels);
    if kind == MetricType::COUNTER {
        let mut counter = Counter::default();
        counter.set_value(value);
        metric.set_counter(counter);
    } else {
        let mut gauge = Gauge::default();
        gauge.set_value(value);
        metric.set_gauge(gauge);
    }
    metric
}

/// A figure's metric. None: it has no series.
pub(crate) fn of_figure(figure: &Family, now_ns: u64) -> Option<MetricFamily> {
    let of = figure.of;
    let told = figure.series.iter().map(|(values, told)| {
        let names = ["target"].into_iter().chain(of.labels.iter().copied());
        let labels = names.zip(values.iter().cloned()).collect();
        match &told.sum {
            Sum::Count(sum) => series(labels, kind(of), in_base(of.unit, *sum)),
            Sum::Level(levels) => {
                series(labels, kind(of), in_base(of.unit, Sum::level(levels, now_ns)))
            }
            Sum::Distribution { counts, sum, samples } => {
                let mut histogram = Histogram::default();
                let mut so_far = 0_u64;
                let buckets = bounds::of(of.unit).iter().zip(counts).map(|(bound, count)| {
                    so_far = so_far.saturating_add(*count);
                    let mut bucket = Bucket::default();
                    bucket.set_upper_bound(bound.shown);
                    bucket.set_cumulative_count(so_far);
                    bucket
                });
                histogram.set_bucket(buckets.collect());
                histogram.set_sample_count(*samples);
                histogram.set_sample_sum(in_base(of.unit, *sum));
                let mut metric = labelled(labels);
                metric.set_histogram(histogram);
                metric
            }
        }
    });
    let told: Vec<Metric> = told.collect();
    (!told.is_empty()).then(|| family(&name(of), &help(of), kind(of), told))
}

fn labelled(labels: Vec<(&str, String)>) -> Metric {
    let pair = |(name, value): (&str, String)| {
        let mut pair = LabelPair::default();
        pair.set_name(name.to_owned());
        pair.set_value(value);
        pair
    };
    Metric::from_label(labels.into_iter().map(pair).collect())
}
