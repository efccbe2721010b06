//! The syscall probe against a real kernel: a program of our own makes so many calls, and knows
//! itself how long they took.

#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "helpers of tests are tests: a panic is how they fail, stderr is how they explain, \
              stdout is how a child answers"
)]

mod child;
#[path = "../common/mod.rs"]
#[expect(dead_code, reason = "other probes' tests use more of it")]
mod common;
#[path = "../common/near.rs"]
mod near;

use temblor_event::{Body, Distribution, Event, Measure, ProbeWindow, Reading};
use temblor_probes::syscall::SyscallProbe;

use crate::common::{Child, Watch, possible, target};
use crate::near::near;

fn together(events: &[Event], service: &str) -> ProbeWindow {
    let mut sum = ProbeWindow::new("syscall", service, 0);
    for event in events {
        if let Body::ProbeWindow(window) = &event.body
            && window.service == service
        {
            sum.merge(window);
        }
    }
    sum
}

/// The values of the labels are in the order of their names: call, errno.
fn reading<'a>(of: &'a ProbeWindow, name: &str, labels: &[&str]) -> Option<&'a Reading> {
    let mut wanted = of.measures.iter().filter(|one| one.name == name);
    wanted.find(|one| one.labels.values().eq(labels)).map(|one| &one.reading)
}

fn told(of: &ProbeWindow, name: &str, labels: &[&str]) -> u64 {
    match reading(of, name, labels) {
        Some(Reading::Count(n)) => *n,
        Some(other) => panic!("{other:?}"),
        None => 0,
    }
}

fn values(of: &ProbeWindow, name: &str, call: &str) -> Distribution {
    match reading(of, name, &[call]) {
        Some(Reading::Distribution(values)) => values.clone(),
        other => panic!("{name} {call} {other:?}: {of:#?}"),
    }
}

#[test]
fn errors_are_counted_by_call_and_errno() {
    if !possible() {
        return;
    }
    let (mut child, mut stranger) = (Child::start(), Child::start());
    let targets = [target("failing", &[child.pid()])];
    let watch = Watch::start(&targets, SyscallProbe::attach);
    child.ask("open 1234");
    child.ask("close 777");
    child.ask("nosys 10");
    child.ask("connect 250");
    child.ask("empty 300");
    stranger.ask("open 5000");
    stranger.ask("close 5000");
    stranger.ask("connect 500");
    let (events, lost) = watch.stop();
    let sum = together(&events, "failing");
    assert_eq!(told(&sum, "errors", &["openat", "ENOENT"]), 1234);
    assert_eq!(told(&sum, "calls", &["openat"]), 1234);
    assert_eq!(told(&sum, "errors", &["close", "EBADF"]), 777);
    assert_eq!(told(&sum, "errors", &["call 1000", "ENOSYS"]), 10);
    assert_eq!(told(&sum, "errors", &["connect", "ECONNREFUSED"]), 250);
    assert_eq!(told(&sum, "calls", &["connect"]), 250);
    // There was nothing to read yet: that is no failure.
    assert_eq!(told(&sum, "errors", &["read", "EAGAIN"]), 0);
    assert_eq!(told(&sum, "expected_errors", &["read", "EAGAIN"]), 300);
    assert_eq!(lost, 0);
}

#[test]
fn waits_are_told_apart_from_slow_calls_and_take_the_time_they_took() {
    if !possible() {
        return;
    }
    // Whoever takes the processor between a call and the child's look at its clock only adds.
    let mut failures = Vec::new();
    for _ in 0..5 {
        match compare_times() {
            Ok(()) => return,
            Err(why) => failures.push(why),
        }
    }
    panic!("{failures:#?}");
}

