//! The watch as the runner uses it: event by event.

use temblor_event::{Body, Event};
use temblor_judge::SteadyWatch;

use crate::good_run::{good_run, ms, started};

#[test]
fn it_says_so_as_soon_as_the_data_reach_and_never_changes_its_mind() {
    let mut events = good_run();
    // As they are written: a second of load once it is over.
    events.sort_by_key(|event| match &event.body {
        Body::LoadSecond(_) => event.t_ns + ms(1_010),
        _ => event.t_ns,
    });
    let mut watch = SteadyWatch::default();
    let mut since = None;
    for event in &events {
        watch.push(event);
        let now = watch.steady_since(ms(121_000));
        if since.is_none() && now.is_some() {
            // The hold is 5 s from 123.5 on: the check of 129.3 is the last thing it takes.
            assert_eq!((now, event.t_ns), (Some(ms(123_500)), ms(129_300)), "{event:?}");
        }
        assert!(since.is_none() || now == since);
        since = now;
    }
    assert_eq!(since, Some(ms(123_500)));
}

#[test]
fn the_order_of_events_is_of_no_matter() {
    let events = good_run();
    let mut forwards = SteadyWatch::new(&started());
    let mut backwards = SteadyWatch::new(&started());
    events.iter().for_each(|event| forwards.push(event));
    events.iter().rev().for_each(|event| backwards.push(event));
    for since in (100_000..145_000).step_by(500) {
        assert_eq!(forwards.steady_since(ms(since)), backwards.steady_since(ms(since)), "{since}");
    }
    // It was steady in the baseline too, from its first reading of everything.
    assert_eq!(forwards.steady_since(0), Some(ms(101_500)));
    assert_eq!(forwards.steady_since(u64::MAX), None);
}

#[test]
fn readings_far_apart_do_not_vouch_for_what_is_between() {
    let mut events = good_run();
    // For 7 s of the recovery nobody could ask: longer than the hold of 5 s.
    events.retain(|event| {
        !matches!(event.body, Body::Check(_)) || !(ms(124_000)..ms(131_000)).contains(&event.t_ns)
    });
    let watch = watching(&events);
    assert_eq!(watch.steady_since(ms(121_000)), Some(ms(131_300)));
}

#[test]
fn a_check_that_is_asked_seldom_by_plan_does() {
    let mut events = good_run();
    events.retain(|event| {
        !matches!(event.body, Body::Check(_)) || (event.t_ns / ms(1_000)).is_multiple_of(6)
    });
    // Asked at 102.3, 108.3, …, 120.3, 126.3, 132.3, 138.3: each 6 s, in the baseline too.
    assert_eq!(watching(&events).steady_since(ms(121_000)), Some(ms(126_300)));
}

#[test]
fn with_nobody_to_vouch_nothing_is_known() {
    let mut nothing = started();
    nothing.load = None;
    nothing.backlogs.clear();
    let watch = SteadyWatch::new(&nothing);
    assert_eq!(watch.steady_since(0), None);
}

#[test]
fn a_second_with_nothing_planned_breaks_nothing_and_one_without_an_answer_does() {
    for (planned, expected) in [(0, Some(ms(123_500))), (10, Some(ms(127_000)))] {
        let mut events = good_run();
        for event in &mut events {
            if let Body::LoadSecond(second) = &mut event.body
                && event.t_ns == ms(126_000)
            {
                (second.planned, second.ok, second.unsure) = (planned, 0, planned);
            }
        }
        assert_eq!(watching(&events).steady_since(ms(121_000)), expected, "{planned} planned");
    }
}

fn watching(events: &[Event]) -> SteadyWatch {
    let mut watch = SteadyWatch::new(&started());
    events.iter().for_each(|event| watch.push(event));
    watch
}
