//! The columns: which figures stand side by side, and how each is told in a few characters.

use temblor_event::{Distribution, MeasureUnit, Reading, meaning};
use temblor_judge::human;

use super::super::measures::amount;
use super::super::words::share;
use super::model::{Figure, Target};

/// How a figure becomes one number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    /// Of one processor, in the last second.
    Share,
    /// The 99th percentile of the last second.
    P99,
    /// A second.
    Rate,
    /// In the last second.
    Level,
    /// Since the beginning.
    Sum,
}

/// A column.
#[derive(Debug)]
pub(super) struct Column {
    pub(super) title: &'static str,
    /// Without it there is no such column.
    pub(super) probe: &'static str,
    figure: &'static str,
    how: How,
    only: Option<Only>,
}

/// A label, and whether a value of it counts.
type Only = (&'static str, fn(&str) -> bool);

const fn column(
    title: &'static str,
    probe: &'static str,
    figure: &'static str,
    how: How,
) -> Column {
    Column { title, probe, figure, how, only: None }
}

/// What matters most comes first: a narrow screen has the first of them.
pub(super) const COLUMNS: &[Column] = &[
    column("cpu", "sched", "on_cpu", How::Share),
    column("runq99", "sched", "run_queue_wait", How::P99),
    Column {
        only: Some(("result", |result| result == CONNECTED)),
        ..column("connect", "tcp", "connects", How::Sum)
    },
    Column {
        only: Some(("result", |result| result != CONNECTED)),
        ..column("failed", "tcp", "connects", How::Sum)
    },
    column("resent", "tcp", "retransmitted_segments", How::Sum),
    column("rtt99", "tcp", "rtt", How::P99),
    column("io99", "block", "io_latency", How::P99),
    column("sync99", "block", "sync_latency", How::P99),
    Column {
        only: Some(("cause", |cause| cause != "code 0")),
        ..column("ends", "process", "exits", How::Sum)
    },
    column("memory", "memory", "resident", How::Level),
    column("turn99", "edges", "turn_latency", How::P99),
    column("switch", "sched", "switches", How::Rate),
    column("resets", "tcp", "resets", How::Sum),
    column("held", "sched", "throttled", How::Share),
    column("errors", "syscall", "errors", How::Rate),
    column("slow99", "syscall", "slow_calls", How::P99),
    column("execs", "process", "execs", How::Sum),
];
const CONNECTED: &str = "connected";

/// A number to sort by, and how it is told.
pub(super) type Cell = Option<(f64, String)>;

impl Column {
    /// None: nothing came.
    pub(super) fn cell(&self, of: &Target) -> Cell {
        let counts = |one: &&Figure| match self.only {
            None => true,
            Some((label, wanted)) => one.labels.get(label).is_some_and(|value| wanted(value)),
        };
        let unit = meaning(self.probe, self.figure)?.unit;
        let figures = of.figures(self.probe, self.figure).filter(counts);
        if self.how == How::Sum {
            let sum = figures.fold(0_u64, |sum, one| sum.saturating_add(number(&one.sum)));
            return (sum > 0).then(|| (as_f64(sum), short(unit, sum)));
        }
        let last: Vec<&(Reading, u64)> = figures.filter_map(|one| one.last.as_ref()).collect();
        let length_ns = last.iter().map(|(_, length_ns)| *length_ns).max()?.max(1);
        let sum = last.iter().fold(0_u64, |sum, (one, _)| sum.saturating_add(number(one)));
        Some(match self.how {
            How::Share => (as_f64(sum) / as_f64(length_ns), share(sum, length_ns)),
            How::Rate => {
                let rate = as_f64(sum) / (as_f64(length_ns) / 1e9);
                (rate, human::count(rounded(rate)))
            }
            How::P99 => {
                let mut all = Distribution::default();
                for (one, _) in &last {
                    if let Reading::Distribution(more) = one {
                        all.merge(more);
                    }
                }
                let p99 = all.percentile(99);
                (as_f64(p99), short(unit, p99))
            }
            How::Level | How::Sum => (as_f64(sum), short(unit, sum)),
        })
    }
}

fn number(of: &Reading) -> u64 {
    match of {
        Reading::Count(n) | Reading::Level(n) => *n,
        Reading::Distribution(values) => values.samples(),
    }
}

/// Without the blank before the unit: there is no room to spare.
fn short(unit: MeasureUnit, value: u64) -> String {
    amount(unit, value).replace(' ', "")
}

#[expect(clippy::cast_precision_loss, reason = "figures that a person reads")]
fn as_f64(n: u64) -> f64 {
    n as f64
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a rate of events is within bounds"
)]
fn rounded(rate: f64) -> u64 {
    rate.round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_column_is_of_a_figure_that_there_is() {
        for column in COLUMNS {
            let of = meaning(column.probe, column.figure);
            let of = of.unwrap_or_else(|| panic!("{}", column.title));
            if let Some((label, _)) = column.only {
                assert!(of.labels.contains(&label), "{}: {label}", column.title);
            }
        }
    }
}
