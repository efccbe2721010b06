//! Steadiness: whether, and since when, everything is as it should be.
//!
//! Each source vouches for stretches of time:
//! - the load, by seconds that follow one another and each meet every steady-state condition on
//!   `load.*` by their own figures (a second for which nothing was planned meets all but
//!   `load.throughput`; one with no acknowledged request has no latency, and does not meet a
//!   condition on it);
//! - each check, from a reading that passed to the last one of an unbroken row that did;
//! - each backlog, likewise, from a reading at or below the baseline's greatest value to the last
//!   of such a row.
//!
//! A sign of trouble is a check that says no, or a second of load with requests that were refused
//! or got no answer and that does not meet every condition on `load.*`. A slow second or a full
//! backlog is none: it vouches for nothing, and that is enough. Where a phase of fault goes on
//! after healing, as after a process was killed, healing is the beginning of the trouble rather
//! than its end. There steadiness is sought not from healing, but from the latest of healing, the
//! first sign of trouble since the injection (what has not begun is not over), and the last one
//! before the phases of fault end (a quiet spell between two signs is no recovery). If there was
//! no sign at all, from healing.
//!
//! Two readings do not vouch for the time between them if they are further apart than the hold
//! and than twice the longest gap between that source's readings in the baseline. The system is
//! steady from the start of the first stretch that all sources vouch for and that is as long as
//! the hold: the data reach to its end.

use std::collections::{BTreeMap, BTreeSet};

use temblor_event::{Body, Condition, Event, Figure, PhaseRole, RunStarted};

use crate::expectations::load_conditions;
use crate::log::SECOND_NS;
use crate::result::LoadFigures;

/// Seconds of load that are this close follow one another: the generator's clock is exact, a
/// hole would be a whole second.
const SECONDS_APART_NS_MAX: u64 = SECOND_NS / 10;

/// Watches for steadiness as events come in: what was begun first, then all others in any order.
/// Cheap to ask once a second.
#[derive(Debug, Clone, Default)]
pub struct SteadyWatch {
    conditions: Vec<Condition>,
    hold_ns: u64,
    load_planned: bool,
    backlogs: Vec<String>,
    marks: BTreeSet<(u64, bool)>,
    fault_marks: BTreeSet<(u64, bool)>,
    injected_ns: Option<u64>,
    seconds: BTreeMap<u64, bool>,
    /// Starts of the seconds of load that are signs of trouble.
    troubled: BTreeSet<u64>,
    checks: BTreeMap<String, BTreeMap<u64, bool>>,
    gauges: BTreeMap<String, BTreeMap<u64, f64>>,
}

/// A closed stretch of time.
type Stretch = (u64, u64);

impl SteadyWatch {
    /// For a run that was begun so. [`SteadyWatch::push`] of the run's first event does the same.
    #[must_use]
    pub fn new(started: &RunStarted) -> Self {
        let mut watch = Self::default();
        watch.begin(started);
        watch
    }

    fn begin(&mut self, started: &RunStarted) {
        self.conditions = load_conditions(&started.steady_state);
        self.hold_ns = started.steady_hold_ns;
        self.load_planned = started.load.is_some();
        self.backlogs.clone_from(&started.backlogs);
    }

