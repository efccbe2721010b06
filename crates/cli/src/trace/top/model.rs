//! What is on the screen: of each target the last second's figures, and sums since the beginning.

use std::collections::BTreeMap;

use temblor_event::{Body, Distribution, Measure, ProbeWindow, Reading, measured};

/// Targets that are shown; those of a trace are far fewer.
const TARGETS_MAX: usize = 200;
/// Figures of one probe and target.
const FIGURES_MAX: usize = 200;
/// So many seconds without a word from a probe, and its figures are of no second any more.
const QUIET_MAX: u32 = 3;

/// All that is shown.
#[derive(Debug, Default)]
pub(super) struct Model {
    /// Those that are attached.
    pub(super) probes: Vec<String>,
    pub(super) targets: BTreeMap<String, Target>,
    pub(super) lost: u64,
    /// The last that a probe had to do less.
    pub(super) shed: Option<String>,
}

/// One target's figures, by probe.
#[derive(Debug, Default)]
pub(super) struct Target(BTreeMap<String, Figures>);

/// Those of one probe.
#[derive(Debug, Default)]
struct Figures {
    figures: Vec<Figure>,
    /// It told of a window since the last second was over.
    told: bool,
    /// For so many seconds it has not.
    quiet: u32,
}

/// A figure of one target's, with labels of its own.
#[derive(Debug)]
pub(super) struct Figure {
    pub(super) name: String,
    pub(super) labels: BTreeMap<String, String>,
    /// Since the beginning.
    pub(super) sum: Reading,
    /// In the last second, and how long that was, nanoseconds.
    pub(super) last: Option<(Reading, u64)>,
    /// What came since that was over.
    coming: Option<(Reading, u64)>,
    /// It is counted in the kernel, and told once a second.
    by_window: bool,
}

impl Model {
    pub(super) fn add(&mut self, body: &Body) {
        match body {
            Body::TargetSeen(target) => drop(self.target(&target.service)),
            Body::ProbeStatus(status) => self.probes.push(status.probe.clone()),
            Body::ProbeLost(lost) => self.lost = self.lost.saturating_add(lost.events),
            Body::ProbeShed(shed) => self.shed = Some(format!("{}: {}", shed.probe, shed.now)),
            body => {
                let Some(window) = measured(body) else { return };
                let Some(target) = self.target(&window.service) else { return };
                target.add(&window);
            }
        }
    }

    fn target(&mut self, service: &str) -> Option<&mut Target> {
        if self.targets.len() >= TARGETS_MAX && !self.targets.contains_key(service) {
            return None;
        }
        Some(self.targets.entry(service.to_owned()).or_default())
    }

    /// A second is over, which was so long.
    pub(super) fn second(&mut self, length_ns: u64) {
        let figures = self.targets.values_mut().flat_map(|target| target.0.values_mut());
        figures.for_each(|figures| figures.second(length_ns));
    }
}

impl Target {
    fn add(&mut self, window: &ProbeWindow) {
        let figures = self.0.entry(window.probe.clone()).or_default();
        figures.told |= window.window_ns > 0;
        window.measures.iter().for_each(|one| figures.add(one, window.window_ns));
    }

    /// A figure of a probe's, with each of its labels.
    pub(super) fn figures(&self, probe: &str, name: &str) -> impl Iterator<Item = &Figure> {
        let of = self.0.get(probe).map_or(&[][..], |figures| &figures.figures);
        of.iter().filter(move |one| one.name == name)
    }

    /// Every figure that there has been, and its probe.
    pub(super) fn all(&self) -> impl Iterator<Item = (&str, &Figure)> {
        self.0
            .iter()
            .flat_map(|(probe, of)| of.figures.iter().map(move |figure| (probe.as_str(), figure)))
    }
}

