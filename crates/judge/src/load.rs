//! Load figures over windows, and the load's account.
//!
//! A request belongs to the second it was planned for, and a second to the phase in which it
//! starts: one that straddles a border is not divided, since its histogram cannot be. Histograms
//! are merged, never averaged. A second whose histogram cannot be read makes the latencies of
//! every window that holds it unknown; its counts still count.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer;
use temblor_event::{Figure, LoadSecond, PhaseRole};

use crate::log::{Log, as_f64, seconds};
use crate::phases::Window;
use crate::result::{LoadAccount, LoadFigures};

/// Load figures of every window that something is said about.
#[derive(Debug)]
pub(crate) struct Load {
    /// Each second, by its start.
    pub(crate) seconds: Vec<(u64, LoadFigures)>,
    /// Each phase.
    pub(crate) by_window: Vec<Option<LoadFigures>>,
    /// The phases before the first fault, together.
    pub(crate) baseline: Option<LoadFigures>,
    /// All seconds, those between phases included.
    pub(crate) whole: Option<LoadFigures>,
}

impl Load {
    pub(crate) fn new(log: &Log<'_>, windows: &[Window<'_>]) -> Self {
        let mut by_window = vec![Sum::default(); windows.len()];
        let (mut baseline, mut whole) = (Sum::default(), Sum::default());
        let mut seconds = Vec::with_capacity(log.seconds.len());
        for second in &log.seconds {
            let latencies = Latencies::of(second);
            seconds.push((second.t_ns, Sum::one(second, latencies.clone()).figures()));
            if let Some(i) = windows.iter().position(|window| window.contains(second.t_ns)) {
                by_window[i].add(second, &latencies);
                if windows[i].role == PhaseRole::Baseline {
                    baseline.add(second, &latencies);
                }
            }
            whole.add(second, &latencies);
        }
        Self {
            seconds,
            by_window: by_window.iter().map(Sum::figures_if_any).collect(),
            baseline: baseline.figures_if_any(),
            whole: whole.figures_if_any(),
        }
    }
}

impl LoadFigures {
    /// The figures of a single second.
    #[must_use]
    pub fn of_second(second: &LoadSecond) -> Self {
        Sum::one(second, Latencies::of(second)).figures()
    }

    /// A figure by its name; None also for those that are not of the load.
    #[must_use]
    pub fn figure(&self, figure: Figure) -> Option<f64> {
        match figure {
            Figure::LoadSuccess => self.success,
            Figure::LoadErrors => self.errors,
            Figure::LoadP50 => self.p50_seconds,
            Figure::LoadP90 => self.p90_seconds,
            Figure::LoadP99 => self.p99_seconds,
            Figure::LoadMax => self.max_seconds,
            Figure::LoadThroughput => Some(self.throughput_per_second),
            _ => None,
        }
    }
}

/// Whether a figure is one of the load's.
pub(crate) fn is_of_load(figure: Figure) -> bool {
    figure.name().starts_with("load.")
}

/// The closing account, held against its own equation and against the seconds.
pub(crate) fn account(log: &Log<'_>) -> Option<LoadAccount> {
    let end = log.finished.last()?.get();
    let total = |part: fn(&LoadSecond) -> u64| -> u128 {
        log.seconds.iter().map(|second| u128::from(part(second.get()))).sum()
    };
    let adds_up = |planned: u64, parts: [u64; 4]| {
        u128::from(planned) == parts.iter().map(|part| u128::from(*part)).sum::<u128>()
    };
    let balanced = adds_up(end.planned, [end.ok, end.failed, end.unsure, end.unsent])
        && end.timed_out <= end.unsure
        && log.seconds.iter().all(|s| adds_up(s.planned, [s.ok, s.failed, s.unsure, s.unsent]))
        && total(|s| s.planned) == u128::from(end.planned)
        && total(|s| s.ok) == u128::from(end.ok)
        && total(|s| s.failed) == u128::from(end.failed)
        && total(|s| s.unsure) == u128::from(end.unsure)
        && total(|s| s.unsent) == u128::from(end.unsent);
    Some(LoadAccount {
        planned: end.planned,
        ok: end.ok,
        failed: end.failed,
        unsure: end.unsure,
        timed_out: end.timed_out,
        unsent: end.unsent,
        balanced,
    })
}

#[derive(Debug, Clone, Default)]
struct Sum {
    seconds: u64,
    planned: u64,
    ok: u64,
    failed: u64,
    unsure: u64,
    unsent: u64,
    latencies: Latencies,
}

impl Sum {
    fn one(second: &LoadSecond, latencies: Latencies) -> Self {
        Self {
            seconds: 1,
            planned: second.planned,
            ok: second.ok,
            failed: second.failed,
            unsure: second.unsure,
            unsent: second.unsent,
            latencies,
        }
    }

    fn add(&mut self, second: &LoadSecond, latencies: &Latencies) {
        self.seconds += 1;
        self.planned = self.planned.saturating_add(second.planned);
        self.ok = self.ok.saturating_add(second.ok);
        self.failed = self.failed.saturating_add(second.failed);
        self.unsure = self.unsure.saturating_add(second.unsure);
        self.unsent = self.unsent.saturating_add(second.unsent);
        self.latencies.merge(latencies);
    }

    fn figures_if_any(&self) -> Option<LoadFigures> {
        (self.seconds > 0).then(|| self.figures())
    }

    fn figures(&self) -> LoadFigures {
        let share = |part: u64| (self.planned > 0).then(|| as_f64(part) / as_f64(self.planned));
        LoadFigures {
            planned: self.planned,
            ok: self.ok,
            failed: self.failed,
            unsure: self.unsure,
            unsent: self.unsent,
            success: share(self.ok),
            // Of the counts rather than 1 - success, so that 1 of 1,000 is 0.001 exactly.
            errors: share(self.planned.saturating_sub(self.ok)),
            throughput_per_second: as_f64(self.ok) / as_f64(self.seconds.max(1)),
            p50_seconds: self.latencies.quantile_seconds(0.5),
            p90_seconds: self.latencies.quantile_seconds(0.9),
            p99_seconds: self.latencies.quantile_seconds(0.99),
            max_seconds: self.latencies.quantile_seconds(1.0),
        }
    }
}

/// Merged histograms.
#[derive(Debug, Clone, Default)]
enum Latencies {
    #[default]
    None,
    Some(Histogram<u64>),
    Unreadable,
}

impl Latencies {
    fn of(second: &LoadSecond) -> Self {
        if second.ok == 0 {
            return Self::None;
        }
        let decoded = STANDARD.decode(&second.latency).ok().and_then(|bytes| {
            Deserializer::new().deserialize::<u64, _>(&mut bytes.as_slice()).ok()
        });
        match decoded {
            Some(mut histogram) if !histogram.is_empty() => {
                histogram.auto(true);
                Self::Some(histogram)
            }
            _ => Self::Unreadable,
        }
    }

    fn merge(&mut self, other: &Self) {
        match (&mut *self, other) {
            (Self::Unreadable, _) | (_, Self::None) => {}
            (_, Self::Unreadable) => *self = Self::Unreadable,
            (Self::None, Self::Some(_)) => *self = other.clone(),
            (Self::Some(mine), Self::Some(theirs)) => {
                if mine.add(theirs).is_err() {
                    *self = Self::Unreadable;
                }
            }
        }
    }

    fn quantile_seconds(&self, quantile: f64) -> Option<f64> {
        match self {
            Self::Some(histogram) => Some(seconds(histogram.value_at_quantile(quantile))),
            Self::None | Self::Unreadable => None,
        }
    }
}
