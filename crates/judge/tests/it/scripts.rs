//! The user's own scripts: their ends are told, and no verdict hangs on them.

use temblor_event::{Event, ScriptEnd, ScriptEnded, ScriptStarted};
use temblor_judge::Verdict;

use crate::good_run::{good_run, judged, ms};

fn started(script: &str) -> Event {
    Event::at(
        ms(100_001),
        ScriptStarted {
            script: script.into(),
            path: format!("probes/{script}.bt"),
            source: format!("{script}.bt"),
            output: format!("bpftrace-{script}.txt"),
            program: "bpftrace v0.17.0".into(),
            pid: 4711,
            attach_ns: 250_000_000,
        },
    )
}

fn ended(t_ns: u64, script: &str, end: ScriptEnd, status: &str) -> Event {
    Event::at(
        t_ns,
        ScriptEnded {
            script: script.into(),
            end,
            status: status.into(),
            lines: 12,
            bytes: 340,
            lines_cut: 2,
            bytes_cut: 40,
            unwritten: None,
            events_lost: 5,
            user_ns: 200_000_000,
            system_ns: 100_000_000,
            memory_bytes_max: 1 << 20,
            programs: None,
        },
    )
}

#[test]
fn scripts_are_told_of_and_change_no_verdict() {
    let plain = judged(&good_run()).result;
    assert_eq!(plain.scripts, []);
    let mut events = good_run();
    let injected_ns = plain_zero(&events);
    events.extend(["well", "dead", "stuck", "cut-off"].map(started));
    let dead_ns = injected_ns + 1_500_000_000;
    events.push(ended(dead_ns, "dead", ScriptEnd::ByItself, "signal 11 (SIGSEGV)"));
    events.push(ended(dead_ns + 1, "well", ScriptEnd::Asked, "exit code 0"));
    events.push(ended(dead_ns + 2, "stuck", ScriptEnd::Killed, "signal 9 (SIGKILL)"));
    let result = judged(&events).result;
    assert_eq!((result.verdict, &result.reasons), (Verdict::Pass, &plain.reasons));

    let names: Vec<&str> = result.scripts.iter().map(|script| script.name.as_str()).collect();
    assert_eq!(names, ["well", "dead", "stuck", "cut-off"], "in the order of the experiment");
    assert_eq!(result.scripts[3].ended, None, "nobody saw its end");
    let dead = &result.scripts[1];
    assert_eq!((dead.zero_ns, dead.attach_seconds), (injected_ns, 0.25));
    let end = dead.ended.as_ref().unwrap();
    assert_eq!((end.end, end.t_seconds), (ScriptEnd::ByItself, 1.5));
    assert!((end.cpu_seconds - 0.3).abs() < 1e-9);
    assert_eq!((end.lines, end.lines_cut, end.events_lost, end.programs), (12, 2, 5, None));

    let told: Vec<(f64, &str)> = result
        .timeline
        .iter()
        .filter(|entry| entry.source == "bpftrace")
        .map(|entry| (entry.t_seconds, entry.what.as_str()))
        .collect();
    assert_eq!(told.len(), 2, "the one that ended when asked to is no news: {told:?}");
    assert_eq!(told[0], (1.5, "the bpftrace script dead ended by itself: signal 11 (SIGSEGV)"));
    assert!(told[1].1.contains("stuck was killed"), "{told:?}");
}

fn plain_zero(events: &[Event]) -> u64 {
    let injected = |event: &&Event| matches!(event.body, temblor_event::Body::FaultInjected(_));
    events.iter().find(injected).expect("a fault was put in place").t_ns
}
