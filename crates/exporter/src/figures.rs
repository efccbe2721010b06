//! All that was counted since the beginning, in bounded memory.

use std::collections::{BTreeMap, BTreeSet};

use temblor_event::{Body, Event, Meaning, MeasureKind, all_meanings, meaning, measured};

use crate::family::{Family, OTHER, Told};
use crate::own::{Own, Resources};
use crate::peers::Peers;
use crate::text::{self, WriteError};

/// How much there may be.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Lines of one metric on the page.
    pub series_max: usize,
    /// Peers that go by their address; the rest are `other`.
    pub peers_max: usize,
    /// A series that has not changed for so long goes; it begins again at 0.
    pub stays_ns: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { series_max: 2_000, peers_max: 100, stays_ns: 15 * 60 * 1_000_000_000 }
    }
}

/// Sums of events, for a page.
#[derive(Debug)]
pub struct Figures {
    limits: Limits,
    /// By the name of probe and figure.
    families: BTreeMap<(&'static str, &'static str), Family>,
    peers: Peers,
    /// What targets are called on the page, by what the probes call them.
    names: BTreeMap<String, String>,
    /// Those that are there, by their names on the page.
    present: BTreeSet<String>,
    own: Own,
}

impl Figures {
    /// Nothing has been counted yet.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            families: BTreeMap::new(),
            peers: Peers::default(),
            names: BTreeMap::new(),
            present: BTreeSet::new(),
            own: Own::default(),
        }
    }

    /// Adds what an event counts.
    pub fn add(&mut self, event: &Event, now_ns: u64) {
        match &event.body {
            Body::TargetSeen(target) => {
                let called = self.called(&target.service);
                self.present.insert(called);
            }
            Body::ProbeStatus(status) => self.attached(&status.probe, now_ns),
            Body::ProbeLost(lost) => self.own.lost(lost),
            Body::ProbeShed(shed) => self.own.shed(shed),
            Body::ProbeCost(cost) => self.own.cost(cost),
            Body::Cost(cost) => self.own.whole(cost),
            body => self.count(body, now_ns),
        }
    }

    fn count(&mut self, body: &Body, now_ns: u64) {
        let Some(window) = measured(body) else { return };
        let target = self.called(&window.service);
        for one in &window.measures {
            // What has no meaning is a newer probe's, and nobody's here.
            let Some(of) = meaning(&window.probe, &one.name) else { continue };
            let mut labels = vec![target.clone()];
            let mut is_other = false;
            for name in of.labels {
                let said = one.labels.get(*name).map_or("", String::as_str);
                let mut value = text::plain(said);
                if *name == "peer" {
                    value = self.called(said);
                    if !self.peers.admit(&value, self.limits.peers_max, now_ns) {
                        OTHER.clone_into(&mut value);
                        is_other = true;
                    }
                }
                labels.push(value);
            }
            let family = family(&mut self.families, of);
            family.collapsed = family.collapsed.saturating_add(is_other.into());
            let told = Told { service: &window.service, labels, reading: &one.reading, now_ns };
            family.add(told, self.limits.series_max, self.present.len());
        }
    }

    /// What a target is called on the page.
    fn called(&self, service: &str) -> String {
        text::plain(self.names.get(service).map_or(service, String::as_str))
    }

    /// Whom the probes watch from now on: what they call them, and what the page does.
    pub fn watching(&mut self, targets: impl IntoIterator<Item = (String, String)>) {
        self.names = targets.into_iter().collect();
        self.present = self.names.values().map(|name| text::plain(name)).collect();
    }

    /// Who is there, by their names on the page.
    pub fn present(&mut self, targets: impl IntoIterator<Item = String>) {
        self.present = targets.into_iter().map(|target| text::plain(&target)).collect();
    }

    /// How many targets were found for what is sought.
    pub fn found(&mut self, sought: &str, targets: u64) {
        self.own.targets(&text::plain(sought), targets);
    }

    /// A probe is attached. What it counts of those who are there begins at 0.
    fn attached(&mut self, probe: &str, now_ns: u64) {
        self.own.attached(probe);
        let plain = |of: &&Meaning| {
            of.probe == probe && of.labels.is_empty() && of.kind == MeasureKind::Count
        };
        for of in all_meanings().filter(plain) {
            for target in &self.present {
                let family = family(&mut self.families, of);
                family.begin(target, self.limits.series_max, now_ns);
            }
        }
    }

    /// A probe is not attached any more.
    pub fn down(&mut self, probe: &str) {
        self.own.down(probe);
    }

    /// For so long a probe was not attached, between two times when it was.
    pub fn unwatched(&mut self, probe: &str, ns: u64) {
        self.own.unwatched(probe, ns);
    }

    /// What this program uses now.
    pub fn resources(&mut self, now: Resources) {
        self.own.resources = Some(now);
    }

    /// The page, as of now. What has not changed for long goes, except what tells of a target that
    /// is there and nothing more.
    ///
    /// # Errors
    /// A mistake in this program.
    pub fn text(&mut self, now_ns: u64) -> Result<String, WriteError> {
        let since_ns = now_ns.saturating_sub(self.limits.stays_ns);
        self.peers.forget_before(since_ns);
        for family in self.families.values_mut() {
            family.series.retain(|labels, series| {
                series.changed_ns >= since_ns
                    || (labels.len() == 1 && self.present.contains(&labels[0]))
            });
        }
        let collapsed = self.families.values().filter(|family| family.collapsed > 0);
        let collapsed = collapsed.map(|family| (family.name(), family.collapsed)).collect();
        let figures = self.families.values();
        let mut page: Vec<_> =
            figures.filter_map(|figure| text::of_figure(figure, now_ns)).collect();
        page.extend(self.own.families(&collapsed));
        text::write(&page)
    }
}

fn family<'a>(
    families: &'a mut BTreeMap<(&'static str, &'static str), Family>,
    of: &'static Meaning,
) -> &'a mut Family {
    families.entry((of.probe, of.name)).or_insert_with(|| Family::new(of))
}
