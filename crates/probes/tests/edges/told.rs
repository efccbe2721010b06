//! What the probe told, put together.

use std::collections::BTreeMap;

use temblor_event::{Body, Distribution, Event, ProbeWindow, Reading};
use temblor_probes::Error;
use temblor_probes::edges::EdgesProbe;
use temblor_probes::roster::Roster;

pub(crate) fn attach(roster: &Roster) -> Result<EdgesProbe, Error> {
    EdgesProbe::attach(roster, &[])
}

/// All windows of each target.
pub(crate) struct Told(BTreeMap<String, ProbeWindow>);

/// An edge as the labels have it: the target's role, and its peer.
pub(crate) type Edge<'a> = (&'a str, &'a str);

impl Told {
    pub(crate) fn of(events: &[Event]) -> Self {
        let mut all: BTreeMap<String, ProbeWindow> = BTreeMap::new();
        for event in events {
            let Body::ProbeWindow(window) = &event.body else { continue };
            match all.get_mut(&window.service) {
                None => drop(all.insert(window.service.clone(), window.clone())),
                Some(sum) => sum.merge(window),
            }
        }
        Self(all)
    }

    fn reading(&self, service: &str, name: &str, (role, peer): Edge<'_>) -> Option<&Reading> {
        let same = |label: &str, value: &str, labels: &BTreeMap<String, String>| {
            labels.get(label).is_some_and(|is| is == value)
        };
        let mut measures = self.0.get(service)?.measures.iter();
        let found = measures.find(|one| {
            one.name == name && same("role", role, &one.labels) && same("peer", peer, &one.labels)
        });
        found.map(|one| &one.reading)
    }

    pub(crate) fn turns(&self, service: &str, edge: Edge<'_>) -> Distribution {
        match self.reading(service, "turn_latency", edge) {
            Some(Reading::Distribution(turns)) => turns.clone(),
            other => panic!("turns of {service} {edge:?}: {other:?} in {:#?}", self.0),
        }
    }

    /// A count or a level; 0 where nothing was told.
    pub(crate) fn number(&self, service: &str, name: &str, edge: Edge<'_>) -> u64 {
        match self.reading(service, name, edge) {
            Some(Reading::Count(number) | Reading::Level(number)) => *number,
            None => 0,
            Some(other) => panic!("{other:?}"),
        }
    }

    /// Requests and their errors on an edge, by kind; the errors by kind and name.
    pub(crate) fn requests(
        &self,
        service: &str,
        (role, peer): Edge<'_>,
        protocol: &str,
    ) -> (BTreeMap<String, u64>, BTreeMap<(String, String), u64>) {
        let (mut counts, mut errors) = (BTreeMap::new(), BTreeMap::new());
        for one in self.0.get(service).map_or(&[][..], |window| &window.measures) {
            let label = |name: &str| one.labels.get(name).cloned().unwrap_or_default();
            let (of, kind) = ((label("role"), label("peer")), label("kind"));
            if of != (role.to_owned(), peer.to_owned()) || label("protocol") != protocol {
                continue;
            }
            match (one.name.as_str(), &one.reading) {
                ("request_latency", Reading::Distribution(took)) => {
                    counts.insert(kind, took.samples());
                }
                ("request_errors", Reading::Count(count)) => {
                    errors.insert((kind, label("error")), *count);
                }
                _ => {}
            }
        }
        (counts, errors)
    }

    /// Every edge of a target's of which anything was told.
    pub(crate) fn edges(&self, service: &str) -> Vec<(String, String)> {
        let measures = self.0.get(service).map_or(&[][..], |window| &window.measures);
        let edge = |one: &temblor_event::Measure| {
            Some((one.labels.get("role")?.clone(), one.labels.get("peer")?.clone()))
        };
        let mut edges: Vec<_> = measures.iter().filter_map(edge).collect();
        edges.sort();
        edges.dedup();
        edges
    }
}
