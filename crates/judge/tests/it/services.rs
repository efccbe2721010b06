//! The services' story: exits, restarts, outages, and the figures made of them.

use temblor_event::{Body, Event, FaultInjected, FaultReverted, Figure, Op};
use temblor_judge::{RunResult, ServiceStepKind, Verdict};

use crate::good_run::{edit_start, expectation, good_run, judged, ms, remove};
use crate::killed_run::{ended, health, killed_run, started};

fn with(events: Vec<Event>, more: impl IntoIterator<Item = Event>) -> RunResult {
    let mut events = events;
    events.extend(more);
    judged(&events).result
}

/// Restarts, longest outage, and from healing to all well.
fn figures(result: &RunResult) -> (Option<u64>, Option<f64>, Option<f64>) {
    let round = |value: Option<f64>| value.map(|value| (value * 1e3).round() / 1e3);
    let services = &result.services;
    (services.restarts, round(services.outage_seconds), round(result.recovery_seconds.services))
}

fn without_services() -> Vec<Event> {
    let mut events = killed_run();
    remove(&mut events, |_, body| {
        matches!(body, Body::ProcessEnded(_) | Body::ProcessStarted(_) | Body::ServiceHealth(_))
    });
    events
}

#[test]
fn a_killed_service_is_away_until_it_is_well() {
    let result = judged(&killed_run()).result;
    assert_eq!(figures(&result), (Some(1), Some(2.195), Some(2.18)));
    let story = &result.services.stories[0];
    assert_eq!((story.service.as_str(), story.exits, story.restarts), ("postgres", 1, 1));
    assert_eq!(story.faults, ["process.kill"]);
    let away = &story.outages[0];
    assert_eq!((away.began.as_str(), away.ended.as_str()), ("exited, signal 9 (SIGKILL)", "well"));
    assert_eq!((away.started_seconds, away.to_seconds), (Some(1.0), Some(2.2)));
    // What the fault was about to end is no reason.
    assert!(!result.reasons.iter().any(|reason| reason.contains("ended")), "{:?}", result.reasons);
    let told: Vec<&str> = result.timeline.iter().map(|entry| entry.what.as_str()).collect();
    for line in [
        "the process 1 of postgres has ended: signal 9 (SIGKILL)",
        "postgres is not well",
        "postgres runs again, as process 77, restart 1",
        "postgres is well",
        "all services are well again, 2.2 s after healing",
    ] {
        assert!(told.contains(&line), "{line}: {told:?}");
    }
}

#[test]
fn outages_begin_and_end_as_defined() {
    type Expected = (Option<u64>, Option<f64>, Option<f64>);
    let cases: [(&str, Vec<Event>, Expected); 9] = [
        ("nobody was away", vec![], (Some(0), Some(0.0), Some(0.0))),
        (
            "nobody asks it how it is: a new process ends it",
            vec![ended(111_005, "a", 1), started(112_000, "a", None)],
            (Some(1), Some(0.995), Some(0.98)),
        ),
        (
            "it was back before anybody asked it: health did not change",
            vec![health(101_000, "a", true), ended(111_005, "a", 1), started(112_000, "a", None)],
            (Some(1), Some(0.995), Some(0.98)),
        ),
        (
            "unwell without an exit",
            vec![health(112_000, "a", false), health(115_000, "a", true)],
            (Some(0), Some(3.0), Some(3.98)),
        ),
        (
            "a crash loop is one outage",
            vec![
                ended(111_000, "a", 1),
                started(112_000, "a", Some(1)),
                health(112_500, "a", true),
                ended(113_000, "a", 2),
                started(114_000, "a", Some(2)),
                health(114_500, "a", true),
            ],
            (Some(2), Some(3.5), Some(3.48)),
        ),
        (
            "two exits further apart than the hold are two outages",
            vec![
                ended(111_000, "a", 1),
                started(112_000, "a", None),
                ended(118_000, "a", 2),
                started(120_000, "a", None),
            ],
            (Some(2), Some(2.0), Some(8.98)),
        ),
        (
            "never well again",
            vec![ended(111_000, "a", 1), started(112_000, "a", None), health(112_500, "a", false)],
            (Some(1), None, None),
        ),
        (
            "a process that came and went between two looks is in the keeper's count",
            vec![started(112_000, "a", Some(4)), started(113_000, "a", Some(7))],
            (Some(4), Some(1.0), Some(1.98)),
        ),
        (
            "at one moment it went before it came back",
            vec![health(112_000, "a", true), started(112_000, "a", None), ended(112_000, "a", 1)],
            (Some(1), Some(0.0), Some(0.98)),
        ),
    ];
    for (what, events, expected) in cases {
        assert_eq!(figures(&with(without_services(), events)), expected, "{what}");
    }
    let mut unwatched = without_services();
    remove(&mut unwatched, |_, body| matches!(body, Body::TargetSeen(_)));
    assert_eq!(figures(&judged(&unwatched).result), (None, None, None));
}

