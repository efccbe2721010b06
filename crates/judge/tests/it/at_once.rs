//! Faults that are over as soon as they are done: healing comes before the trouble.

use proptest::prelude::*;
use temblor_event::{Body, Event, Outcome, TcpState};
use temblor_judge::SteadyWatch;

use crate::good_run::{
    CHECK, check, connection, edit, gauge, judged, ms, remove, spoil_orders, state,
};
use crate::killed_run::{killed_run, late_trouble, later};

fn near(what: &str, value: Option<f64>, expected: Option<f64>) {
    let same = match (value, expected) {
        (Some(value), Some(expected)) => (value - expected).abs() < 1e-6,
        (value, expected) => value == expected,
    };
    assert!(same, "{what}: {value:?}, not {expected:?}");
}

/// Detection by the application and by the kernel, and the stations of recovery.
fn judge(what: &str, events: &[Event], expected: [Option<f64>; 5]) {
    let result = judged(events).result;
    let recovery = result.recovery_seconds;
    let found = [
        result.detection_seconds,
        result.kernel_detection_seconds,
        recovery.first,
        recovery.backlog_drained,
        recovery.full,
    ];
    for (name, (value, expected)) in ["detection", "kernel", "first", "drained", "full"]
        .iter()
        .zip(found.into_iter().zip(expected))
    {
        near(&format!("{what}: {name}"), value, expected);
    }
}

#[test]
fn recovery_counts_from_the_kill_and_ends_after_the_trouble() {
    judge("as it is", &killed_run(), [Some(1.3), Some(0.0), Some(10.78), Some(12.48), Some(12.48)]);
    judge(
        "nothing shows for longer than the hold",
        &late_trouble(),
        [Some(6.3), Some(0.0), Some(10.78), Some(12.48), Some(12.48)],
    );
}

#[test]
fn a_quiet_spell_within_the_phase_of_fault_is_no_recovery() {
    let mut events = late_trouble();
    remove(&mut events, |t, b| matches!(b, Body::Check(_)) && t == ms(111_300));
    events.push(check(111_300, CHECK, false, ""));
    judge("one no at once", &events, [Some(0.3), Some(0.0), Some(10.78), Some(12.48), Some(12.48)]);
}

#[test]
fn trouble_that_shows_only_after_the_phase_of_fault_is_waited_for() {
    let mut events = killed_run();
    edit(&mut events, |t, body| match body {
        Body::Check(check) => {
            check.ok = t / ms(1_000) != 127;
            true
        }
        Body::Gauge(gauge) => {
            gauge.value = 2.0;
            true
        }
        _ => false,
    });
    // 16.3 s after the kill it says no for the first time, and yes again a second later.
    judge("late", &events, [Some(16.3), Some(0.0), Some(10.78), Some(0.48), Some(17.28)]);
}

#[test]
fn with_no_trouble_at_all_it_was_steady_throughout() {
    let mut events = killed_run();
    edit(&mut events, |_, body| match body {
        Body::Check(check) => {
            check.ok = true;
            true
        }
        Body::Gauge(gauge) => {
            gauge.value = 2.0;
            true
        }
        _ => false,
    });
    judge("robust", &events, [None, Some(0.0), Some(10.78), Some(0.48), Some(0.0)]);
}

#[test]
fn an_attempt_that_was_under_way_shows_nothing() {
    let mut events = killed_run();
    remove(&mut events, |_, b| matches!(b, Body::TcpReset(_)));
    let (from, to) = (TcpState::SynSent, TcpState::Established);
    events.push(state(111_021, connection(30), from, to, 0));
    events.push(state(111_400, connection(31), TcpState::SynSent, TcpState::Close, 111));
    judge("in flight", &events, [Some(1.3), Some(0.4), Some(10.78), Some(12.48), Some(12.48)]);
}

#[test]
fn a_slow_second_in_the_phase_of_fault_puts_nothing_off() {
    let mut events = killed_run();
    edit(&mut events, |t, body| match body {
        Body::Check(check) => {
            check.ok = t / ms(1_000) != 112;
            true
        }
        Body::Gauge(gauge) => {
            gauge.value = 2.0;
            true
        }
        Body::LoadSecond(second) if t == ms(119_000) => {
            second.latency = crate::good_run::histogram(10, 900);
            true
        }
        _ => false,
    });
    // The check says yes from 113.3 on, for longer than the hold.
    judge("slow", &events, [Some(1.3), Some(0.0), Some(10.78), Some(0.48), Some(2.28)]);
}