impl Figures {
    /// A figure that there is no room for any more is left out: it would have no bound.
    fn add(&mut self, one: &Measure, window_ns: u64) {
        let same = |of: &Figure| of.name == one.name && of.labels == one.labels;
        let at = match self.figures.iter().position(same) {
            Some(at) => at,
            None if self.figures.len() >= FIGURES_MAX => return,
            None => {
                self.figures.push(Figure::nothing_of(one, window_ns > 0));
                self.figures.len() - 1
            }
        };
        let figure = &mut self.figures[at];
        figure.sum.merge(&one.reading);
        match &mut figure.coming {
            Some((reading, so_far_ns)) => {
                reading.merge(&one.reading);
                *so_far_ns = so_far_ns.saturating_add(window_ns);
            }
            none => *none = Some((one.reading.clone(), window_ns)),
        }
    }

    /// A probe's second and ours do not end together: in one of ours may fall none of its own, and
    /// then the one before stands a little longer.
    fn second(&mut self, length_ns: u64) {
        self.quiet = if self.told { 0 } else { self.quiet + 1 };
        let stands = !std::mem::take(&mut self.told) && self.quiet < QUIET_MAX;
        for figure in &mut self.figures {
            figure.last = match figure.coming.take() {
                Some((reading, 0)) => Some((reading, length_ns)),
                Some(window) => Some(window),
                None => figure.last.take().filter(|_| figure.by_window && stands),
            };
        }
    }
}

impl Figure {
    fn nothing_of(one: &Measure, by_window: bool) -> Self {
        let sum = match one.reading {
            Reading::Count(_) => Reading::Count(0),
            Reading::Level(_) => Reading::Level(0),
            Reading::Distribution(_) => Reading::Distribution(Distribution::default()),
        };
        let (name, labels) = (one.name.clone(), one.labels.clone());
        Self { name, labels, sum, last: None, coming: None, by_window }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(window_ns: u64, count: u64) -> Body {
        let mut window = ProbeWindow::new("memory", "db", window_ns);
        window.put("page_faults", &[("kind", "minor")], Reading::Count(count));
        window.into()
    }

    fn last(model: &Model) -> Option<(Reading, u64)> {
        model.targets["db"].figures("memory", "page_faults").next().unwrap().last.clone()
    }

    #[test]
    fn a_second_without_a_window_keeps_the_one_before_for_a_while() {
        let mut model = Model::default();
        model.add(&window(1_000, 7));
        model.second(900);
        assert_eq!(last(&model), Some((Reading::Count(7), 1_000)));
        model.second(900);
        model.second(900);
        assert_eq!(last(&model), Some((Reading::Count(7), 1_000)));
        model.second(900);
        assert_eq!(last(&model), None);
        model.add(&window(1_000, 1));
        model.add(&window(1_000, 2));
        model.second(900);
        assert_eq!(last(&model), Some((Reading::Count(3), 2_000)));
        let sums = model.targets["db"].figures("memory", "page_faults");
        assert_eq!(sums.map(|one| one.sum.clone()).collect::<Vec<_>>(), [Reading::Count(10)]);
        // What a window has nothing of did not happen.
        model.add(&ProbeWindow::new("memory", "db", 1_000).into());
        model.second(900);
        assert_eq!(last(&model), None);
    }

    #[test]
    fn what_comes_one_by_one_is_of_one_second_only() {
        let mut model = Model::default();
        model.add(&window(0, 2));
        model.add(&window(0, 1));
        model.second(900);
        assert_eq!(last(&model), Some((Reading::Count(3), 900)));
        model.second(900);
        assert_eq!(last(&model), None);
    }

    #[test]
    fn there_is_a_bound_however_many_peers_there_are() {
        let mut model = Model::default();
        for n in 0..10 * FIGURES_MAX {
            let mut window = ProbeWindow::new("tcp", "db", 0);
            window.put("accepts", &[("peer", &n.to_string())], Reading::Count(1));
            model.add(&window.into());
        }
        assert_eq!(model.targets["db"].figures("tcp", "accepts").count(), FIGURES_MAX);
    }
}