    /// Takes note of an event; most are of no interest and cost nothing.
    pub fn push(&mut self, event: &Event) {
        let t_ns = event.t_ns;
        match &event.body {
            Body::RunStarted(started) => self.begin(started),
            Body::LoadSecond(second) => self.push_second(t_ns, &LoadFigures::of_second(second)),
            Body::Phase(mark) if mark.role == PhaseRole::Baseline => {
                self.marks.insert((t_ns, mark.starts));
            }
            Body::Phase(mark) if mark.role == PhaseRole::Fault => {
                self.fault_marks.insert((t_ns, mark.starts));
            }
            Body::FaultInjected(_) => {
                self.injected_ns = Some(self.injected_ns.map_or(t_ns, |first| first.min(t_ns)));
            }
            Body::Check(check) => {
                let readings = self.checks.entry(check.check.clone()).or_default();
                readings.entry(t_ns).and_modify(|ok| *ok &= check.ok).or_insert(check.ok);
            }
            Body::Gauge(gauge) if self.backlogs.contains(&gauge.gauge) => {
                let readings = self.gauges.entry(gauge.gauge.clone()).or_default();
                let value = readings.entry(t_ns).or_insert(gauge.value);
                // Of two readings at once the worse counts; not a number is worst.
                if gauge.value.is_nan() || gauge.value > *value {
                    *value = gauge.value;
                }
            }
            _ => {}
        }
    }

    /// The same for a second whose figures are known already.
    pub(crate) fn push_second(&mut self, t_ns: u64, figures: &LoadFigures) {
        let good = meets(figures, &self.conditions);
        self.seconds.entry(t_ns).and_modify(|all| *all &= good).or_insert(good);
        if !good && (figures.failed > 0 || figures.unsure > 0) {
            self.troubled.insert(t_ns);
        }
    }

    /// Since when the system has been steady: the start of the first stretch after `healed_ns`, and
    /// after the signs of trouble that are still healing's, as long as the experiment asks, that
    /// every source vouches for. None: not yet.
    #[must_use]
    pub fn steady_since(&self, healed_ns: u64) -> Option<u64> {
        let since_ns = self.sought_from_ns(healed_ns);
        let mut sources: Vec<Vec<Stretch>> = Vec::new();
        if self.load_planned {
            sources.push(self.load_stretches(since_ns));
        }
        for readings in self.checks.values() {
            let readings = readings.iter().map(|(t_ns, ok)| (*t_ns, *ok));
            sources.push(self.reading_stretches(readings, since_ns));
        }
        for backlog in &self.backlogs {
            let (bound, none) = (self.backlog_bound(backlog), BTreeMap::new());
            let readings = self.gauges.get(backlog).unwrap_or(&none);
            let drained = readings
                .iter()
                .map(|(t_ns, value)| (*t_ns, bound.is_some_and(|bound| *value <= bound)));
            sources.push(self.reading_stretches(drained, since_ns));
        }
        // Nobody to vouch: nothing is known.
        let all = sources.into_iter().reduce(|a, b| intersection(&a, &b))?;
        all.into_iter().find(|(start, end)| end - start >= self.hold_ns).map(|(start, _)| start)
    }

    /// From when on steadiness is sought, as the module's definition says.
    fn sought_from_ns(&self, healed_ns: u64) -> u64 {
        let fault_ends_ns = match self.fault_marks.last() {
            Some((end_ns, false)) => *end_ns,
            // It has begun and goes on.
            Some((_, true)) => u64::MAX,
            None => healed_ns,
        };
        let trouble_may_come =
            |injected_ns: &u64| *injected_ns <= healed_ns && healed_ns < fault_ends_ns;
        let Some(injected_ns) = self.injected_ns.filter(trouble_may_come) else {
            return healed_ns;
        };
        // The second in which it was injected has begun before.
        let seconds = self.troubled.range(injected_ns.saturating_sub(SECOND_NS - 1)..).copied();
        let answers = self.checks.values().flat_map(|readings| readings.range(injected_ns..));
        let signs = seconds.chain(answers.filter(|(_, ok)| !**ok).map(|(t_ns, _)| *t_ns));
        let (mut first_ns, mut last_ns) = (u64::MAX, 0);
        for t_ns in signs {
            first_ns = first_ns.min(t_ns);
            if t_ns < fault_ends_ns {
                last_ns = last_ns.max(t_ns);
            }
        }
        let first_ns = if first_ns == u64::MAX { 0 } else { first_ns };
        healed_ns.max(first_ns).max(last_ns)
    }