#[test]
fn a_check_asked_before_and_answered_after_is_a_sign() {
    let mut events = killed_run();
    let mut straddling = check(110_900, CHECK, false, "time-out");
    if let Body::Check(check) = &mut straddling.body {
        check.took_ns = ms(400);
    }
    events.push(straddling);
    // The time is that of its answer; the check's later answers are not spoilt by it.
    near("straddling", judged(&events).result.detection_seconds, Some(0.3));
}

#[test]
fn what_was_under_way_is_no_habit_of_the_baseline() {
    let mut events = killed_run();
    remove(&mut events, |_, body| matches!(body, Body::Check(_)));
    spoil_orders(&mut events, 110, 1, Outcome::Unsure);
    spoil_orders(&mut events, 113, 1, Outcome::Fail);
    for event in &mut events {
        if matches!(&event.body, Body::Order(o) if o.planned_ns == ms(110_000)) {
            event.t_ns = ms(111_003);
        }
    }
    near("in flight", judged(&events).result.detection_seconds, Some(2.005));
}

#[test]
fn the_watch_says_so_only_once_the_phase_of_fault_is_over() {
    let mut events = late_trouble();
    events.sort_by_key(|event| match &event.body {
        Body::LoadSecond(_) => event.t_ns + ms(1_010),
        _ => event.t_ns,
    });
    let mut watch = SteadyWatch::default();
    let mut said = None;
    for event in &events {
        watch.push(event);
        let now = watch.steady_since(ms(111_020));
        // Before the first sign a quiet spell may be taken for steadiness; nobody asks then.
        if event.t_ns >= ms(121_000) {
            assert!(said.is_none() || now == said);
            said = now;
        }
    }
    assert_eq!(said, Some(ms(123_500)));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn steadiness_is_never_claimed_before_the_last_sign_in_the_phase_of_fault(
        signs in prop::collection::vec(111_001_u64..121_000, 1..6),
        load in any::<bool>(),
    ) {
        let mut events = killed_run();
        edit(&mut events, |_, body| match body {
            Body::Check(check) => { check.ok = true; true }
            Body::Gauge(gauge) => { gauge.value = 2.0; true }
            _ => false,
        });
        for t_ms in &signs {
            if load {
                let second = t_ms / 1_000;
                let spoilt = events.iter().any(|e| matches!(&e.body, Body::LoadSecond(s) if e.t_ns == ms(second * 1_000) && s.ok == 10));
                if spoilt {
                    spoil_orders(&mut events, second, 1, Outcome::Fail);
                }
            } else {
                events.push(check(*t_ms, CHECK, false, ""));
            }
        }
        let result = judged(&events).result;
        let full = result.recovery_seconds.full.expect("20 s of quiet are enough");
        let last = signs.iter().max().copied().unwrap_or(0);
        let last = if load { last / 1_000 * 1_000 } else { last };
        prop_assert!(full + 0.020 >= (last as f64 - 111_000.0) / 1_000.0, "{} {:?}", full, signs);
        prop_assert!(result.detection_seconds.is_some());
    }

    #[test]
    fn neither_the_clock_nor_the_order_of_events_matters(
        by_ms in 0_u64..1_000_000_000,
        seed in any::<prop::sample::Index>(),
    ) {
        let events = late_trouble();
        let mut moved = later(&events, ms(by_ms));
        let at = seed.index(moved.len());
        moved.rotate_left(at);
        moved.reverse();
        prop_assert_eq!(judged(&moved), judged(&events));
    }

    #[test]
    fn a_backlog_that_rises_late_is_drained_late(rises in 111_u64..120) {
        let mut events = killed_run();
        remove(&mut events, |_, body| matches!(body, Body::Gauge(_)));
        for second in 101..141 {
            let high = (rises..rises + 3).contains(&second);
            events.push(gauge(second * 1_000 + 500, if high { 9.0 } else { 2.0 }));
        }
        let drained = judged(&events).result.recovery_seconds.backlog_drained;
        let expected = (rises + 3) as f64 + 0.5 - 111.02;
        prop_assert!(drained.is_some_and(|drained| (drained - expected).abs() < 1e-6), "{:?}", drained);
    }
}
