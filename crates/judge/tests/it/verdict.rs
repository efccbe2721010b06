//! Verdicts and reasons: the good run passes, and every way to spoil it is told.

use temblor_event::{Aborted, Body, Event, Figure, LeftBehind, Op, Outcome, PhaseRole};
use temblor_judge::Verdict;

use crate::good_run::{
    edit, edit_start, expectation, good_run, histogram, judged, ms, remove, spoil_orders,
};

#[test]
fn the_good_run_passes_and_says_why() {
    let result = judged(&good_run()).result;
    assert_eq!(result.verdict, Verdict::Pass);
    assert_eq!(
        result.reasons,
        [
            "0 of 400 acknowledged orders lost",
            "0 orders in the database more than once (expected 0)",
            "0 orders in the database, refused or never sent (expected 0)",
            "steady again 2.5 s after healing (expected <= 10s)",
            "network.partition: 3,482 packets dropped",
        ]
    );
    assert_eq!(result.started, "2026-08-07T10:15:02.000Z");
    assert_eq!(result.duration_seconds, 43.0);
    assert!(result.load_account.unwrap().balanced);
    assert!(result.steady_state.iter().all(|condition| condition.held));
    let phases: Vec<_> = result
        .phases
        .iter()
        .map(|p| (p.name.as_str(), p.start_seconds, p.end_seconds, p.retransmitted_segments))
        .collect();
    assert_eq!(
        phases,
        [
            ("baseline", -10.0, 0.0, Some(0)),
            ("fault", 0.0, 10.0, Some(4)),
            ("recovery", 10.0, 30.0, Some(0)),
        ]
    );
    let baseline = result.phases[0].load.as_ref().unwrap();
    assert_eq!((baseline.planned, baseline.ok, baseline.success), (100, 100, Some(1.0)));
    assert_eq!((baseline.errors, baseline.throughput_per_second), (Some(0.0), 10.0));
    let p99 = baseline.p99_seconds.unwrap();
    assert!((0.005..0.00505).contains(&p99), "{p99}");
    let fault = &result.phases[1];
    assert_eq!(fault.gauges["relay backlog"].max, 450.0);
    assert_eq!(
        (fault.checks["the API is ready"].asked, fault.checks["the API is ready"].passed),
        (10, 1)
    );
}

/// Spoils the good run and looks at the verdict and at the first reason.
fn check(what: &str, spoil: impl FnOnce(&mut Vec<Event>), verdict: Verdict, first_reason: &str) {
    let mut events = good_run();
    spoil(&mut events);
    let result = judged(&events).result;
    assert_eq!(result.verdict, verdict, "{what}: {:?}", result.reasons);
    assert!(
        result.reasons[0].starts_with(first_reason),
        "{what}: {:?} should begin with {first_reason:?}",
        result.reasons
    );
}

fn rows_change(events: &mut [Event], by: i64, change: impl Fn(&mut Vec<temblor_event::StoredRow>)) {
    edit(events, |_, body| match body {
        Body::LedgerRows(rows) => {
            change(&mut rows.rows);
            true
        }
        Body::LedgerRead(read) => {
            read.rows = read.rows.saturating_add_signed(by);
            true
        }
        _ => false,
    });
}

#[test]
fn planted_bugs_in_the_ledger_are_found() {
    check(
        "an acknowledged order is not in the database",
        |events| rows_change(events, -1, |rows| drop(rows.remove(17))),
        Verdict::Fail,
        "1 of 400 acknowledged orders lost (expected 0)",
    );
    check(
        "an order is in the database twice",
        |events| rows_change(events, 1, |rows| rows.push(rows[17].clone())),
        Verdict::Fail,
        "1 order in the database more than once",
    );
    check(
        "a refused order is in the database",
        |events| spoil_orders(events, 130, 1, Outcome::Fail),
        Verdict::Fail,
        "1 order in the database, refused or never sent",
    );
    check(
        "a row went missing between the read and the judge",
        |events| rows_change(events, 0, |rows| drop(rows.pop())),
        Verdict::Fail,
        "ledger.lost was not observed: the read found 400 rows, and the log has 399 of them",
    );
    check(
        "the database was never read",
        |events| remove(events, |_, body| matches!(body, Body::LedgerRead(_))),
        Verdict::Fail,
        "ledger.lost was not observed: the database was not read",
    );
}

