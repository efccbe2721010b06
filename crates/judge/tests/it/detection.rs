//! Who noticed first, and when.

use temblor_event::{Body, Connection, Event, Outcome, TcpReset, TcpState};

use crate::good_run::{
    CHECK, check, connection, edit, good_run, judged, ms, remove, retransmit, sides, spoil_orders,
    state,
};

/// Spoils the good run and looks at the application's detection.
fn application(what: &str, spoil: impl FnOnce(&mut Vec<Event>), expected: Option<f64>) {
    let mut events = good_run();
    spoil(&mut events);
    assert_eq!(judged(&events).result.detection_seconds, expected, "{what}");
}

/// The same for the kernel's.
fn kernel(what: &str, spoil: impl FnOnce(&mut Vec<Event>), expected: Option<f64>) {
    let mut events = good_run();
    spoil(&mut events);
    assert_eq!(judged(&events).result.kernel_detection_seconds, expected, "{what}");
}

fn without_checks(events: &mut Vec<Event>) {
    remove(events, |_, body| matches!(body, Body::Check(_)));
}

#[test]
fn by_a_check() {
    application("the check says no", |_| (), Some(1.3));
    application(
        "a check that had failed in the baseline is no sign",
        |events| events.push(check(105_900, CHECK, false, "")),
        None,
    );
    application(
        "a check that was never asked before is no sign",
        |events| {
            without_checks(events);
            events.push(check(112_000, "new", false, ""));
        },
        None,
    );
    application(
        "just at the injection",
        |events| events.push(check(111_000, CHECK, false, "")),
        Some(0.0),
    );
    application(
        "the earliest of two checks",
        |events| {
            events.push(check(105_000, "other", true, ""));
            events.push(check(111_700, "other", false, ""));
        },
        Some(0.7),
    );
}

/// The seconds that begin in these, milliseconds of the good run, take five times the steady bound.
fn slow_seconds(events: &mut [Event], begin: std::ops::Range<u64>) {
    edit(events, |t, body| match body {
        Body::LoadSecond(second) if (ms(begin.start)..ms(begin.end)).contains(&t) => {
            second.latency = crate::good_run::histogram(10, 250);
            true
        }
        _ => false,
    });
}

#[test]
fn by_a_slow_second() {
    application(
        "all is accepted, and late",
        |events| {
            without_checks(events);
            slow_seconds(events, 113_000..114_000);
        },
        Some(3.0),
    );
    application(
        "the baseline had a slow second, too",
        |events| {
            without_checks(events);
            slow_seconds(events, 103_000..104_000);
            slow_seconds(events, 113_000..114_000);
        },
        None,
    );
    application(
        "and never two in a row",
        |events| {
            without_checks(events);
            slow_seconds(events, 103_000..104_000);
            slow_seconds(events, 113_000..116_000);
        },
        Some(4.0),
    );
}

#[test]
fn by_an_order() {
    application(
        "an order fails before the check does",
        // The first order of the second that begins at 112 is answered 5 ms later.
        |events| spoil_orders(events, 112, 1, Outcome::Fail),
        Some(1.005),
    );
    application(
        "an order without an answer",
        |events| {
            without_checks(events);
            spoil_orders(events, 115, 1, Outcome::Unsure);
        },
        Some(4.005),
    );
    application(
        "an order that was never sent is the load's own fault",
        |events| {
            without_checks(events);
            spoil_orders(events, 115, 1, Outcome::Unsent);
        },
        None,
    );
    application(
        "an order planned before the injection says nothing of it",
        |events| {
            without_checks(events);
            edit(events, |_, body| match body {
                Body::Order(order) if order.planned_ns == ms(110_900) => {
                    order.outcome = Outcome::Fail;
                    true
                }
                _ => false,
            });
            for event in events {
                if matches!(&event.body, Body::Order(o) if o.planned_ns == ms(110_900)) {
                    event.t_ns = ms(111_500);
                }
            }
        },
        None,
    );
}

#[test]
fn by_a_second_of_load_where_errors_are_usual() {
    application(
        "a second of the baseline is bad: another one is no sign, a second one in a row is",
        |events| {
            without_checks(events);
            for second in [105, 112, 114, 115] {
                spoil_orders(events, second, 1, Outcome::Fail);
            }
        },
        Some(5.0),
    );
    application(
        "and without conditions nothing is",
        |events| {
            without_checks(events);
            spoil_orders(events, 105, 1, Outcome::Fail);
            spoil_orders(events, 114, 1, Outcome::Fail);
            crate::good_run::edit_start(events, |started| started.steady_state.clear());
        },
        None,
    );
}

fn between(service: &str, peer: Option<&str>) -> Connection {
    Connection {
        service: Some(service.to_owned()),
        peer: peer.map(str::to_owned),
        ..connection(99)
    }
}

fn quiet(events: &mut Vec<Event>) {
    remove(events, |_, body| matches!(body, Body::TcpRetransmit(_) | Body::TcpState(_)));
}

#[test]
fn by_the_kernel() {
    kernel("a retransmission", |_| (), Some(0.2));
    kernel(
        "one before the injection is none",
        |events| events.push(retransmit(110_999, connection(11), 0)),
        Some(0.2),
    );
    kernel(
        "one just at the injection is",
        |events| events.push(retransmit(111_000, connection(11), 0)),
        Some(0.0),
    );
    kernel(
        "another connection's is none of the fault's",
        |events| events.push(retransmit(111_100, between("trading-api", Some("redis")), 0)),
        Some(0.2),
    );
    kernel(
        "the other side's is",
        |events| events.push(retransmit(111_100, between("postgres", Some("trading-api")), 0)),
        Some(0.1),
    );
    kernel(
        "with one side known, every connection of that side",
        |events| {
            sides(events, "api", "192.0.2.1");
            events.push(retransmit(111_100, between("trading-api", None), 0));
        },
        Some(0.1),
    );
    kernel(
        "with no side known, every connection",
        |events| {
            sides(events, "somebody", "192.0.2.1");
            events.push(retransmit(111_100, between("nginx", None), 0));
        },
        Some(0.1),
    );
    kernel(
        "by the names of the experiment, and by address",
        |events| {
            sides(events, "api", "10.0.0.2");
            events.push(retransmit(111_100, between("trading-api", Some("redis")), 0));
        },
        Some(0.2),
    );
    kernel(
        "a reset",
        |events| {
            quiet(events);
            let reset = TcpReset { conn: connection(11), sent: false, state: None };
            events.push(Event::at(ms(111_400), reset));
        },
        Some(0.4),
    );
    for (what, from, errno, expected) in [
        ("an attempt that was given up", TcpState::SynSent, 0, Some(0.5)),
        ("an attempt that was refused", TcpState::SynSent, 111, Some(0.5)),
        ("a close with an error", TcpState::Established, 110, Some(0.5)),
        ("a close without one", TcpState::Established, 0, None),
    ] {
        kernel(
            what,
            |events| {
                quiet(events);
                events.push(state(111_500, connection(5), from, TcpState::Close, errno));
            },
            expected,
        );
    }
}

#[test]
fn without_a_fault_there_is_nothing_to_notice() {
    let mut events = good_run();
    remove(&mut events, |_, b| matches!(b, Body::FaultInjected(_) | Body::FaultReverted(_)));
    let result = judged(&events).result;
    assert_eq!((result.detection_seconds, result.kernel_detection_seconds), (None, None));
    assert_eq!(result.recovery_seconds, temblor_judge::RecoveryResult::default());
    // Then times count from the first event.
    assert_eq!(result.phases[0].start_seconds, 1.0);
}
