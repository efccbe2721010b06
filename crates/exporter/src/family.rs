//! One metric: its name, its series, and what is done when there are too many of them.

use std::collections::BTreeMap;

use prometheus::proto::MetricType;
use temblor_event::{Meaning, MeasureKind, MeasureUnit, Reading};

use crate::bounds::{self, as_f64};

/// What a label says of series that there was no room for.
pub(crate) const OTHER: &str = "other";
/// A level that was not told for so long is 0: probes tell once a second what there is.
const LEVEL_STANDS_NS: u64 = 3_000_000_000;

/// A metric and its series.
#[derive(Debug)]
pub(crate) struct Family {
    pub(crate) of: &'static Meaning,
    /// By the values of the labels, the target's first.
    pub(crate) series: BTreeMap<Vec<String>, Series>,
    /// Readings that were counted as of others.
    pub(crate) collapsed: u64,
}

#[derive(Debug)]
pub(crate) struct Series {
    pub(crate) sum: Sum,
    pub(crate) changed_ns: u64,
}

/// What was counted since the series began.
#[derive(Debug)]
pub(crate) enum Sum {
    Count(u64),
    /// By who told it, and when: a target may be several that are told apart elsewhere.
    Level(BTreeMap<String, (u64, u64)>),
    Distribution {
        /// One more than there are bounds.
        counts: Vec<u64>,
        sum: u64,
        samples: u64,
    },
}

/// A reading on its way into a series.
#[derive(Debug)]
pub(crate) struct Told<'a> {
    /// Who told it, by the probe's name for the target.
    pub(crate) service: &'a str,
    /// The values of the labels, the target's first.
    pub(crate) labels: Vec<String>,
    pub(crate) reading: &'a Reading,
    pub(crate) now_ns: u64,
}

impl Family {
    pub(crate) fn new(of: &'static Meaning) -> Self {
        Self { of, series: BTreeMap::new(), collapsed: 0 }
    }

    pub(crate) fn name(&self) -> String {
        name(self.of)
    }

    /// Adds a reading. Of lines on the page there are never more than `lines_max`; some are kept
    /// back so that each of so many targets has one for what there is no room for.
    pub(crate) fn add(&mut self, told: Told<'_>, lines_max: usize, targets: usize) {
        let series_max = (lines_max / lines(self.of)).max(2);
        let kept_back = targets.min(series_max / 4) + 1;
        let room = |series: &BTreeMap<_, _>, labels: &Vec<String>, kept_back: usize| {
            series.contains_key(labels) || series.len() < series_max.saturating_sub(kept_back)
        };
        let mut labels = told.labels;
        if !room(&self.series, &labels, kept_back) {
            self.collapsed = self.collapsed.saturating_add(1);
            labels.iter_mut().skip(1).for_each(|label| OTHER.clone_into(label));
            if !room(&self.series, &labels, 1) {
                labels.iter_mut().for_each(|label| OTHER.clone_into(label));
            }
        }
        let new = || Series { sum: Sum::nothing(self.of), changed_ns: told.now_ns };
        let series = self.series.entry(labels).or_insert_with(new);
        series.changed_ns = told.now_ns;
        series.sum.add(self.of.unit, told.service, told.reading, told.now_ns);
    }

    /// Has a series of a target begin at nothing, so that its first growth is seen as one.
    pub(crate) fn begin(&mut self, target: &str, lines_max: usize, now_ns: u64) {
        let labels = vec![target.to_owned()];
        if self.series.len() + 2 < lines_max / lines(self.of) && !self.series.contains_key(&labels)
        {
            let nothing = Series { sum: Sum::nothing(self.of), changed_ns: now_ns };
            self.series.insert(labels, nothing);
        }
    }
}

impl Sum {
    fn nothing(of: &Meaning) -> Self {
        match of.kind {
            MeasureKind::Count => Self::Count(0),
            MeasureKind::Level => Self::Level(BTreeMap::new()),
            MeasureKind::Distribution => {
                let counts = vec![0; bounds::of(of.unit).len() + 1];
                Self::Distribution { counts, sum: 0, samples: 0 }
            }
        }
    }