#[test]
fn a_run_that_proves_nothing_is_invalid() {
    check(
        "the fault had no effect",
        |events| {
            edit(events, |_, body| match body {
                Body::FaultReverted(fault) => {
                    fault.effect.count = 0;
                    true
                }
                _ => false,
            });
        },
        Verdict::Invalid,
        "network.partition had no effect: 0 packets dropped",
    );
    check(
        "no fault was put in place",
        |events| {
            remove(events, |_, b| matches!(b, Body::FaultInjected(_) | Body::FaultReverted(_)));
        },
        Verdict::Invalid,
        "no fault was put in place, though the phase fault is one of fault",
    );
    check(
        "a second of load is missing from the log",
        |events| remove(events, |t, b| matches!(b, Body::LoadSecond(_)) && t == ms(130_000)),
        Verdict::Invalid,
        "the load's account does not balance: 400 planned",
    );
    check(
        "a second of load is there twice",
        |events| {
            let again = events.iter().find(|e| matches!(e.body, Body::LoadSecond(_))).cloned();
            events.extend(again);
        },
        Verdict::Invalid,
        "the load's account does not balance",
    );
    check(
        "the closing account is missing",
        |events| remove(events, |_, body| matches!(body, Body::LoadFinished(_))),
        Verdict::Invalid,
        "the load was planned, and gave no closing account",
    );
    check(
        "more than 1 % of the load was never sent",
        |events| spoil_orders(events, 130, 5, Outcome::Unsent),
        Verdict::Invalid,
        "the load was not delivered: 5 of 400 planned requests were never sent (1.25%)",
    );
    check(
        "requests failed in the baseline",
        |events| spoil_orders(events, 105, 1, Outcome::Fail),
        Verdict::Invalid,
        "there was no steady state to begin with: 99% of the requests accepted in the baseline \
         (expected >= 99.9%)",
    );
    check(
        "the baseline's latencies cannot be read",
        |events| {
            edit(events, |t_ns, body| match body {
                Body::LoadSecond(second) if t_ns == ms(105_000) => {
                    second.latency = "no histogram".to_owned();
                    true
                }
                _ => false,
            });
        },
        Verdict::Invalid,
        "there was no steady state to begin with: load.p99 in the baseline was not observed",
    );
    check(
        "there was no baseline",
        |events| {
            remove(
                events,
                |_, body| matches!(body, Body::Phase(mark) if mark.role == PhaseRole::Baseline),
            );
        },
        Verdict::Invalid,
        "there was no steady state to begin with: load.success in the baseline was not observed: \
         there was no load",
    );
}

#[test]
fn one_percent_unsent_is_still_a_load() {
    let mut events = good_run();
    spoil_orders(&mut events, 130, 4, Outcome::Unsent);
    rows_change(&mut events, -4, |rows| drop(rows.drain(290..294)));
    assert_eq!(judged(&events).result.verdict, Verdict::Pass);
}

#[test]
fn the_weightiest_cause_decides() {
    let left = |events: &mut Vec<Event>| {
        let what = "table inet temblor".to_owned();
        events.push(Event::at(ms(142_500), LeftBehind { what }));
    };
    let aborted = |events: &mut Vec<Event>| {
        let why = "interrupted by SIGINT".to_owned();
        events.push(Event::at(ms(130_000), Aborted { why }));
    };
    let invalid = |events: &mut Vec<Event>| spoil_orders(events, 130, 5, Outcome::Unsent);
    check("leak", left, Verdict::Leak, "left behind: table inet temblor");
    check("aborted", aborted, Verdict::Aborted, "aborted: interrupted by SIGINT");
    check(
        "all at once",
        |events| {
            invalid(events);
            aborted(events);
            left(events);
        },
        Verdict::Leak,
        "left behind",
    );
    check(
        "aborted and invalid",
        |events| {
            invalid(events);
            aborted(events);
        },
        Verdict::Aborted,
        "aborted",
    );
    check(
        "a fault that was not verified to be gone",
        |events| {
            edit(events, |_, body| match body {
                Body::FaultReverted(fault) => {
                    fault.verified = false;
                    true
                }
                _ => false,
            });
        },
        Verdict::Leak,
        "network.partition was undone, but is not verified to be gone",
    );
    check(
        "a fault that was never undone",
        |events| remove(events, |_, body| matches!(body, Body::FaultReverted(_))),
        Verdict::Leak,
        "network.partition was put in place and never undone",
    );
    check(
        "a log that breaks off in the middle of the fault",
        |events| events.retain(|event| event.t_ns < ms(115_000)),
        Verdict::Aborted,
        "the log ends early",
    );
    check(
        "a log that is nothing but a beginning",
        |events| events.truncate(1),
        Verdict::Aborted,
        "the log ends early",
    );
}

