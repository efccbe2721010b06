//! From what the kernel half keeps of each edge to the figures of a window: pure.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use temblor_event::{Distribution, ProbeWindow, Reading};

use super::requests::{Kinds, Requests};
use super::skeleton::{edge_figures, edge_key, edge_peer, edge_role};
use crate::histogram::{self, Latencies};
use crate::plain::as_bytes;

/// What the peers beyond the bound go by.
pub(super) const OTHERS: &str = "others";
/// An edge over which nothing has gone for so many windows, and of which no connection is open,
/// makes room for another.
const IDLE_MAX: u32 = 300;

/// The names of targets, by their numbers, and of addresses.
#[derive(Debug, Default)]
pub(super) struct Names {
    pub(super) targets: Vec<String>,
    pub(super) addresses: HashMap<IpAddr, String>,
}

impl Names {
    fn peer(&self, key: &edge_key) -> String {
        let number = |number: u32| self.targets.get(usize::try_from(number).ok()?).cloned();
        match key.peer {
            edge_peer::EDGE_PEER_TARGET => number(key.number).unwrap_or_default(),
            edge_peer::EDGE_PEER_PROCESS => {
                let length = key.name.iter().position(|byte| *byte == 0).unwrap_or(key.name.len());
                String::from_utf8_lossy(&key.name[..length]).into_owned()
            }
            edge_peer::EDGE_PEER_ADDRESS => {
                let address = Ipv6Addr::from(key.name).to_canonical();
                match (self.addresses.get(&address), key.port) {
                    (Some(name), _) => name.clone(),
                    (None, 0) => address.to_string(),
                    (None, port) => {
                        // The kernel half keeps it in a wider field.
                        let port = u16::try_from(port).unwrap_or(u16::MAX);
                        SocketAddr::new(address, port).to_string()
                    }
                }
            }
            _ => OTHERS.to_owned(),
        }
    }
}

fn role(key: &edge_key) -> &'static str {
    if key.role == edge_role::EDGE_CALLS { "calls" } else { "serves" }
}

/// What was told of an edge when the last window closed.
#[derive(Debug, Default)]
struct Before {
    turns: Latencies,
    sent: u64,
    received: u64,
    opened: u64,
    idle_windows: u32,
}

/// What has come in a window.
#[derive(Debug, Default)]
struct Grown {
    turns: Distribution,
    sent: u64,
    received: u64,
    opened: u64,
    open: u64,
    requests: Kinds,
}

impl Grown {
    fn merge(&mut self, more: Self) {
        self.turns.merge(&more.turns);
        self.sent += more.sent;
        self.received += more.received;
        self.opened += more.opened;
        self.open += more.open;
        for (kind, more) in more.requests {
            let of = self.requests.entry(kind).or_default();
            of.took.merge(&more.took);
            for (error, count) in more.errors {
                *of.errors.entry(error).or_default() += count;
            }
        }
    }

    fn put(self, into: &mut ProbeWindow, role: &str, peer: &str) {
        let labels = [("role", role), ("peer", peer)];
        into.put("turn_latency", &labels, Reading::Distribution(self.turns));
        into.put("bytes_sent", &labels, Reading::Count(self.sent));
        into.put("bytes_received", &labels, Reading::Count(self.received));
        into.put("connections_opened", &labels, Reading::Count(self.opened));
        into.put("connections_open", &labels, Reading::Level(self.open));
        for ((protocol, kind), of) in self.requests {
            let labels = [("role", role), ("peer", peer), ("protocol", protocol), ("kind", &kind)];
            into.put("request_latency", &labels, Reading::Distribution(of.took));
            for (error, count) in of.errors {
                let labels = [&labels[..], &[("error", error.as_str())]].concat();
                into.put("request_errors", &labels, Reading::Count(count));
            }
        }
    }
}

/// Takes differences between readings of edges.
#[derive(Debug, Default)]
pub(super) struct Edges {
    before: HashMap<Vec<u8>, Before>,
}

impl Edges {
    /// Closes window number `window`: each target's figures, in the order of their numbers, and
    /// the edges that are no longer used.
    pub(super) fn close(
        &mut self,
        (window, window_ns): (u32, u64),
        readings: &[(edge_key, edge_figures)],
        requests: &mut Requests,
        names: &Names,
    ) -> (Vec<ProbeWindow>, Vec<edge_key>) {
        let mut idle = Vec::new();
        // Edges of one name, such as those of two addresses of one service, are one.
        let mut by_name: BTreeMap<(u32, &str, String), Grown> = BTreeMap::new();
        for (key, now) in readings {
            let before = self.before.entry(as_bytes(key).to_vec()).or_default();
            let mut came = before.grow(window, now);
            came.requests = requests.take(key);
            if before.idle_windows >= IDLE_MAX && key.peer != edge_peer::EDGE_PEER_OTHERS {
                self.before.remove(as_bytes(key));
                idle.push(*key);
            }
            let of = by_name.entry((key.target, role(key), names.peer(key))).or_default();
            of.merge(came);
        }
        let mut windows: Vec<ProbeWindow> = names
            .targets
            .iter()
            .map(|service| ProbeWindow::new(super::NAME, service, window_ns))
            .collect();
        for ((target, role, peer), came) in by_name {
            let Some(told) = usize::try_from(target).ok().and_then(|at| windows.get_mut(at)) else {
                continue;
            };
            came.put(told, role, &peer);
        }
        requests.clear();
        (windows, idle)
    }
}

