//! A probe that costs more than it may sees a sample, then nothing, and says so.

use temblor_event::{Body, Event, ProbeShed};
use temblor_probes::Budget;
use temblor_probes::sched::SchedProbe;

use crate::common::{Child, Watch, possible, target};
use crate::world::windows;

/// So little that a thread which keeps waking up is too dear to watch.
const HARDLY_ANYTHING: f64 = 1e-6;

fn sheds(events: &[Event]) -> Vec<&ProbeShed> {
    let mut told = Vec::new();
    for event in events {
        if let Body::ProbeShed(shed) = &event.body {
            told.push(shed);
        }
    }
    told
}

#[test]
fn over_its_budget_it_sees_a_sample_then_nothing() {
    if !possible() {
        return;
    }
    let mut child = Child::start();
    let targets = [target("sleeper", &[child.pid()])];
    let budget = Budget::share(HARDLY_ANYTHING);
    let watch = Watch::start_within(budget, &targets, SchedProbe::attach);
    // Until the probe is off, and a while longer.
    child.begin("sleep 20000 1000");
    let events = watch.until("the end of its patience", |seen| sheds(seen).iter().any(|s| s.off));
    let told = sheds(&events);
    let now: Vec<&str> = told.iter().map(|shed| shed.now.as_str()).collect();
    let expected = ["waits of one thread in 8", "waits of one thread in 64", "nothing: it is off"];
    assert_eq!(now, expected);
    for shed in &told {
        assert!(shed.cost_share > shed.budget_share, "{shed:?}");
        assert!((shed.budget_share - HARDLY_ANYTHING).abs() < 1e-12, "{shed:?}");
    }
    let off = events.iter().rfind(|event| matches!(event.body, Body::ProbeShed(_)));
    let off_ns = off.unwrap().t_ns;
    // The window in which it was taken off is the last that has anything in it.
    let quiet = |event: &&Event| match &event.body {
        Body::SchedWindow(window) => event.t_ns > off_ns + window.window_ns + 100_000_000,
        _ => false,
    };
    let after = watch.until("a window without it", |seen| seen.iter().any(|e| quiet(&e)));
    let after: Vec<Event> = after.iter().filter(quiet).cloned().collect();
    for window in windows(&after) {
        assert_eq!((window.voluntary, window.wait.samples), (0, 0), "{window:?}");
    }
    drop(watch);
}

#[test]
fn within_its_budget_it_sees_everything() {
    if !possible() {
        return;
    }
    let mut child = Child::start();
    let targets = [target("sleeper", &[child.pid()])];
    let watch = Watch::start_within(Budget::share(1.0), &targets, SchedProbe::attach);
    child.ask("sleep 5000 1000");
    let (events, lost) = watch.stop();
    assert!(sheds(&events).is_empty(), "{events:?}");
    assert_eq!(lost, 0);
}