/// What is wrong with the times; what is wrong otherwise is at once.
fn compare_times() -> Result<(), String> {
    let (mut child, mut stranger) = (Child::start(), Child::start());
    let targets = [target("slow", &[child.pid()])];
    let watch = Watch::start(&targets, SyscallProbe::attach);
    stranger.begin("clone 5 20");
    let slept = child.says("sleep 20 20", "took");
    let read = child.says("pipe 20 20", "took");
    let cloned = child.says("clone 20 20", "took");
    let of_file = child.says("file 10 64", "took");
    stranger.has_said("took");
    let (events, lost) = watch.stop();
    assert_eq!(lost, 0);
    let sum = together(&events, "slow");
    for (figure, time, call, samples, truth) in [
        ("long_waits", "wait_time", "nanosleep", 20, slept),
        ("slow_calls", "call_time", "clone", 20, cloned),
        ("slow_calls", "call_time", "read", 10, of_file),
    ] {
        let values = values(&sum, figure, call);
        assert_eq!(values.samples(), samples, "{call}: {values:?}");
        // The child looks at its clock before and after: it cannot have taken less.
        assert!(values.sum <= truth, "{call}: told {values:?}, truth {truth}");
        assert!(values.max <= truth && values.max >= values.sum / samples, "{values:?}");
        let time = told(&sum, time, &[call]);
        // Of quick calls of the same name only a little is added.
        for told in [values.sum, time] {
            if !near(told, truth, 0.05, 0) {
                return Err(format!("{call}: told {told}, truth {truth}"));
            }
        }
    }
    for call in ["nanosleep", "clone"] {
        let figure = if call == "clone" { "slow_calls" } else { "long_waits" };
        assert!(values(&sum, figure, call).percentile(1) >= 20_000_000, "{call}: {sum:#?}");
    }
    // The child waits for what it is to do, too.
    let reads = values(&sum, "long_waits", "read");
    assert!(reads.samples() >= 20, "{reads:?}");
    assert!(told(&sum, "wait_time", &["read"]) >= reads.sum);
    assert!(reading(&sum, "slow_calls", &["nanosleep"]).is_none(), "{sum:#?}");
    if reads.sum < read / 100 * 95 {
        return Err(format!("read: told {reads:?}, truth {read}"));
    }
    Ok(())
}

#[test]
fn what_a_filter_refuses_is_counted_though_it_never_begins() {
    if !possible() {
        return;
    }
    let mut child = Child::start();
    let watch = Watch::start(&[target("confined", &[child.pid()])], SyscallProbe::attach);
    child.ask("denied 321");
    let (events, lost) = watch.stop();
    let sum = together(&events, "confined");
    assert_eq!(told(&sum, "errors", &["getppid", "EPERM"]), 321);
    assert_eq!(told(&sum, "calls", &["getppid"]), 321);
    assert_eq!(lost, 0);
}

#[test]
fn what_there_is_no_room_for_is_counted_as_lost() {
    if !possible() {
        return;
    }
    let mut child = Child::start();
    let watch = Watch::start(&[target("confined", &[child.pid()])], SyscallProbe::attach);
    child.ask("denied-by");
    let (events, lost) = watch.stop();
    let counted = |figure: &str| -> u64 {
        let is_wanted = |one: &&Measure| {
            one.name == figure && ["getppid", "getpgid"].contains(&one.labels["call"].as_str())
        };
        let sum_of = |one: &Measure| match one.reading {
            Reading::Count(sum) => sum,
            _ => 0,
        };
        let windows = events.iter().filter_map(|event| match &event.body {
            Body::ProbeWindow(window) => Some(window),
            _ => None,
        });
        windows.flat_map(|window| &window.measures).filter(is_wanted).map(sum_of).sum()
    };
    let errors = counted("errors") + counted("expected_errors");
    assert_eq!(counted("calls"), 2 * 4095);
    let missing = 2 * 4095 - errors;
    assert!(missing > 0 && errors >= 4000, "{errors} and {lost}");
    // What else the child's threads try in vain from then on finds no room either.
    assert!(lost >= missing && near(lost, missing, 0.0, 16), "{errors} and {lost}");
}

#[test]
fn what_a_signal_interrupts_is_no_failure() {
    if !possible() {
        return;
    }
    let mut child = Child::start();
    let watch = Watch::start(&[target("signalled", &[child.pid()])], SyscallProbe::attach);
    child.ask("signals 100");
    let (events, _) = watch.stop();
    let sum = together(&events, "signalled");
    assert_eq!(told(&sum, "expected_errors", &["rt_sigsuspend", "interrupted"]), 100);
    assert_eq!(told(&sum, "calls", &["rt_sigreturn"]), 100);
    let failed: Vec<_> = sum.measures.iter().filter(|one| one.name == "errors").collect();
    assert!(failed.is_empty(), "{failed:?}");
}

#[test]
fn calls_of_32_bits_have_no_name_of_another() {
    if !possible() {
        return;
    }
    let mut child = Child::start();
    let watch = Watch::start(&[target("foreign", &[child.pid()])], SyscallProbe::attach);
    let status = child.says("foreign 50", "status");
    let (events, _) = watch.stop();
    if status != 0 {
        eprintln!("skipped: this kernel takes no calls of 32 bits ({status})");
        return;
    }
    let sum = together(&events, "foreign");
    assert_eq!(told(&sum, "calls", &["32-bit call"]), 50);
    assert_eq!(told(&sum, "calls", &["writev"]), 0);
}