impl Before {
    fn grow(&mut self, window: u32, now: &edge_figures) -> Grown {
        let reading = histogram::Reading {
            buckets: &now.turns.buckets,
            sum_ns: now.turns.sum_ns,
            max_ns: now.turns.max_ns,
            window: now.turns.window,
        };
        let since = |before: &mut u64, now: u64| {
            let grown = now.saturating_sub(*before);
            *before = now;
            grown
        };
        let came = Grown {
            turns: self.turns.close(window, std::iter::once(reading)).into(),
            sent: since(&mut self.sent, now.sent),
            received: since(&mut self.received, now.received),
            opened: since(&mut self.opened, now.opened),
            open: u64::try_from(now.open).unwrap_or(0),
            requests: Kinds::new(),
        };
        let is_idle = came.turns.buckets.is_empty()
            && came.sent + came.received + came.opened + came.open == 0;
        self.idle_windows = if is_idle { self.idle_windows + 1 } else { 0 };
        came
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(peer: edge_peer, name: &[u8], port: u32) -> edge_key {
        let role = edge_role::EDGE_CALLS;
        let mut key = edge_key { role, peer, port, ..edge_key::default() };
        key.name[..name.len()].copy_from_slice(name);
        key
    }

    fn names() -> Names {
        Names {
            targets: vec!["api".into(), "db".into()],
            addresses: HashMap::from([("10.0.0.9".parse().unwrap(), "db".to_owned())]),
        }
    }

    #[test]
    fn a_peer_goes_by_its_target_its_process_its_address_or_none() {
        let check = |key: &edge_key, expected: &str| assert_eq!(names().peer(key), expected);
        let mut target = key(edge_peer::EDGE_PEER_TARGET, b"", 0);
        target.number = 1;
        check(&target, "db");
        check(&key(edge_peer::EDGE_PEER_PROCESS, b"psql", 0), "psql");
        check(&key(edge_peer::EDGE_PEER_PROCESS, &[b'x'; 16], 0), "xxxxxxxxxxxxxxxx");
        let v4 = |last| [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, last];
        check(&key(edge_peer::EDGE_PEER_ADDRESS, &v4(9), 5432), "db");
        check(&key(edge_peer::EDGE_PEER_ADDRESS, &v4(8), 5432), "10.0.0.8:5432");
        check(&key(edge_peer::EDGE_PEER_ADDRESS, &v4(8), 0), "10.0.0.8");
        let mut v6 = [0; 16];
        v6[0] = 0xfd;
        check(&key(edge_peer::EDGE_PEER_ADDRESS, &v6, 80), "[fd00::]:80");
        check(&key(edge_peer::EDGE_PEER_OTHERS, b"", 0), OTHERS);
    }

    #[test]
    fn edges_of_one_name_are_one_and_windows_are_differences() {
        let mut first = edge_figures { sent: 10, opened: 2, open: 1, ..edge_figures::default() };
        first.turns.buckets[20] = 3;
        first.turns.sum_ns = 60;
        first.turns.max_ns = [0, 21];
        first.turns.window = [0, 1];
        let v4 = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, 9];
        let mut by_target = key(edge_peer::EDGE_PEER_TARGET, b"", 0);
        by_target.number = 1;
        let by_address = key(edge_peer::EDGE_PEER_ADDRESS, &v4, 5432);
        let mut edges = Edges::default();
        let (told, idle) = edges.close(
            (1, 1_000),
            &[(by_target, first), (by_address, first)],
            &mut Requests::default(),
            &names(),
        );
        assert_eq!(idle.len(), 0);
        assert_eq!((told[0].service.as_str(), told[1].service.as_str()), ("api", "db"));
        assert!(told[1].measures.is_empty(), "{:?}", told[1]);
        let of = |told: &ProbeWindow, name: &str| {
            told.measures.iter().find(|one| one.name == name).map(|one| one.reading.clone())
        };
        let Some(Reading::Distribution(turns)) = of(&told[0], "turn_latency") else { panic!() };
        assert_eq!((turns.samples(), turns.sum, turns.max), (6, 120, 21));
        assert_eq!(of(&told[0], "bytes_sent"), Some(Reading::Count(20)));
        assert_eq!(of(&told[0], "connections_open"), Some(Reading::Level(2)));
        assert_eq!(of(&told[0], "bytes_received"), None);
        let (told, _) = edges.close(
            (2, 1_000),
            &[(by_target, first), (by_address, first)],
            &mut Requests::default(),
            &names(),
        );
        let names: Vec<_> = told[0].measures.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(names, ["connections_open"], "the rest is not new");
    }

    #[test]
    fn an_edge_that_is_not_used_any_more_makes_room() {
        let mut edges = Edges::default();
        let used = edge_figures { sent: 10, ..edge_figures::default() };
        let open = edge_figures { open: 1, ..used };
        let (a, b) = (key(edge_peer::EDGE_PEER_PROCESS, b"a", 0), {
            key(edge_peer::EDGE_PEER_PROCESS, b"b", 0)
        });
        let others = key(edge_peer::EDGE_PEER_OTHERS, b"", 0);
        let readings = [(a, used), (b, open), (others, used)];
        let gone: Vec<_> = (0..=IDLE_MAX)
            .flat_map(|window| {
                edges.close((window, 1_000), &readings, &mut Requests::default(), &names()).1
            })
            .collect();
        assert_eq!(gone.len(), 1);
        assert_eq!(gone[0].name, a.name);
    }
}
