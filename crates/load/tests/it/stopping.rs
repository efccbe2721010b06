//! A load ends when it is told to, with a whole account.

use std::time::Duration;

use temblor_event::{Outcome, clock};
use temblor_load::Settings;

use crate::recorded::{Recording, settings, wait_until};
use crate::server::{Reply, Server};

#[test]
fn a_stop_waits_for_what_is_in_flight_and_no_longer_than_the_time_out() {
    let server = Server::start(|number| if number < 50 { Reply::Hang } else { Reply::Acknowledge });
    let timeout = Duration::from_millis(600);
    let recording = Recording::start(Settings { timeout, ..settings(server.url()) }).unwrap();
    wait_until("60 orders were seen", || server.seen().len() >= 60);
    let live = recording.running.live();
    assert!(live.in_flight > 0 && live.tally.planned >= 60, "{live:?}");
    assert!(!recording.running.is_finished());
    let stopped_ns = clock::now_ns();
    let recorded = recording.stop();
    let took_ns = clock::now_ns() - stopped_ns;
    assert!(took_ns < 1_600_000_000, "the stop took {took_ns} ns");
    recorded.hold_against(&server.seen());
    let finished = &recorded.finished;
    assert!(finished.unsure == 50 && finished.timed_out == 50, "{finished:?}");
    assert!(recorded.orders.iter().all(|order| order.planned_ns <= stopped_ns + 20_000_000));
}

#[test]
fn a_dropped_load_ends_at_once_with_what_is_in_flight_unsure() {
    let server = Server::start(|_| Reply::Hang);
    let recording =
        Recording::start(Settings { timeout: Duration::from_secs(60), ..settings(server.url()) })
            .unwrap();
    wait_until("20 orders were seen", || server.seen().len() >= 20);
    let dropped_ns = clock::now_ns();
    let recorded = recording.abandon();
    let took_ns = clock::now_ns() - dropped_ns;
    assert!(took_ns < 1_500_000_000, "the end took {took_ns} ns");
    recorded.hold_against(&server.seen());
    assert!(recorded.finished.unsure >= 20, "{:?}", recorded.finished);
    assert_eq!(recorded.finished.timed_out, 0);
    for order in recorded.of(Outcome::Unsure) {
        assert!(order.error.as_deref().unwrap().contains("the load ended"), "{order:?}");
    }
}

#[test]
fn a_load_stopped_before_its_first_request_has_an_empty_account() {
    let server = Server::start(|_| Reply::Acknowledge);
    let recording =
        Recording::start(Settings { rate_per_second: 0.01, ..settings(server.url()) }).unwrap();
    let recorded = recording.stop();
    assert!(recorded.finished.planned <= 1 && recorded.seconds.len() <= 1);
}

#[test]
fn the_display_shows_the_last_complete_second() {
    let server = Server::start(|_| Reply::Acknowledge);
    let recording = Recording::start(settings(server.url())).unwrap();
    wait_until("a second is complete", || recording.running.live().last_second.is_some());
    let live = recording.running.live();
    let last = live.last_second.unwrap();
    assert_eq!(last.tally.planned, 200);
    assert_eq!(last.tally.check(), Ok(()));
    assert!(last.p99_ns.is_some_and(|p99_ns| p99_ns > 0));
    assert!(live.elapsed >= Duration::from_secs(1));
    let recorded = recording.stop();
    assert!(recorded.finished.planned >= live.tally.planned);
}
