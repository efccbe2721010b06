//! Which connections a fault is about.
//!
//! A dose that names services under `from` and `to` is about the connections between them, in
//! either direction. If only one of the two is a service that the run knows (the other an
//! address, say), every connection of that service; if neither is, every connection. `peers` is
//! another word for `to`. A target that is named under any other word (`target`, `server`) stands
//! in the place that the others leave free: a killed process' dose is about every connection of
//! its service, that of a reset about those between `target` and `peers`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use temblor_event::Connection;
use temblor_event::tcp_names::{peer, service};

use crate::log::Log;

/// The separated sides, one pair a fault.
#[derive(Debug)]
pub(crate) struct Sides(Vec<Pair>);

#[derive(Debug)]
struct Pair {
    from: BTreeSet<String>,
    to: BTreeSet<String>,
}

impl Sides {
    pub(crate) fn new(log: &Log<'_>) -> Self {
        let known = known_services(log);
        let services = |text: Option<&String>| -> BTreeSet<String> {
            let names = text.into_iter().flat_map(|text| text.split(',')).map(str::trim);
            names.filter_map(|name| resolve(name, log, &known)).collect()
        };
        let pair = |dose: &BTreeMap<String, String>| {
            let (mut from, mut to) = (services(dose.get("from")), services(dose.get("to")));
            to.extend(services(dose.get("peers")));
            let others = targets_named(log, dose);
            let free = if from.is_empty() || !to.is_empty() { &mut from } else { &mut to };
            free.extend(others);
            Pair { from, to }
        };
        Self(log.injected.iter().map(|fault| pair(&fault.dose)).collect())
    }

    /// The services that the fault in this place of the run is about; where it names none that the
    /// run knows, none.
    pub(crate) fn of_fault(&self, index: usize) -> Vec<String> {
        self.0
            .get(index)
            .map(|pair| pair.from.union(&pair.to).cloned().collect())
            .unwrap_or_default()
    }

    /// Whether one of the faults is about this connection.
    pub(crate) fn concern(&self, connection: &Connection) -> bool {
        self.0.iter().any(|pair| pair.concerns(connection))
    }
}

impl Pair {
    fn concerns(&self, connection: &Connection) -> bool {
        let is_in = |side: &BTreeSet<String>, name: &Option<String>| {
            name.as_ref().is_some_and(|name| side.contains(name))
        };
        let (service, peer) = (&connection.service, &connection.peer);
        match (self.from.is_empty(), self.to.is_empty()) {
            (true, true) => true,
            (false, true) => is_in(&self.from, service) || is_in(&self.from, peer),
            (true, false) => is_in(&self.to, service) || is_in(&self.to, peer),
            (false, false) => {
                (is_in(&self.from, service) && is_in(&self.to, peer))
                    || (is_in(&self.to, service) && is_in(&self.from, peer))
            }
        }
    }
}

/// Only targets: other words of a dose may be anything, such as the name of a signal.
fn targets_named(log: &Log<'_>, dose: &BTreeMap<String, String>) -> BTreeSet<String> {
    let known = log.targets.iter().map(|target| target.service.clone()).collect();
    let others = dose.iter().filter(|(word, _)| !["from", "to", "peers"].contains(&word.as_str()));
    let names = others.flat_map(|(_, text)| text.split(',')).map(str::trim);
    names.filter_map(|name| resolve(name, log, &known)).collect()
}

fn known_services(log: &Log<'_>) -> BTreeSet<String> {
    let connections = (log.states.iter().map(|state| &state.get().conn))
        .chain(log.retransmits.iter().map(|segment| &segment.get().conn))
        .chain(log.resets.iter().map(|reset| &reset.get().conn));
    log.targets
        .iter()
        .map(|target| target.service.clone())
        .chain(connections.flat_map(|c| [c.service.clone(), c.peer.clone()]).flatten())
        .collect()
}

/// A service by its own name, by the one it has in the experiment, or by its address. A dose may
/// give the address along with the name: `postgres (10.0.0.5)`.
fn resolve(text: &str, log: &Log<'_>, known: &BTreeSet<String>) -> Option<String> {
    let name = text.split_once(" (").map_or(text, |(name, _)| name);
    if known.contains(name) {
        return Some(name.to_owned());
    }
    let address: Option<IpAddr> = name.parse().ok();
    let target = log.targets.iter().find(|target| {
        target.aliases.iter().any(|alias| alias == name)
            || address.is_some_and(|address| target.addresses.contains(&address))
    })?;
    Some(target.service.clone())
}

/// `trading-api → postgres`; what is not known by name, by its address.
#[must_use]
pub fn services(connection: &Connection) -> String {
    format!("{} → {}", service(connection), peer(connection))
}

/// `10.0.0.4:40112 → 10.0.0.2:5432`.
#[must_use]
pub fn addresses(connection: &Connection) -> String {
    format!("{} → {}", connection.local, connection.remote)
}
