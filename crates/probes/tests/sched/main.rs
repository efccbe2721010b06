//! The sched probe against a real kernel: what programs of our own do on a processor, held against
//! what the kernel counts of them elsewhere.

#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "helpers of tests are tests: a panic is how they fail, stderr is how they explain, \
              stdout is how a child answers"
)]

mod child;
#[path = "../common/mod.rs"]
mod common;
mod dear;
#[path = "../common/near.rs"]
mod near;
#[path = "../common/taken.rs"]
mod taken;
mod world;

use temblor_event::clock::now_ns;
use temblor_event::{SchedWindow, Throttled};
use temblor_host::target::Origin;
use temblor_probes::sched::SchedProbe;

use crate::common::{Child, OwnGroup, Watch, possible, target};
use crate::near::near;
use crate::taken::taken_ns;
use crate::world::{together, windows};

#[test]
fn switches_are_those_that_the_kernel_counts() {
    if !possible() {
        return;
    }
    let mut child = Child::start();
    let watch = Watch::start(&[target("sleeper", &[child.pid()])], SchedProbe::attach);
    let before = child.account();
    child.ask("sleep 2000 100");
    let after = child.account();
    let told = together(&watch.stop().0);
    let told = &told["sleeper"];
    let truth = after.voluntary - before.voluntary;
    // A sleep that is over before its thread has left the processor takes no switch.
    assert!(truth >= 1900, "{truth}");
    // Reading the account is a few switches more, at either end.
    assert!(near(told.voluntary, truth, 0.001, 8), "told {}, kernel {truth}", told.voluntary);
    let truth = after.involuntary - before.involuntary;
    assert!(near(told.involuntary, truth, 0.001, 8), "told {}, kernel {truth}", told.involuntary);
    assert!(told.wait.samples >= 1900, "{}", told.wait.samples);
}

#[test]
fn a_thread_that_shares_its_processor_waits_for_the_rest_of_the_time() {
    if !possible() {
        return;
    }
    let (mut child, mut other) = (Child::start(), Child::start());
    child.ask("pin 0");
    other.ask("pin 0");
    let targets = [target("one", &[child.pid()]), target("two", &[other.pid()])];
    let watch = Watch::start(&targets, SchedProbe::attach);
    let (before, taken_before_ns) = ((child.account(), other.account()), taken_ns());
    other.begin("spin 1500");
    child.begin("spin 1500");
    other.end();
    child.end();
    let (after, taken) = ((child.account(), other.account()), taken_ns() - taken_before_ns);
    let told = together(&watch.stop().0);
    for (service, before, after) in [("one", before.0, after.0), ("two", before.1, after.1)] {
        let told = &told[service];
        let ran = after.cpu_ns - before.cpu_ns;
        let on = told.on_cpu_ns;
        // What was taken from it while it was there was taken from either.
        let fits = near(on, on.clamp(ran, ran + taken), 0.05, 2_000_000);
        assert!(fits, "{service}: on a processor {on}, kernel {ran}, taken {taken}");
        // The kernel's own count of it, where it keeps one.
        let waited = after.waited_ns - before.waited_ns;
        let sum = told.wait.sum_ns;
        assert!(sum > 300_000_000, "{service} waited {sum}");
        if waited > 0 {
            assert!(near(sum, waited, 0.05, 2_000_000), "{service}: waited {sum}, kernel {waited}");
        }
        assert!(told.involuntary > 10, "{service}: {}", told.involuntary);
        assert_eq!(told.throttled, None, "it is known by its process");
    }
}

#[test]
fn what_runs_on_without_a_switch_is_counted_while_it_runs() {
    if !possible() {
        return;
    }
    let mut child = Child::start();
    let watch = Watch::start(&[target("spinner", &[child.pid()])], SchedProbe::attach);
    let (before, taken_before_ns) = (child.account(), taken_ns());
    child.begin("spin 2500");
    let events = watch.until("two windows", |told| windows(told).len() >= 2);
    let told: u64 = windows(&events).iter().map(|window| window.on_cpu_ns).sum();
    child.end();
    let ran = child.account().cpu_ns - before.cpu_ns;
    // It began before the first window ended and goes on after the second.
    let at_most = ran + taken_ns() - taken_before_ns + 50_000_000;
    assert!(told > ran / 2 && told <= at_most, "told {told} of {ran}, at most {at_most}");
    watch.stop();
}