    /// The greatest value that a backlog had in the baseline; where no phase is one, before the
    /// first injection.
    pub(crate) fn backlog_bound(&self, backlog: &str) -> Option<f64> {
        let readings = self.gauges.get(backlog)?;
        readings
            .iter()
            .filter(|(t_ns, value)| self.in_baseline(**t_ns) && !value.is_nan())
            .map(|(_, value)| *value)
            .reduce(f64::max)
    }

    /// The readings of a backlog, in order.
    pub(crate) fn backlog(&self, backlog: &str) -> impl Iterator<Item = (u64, f64)> {
        self.gauges.get(backlog).into_iter().flatten().map(|(t_ns, value)| (*t_ns, *value))
    }

    fn in_baseline(&self, t_ns: u64) -> bool {
        if self.marks.is_empty() {
            return self.injected_ns.is_some_and(|injected| t_ns < injected);
        }
        // The last mark at or before this time says; at one nanosecond `false`, an end, sorts
        // before `true`, a beginning.
        self.marks.range(..=(t_ns, true)).next_back().is_some_and(|(_, starts)| *starts)
    }

    fn load_stretches(&self, since_ns: u64) -> Vec<Stretch> {
        let mut stretches = Vec::new();
        let mut open: Option<Stretch> = None;
        for (&start, &good) in self.seconds.range(since_ns.saturating_sub(SECOND_NS)..) {
            let end = start.saturating_add(SECOND_NS);
            open = match open {
                Some((from, to)) if good && start <= to.saturating_add(SECONDS_APART_NS_MAX) => {
                    Some((from, end))
                }
                done => {
                    stretches.extend(done);
                    good.then_some((start, end))
                }
            };
        }
        stretches.extend(open);
        clipped(stretches, since_ns)
    }

    fn reading_stretches(
        &self,
        readings: impl Iterator<Item = (u64, bool)>,
        since_ns: u64,
    ) -> Vec<Stretch> {
        let mut stretches = Vec::new();
        let mut open: Option<Stretch> = None;
        let mut apart_ns_max = self.hold_ns;
        let mut previous_ns = None;
        for (t_ns, good) in readings {
            if let Some(previous_ns) = previous_ns
                && self.in_baseline(previous_ns)
                && self.in_baseline(t_ns)
            {
                let twice = (t_ns - previous_ns).saturating_mul(2);
                apart_ns_max = apart_ns_max.max(twice);
            }
            previous_ns = Some(t_ns);
            open = match open {
                Some((from, to)) if good && t_ns - to <= apart_ns_max => Some((from, t_ns)),
                done => {
                    stretches.extend(done);
                    good.then_some((t_ns, t_ns))
                }
            };
        }
        stretches.extend(open);
        clipped(stretches, since_ns)
    }
}

/// Whether a second's own figures meet every condition.
pub(crate) fn meets(figures: &LoadFigures, conditions: &[Condition]) -> bool {
    conditions.iter().all(|condition| {
        let nothing_planned = figures.planned == 0 && condition.figure != Figure::LoadThroughput;
        nothing_planned
            || figures
                .figure(condition.figure)
                .is_some_and(|value| condition.op.holds(value, condition.bound))
    })
}

fn clipped(stretches: Vec<Stretch>, since_ns: u64) -> Vec<Stretch> {
    stretches
        .into_iter()
        .filter(|(_, end)| *end >= since_ns)
        .map(|(start, end)| (start.max(since_ns), end))
        .collect()
}

/// The times that lie in both; each list is in order and without overlap.
fn intersection(a: &[Stretch], b: &[Stretch]) -> Vec<Stretch> {
    let (mut i, mut j) = (0, 0);
    let mut both = Vec::new();
    while i < a.len() && j < b.len() {
        let (start, end) = (a[i].0.max(b[j].0), a[i].1.min(b[j].1));
        if start <= end {
            both.push((start, end));
        }
        if a[i].1 < b[j].1 { i += 1 } else { j += 1 }
    }
    both
}
