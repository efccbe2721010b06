//! Who talked to whom, by phase.

use temblor_event::{Distribution, Event, ProbeWindow, Reading};
use temblor_judge::{EdgeEnd, EdgeResult};

use crate::good_run::{good_run, judged, ms};

/// A second that ends then, milliseconds of the good run: turns of one end, all in one bucket.
fn second(end: u64, service: &str, role: &str, peer: &str, turns: u64, bucket: u16) -> Event {
    let mut window = ProbeWindow::new("edges", service, 1_000_000_000);
    let labels = [("role", role), ("peer", peer)];
    let buckets = vec![(bucket, turns)].into();
    let took = Distribution { sum: 1, max: u64::MAX, buckets };
    window.put("turn_latency", &labels, Reading::Distribution(took));
    window.put("bytes_sent", &labels, Reading::Count(turns * 100));
    window.put("bytes_received", &labels, Reading::Count(turns * 300));
    Event::at(ms(end), window)
}

fn edges(told: impl IntoIterator<Item = Event>) -> Vec<EdgeResult> {
    let mut events = good_run();
    events.extend(told);
    judged(&events).result.evidence.edges
}

#[test]
fn a_probe_that_was_not_there_gives_no_edges() {
    assert!(edges([]).is_empty());
}

#[test]
fn an_edge_that_both_ends_saw_is_one_and_its_figures_are_those_of_who_asked() {
    // The baseline ends and the fault begins at 111 s, the fault ends at 121 s.
    let calm = (102..=110).flat_map(|s| {
        [
            second(s * 1000, "api", "calls", "db", 50, 240),
            second(s * 1000, "db", "serves", "api", 50, 230),
            second(s * 1000, "db", "serves", "psql", 1, 230),
        ]
    });
    // Nothing is asked while the fault is in place, and both ends are watched.
    let bad = (112..=120).flat_map(|s| {
        [
            Event::at(ms(s * 1000), ProbeWindow::new("edges", "api", 1_000_000_000)),
            second(s * 1000, "db", "serves", "psql", 2, 230),
        ]
    });
    let edges = edges(calm.chain(bad));
    let names: Vec<_> = edges.iter().map(|e| (e.from.as_str(), e.to.as_str())).collect();
    assert_eq!(names, [("api", "db"), ("psql", "db")], "the busiest first");

    let asked = &edges[0];
    assert_eq!(asked.seen_at, EdgeEnd::Asks);
    let (calm, bad) = (&asked.phases["baseline"], &asked.phases["fault"]);
    assert!((calm.turns_per_second - 50.0).abs() < 1e-9, "{calm:?}");
    assert!((calm.bytes_per_second - 20_000.0).abs() < 1e-9, "{calm:?}");
    assert!(calm.p99_seconds > Some(0.0) && calm.p50_seconds == calm.p99_seconds, "{calm:?}");
    assert!(bad.turns_per_second.abs() < 1e-9 && bad.p99_seconds.is_none(), "{bad:?}");

    assert_eq!(edges[1].seen_at, EdgeEnd::Answers, "who asked was not watched");
    assert!((edges[1].phases["fault"].turns_per_second - 2.0).abs() < 1e-9);
}