#[test]
fn starving_is_told_from_throttling() {
    if !possible() {
        return;
    }
    let Some(group) = OwnGroup::with_quota("throttled", 100_000, 20_000) else { return };
    let mut child = Child::start();
    group.group.attach(child.pid()).unwrap();
    let mut in_group = target("throttled", &[child.pid()]);
    (in_group.group, in_group.origin) = (group.group.clone(), Origin::Cgroup);
    let watch = Watch::start(&[in_group], SchedProbe::attach);
    let (before, cpu_before_ns) = (group.throttled(), child.account().cpu_ns);
    let (began_ns, taken_before_ns) = (now_ns(), taken_ns());
    child.ask("spin 2000");
    let (took_ns, taken) = (now_ns() - began_ns, taken_ns() - taken_before_ns);
    // Nobody runs in it any more, so that both are read at the same count.
    let told = together(&watch.stop().0);
    let after = group.throttled();
    let ran_ns = child.account().cpu_ns - cpu_before_ns;
    drop(child);
    let told = &told["throttled"];
    let truth = Throttled {
        periods: after.periods - before.periods,
        periods_throttled: after.periods_throttled - before.periods_throttled,
        ns: after.ns - before.ns,
    };
    let seen = told.throttled.unwrap();
    assert!(truth.periods_throttled >= 10, "{truth:?}");
    assert!(near(seen.periods_throttled, truth.periods_throttled, 0.001, 1), "{seen:?} {truth:?}");
    assert!(near(seen.ns, truth.ns, 0.05, 100_000_000), "{seen:?} {truth:?}");
    // The whole of it is waiting, as it never slept, but for what was taken from it while it ran.
    let waited_ns = took_ns - ran_ns;
    assert!(waited_ns > took_ns / 2, "{waited_ns} of {took_ns}");
    for told in [told.waited_ns.unwrap(), told.wait.sum_ns] {
        let truth = told.clamp(waited_ns.saturating_sub(taken), waited_ns);
        assert!(near(told, truth, 0.15, 0), "{told} of {waited_ns}, taken {taken}");
    }
    assert!(told.wait.max_ns > 50_000_000, "{}", told.wait.max_ns);
}

/// A millisecond each second: what it runs until the kernel looks costs it seconds.
#[test]
fn a_wait_longer_than_a_window_is_told_of_while_it_lasts() {
    if !possible() {
        return;
    }
    let Some(group) = OwnGroup::with_quota("for-seconds", 1_000_000, 1_000) else { return };
    let mut child = Child::start();
    child.begin("spin 600000");
    group.group.attach(child.pid()).unwrap();
    group.await_throttled();
    let mut in_group = target("held", &[child.pid()]);
    (in_group.group, in_group.origin) = (group.group.clone(), Origin::Cgroup);
    // It waits already.
    let watch = Watch::start(&[in_group], SchedProbe::attach);
    let events = watch.until("windows", |told| windows(told).len() >= 4);
    let told = windows(&events);
    watch.stop();
    for window in &told {
        let (waited_ns, took_ns) = (window.waited_ns.unwrap(), window.window_ns);
        assert!(waited_ns > took_ns / 2 && waited_ns < took_ns + 50_000_000, "{told:#?}");
        assert!(window.longest_wait_ns() > 100_000_000, "{told:#?}");
    }
    let sum = |of: fn(&SchedWindow) -> u64| told.iter().map(of).sum::<u64>();
    let (waited_ns, took_ns) = (sum(|w| w.waited_ns.unwrap() + w.on_cpu_ns), sum(|w| w.window_ns));
    assert!(near(waited_ns, took_ns, 0.05, 0), "waited and ran {waited_ns} of {took_ns}");
    assert!(told.iter().any(|window| window.wait.samples == 0), "{told:#?}");
}

#[test]
fn children_and_newcomers_are_the_targets_too() {
    if !possible() {
        return;
    }
    let Some(group) = OwnGroup::with_quota("newcomers", 100_000, 0) else { return };
    let (mut parent, mut newcomer) = (Child::start(), Child::start());
    let mut by_group = target("group", &[]);
    (by_group.group, by_group.origin) = (group.group.clone(), Origin::Cgroup);
    let watch = Watch::start(&[target("family", &[parent.pid()]), by_group], SchedProbe::attach);
    let taken_before_ns = taken_ns();
    // Each lives for the time that it spins, and what it did is known after its end.
    parent.ask("fork 20 15");
    group.group.attach(newcomer.pid()).unwrap();
    newcomer.ask("fork 10 15");
    let taken = taken_ns() - taken_before_ns;
    let (told, lost) = watch.stop();
    let told = together(&told);
    // They end by their own clock, which is read before they have left the processor.
    let family = told["family"].on_cpu_ns;
    let at_most = 600_000_000 + taken;
    assert!((285_000_000..at_most).contains(&family), "20 children of 15 ms: {family}");
    let group = told["group"].on_cpu_ns;
    let at_most = 400_000_000 + taken;
    assert!((142_500_000..at_most).contains(&group), "10 children of 15 ms: {group}");
    assert_eq!(lost, 0);
}
