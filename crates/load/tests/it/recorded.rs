//! What a load emitted, and the checks that hold for every load whatever the server did.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer;
use temblor_event::{Body, Event, LoadFinished, LoadSecond, OrderOutcome, Outcome, clock};
use temblor_load::{Arrivals, Error, Load, Running, Settings};

use crate::server::Seen;

pub(crate) const PREFIX: &str = "tmb-test";

pub(crate) fn settings(url: String) -> Settings {
    Settings {
        url,
        profile: "orders".into(),
        rate_per_second: 200.0,
        arrivals: Arrivals::Constant,
        timeout: Duration::from_secs(5),
        seed: 11,
        key_prefix: PREFIX.into(),
        in_flight_max: 1_000,
        duration_max: Duration::from_secs(60),
        requests_max: 100_000,
    }
}

/// Waits until the condition holds; panics after ten seconds.
pub(crate) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline_ns = clock::now_ns() + 10_000_000_000;
    while !holds() {
        assert!(clock::now_ns() < deadline_ns, "waited in vain until {what}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// A load whose events are kept.
pub(crate) struct Recording {
    pub(crate) running: Running,
    events: Arc<Mutex<Vec<Event>>>,
    start_ns: u64,
}

impl Recording {
    pub(crate) fn start(settings: Settings) -> Result<Self, Error> {
        Self::start_with(settings, |_| {})
    }

    /// With something that happens on the load's own thread before each event is kept.
    pub(crate) fn start_with(
        settings: Settings,
        before: impl Fn(&Event) + Send + Sync + 'static,
    ) -> Result<Self, Error> {
        let events = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&events);
        let running = Load::start(settings, move |event| {
            before(&event);
            sink.lock().unwrap().push(event);
        })?;
        let start_ns = running.start_ns();
        Ok(Self { running, events, start_ns })
    }

    /// Until its own bound.
    pub(crate) fn wait(self) -> Recorded {
        let finished = self.running.wait().unwrap();
        read(&self.events, self.start_ns, Some(&finished))
    }

    pub(crate) fn stop(self) -> Recorded {
        let finished = self.running.stop().unwrap();
        read(&self.events, self.start_ns, Some(&finished))
    }

    /// Dropped as it runs.
    pub(crate) fn abandon(self) -> Recorded {
        drop(self.running);
        read(&self.events, self.start_ns, None)
    }
}

pub(crate) struct Recorded {
    pub(crate) orders: Vec<OrderOutcome>,
    pub(crate) seconds: Vec<LoadSecond>,
    pub(crate) finished: LoadFinished,
    /// All seconds' latencies.
    pub(crate) latencies: Histogram<u64>,
}

impl Recorded {
    pub(crate) fn of(&self, outcome: Outcome) -> Vec<&OrderOutcome> {
        self.orders.iter().filter(|order| order.outcome == outcome).collect()
    }

    /// The ledger's promises against the server's own memory.
    pub(crate) fn hold_against(&self, seen: &[Seen]) {
        let mut by_key = BTreeMap::new();
        for seen in seen {
            assert_eq!(seen.order["client_order_id"], seen.key.as_str());
            let before = by_key.insert(seen.key.as_str(), seen);
            assert!(before.is_none(), "{} was sent twice", seen.key);
        }
        for order in &self.orders {
            let seen = by_key.remove(order.key.as_str());
            let stored = seen.is_some_and(|seen| seen.stored);
            match order.outcome {
                Outcome::Ok => {
                    assert!(stored, "{order:?} but {seen:?}");
                    let id = format!("id-of-{}", order.key);
                    assert_eq!(order.order_id.as_deref(), Some(id.as_str()));
                }
                Outcome::Fail => assert!(!stored, "{order:?} but {seen:?}"),
                Outcome::Unsure => assert!(order.sent_ns.is_some(), "{order:?}"),
                Outcome::Unsent => assert!(seen.is_none() && order.sent_ns.is_none(), "{order:?}"),
            }
        }
        assert!(by_key.is_empty(), "the server saw what the ledger does not know: {by_key:?}");
    }
}

/// Reads the events, and checks what holds for every load.
fn read(events: &Mutex<Vec<Event>>, start_ns: u64, returned: Option<&LoadFinished>) -> Recorded {
    let (mut orders, mut seconds) = (Vec::new(), Vec::new());
    let mut finished = None;
    let mut latencies = Histogram::<u64>::new(3).unwrap();
    let mut keys = BTreeSet::new();
    for event in events.lock().unwrap().iter() {
        assert!(finished.is_none(), "{event:?} after the end");
        match &event.body {
            Body::Order(order) => {
                assert!(keys.insert(order.key.clone()), "{} has two outcomes", order.key);
                assert!(event.t_ns >= order.sent_ns.unwrap_or(order.planned_ns));
                assert!(order.sent_ns.is_none_or(|sent_ns| sent_ns >= order.planned_ns));
                assert_eq!(order.error.is_none(), order.outcome == Outcome::Ok, "{order:?}");
                orders.push(order.clone());
            }
            Body::LoadSecond(second) => {
                assert_eq!(event.t_ns, start_ns + seconds.len() as u64 * 1_000_000_000);
                // Every order of it is there already, and they are what it says.
                let of = |outcome: Option<Outcome>| {
                    let mine = |order: &&OrderOutcome| {
                        let offset_ns = order.planned_ns - event.t_ns.min(order.planned_ns);
                        order.planned_ns >= event.t_ns && offset_ns < 1_000_000_000
                    };
                    let wanted =
                        |order: &&OrderOutcome| outcome.is_none_or(|it| it == order.outcome);
                    orders.iter().filter(mine).filter(wanted).count() as u64
                };
                assert_eq!(second.planned, of(None));
                assert_eq!(second.ok, of(Some(Outcome::Ok)));
                assert_eq!(second.failed, of(Some(Outcome::Fail)));
                assert_eq!(second.unsure, of(Some(Outcome::Unsure)));
                assert_eq!(second.unsent, of(Some(Outcome::Unsent)));
                let bytes =
                    base64::engine::general_purpose::STANDARD.decode(&second.latency).unwrap();
                let read: Histogram<u64> =
                    Deserializer::new().deserialize(&mut bytes.as_slice()).unwrap();
                assert_eq!(read.len(), second.ok);
                latencies.add(read).unwrap();
                seconds.push(second.clone());
            }
            Body::LoadFinished(end) => finished = Some(end.clone()),
            other => panic!("not the load's to say: {other:?}"),
        }
    }
    let finished = finished.expect("a load ends with its account");
    assert!(returned.is_none_or(|returned| *returned == finished));
    let sum = |of: fn(&LoadSecond) -> u64| seconds.iter().map(of).sum::<u64>();
    assert_eq!(finished.planned, orders.len() as u64);
    assert_eq!(finished.planned, sum(|s| s.planned));
    assert_eq!(finished.planned, sum(|s| s.ok + s.failed + s.unsure + s.unsent));
    assert_eq!(finished.ok, sum(|s| s.ok));
    assert_eq!(finished.failed, sum(|s| s.failed));
    assert_eq!(finished.unsure, sum(|s| s.unsure));
    assert_eq!(finished.unsent, sum(|s| s.unsent));
    // Numbers run from 0 without a gap: nothing planned is missing.
    for number in 0..finished.planned {
        assert!(keys.contains(&format!("{PREFIX}-{number}")), "{number} is missing");
    }
    Recorded { orders, seconds, finished, latencies }
}
