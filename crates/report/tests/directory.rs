//! From a run directory to the files beside its events.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use temblor_event::{
    Effect, Event, FaultInjected, FaultReverted, HostFacts, PhaseMark, PhasePlan, PhaseRole,
    ProfileKept, ProfileStarted, RunEnded, RunStarted, SCHEMA,
};
use temblor_judge::{RunResult, Verdict};
use temblor_profile::{Builder, Label, LabelValue, Profile, ValueType};
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

/// A profile of a target that spends so many samples in each of these functions.
fn profile(leaves: &[(&str, &str, i64)]) -> Profile {
    const PERIOD_NS: i64 = 1_000_000_000 / 99;
    let types = vec![ValueType::new("samples", "count"), ValueType::new("cpu", "nanoseconds")];
    let mut builder = Builder::new(types);
    let root = builder.named("main");
    for (target, leaf, samples) in leaves {
        let value = LabelValue::Text((*target).to_owned());
        let leaf = builder.named(leaf);
        let labels = vec![Label { key: "service".to_owned(), value }];
        builder.sample(vec![leaf, root], &[*samples, samples * PERIOD_NS], labels);
    }
    let mut profile = builder.finish();
    profile.default_type = "cpu".to_owned();
    profile.period = PERIOD_NS;
    profile.period_type = Some(ValueType::new("cpu", "nanoseconds"));
    profile
}

/// Records the run with these profiles of baseline and fault, which last 2 s and 3 s.
fn record_profiled(dir: &Path, profiles: [Profile; 2]) {
    let mut all = events();
    let (t_ns, kind) = (all[1].t_ns, "cpu".to_owned());
    all.push(Event {
        t_ns,
        body: ProfileStarted {
            kind: kind.clone(),
            probe: "profile cpu".to_owned(),
            phases: vec!["baseline".to_owned(), "fault".to_owned()],
            rate_hz: Some(99),
            hooks: Vec::new(),
            attach_ns: 1,
        }
        .into(),
    });
    let writer = Writer::create_at(dir, "kind: Experiment\n").unwrap();
    for ((phase, seconds), mut profile) in [("baseline", 2), ("fault", 3)].into_iter().zip(profiles)
    {
        let samples: i64 = profile.samples.iter().map(|sample| sample.values[0]).sum();
        profile.duration_ns = seconds * 1_000_000_000;
        let bytes = temblor_profile::pprof::write(&profile);
        let kept = ProfileKept {
            kind: kind.clone(),
            phase: phase.to_owned(),
            file: writer.dir().write_profile(&kind, phase, &bytes).unwrap(),
            samples: samples.cast_unsigned(),
            samples_to_root: samples.cast_unsigned(),
            lasted_ns: profile.duration_ns.cast_unsigned(),
        };
        all.push(Event { t_ns, body: kept.into() });
    }
    for event in &all {
        writer.append(event).unwrap();
    }
    writer.finish().unwrap();
}

#[test]
fn what_changed_is_told_target_by_target_and_noise_is_not() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("run");
    // The same in a second of each phase, but for what the API does anew; one target is hardly seen.
    let (orders, query) = (("api", "orders", 400), ("db", "exec_query", 300));
    let base = profile(&[orders, query, ("cache", "get", 7)]);
    let new = profile(&[
        ("api", "orders", 600),
        ("api", "futex_wait", 500),
        ("db", "exec_query", 460),
        ("cache", "get", 9),
    ]);
    record_profiled(&dir, [base, new]);
    let result = write(&dir).unwrap();
    let [cpu] = &result.profiles[..] else { panic!("{:?}", result.profiles) };
    let [comparison] = &cpu.comparisons[..] else { panic!("{:?}", cpu.comparisons) };
    assert_eq!((&*comparison.base, &*comparison.new), ("baseline", "fault"));
    let (changes, notes) = (comparison.changes.join("\n"), comparison.notes.join("\n"));
    assert!(
        changes.contains("api: everything together: 3.70s a second instead of 2.02s"),
        "{changes}"
    );
    assert!(changes.contains("api: futex_wait: 1.68s a second instead of 0"), "{changes}");
    assert!(!changes.contains("db:") && !changes.contains("cache:"), "{changes}");
    assert!(!changes.contains("api: orders"), "as much a second as before: {changes}");
    for note in [
        "db: no change that can be told from chance (300 samples in baseline, 460 samples in fault).",
        "cache: too few samples to say anything (7 samples in baseline, 9 samples in fault)",
        "Figures are from 707 samples in 2.0 s of baseline and 1,569 samples in 3.0 s of fault",
    ] {
        assert!(notes.contains(note), "{note}: {notes}");
    }
    let [json, html, markdown, _] = read(&dir);
    assert_eq!(serde_json::from_str::<RunResult>(&json).unwrap(), result);
    for text in [&html, &markdown] {
        assert!(text.replace('\\', "").contains("api: futex_wait: 1.68s a second instead of 0"));
    }
    assert!(html.contains("futex_wait ("), "it is drawn");
}

#[test]
fn a_profile_that_is_gone_or_damaged_is_told_of() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("run");
    let one = || profile(&[("api", "orders", 400)]);
    record_profiled(&dir, [one(), one()]);
    fs::write(dir.join("profiles/cpu-baseline.pb.gz"), "no profile").unwrap();
    fs::remove_file(dir.join("profiles/cpu-fault.pb.gz")).unwrap();
    let result = write(&dir).unwrap();
    let comparison = &result.profiles[0].comparisons[0];
    assert_eq!((&comparison.changes[..], comparison.notes.len()), (&[][..], 1));
    assert!(comparison.notes[0].contains("could not be read"), "{comparison:?}");
    let markdown = &read(&dir)[2];
    assert!(markdown.contains("profiles/cpu-baseline.pb.gz is not shown: "), "{markdown}");
    assert!(markdown.contains("profiles/cpu-fault.pb.gz is not shown: No such file"), "{markdown}");
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