    /// A reading of another kind than the metric's is nobody's: probes and their table agree.
    fn add(&mut self, unit: MeasureUnit, service: &str, reading: &Reading, now_ns: u64) {
        match (self, reading) {
            (Self::Count(sum), Reading::Count(more)) => *sum = sum.saturating_add(*more),
            (Self::Level(told), Reading::Level(level)) => {
                told.retain(|_, (_, then_ns)| *then_ns + LEVEL_STANDS_NS > now_ns);
                told.insert(service.to_owned(), (*level, now_ns));
            }
            (Self::Distribution { counts, sum, samples }, Reading::Distribution(more)) => {
                let bounds = bounds::of(unit);
                for (value, count) in more.buckets.iter() {
                    let bucket = bounds.partition_point(|bound| bound.last < value);
                    counts[bucket] = counts[bucket].saturating_add(count);
                    *samples = samples.saturating_add(count);
                }
                *sum = sum.saturating_add(more.sum);
            }
            _ => {}
        }
    }

    /// What a level is now: of several that go by one name, all together.
    pub(crate) fn level(told: &BTreeMap<String, (u64, u64)>, now_ns: u64) -> u64 {
        let stands = |then_ns: u64| then_ns + LEVEL_STANDS_NS > now_ns;
        let standing = told.values().filter(|(_, then_ns)| stands(*then_ns));
        standing.fold(0, |sum, (level, _)| sum.saturating_add(*level))
    }
}

/// Lines of a series on the page.
fn lines(of: &Meaning) -> usize {
    match of.kind {
        // Its buckets, the one without a bound, the sum and the count.
        MeasureKind::Distribution => bounds::of(of.unit).len() + 3,
        MeasureKind::Count | MeasureKind::Level => 1,
    }
}

/// `temblor_sched_run_queue_wait_seconds`: the unit stands at the end, and once.
pub(crate) fn name(of: &Meaning) -> String {
    let unit = match of.unit {
        MeasureUnit::Nanoseconds | MeasureUnit::Microseconds => Some("seconds"),
        MeasureUnit::Bytes => Some("bytes"),
        MeasureUnit::Events => None,
    };
    let total = (of.kind == MeasureKind::Count).then_some("total");
    let words = of.name.split('_').filter(|word| Some(*word) != unit);
    let words = ["temblor", of.probe].into_iter().chain(words).chain(unit).chain(total);
    words.collect::<Vec<_>>().join("_")
}

/// A sentence that says what it is.
pub(crate) fn help(of: &Meaning) -> String {
    let mut words = of.words.chars();
    let first: String = words.next().map(|c| c.to_uppercase().collect()).unwrap_or_default();
    let unit = match of.unit {
        MeasureUnit::Nanoseconds | MeasureUnit::Microseconds => ", seconds",
        MeasureUnit::Bytes => ", bytes",
        MeasureUnit::Events => "",
    };
    let level =
        if of.kind == MeasureKind::Level { "; the greatest of the last second" } else { "" };
    format!("{first}{}{unit}{level}, as the {} probe sees it.", words.as_str(), of.probe)
}

pub(crate) fn kind(of: &Meaning) -> MetricType {
    match of.kind {
        MeasureKind::Count => MetricType::COUNTER,
        MeasureKind::Level => MetricType::GAUGE,
        MeasureKind::Distribution => MetricType::HISTOGRAM,
    }
}

/// A value in Prometheus' unit.
pub(crate) fn in_base(unit: MeasureUnit, value: u64) -> f64 {
    match unit {
        MeasureUnit::Nanoseconds => as_f64(value) / 1e9,
        MeasureUnit::Microseconds => as_f64(value) / 1e6,
        MeasureUnit::Bytes | MeasureUnit::Events => as_f64(value),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use temblor_event::all_meanings;

    use super::*;

    #[test]
    fn every_figure_has_a_name_of_its_own_that_says_its_unit() {
        let mut names = BTreeSet::new();
        for of in all_meanings() {
            let name = name(of);
            assert!(names.insert(name.clone()), "{name} twice");
            assert_eq!(name.ends_with("_total"), of.kind == MeasureKind::Count, "{name}");
            assert!(!of.labels.contains(&"target") && !of.labels.contains(&"le"), "{name}");
        }
        for expected in [
            "temblor_tcp_retransmitted_segments_total",
            "temblor_tcp_rtt_seconds",
            "temblor_sched_on_cpu_seconds_total",
            "temblor_block_io_size_bytes",
            "temblor_block_io_under_way",
            "temblor_edges_sent_bytes_total",
        ] {
            assert!(names.contains(expected), "{expected}: {names:?}");
        }
    }
}
