//! One figure out of a page in Prometheus' text format.

use std::collections::BTreeMap;

use prometheus_parse::{Scrape, Value};

/// The sum of a metric's series that have all of `labels`.
///
/// # Errors
/// In words: the page cannot be read, or has no such series. An absent series is not 0: a
/// counter that nobody has touched yet is written as 0 by a well-behaved target, and reading 0
/// out of a misspelt name would make a check that cannot fail.
pub(crate) fn sum(
    page: &str,
    metric: &str,
    labels: &BTreeMap<String, String>,
) -> Result<f64, String> {
    let lines = page.lines().map(|line| Ok(line.to_owned()));
    let scrape = Scrape::parse(lines).map_err(|e| format!("the metrics cannot be read: {e}"))?;
    let mut found = None;
    for sample in scrape.samples.iter().filter(|s| s.metric == metric) {
        let has = |(name, value): (&String, &String)| sample.labels.get(name) == Some(value);
        if !labels.iter().all(has) {
            continue;
        }
        let (Value::Counter(value) | Value::Gauge(value) | Value::Untyped(value)) = sample.value
        else {
            return Err(format!("{metric} is a histogram or a summary, not a single figure"));
        };
        *found.get_or_insert(0.0) += value;
    }
    found.ok_or_else(|| format!("the metrics have no {metric} with the labels {labels:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "# HELP orders_total Orders.\n# TYPE orders_total counter\n\
        orders_total{status=\"accepted\",side=\"BUY\",channel=\"direct\"} 3\n\
        orders_total{status=\"accepted\",side=\"SELL\",channel=\"direct\"} 4\n\
        orders_total{status=\"accepted\",side=\"SELL\",channel=\"simulator\"} 100\n\
        orders_total{status=\"rejected\",side=\"SELL\",channel=\"direct\"} 1000\n\
        # TYPE backlog gauge\nbacklog 17\n";

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn matching_series_are_added_up() {
        let of = |pairs| sum(PAGE, "orders_total", &labels(pairs));
        assert_eq!(of(&[("status", "accepted"), ("channel", "direct")]), Ok(7.0));
        assert_eq!(of(&[]), Ok(1107.0));
        assert_eq!(sum(PAGE, "backlog", &labels(&[])), Ok(17.0));
    }

    #[test]
    fn what_is_not_there_is_not_zero() {
        assert!(sum(PAGE, "order_total", &labels(&[])).is_err());
        assert!(sum(PAGE, "orders_total", &labels(&[("status", "accpted")])).is_err());
        assert!(sum("", "backlog", &labels(&[])).is_err());
    }
}
