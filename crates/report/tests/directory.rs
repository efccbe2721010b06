//! From a run directory to the files beside its events.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use temblor_event::{
    Effect, Event, FaultInjected, FaultReverted, HostFacts, PhaseMark, PhasePlan, PhaseRole,
    RunEnded, RunStarted, SCHEMA,
};
use temblor_judge::{RunResult, Verdict};
use temblor_report::{FILES, ReportError, write};
use temblor_runs::Writer;

const SECOND_NS: u64 = 1_000_000_000;

/// A run of three phases with a fault that dropped 42 packets, and no load.
fn events() -> Vec<Event> {
    let phases = [
        ("baseline", PhaseRole::Baseline, 0, 2),
        ("fault", PhaseRole::Fault, 2, 5),
        ("recovery", PhaseRole::Recovery, 5, 8),
    ];
    let effect = Effect {
        measure: "packets dropped".to_owned(),
        count: 42,
        source: "nftables".to_owned(),
        parts: Vec::new(),
        doses: Vec::new(),
    };
    let started = RunStarted {
        schema: SCHEMA,
        temblor: "0.1.0".to_owned(),
        name: "partition".to_owned(),
        title: "A & B part <for good>".to_owned(),
        wall_unix_ns: 1_790_000_000 * SECOND_NS,
        seed: 7,
        host: HostFacts::default(),
        phases: phases
            .iter()
            .map(|(name, role, from, to)| PhasePlan {
                name: (*name).to_owned(),
                role: *role,
                for_ns: (to - from) * SECOND_NS,
                until_steady: false,
            })
            .collect(),
        load: None,
        steady_state: Vec::new(),
        steady_hold_ns: SECOND_NS,
        expect: Vec::new(),
        backlogs: Vec::new(),
        hypothesis: None,
        learn: Vec::new(),
    };
    let at = |seconds: u64| 1_000 * SECOND_NS + seconds * SECOND_NS;
    let mut events = vec![Event { t_ns: at(0), body: started.into() }];
    for (name, role, from, to) in phases {
        let mark = |starts| PhaseMark { phase: name.to_owned(), role, starts };
        events.push(Event { t_ns: at(from), body: mark(true).into() });
        events.push(Event { t_ns: at(to), body: mark(false).into() });
    }
    let injected = FaultInjected {
        id: 1,
        name: "network.partition".to_owned(),
        dose: BTreeMap::from([("from".to_owned(), "a".to_owned())]),
        mechanism: "nftables".to_owned(),
        undone_by: "the kernel".to_owned(),
        began_ns: at(2),
    };
    let reverted = FaultReverted { id: 1, began_ns: at(5), effect, verified: true };
    events.push(Event { t_ns: at(2) + 1_000_000, body: injected.into() });
    events.push(Event { t_ns: at(5) + 2_000_000, body: reverted.into() });
    events.push(Event { t_ns: at(8), body: RunEnded {}.into() });
    events.sort_by_key(|e| e.t_ns);
    events
}

fn record(dir: &Path, events: &[Event]) {
    let writer = Writer::create_at(dir, "kind: Experiment # as resolved\n").unwrap();
    for event in events {
        writer.append(event).unwrap();
    }
    writer.finish().unwrap();
}

fn read(dir: &Path) -> [String; 4] {
    FILES.map(|name| fs::read_to_string(dir.join(name)).unwrap())
}

#[test]
fn a_report_is_written_beside_the_events_and_again_the_same() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("run");
    record(&dir, &events());
    let result = write(&dir).unwrap();
    let first = read(&dir);
    assert_eq!(serde_json::from_str::<RunResult>(&first[0]).unwrap(), result);
    assert_eq!(result.faults[0].effect.count, 42);
    assert!(first[1].contains("A &amp; B part &lt;for good&gt;"));
    assert!(first[1].contains("kind: Experiment # as resolved"));
    assert!(first[1].contains("42 packets dropped") && first[2].contains("42 packets dropped"));
    assert!(first[3].contains("42 packets dropped"));

    // A report of long ago is replaced, and elsewhere the same bytes come of the same events.
    fs::write(dir.join("report.html"), "old").unwrap();
    let elsewhere = parent.path().join("elsewhere");
    fs::rename(&dir, &elsewhere).unwrap();
    write(&elsewhere).unwrap();
    assert_eq!(read(&elsewhere), first);
    let mut names: Vec<_> = fs::read_dir(&elsewhere)
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let expected = [
        "events.ndjson",
        "experiment.yaml",
        "junit.xml",
        "profiles",
        "report.html",
        "report.md",
        "result.json",
    ];
    assert_eq!(names, expected);
}

#[test]
fn a_run_that_was_killed_has_a_report_that_says_so() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("run");
    record(&dir, &events()[..5]);
    let log = dir.join("events.ndjson");
    let mut text = fs::read_to_string(&log).unwrap();
    text.push_str("{\"t_ns\":12,\"event\":\"run.pha");
    fs::write(&log, text).unwrap();
    fs::remove_file(dir.join("experiment.yaml")).unwrap();
    let result = write(&dir).unwrap();
    assert_eq!(result.verdict, Verdict::Aborted);
    let [_, html, markdown, junit] = read(&dir);
    for text in [&html, &markdown] {
        assert!(text.contains("The event log ends in the middle of line 6"));
        assert!(text.contains("experiment.yaml is not shown: No such file"));
    }
    assert!(junit.contains("type=\"aborted\""));
}

#[test]
fn what_is_no_run_is_refused_and_left_alone() {
    let parent = tempfile::tempdir().unwrap();
    let missing = write(&parent.path().join("nowhere")).unwrap_err();
    assert!(matches!(missing, ReportError::Run(_)), "{missing}");
    let empty = write(parent.path()).unwrap_err();
    assert!(empty.to_string().contains("is no run"), "{empty}");
    assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
    assert!(missing.is_of_the_run() && empty.is_of_the_run());
}

#[test]
fn a_report_that_cannot_be_written_is_not_blamed_on_the_run() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("run");
    record(&dir, &events());
    fs::create_dir(dir.join("report.html")).unwrap();
    let failed = write(&dir).unwrap_err();
    assert!(failed.to_string().starts_with("cannot write ") && !failed.is_of_the_run(), "{failed}");
}