#[test]
fn a_process_that_no_fault_was_about_to_end_is_a_reason() {
    let says = |result: &RunResult| {
        result.reasons.iter().any(|reason| reason.contains("ended during the run, which no fault"))
    };
    assert!(says(&with(killed_run(), [ended(115_000, "trading-api", 9)])));
    assert!(says(&with(killed_run(), [ended(105_000, "postgres", 9)])), "before the injection");
    assert!(says(&with(good_run(), [ended(115_000, "postgres", 9)])), "a partition ends nothing");
    let paused = {
        let mut events = killed_run();
        crate::good_run::edit(&mut events, |_, body| match body {
            Body::FaultInjected(fault) => {
                fault.name = "process.pause".to_owned();
                true
            }
            _ => false,
        });
        events
    };
    assert!(says(&judged(&paused).result), "pausing ends nothing");
}

/// Three services killed a second after each other, back in another order.
fn cascade() -> Vec<Event> {
    let mut events = without_services();
    let (injected, reverted): (Vec<FaultInjected>, Vec<FaultReverted>) = {
        let injected = events.iter().filter_map(|event| match &event.body {
            Body::FaultInjected(fault) => Some(fault.clone()),
            _ => None,
        });
        let reverted = events.iter().filter_map(|event| match &event.body {
            Body::FaultReverted(fault) => Some(fault.clone()),
            _ => None,
        });
        (injected.collect(), reverted.collect())
    };
    for (i, service) in [(1, "redis"), (2, "trading-api")] {
        let (mut fault, mut undone) = (injected[0].clone(), reverted[0].clone());
        (fault.id, undone.id) = (i + 1, i + 1);
        fault.dose.insert("target".to_owned(), service.to_owned());
        let t_ms = 111_000 + 1_000 * u64::from(i);
        (fault.began_ns, undone.began_ns) = (ms(t_ms - 5), ms(t_ms + 10));
        events.push(Event::at(ms(t_ms), fault));
        events.push(Event::at(ms(t_ms + 20), undone));
    }
    let target = events.iter().find_map(|event| match &event.body {
        Body::TargetSeen(target) => Some(target.clone()),
        _ => None,
    });
    let mut redis = target.expect("a target");
    redis.service = "redis".to_owned();
    redis.addresses.clear();
    events.push(Event::at(ms(100_102), redis));
    for (service, exit, start, well) in [
        ("postgres", 111_005, 113_000, 118_000),
        ("redis", 112_005, 112_500, 113_500),
        ("trading-api", 113_005, 114_000, 119_000),
    ] {
        events.push(ended(exit, service, 5));
        events.push(started(start, service, Some(1)));
        events.push(health(well, service, true));
    }
    events
}

#[test]
fn the_order_of_a_cascade_is_told() {
    let result = judged(&cascade()).result;
    let of = |kind| -> Vec<&str> {
        let steps = result.services.order.iter().filter(|step| step.step == kind);
        steps.map(|step| step.service.as_str()).collect()
    };
    assert_eq!(of(ServiceStepKind::Exited), ["postgres", "redis", "trading-api"]);
    assert_eq!(of(ServiceStepKind::Started), ["redis", "postgres", "trading-api"]);
    assert_eq!(of(ServiceStepKind::Well), ["redis", "postgres", "trading-api"]);
    // Healing is the last kill, at 113.02.
    assert_eq!(figures(&result), (Some(3), Some(6.995), Some(5.98)));
    assert_eq!(result.services.well_after_injection_seconds, Some(8.0));
    assert_eq!(result.services.steady_after_injection_seconds, Some(12.5));
    assert!(
        result.reasons.iter().any(|r| r == "process.kill (redis): 1 process killed"),
        "{:?}",
        result.reasons
    );
}

#[test]
fn a_fault_without_effect_is_named_among_several() {
    let mut events = cascade();
    for event in &mut events {
        if let Body::FaultReverted(fault) = &mut event.body
            && fault.id == 2
        {
            fault.effect.count = 0;
        }
    }
    let result = judged(&events).result;
    assert_eq!(result.verdict, Verdict::Invalid);
    assert_eq!(
        result.reasons[0],
        "process.kill (redis) had no effect: 0 processes killed (counted by their exit status)"
    );
}

#[test]
fn services_can_be_expected_something_of() {
    for (figure, op, bound, text, sentence, held) in [
        (Figure::ServiceRestarts, Op::Eq, 1.0, "1", "1 restart of services (expected 1)", true),
        (
            Figure::ServiceOutage,
            Op::Le,
            2.0,
            "<= 2s",
            "the longest outage of a service was 2.2 s (expected <= 2s)",
            false,
        ),
        (
            Figure::RecoveryServices,
            Op::Le,
            10.0,
            "<= 10s",
            "all services well again 2.2 s after healing (expected <= 10s)",
            true,
        ),
    ] {
        let mut events = killed_run();
        edit_start(&mut events, |run| run.expect = vec![expectation(figure, op, bound, text)]);
        let result = judged(&events).result;
        assert_eq!(result.expectations[0].held, held, "{figure}");
        assert!(result.reasons.iter().any(|r| r == sentence), "{:?}", result.reasons);
    }
}
