//! Two namespaces joined by a link, and a probe that watches them.

use std::io::Write as _;
use std::net::{IpAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use temblor_event::{Body, Event, ProbeCost, ProbeStatus, clock};
use temblor_host::netns::Netns;
use temblor_probes::tcp::{Attribution, Settings, TcpProbe};
use temblor_probes::{Budget, Running};

pub(crate) use crate::link::World;

pub(crate) const CLIENT: &str = "client";
pub(crate) const SERVER: &str = "server";

/// Longer than any single thing that is waited for here; a test that gets there has failed.
const BOUND: Duration = Duration::from_secs(20);

/// Whether this can run at all; says why not.
pub(crate) fn possible() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("skipped: needs root (network namespaces and BPF programs)");
    }
    root
}

impl World {
    pub(crate) fn listen(&self, address: &str) -> TcpListener {
        self.server.run(|| TcpListener::bind((address, 0)).unwrap()).unwrap()
    }

    /// A connection, both its ends.
    pub(crate) fn connected(&self, listener: &TcpListener) -> (TcpStream, TcpStream) {
        let to = listener.local_addr().unwrap();
        let near = self.client.run(|| TcpStream::connect_timeout(&to, BOUND).unwrap()).unwrap();
        let (far, _) = listener.accept().unwrap();
        for stream in [&near, &far] {
            stream.set_read_timeout(Some(BOUND)).unwrap();
        }
        (near, far)
    }

    /// Both namespaces watched, both addresses named.
    pub(crate) fn attribution(&self) -> Attribution {
        let mut attribution = self.names();
        attribution.watch(CLIENT, &self.client).watch(SERVER, &self.server);
        attribution
    }

    pub(crate) fn names(&self) -> Attribution {
        let mut attribution = Attribution::default();
        for (last, service) in [(1, CLIENT), (2, SERVER)] {
            for address in [format!("10.77.0.{last}"), format!("fd77::{last}")] {
                attribution.name(address.parse::<IpAddr>().unwrap(), service);
            }
        }
        attribution
    }
}

/// Drops what arrives (`input`) or leaves (`output`) and matches.
pub(crate) fn drop_packets(netns: &Netns, hook: &str, matching: &str) {
    nft(
        netns,
        &format!(
            "table inet t {{ chain c {{ type filter hook {hook} priority 0; {matching} drop; }}; }};\n"
        ),
    );
}

pub(crate) fn let_packets(netns: &Netns) {
    nft(netns, "delete table inet t\n");
}

fn nft(netns: &Netns, rules: &str) {
    let status = netns.run(|| {
        let mut nft = Command::new("nft").args(["-f", "-"]).stdin(Stdio::piped()).spawn().unwrap();
        nft.stdin.take().unwrap().write_all(rules.as_bytes()).unwrap();
        nft.wait().unwrap()
    });
    assert!(status.unwrap().success(), "nft {rules}");
}

/// The namespace's own count of segments that were sent again.
pub(crate) fn retransmitted(netns: &Netns) -> u64 {
    let text =
        netns.run(|| std::fs::read_to_string("/proc/thread-self/net/snmp").unwrap()).unwrap();
    let mut lines = text.lines().filter(|line| line.starts_with("Tcp:"));
    let (names, values) = (lines.next().unwrap(), lines.next().unwrap());
    let column = names.split_whitespace().position(|name| name == "RetransSegs").unwrap();
    values.split_whitespace().nth(column).unwrap().parse().unwrap()
}

#[derive(Default)]
struct Seen {
    events: Mutex<Vec<Event>>,
    more: Condvar,
}

/// A running probe and what it has said.
pub(crate) struct Watch {
    running: Running,
    seen: Arc<Seen>,
}

impl Watch {
    pub(crate) fn start(attribution: &Attribution) -> Self {
        let probe = TcpProbe::attach_with(attribution, None, &Settings::default()).unwrap();
        let seen = Arc::<Seen>::default();
        let sink = Arc::clone(&seen);
        let running = Running::start(Box::new(probe), Budget::share(1.0), move |event| {
            sink.events.lock().unwrap().push(event);
            sink.more.notify_all();
        })
        .unwrap();
        Self { running, seen }
    }

    pub(crate) fn status(&self) -> ProbeStatus {
        self.running.status()
    }

    pub(crate) fn events(&self) -> Vec<Event> {
        self.seen.events.lock().unwrap().clone()
    }

    /// The events seen so far, as soon as they are enough.
    pub(crate) fn until(&self, what: &str, enough: impl Fn(&[Event]) -> bool) -> Vec<Event> {
        let guard = self.seen.events.lock().unwrap();
        let waited = self.seen.more.wait_timeout_while(guard, BOUND, |events| !enough(events));
        let (events, timeout) = waited.unwrap();
        assert!(!timeout.timed_out(), "never saw {what}; saw {events:#?}");
        events.clone()
    }

    pub(crate) fn stop(self) -> (Vec<Event>, ProbeCost) {
        let cost = self.running.stop().unwrap();
        let events = std::mem::take(&mut *self.seen.events.lock().unwrap());
        (events, cost)
    }
}

/// The segments that the probe says a service sent again.
pub(crate) fn segments(events: &[Event], service: &str) -> u64 {
    let of_service = events.iter().filter_map(|event| match &event.body {
        Body::TcpRetransmit(again) if again.conn.service.as_deref() == Some(service) => {
            Some(u64::from(again.segments))
        }
        _ => None,
    });
    of_service.sum()
}

/// Holds the probe's sums against the kernel's own counters, once the two have met.
pub(crate) fn assert_counters_agree(world: &World, watch: &Watch, before: (u64, u64)) {
    let deadline = clock::now_ns() + 3_000_000_000;
    loop {
        let grown =
            (retransmitted(&world.client) - before.0, retransmitted(&world.server) - before.1);
        let events = watch.events();
        let told = (segments(&events, CLIENT), segments(&events, SERVER));
        if told == grown {
            return;
        }
        assert!(clock::now_ns() < deadline, "told {told:?}, the kernel counted {grown:?}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

pub(crate) fn counters(world: &World) -> (u64, u64) {
    (retransmitted(&world.client), retransmitted(&world.server))
}
