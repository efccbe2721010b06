//! What probes count in the kernel over a window, figure by figure.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Buckets, Latency};

/// What a probe counted of one target over a window, aggregated in the kernel. The event's time is
/// the window's end. What did not happen is not in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeWindow {
    /// `block`.
    pub probe: String,
    /// Whose.
    pub service: String,
    /// The window's length, nanoseconds.
    pub window_ns: u64,
    /// The figures. What they mean is in [`crate::MEANINGS`].
    pub measures: Vec<Measure>,
}

/// One figure of a window.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Measure {
    /// By this it stands in [`crate::MEANINGS`].
    pub name: String,
    /// Which one, where there are several: `{"device": "vda", "operation": "write"}`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// What was counted.
    #[serde(flatten)]
    pub reading: Reading,
}

/// What was counted of a figure, in its own unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reading {
    /// What came in this window.
    Count(u64),
    /// The greatest that it was in this window.
    Level(u64),
    /// How many were how great.
    Distribution(Distribution),
}

/// Values over a window: counts in buckets at most a sixteenth wide.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Distribution {
    /// All of them together.
    pub sum: u64,
    /// The greatest.
    pub max: u64,
    /// How many of which size.
    pub buckets: Buckets,
}

impl Distribution {
    /// A single value.
    #[must_use]
    pub fn of(value: u64) -> Self {
        let mut buckets = Buckets::default();
        buckets.add(Buckets::bucket_of(value), 1);
        Self { sum: value, max: value, buckets }
    }

    /// How many.
    #[must_use]
    pub fn samples(&self) -> u64 {
        self.buckets.samples()
    }

    /// The upper bound of the bucket in which the sample of this rank lies, never more than the
    /// greatest; 0 where there are none.
    #[must_use]
    pub fn percentile(&self, hundredths: u64) -> u64 {
        self.buckets.percentile_up_to(self.max, hundredths)
    }

    /// Adds another window's.
    pub fn merge(&mut self, other: &Self) {
        self.sum = self.sum.saturating_add(other.sum);
        self.max = self.max.max(other.max);
        self.buckets.merge(&other.buckets);
    }
}

impl From<Latency> for Distribution {
    fn from(latency: Latency) -> Self {
        Self { sum: latency.sum_ns, max: latency.max_ns, buckets: latency.buckets }
    }
}

impl Reading {
    /// Adds another window's. Of two kinds nothing can be made: the first stays.
    pub fn merge(&mut self, other: &Self) {
        match (self, other) {
            (Self::Count(sum), Self::Count(more)) => *sum = sum.saturating_add(*more),
            (Self::Level(greatest), Self::Level(level)) => *greatest = (*greatest).max(*level),
            (Self::Distribution(all), Self::Distribution(more)) => all.merge(more),
            _ => {}
        }
    }

    /// Nothing came, nothing was there.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        match self {
            Self::Count(n) | Self::Level(n) => *n == 0,
            Self::Distribution(values) => values.buckets.is_empty(),
        }
    }
}

impl ProbeWindow {
    /// A window in which nothing has been counted.
    #[must_use]
    pub fn new(probe: &str, service: &str, window_ns: u64) -> Self {
        Self { probe: probe.into(), service: service.into(), window_ns, measures: Vec::new() }
    }

    /// Puts a figure in, unless it is nothing.
    pub fn put(&mut self, name: &str, labels: &[(&str, &str)], reading: Reading) {
        if reading.is_nothing() {
            return;
        }
        let label = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let labels = labels.iter().map(label).collect();
        self.measures.push(Measure { name: name.into(), labels, reading });
    }

    /// Adds another window of the same probe's and target's, so that this one is both together.
    pub fn merge(&mut self, other: &Self) {
        self.window_ns = self.window_ns.saturating_add(other.window_ns);
        for more in &other.measures {
            let same = |one: &&mut Measure| one.name == more.name && one.labels == more.labels;
            match self.measures.iter_mut().find(same) {
                Some(sum) => sum.reading.merge(&more.reading),
                None => self.measures.push(more.clone()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(counts: &[(u16, u64)], sum: u64, max: u64) -> Reading {
        Reading::Distribution(Distribution { sum, max, buckets: counts.to_vec().into() })
    }

    #[test]
    fn merged_windows_add_up_figure_by_figure() {
        let mut a = ProbeWindow::new("block", "db", 1_000);
        a.put("bytes", &[("device", "vda")], Reading::Count(5));
        a.put("queue_depth", &[], Reading::Level(3));
        a.put("latency", &[], values(&[(3, 99)], 297, 3));
        let mut b = ProbeWindow::new("block", "db", 500);
        b.put("bytes", &[("device", "vda")], Reading::Count(2));
        b.put("bytes", &[("device", "vdb")], Reading::Count(1));
        b.put("bytes", &[("device", "vdc")], Reading::Count(0));
        b.put("queue_depth", &[], Reading::Level(2));
        b.put("latency", &[], values(&[(9, 1)], 9, 9));
        a.merge(&b);
        assert_eq!(a.window_ns, 1_500);
        let readings: Vec<_> = a.measures.iter().map(|one| &one.reading).collect();
        let latency = values(&[(3, 99), (9, 1)], 306, 9);
        let expected = [&Reading::Count(7), &Reading::Level(3), &latency, &Reading::Count(1)];
        assert_eq!(readings, expected);
    }

    #[test]
    fn a_window_reads_back_as_it_was_written() {
        let mut window = ProbeWindow::new("block", "db", 1_000);
        window.put("bytes", &[("device", "vda")], Reading::Count(5));
        window.put("latency", &[], values(&[(3, 2)], 6, 3));
        let json = serde_json::to_string(&window).unwrap();
        assert!(json.contains(r#"{"name":"bytes","labels":{"device":"vda"},"count":5}"#), "{json}");
        assert_eq!(serde_json::from_str::<ProbeWindow>(&json).unwrap(), window);
    }
}
