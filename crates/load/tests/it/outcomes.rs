//! Each way an exchange can end, told apart.

use std::net::TcpListener;
use std::time::Duration;

use temblor_event::Outcome;
use temblor_load::{Arrivals, Settings};

use crate::recorded::{PREFIX, Recording, settings};
use crate::server::{Reply, Server};

/// Every reply with the outcome it must lead to.
const SCRIPT: [(Reply, Outcome); 16] = [
    (Reply::Acknowledge, Outcome::Ok),
    (Reply::Refuse(400), Outcome::Fail),
    (Reply::Hang, Outcome::Unsure),
    (Reply::Refuse(503), Outcome::Fail),
    (Reply::Close, Outcome::Unsure),
    (Reply::Acknowledge, Outcome::Ok),
    (Reply::CloseMidBody, Outcome::Unsure),
    (Reply::Reset, Outcome::Unsure),
    (Reply::ProxyError(502), Outcome::Unsure),
    (Reply::ProxyError(503), Outcome::Unsure),
    (Reply::ProxyError(504), Outcome::Unsure),
    (Reply::NoId, Outcome::Unsure),
    (Reply::Swallow, Outcome::Unsure),
    (Reply::Garbage, Outcome::Unsure),
    (Reply::Huge, Outcome::Unsure),
    (Reply::Refuse(409), Outcome::Fail),
];

fn scripted(number: u64) -> (Reply, Outcome) {
    SCRIPT[(number % SCRIPT.len() as u64) as usize]
}

#[test]
fn every_reply_leads_to_its_outcome_and_no_request_is_sent_twice() {
    let server = Server::start(|number| scripted(number).0);
    let recorded = Recording::start(Settings {
        rate_per_second: 320.0,
        arrivals: Arrivals::Poisson,
        requests_max: 480,
        timeout: Duration::from_millis(700),
        ..settings(server.url())
    })
    .unwrap()
    .wait();
    let seen = server.seen();
    recorded.hold_against(&seen);
    assert_eq!(recorded.finished.planned, 480);
    assert!(seen.len() as u64 <= 480 - recorded.finished.unsent);
    for order in &recorded.orders {
        let number = order.key[PREFIX.len() + 1..].parse().unwrap();
        let (reply, outcome) = scripted(number);
        // A machine that stops for 700 ms makes anything time out; then it is unsure.
        let late = order.error.as_deref().is_some_and(|error| error.contains("time-out"));
        assert!(order.outcome == outcome || late, "{reply:?} led to {order:?}");
        let has_status = !matches!(
            reply,
            Reply::Hang | Reply::Swallow | Reply::Close | Reply::Reset | Reply::Garbage
        );
        assert!(order.status.is_some() == has_status || late, "{reply:?} led to {order:?}");
    }
    assert!(recorded.finished.timed_out >= 40, "{:?}", recorded.finished);
}

#[test]
fn connections_closed_without_notice_break_no_promise() {
    let server = Server::start(|_| Reply::AcknowledgeThenClose);
    let recorded =
        Recording::start(Settings { requests_max: 200, ..settings(server.url()) }).unwrap().wait();
    recorded.hold_against(&server.seen());
    let finished = &recorded.finished;
    // The close is usually noticed before the next request; a request that meets it is unsure.
    assert_eq!(finished.ok + finished.unsure, 200);
    assert!(finished.ok >= 150, "{finished:?}");
}

#[test]
fn a_refused_connection_is_a_refusal() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let recorded =
        Recording::start(Settings { requests_max: 100, ..settings(url) }).unwrap().wait();
    recorded.hold_against(&[]);
    assert_eq!(recorded.finished.failed, 100);
    for order in &recorded.orders {
        assert_eq!((order.sent_ns, order.status), (None, None));
        assert!(order.error.as_deref().unwrap().contains("refused"), "{order:?}");
    }
}

#[test]
fn a_connection_that_is_never_made_is_a_refusal_and_one_that_was_is_not() {
    // With a backlog of nothing and nobody accepting, the kernel takes one or two connections
    // and lets every further attempt wait.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    rustix::net::listen(&listener, 0).unwrap();
    let recorded = Recording::start(Settings {
        requests_max: 40,
        timeout: Duration::from_millis(400),
        ..settings(format!("http://{}", listener.local_addr().unwrap()))
    })
    .unwrap()
    .wait();
    let (failed, unsure) = (recorded.of(Outcome::Fail), recorded.of(Outcome::Unsure));
    assert_eq!(failed.len() + unsure.len(), 40);
    assert!(!unsure.is_empty() && unsure.len() <= 3, "{unsure:?}");
    for order in failed {
        assert!(order.sent_ns.is_none(), "{order:?}");
        assert!(order.error.as_deref().unwrap().contains("no connection within"), "{order:?}");
    }
    assert_eq!(recorded.finished.timed_out, unsure.len() as u64);
}
