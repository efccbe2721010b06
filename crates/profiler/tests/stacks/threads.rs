//! Threads as they are.

use temblor_profile::LabelValue;
use temblor_profiler::{Collected, Settings, Wanted, collect};

use crate::common::{Program, names, possible};

#[test]
fn every_thread_has_its_state_and_its_stack() {
    if !possible() {
        return;
    }
    let running = Program::build().start(&["waits"]);
    let settings = Settings::of(Wanted::Threads);
    let Collected { profile, account } = collect(&[running.target()], &settings, || true).unwrap();
    // The first one, two that take turns with a lock, one that sleeps now and then, one that does so
    // for ever.
    assert_eq!(profile.samples.iter().map(|sample| sample.values[0]).sum::<i64>(), 5);
    assert_eq!(account.samples, 5);
    let of = |function: &str| {
        let is = |name: &String| name == function;
        let of: Vec<_> = profile
            .samples
            .iter()
            .filter(|sample| names(&profile, sample).iter().any(is))
            .collect();
        assert!(!of.is_empty(), "{function}: {account:?}");
        of
    };
    let forever = of("forever");
    // The first thread does so, too.
    assert_eq!(forever.len(), 2);
    let forever =
        forever.into_iter().find(|sample| names(&profile, sample).last().unwrap() == "clone3");
    let forever = forever.unwrap();
    let state = forever.labels.iter().find(|label| label.key == "state").unwrap();
    assert_eq!(state.value, LabelValue::Text("sleeping".to_owned()));
    assert_eq!(names(&profile, of("main")[0]).last().unwrap(), "_start");
    assert_eq!(profile.duration_ns, 0, "it is of one moment");
}

#[test]
fn a_thread_on_a_processor_is_told_as_running() {
    if !possible() {
        return;
    }
    let running = Program::build().start(&["shares"]);
    let settings = Settings::of(Wanted::Threads);
    // Where others want the processor, too, it waits for one at times.
    for _ in 0..100 {
        let Collected { profile, .. } = collect(&[running.target()], &settings, || true).unwrap();
        let sample = &profile.samples[0];
        let state = sample.labels.iter().find(|label| label.key == "state").unwrap();
        if state.value == LabelValue::Text("running".to_owned()) {
            let names = names(&profile, sample);
            assert_eq!(names, ["[cut off: it ran while it was looked at]"]);
            return;
        }
        assert_eq!(state.value, LabelValue::Text("waiting for a processor".to_owned()));
    }
    panic!("it never ran");
}
