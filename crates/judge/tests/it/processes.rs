//! The timeline's lines on processes.

use temblor_event::{
    Event, ExitCause, Hook, ProbeStatus, ProcessExit, ProcessSignal, SignalSender,
};
use temblor_judge::TimelineKind;

use crate::good_run::{good_run, judged, ms};

fn exit(t_ms: u64, pid: u32, cause: ExitCause) -> Event {
    let (service, name) = ("postgres".to_owned(), "postgres".to_owned());
    let lived_ns = ms(3_100);
    Event::at(ms(t_ms), ProcessExit { service, pid, name, lived_ns, cause, core_dumped: false })
}

fn sent(t_ms: u64, pid: u32, signal: u8, handled: bool) -> Event {
    let (service, name) = ("postgres".to_owned(), "postgres".to_owned());
    let sender = sender("temblor", None);
    Event::at(ms(t_ms), ProcessSignal { service, pid, name, signal, handled, sender })
}

fn sender(name: &str, service: Option<&str>) -> SignalSender {
    let service = service.map(str::to_owned);
    SignalSender::Process { pid: Some(99), name: name.to_owned(), service }
}

/// The lines that a log with these events has more, with their sources.
fn lines_of_processes(events: Vec<Event>) -> Vec<(String, String)> {
    let mut all = good_run();
    let hook = |sees: &str, hook: &str| Hook { sees: sees.to_owned(), hook: hook.to_owned() };
    let status = ProbeStatus {
        probe: "process".to_owned(),
        hooks: vec![hook("ends of processes", "the end"), hook("signals", "the signal")],
        unseen: Vec::new(),
    };
    all.push(Event::at(ms(100_200), status));
    all.extend(events);
    let timeline = judged(&all).result.timeline;
    let lines = timeline.into_iter().filter(|line| line.source.starts_with("the "));
    lines
        .map(|line| {
            assert_eq!(line.kind, TimelineKind::Kernel);
            (line.what, line.source)
        })
        .collect()
}

#[test]
fn a_process_is_told_of_with_the_cause_of_its_end() {
    let by = |signal, sender| ExitCause::Signal { signal, sender };
    for (cause, expected) in [
        (by(9, Some(sender("temblor", None))), "was killed by SIGKILL, sent by temblor (99)"),
        (
            by(15, Some(sender("sh", Some("nginx")))),
            "was killed by SIGTERM, sent by nginx: sh (99)",
        ),
        (by(40, Some(SignalSender::Kernel)), "was killed by signal 40, sent by the kernel"),
        (by(1, None), "was killed by SIGHUP, whose sender was not seen"),
        (ExitCause::Code { code: 3 }, "exited with code 3"),
        (ExitCause::Fault { signal: 11 }, "was killed by SIGSEGV: a fault of its own code"),
        (
            ExitCause::OutOfMemory { cgroup_limit: Some(true) },
            "was killed by the kernel for want of memory: its cgroup's limit was reached",
        ),
    ] {
        let told = lines_of_processes(vec![exit(112_000, 1234, cause)]);
        let what = format!("postgres (1234) {expected}; it lived 3.1 s");
        assert_eq!(told, [(what, "the end".to_owned())]);
    }
}

#[test]
fn a_signal_is_told_of_unless_an_end_tells_it() {
    let killed = ExitCause::Signal { signal: 9, sender: Some(sender("temblor", None)) };
    let told = lines_of_processes(vec![
        sent(112_000, 7, 15, true),
        sent(112_001, 7, 19, false),
        sent(112_002, 7, 9, false),
        exit(112_003, 7, killed),
    ]);
    let expected = [
        ("postgres (7) got SIGTERM, sent by temblor (99) (it has a handler for it)", "the signal"),
        ("postgres (7) got SIGSTOP, sent by temblor (99)", "the signal"),
        ("postgres (7) was killed by SIGKILL, sent by temblor (99); it lived 3.1 s", "the end"),
    ];
    let told: Vec<_> = told.iter().map(|(what, source)| (&what[..], &source[..])).collect();
    assert_eq!(told, expected);
}

#[test]
fn many_ends_are_counted_and_those_that_mean_most_are_told() {
    let clean = |i: u64| exit(101_000 + i, 1, ExitCause::Code { code: 0 });
    let mut events: Vec<_> = (0..500).map(clean).collect();
    events.extend((0..20).map(|i| exit(112_000, 2, ExitCause::Code { code: 1 + i })));
    events.extend((0..10).map(|i| exit(111_000 + i, 3, ExitCause::Fault { signal: 11 })));
    let told = lines_of_processes(events);
    let has = |text: &str| told.iter().any(|(what, _)| what == text);
    assert!(has(
        "postgres, 7 further times from here on: was killed by SIGSEGV: a fault of its own code"
    ));
    assert!(has("512 further ends of processes and signals of other kinds are left out"));
    assert!(!told.iter().any(|(what, _)| what.contains("with code 0")));
}