#[test]
fn bounds_are_exact() {
    for (figure, op, bound, during, held) in [
        (Figure::RecoveryFull, Op::Le, 2.5, None, true),
        (Figure::RecoveryFull, Op::Lt, 2.5, None, false),
        (Figure::RecoveryFull, Op::Ge, 2.5, None, true),
        (Figure::RecoveryFirst, Op::Le, 0.8, None, true),
        (Figure::RecoveryFirst, Op::Lt, 0.8, None, false),
        (Figure::Detection, Op::Le, 1.3, None, true),
        (Figure::Detection, Op::Lt, 1.3, None, false),
        (Figure::LoadSuccess, Op::Ge, 0.9975, None, true),
        (Figure::LoadSuccess, Op::Gt, 0.9975, None, false),
        (Figure::LoadErrors, Op::Le, 0.0025, None, true),
        (Figure::LoadErrors, Op::Lt, 0.0025, None, false),
        (Figure::LoadSuccess, Op::Ge, 0.995, Some("recovery"), true),
        (Figure::LoadSuccess, Op::Gt, 0.995, Some("recovery"), false),
        (Figure::LoadSuccess, Op::Ge, 1.0, Some("fault"), true),
        (Figure::LoadSuccess, Op::Ge, 0.0, Some("no such phase"), false),
        (Figure::LoadThroughput, Op::Ge, 10.0, Some("fault"), true),
        (Figure::LoadThroughput, Op::Gt, 10.0, Some("fault"), false),
        (Figure::LedgerLost, Op::Le, f64::NAN, None, false),
    ] {
        let mut events = good_run();
        spoil_orders(&mut events, 135, 1, Outcome::Unsure);
        let mut wanted = expectation(figure, op, bound, "?");
        wanted.during = during.map(str::to_owned);
        edit_start(&mut events, |started| started.expect = vec![wanted]);
        let result = judged(&events).result;
        let one = &result.expectations[0];
        assert_eq!(one.held, held, "{figure} {op:?} {bound} {during:?}: {:?}", one.observed);
        let verdict = if held { Verdict::Pass } else { Verdict::Fail };
        assert_eq!(result.verdict, verdict, "{figure} {op:?} {bound}");
    }
}

#[test]
fn a_figure_that_was_not_observed_never_holds() {
    type Kind = fn(&Body) -> bool;
    let needs: [(Figure, Kind); 3] = [
        // A backlog that nobody reads cannot be known to be drained.
        (Figure::RecoveryFull, |body| matches!(body, Body::Gauge(_))),
        (Figure::Detection, |body| matches!(body, Body::Check(_))),
        (Figure::LedgerLost, |body| matches!(body, Body::LedgerRead(_))),
    ];
    for (figure, needed) in needs {
        for (op, bound) in [(Op::Ge, 0.0), (Op::Le, 1e9), (Op::Eq, 0.0)] {
            let mut events = good_run();
            remove(&mut events, |_, body| needed(body));
            edit_start(&mut events, |s| s.expect = vec![expectation(figure, op, bound, "?")]);
            let result = judged(&events).result;
            assert_eq!(result.expectations[0].observed, None, "{figure}");
            assert_eq!(result.verdict, Verdict::Fail, "{figure} {op:?} {bound}");
            assert!(result.reasons[0].contains("not observed"), "{:?}", result.reasons);
        }
    }
}

#[test]
fn latencies_of_merged_seconds_are_merged_not_averaged() {
    let mut events = good_run();
    // In one second of ten every request takes 500 ms: a tenth of the phase.
    edit(&mut events, |t_ns, body| match body {
        Body::LoadSecond(second) if t_ns == ms(115_000) => {
            second.latency = histogram(10, 500);
            true
        }
        _ => false,
    });
    let result = judged(&events).result;
    let fault = result.phases[1].load.as_ref().unwrap();
    let near = |seen: Option<f64>, expected: f64| (seen.unwrap() / expected - 1.0).abs() < 0.01;
    assert!(near(fault.p50_seconds, 0.005) && near(fault.p90_seconds, 0.005), "{fault:?}");
    assert!(near(fault.p99_seconds, 0.5) && near(fault.max_seconds, 0.5), "{fault:?}");
}

#[test]
fn a_run_without_load_or_fault_is_judged_by_what_there_is() {
    let mut events = vec![Event::at(ms(1), crate::good_run::started())];
    edit_start(&mut events, |started| {
        started.load = None;
        started.phases.clear();
        started.steady_state.clear();
        started.expect.clear();
    });
    events.push(Event::at(ms(2), temblor_event::RunEnded {}));
    let result = judged(&events).result;
    assert_eq!(result.verdict, Verdict::Pass);
    assert_eq!(result.reasons, ["the run came to its end, and nothing was expected of it"]);
    assert_eq!((result.ledger, result.load_account), (None, None));
}

#[test]
fn without_a_beginning_there_is_nothing_to_judge() {
    assert!(temblor_judge::judge(&[]).is_err());
    let mut events = good_run();
    events.remove(0);
    assert!(temblor_judge::judge(&events).is_err());
}
