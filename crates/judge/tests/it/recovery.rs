//! From healing on.

use temblor_event::{Body, Event, Outcome, TcpState};
use temblor_judge::RecoveryResult;

use crate::good_run::{
    CHECK, check, connection, edit, edit_start, gauge, good_run, judged, ms, remove, spoil_orders,
    state,
};

fn recovered(
    what: &str,
    spoil: impl FnOnce(&mut Vec<Event>),
    (first, backlog_drained, full): (Option<f64>, Option<f64>, Option<f64>),
) {
    let mut events = good_run();
    spoil(&mut events);
    let recovery = judged(&events).result.recovery_seconds;
    let expected = RecoveryResult { first, backlog_drained, full, services: recovery.services };
    assert_eq!(recovery, expected, "{what}");
}

const GOOD: (Option<f64>, Option<f64>, Option<f64>) = (Some(0.8), Some(2.5), Some(2.5));

#[test]
fn the_good_run() {
    recovered("as it is", |_| (), GOOD);
}

#[test]
fn the_first_connection() {
    let no_connection = |events: &mut Vec<Event>| {
        remove(events, |t, b| matches!(b, Body::TcpState(_)) && t == ms(121_800));
    };
    recovered("else the first check", no_connection, (Some(2.3), Some(2.5), Some(2.5)));
    recovered(
        "one that was made before healing is none",
        |events| {
            no_connection(events);
            let (from, to) = (TcpState::SynSent, TcpState::Established);
            events.push(state(120_999, connection(20), from, to, 0));
        },
        (Some(2.3), Some(2.5), Some(2.5)),
    );
    recovered(
        "one that is made at the very moment is",
        |events| {
            let (from, to) = (TcpState::SynSent, TcpState::Established);
            events.push(state(121_000, connection(20), from, to, 0));
        },
        (Some(0.0), Some(2.5), Some(2.5)),
    );
    recovered(
        "to somebody else is none",
        |events| {
            let mut other = connection(20);
            other.peer = Some("redis".to_owned());
            let (from, to) = (TcpState::SynSent, TcpState::Established);
            events.push(state(121_100, other, from, to, 0));
        },
        GOOD,
    );
    recovered(
        "a check that never failed does not show it",
        |events| {
            no_connection(events);
            remove(events, |_, b| matches!(b, Body::Check(c) if !c.ok));
        },
        (None, Some(2.5), Some(2.5)),
    );
}

#[test]
fn the_backlog() {
    recovered(
        "one reading above the baseline's greatest",
        |events| events.push(gauge(127_700, 3.0)),
        // 123.5 to 127.5 is not 5 s; the next reading at or below 2 is that of 128.5.
        (Some(0.8), Some(2.5), Some(7.5)),
    );
    recovered(
        "not a number is not drained",
        |events| {
            edit(events, |t, b| match b {
                Body::Gauge(gauge) if t >= ms(123_000) && t < ms(125_000) => {
                    gauge.value = f64::NAN;
                    true
                }
                _ => false,
            });
        },
        (Some(0.8), Some(4.5), Some(4.5)),
    );
    recovered(
        "never read in the baseline, its bound is not known",
        |events| remove(events, |t, b| matches!(b, Body::Gauge(_)) && t < ms(111_000)),
        (Some(0.8), None, None),
    );
    recovered(
        "no backlog is named",
        |events| edit_start(events, |started| started.backlogs.clear()),
        (Some(0.8), None, Some(2.3)),
    );
    recovered(
        "a second backlog that drains later",
        |events| {
            edit_start(events, |started| started.backlogs.push("other".to_owned()));
            let mut others: Vec<Event> = (101..141).map(|s| gauge(s * 1_000 + 600, 0.0)).collect();
            edit(&mut others, |t, b| match b {
                Body::Gauge(gauge) => {
                    gauge.gauge = "other".to_owned();
                    gauge.value = if (ms(111_000)..ms(126_000)).contains(&t) { 1.0 } else { 0.0 };
                    true
                }
                _ => false,
            });
            events.extend(others);
        },
        (Some(0.8), Some(5.6), Some(5.6)),
    );
}

#[test]
fn steady_again() {
    recovered(
        "a failed order in between puts it off to the second after",
        |events| spoil_orders(events, 126, 1, Outcome::Fail),
        (Some(0.8), Some(2.5), Some(6.0)),
    );
    recovered(
        "a failed check in between puts it off to the next that passes",
        |events| events.push(check(126_900, CHECK, false, "")),
        (Some(0.8), Some(2.5), Some(6.3)),
    );
    recovered(
        "a hole in the load vouches for nothing",
        |events| remove(events, |t, b| matches!(b, Body::LoadSecond(_)) && t == ms(126_000)),
        (Some(0.8), Some(2.5), Some(6.0)),
    );
    recovered(
        "the data must reach to the stretch's end: here they do by a hair",
        |events| edit_start(events, |started| started.steady_hold_ns = ms(17_000)),
        // Checks are last asked at 140.3, the backlog is last read at 140.5.
        (Some(0.8), Some(2.5), None),
    );
    recovered(
        "16.8 s from 123.5 on is just what the checks cover",
        |events| edit_start(events, |started| started.steady_hold_ns = ms(16_800)),
        GOOD,
    );
    recovered(
        "while a fault is in place there is no recovery",
        |events| remove(events, |_, b| matches!(b, Body::FaultReverted(_))),
        (None, None, None),
    );
    recovered(
        "the run ends before it is steady",
        |events| events.retain(|event| event.t_ns < ms(127_000)),
        (Some(0.8), Some(2.5), None),
    );
}

#[test]
fn healing_is_the_last_of_several_faults_undone() {
    let mut events = good_run();
    let second: Vec<Event> = events
        .iter()
        .filter_map(|event| match event.body.clone() {
            Body::FaultInjected(mut fault) => {
                fault.id = 2;
                Some(Event::at(ms(112_000), fault))
            }
            Body::FaultReverted(mut fault) => {
                fault.id = 2;
                Some(Event::at(ms(122_000), fault))
            }
            _ => None,
        })
        .collect();
    events.extend(second);
    let result = judged(&events).result;
    let recovery = result.recovery_seconds;
    assert_eq!((recovery.backlog_drained, recovery.full), (Some(1.5), Some(1.5)));
    assert_eq!(result.faults.len(), 2);
    assert_eq!(result.faults[1].reverted_seconds, Some(11.0));
}
