//! The load keeps its own time, whatever the server does.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use temblor_event::{Body, Outcome, clock};
use temblor_load::{Arrivals, Settings};

use crate::recorded::{Recording, settings};
use crate::server::{Reply, Server};

#[test]
fn a_stall_shows_in_full_in_the_latencies() {
    let begin_ns = clock::now_ns() + 1_000_000_000;
    let end_ns = begin_ns + 1_000_000_000;
    let server = Server::start(move |_| {
        let stalled = (begin_ns..end_ns).contains(&clock::now_ns());
        if stalled { Reply::AcknowledgeAt(end_ns) } else { Reply::Acknowledge }
    });
    let recorded = Recording::start(Settings {
        rate_per_second: 200.0,
        requests_max: 600,
        ..settings(server.url())
    })
    .unwrap()
    .wait();
    recorded.hold_against(&server.seen());
    assert_eq!(recorded.finished.ok, 600, "{:?}", recorded.finished);
    let slow = recorded
        .latencies
        .iter_recorded()
        .filter(|bucket| bucket.value_iterated_to() > 100_000_000)
        .map(|bucket| bucket.count_since_last_iteration())
        .sum::<u64>();
    // Those planned in the first 0.9 s of the stall wait longer than 0.1 s. A closed loop would
    // have seen one of them for each connection. A busy machine adds some, but not half of all.
    assert!((160..300).contains(&slow), "{slow} requests saw the stall");
    let max_ns = recorded.latencies.max();
    assert!((950_000_000..2_500_000_000).contains(&max_ns), "{max_ns}");
    assert!(recorded.latencies.value_at_quantile(0.99) > 800_000_000);
    assert!(recorded.latencies.value_at_quantile(0.5) < 100_000_000);
    // The planned times did not give way.
    assert_eq!(recorded.seconds.iter().map(|s| s.planned).collect::<Vec<_>>(), [200, 200, 200]);
}

#[test]
fn the_generators_own_lag_counts_in_the_latencies_and_is_shown() {
    let server = Server::start(|_| Reply::Acknowledge);
    let first = AtomicBool::new(true);
    let recorded = Recording::start_with(
        Settings { requests_max: 200, ..settings(server.url()) },
        move |event| {
            if matches!(event.body, Body::Order(_)) && first.swap(false, Ordering::Relaxed) {
                // Holds up the thread that sends.
                std::thread::park_timeout(Duration::from_millis(500));
            }
        },
    )
    .unwrap()
    .wait();
    recorded.hold_against(&server.seen());
    assert_eq!(recorded.finished.ok, 200);
    let lag_ns_max = recorded.seconds[0].lag_ns_max;
    assert!((400_000_000..900_000_000).contains(&lag_ns_max), "{lag_ns_max}");
    // Counted from when they were really sent, none of them would be slow.
    let max_ns = recorded.latencies.max();
    assert!(max_ns >= lag_ns_max - lag_ns_max / 500, "{max_ns} {lag_ns_max}");
    assert!(recorded.latencies.value_at_quantile(0.75) > 50_000_000);
}

#[test]
fn what_finds_no_room_is_unsent_and_never_silently_dropped() {
    let server = Server::start(|_| Reply::Hang);
    let recorded = Recording::start(Settings {
        rate_per_second: 300.0,
        requests_max: 300,
        in_flight_max: 5,
        timeout: Duration::from_millis(300),
        ..settings(server.url())
    })
    .unwrap()
    .wait();
    let seen = server.seen();
    recorded.hold_against(&seen);
    // Five at a time, for 0.3 s each, in one second of planning.
    assert!((5..=25).contains(&seen.len()), "{}", seen.len());
    assert!(recorded.finished.unsent >= 275, "{:?}", recorded.finished);
    for order in recorded.of(Outcome::Unsent) {
        assert!(order.error.as_deref().unwrap().contains("under way"), "{order:?}");
    }
}

#[test]
fn a_slow_rate_still_has_every_second() {
    let server = Server::start(|_| Reply::Acknowledge);
    let recorded = Recording::start(Settings {
        rate_per_second: 0.5,
        duration_max: Duration::from_millis(3_100),
        ..settings(server.url())
    })
    .unwrap()
    .wait();
    let planned: Vec<_> = recorded.seconds.iter().map(|second| second.planned).collect();
    assert_eq!(planned, [1, 0, 1, 0]);
    assert_eq!(recorded.finished.ok, 2);
}

#[test]
fn the_same_seed_sends_the_same_orders_at_the_same_offsets() {
    let run = |seed| {
        let server = Server::start(|_| Reply::Acknowledge);
        let recording = Recording::start(Settings {
            arrivals: Arrivals::Poisson,
            requests_max: 50,
            seed,
            ..settings(server.url())
        })
        .unwrap();
        let start_ns = recording.running.start_ns();
        let recorded = recording.wait();
        let mut offsets: Vec<_> =
            recorded.orders.iter().map(|order| order.planned_ns - start_ns).collect();
        offsets.sort_unstable();
        let mut orders: Vec<_> =
            server.seen().into_iter().map(|seen| (seen.key, seen.order.to_string())).collect();
        orders.sort();
        (offsets, orders)
    };
    let first = run(5);
    assert_eq!(first, run(5));
    let other = run(6);
    assert!(first.0 != other.0 && first.1 != other.1);
}
