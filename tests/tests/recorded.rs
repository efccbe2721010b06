//! A real run, recorded on a real lab, judged again and again: the figures of a report do not
//! change unless somebody means them to, and evidence that is tampered with does not pass.
//!
//! `UPDATE_EXPECT=1` accepts the figures as they are now. `docs/architecture.md` says how the run
//! was recorded.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail where they stand, as tests do")]

use std::path::{Path, PathBuf};

use temblor_event::{Aborted, Body, Event, LeftBehind, ProcessEnded};
use temblor_judge::{RunResult, Verdict, judge};
use temblor_runs::Reader;

fn recorded() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("recorded/network-partition")
}

fn events() -> Vec<Event> {
    let recorded = Reader::open(&recorded()).unwrap().read_all().unwrap();
    assert!(recorded.torn.is_none());
    recorded.events
}

fn judged(events: &[Event]) -> RunResult {
    judge(events).unwrap().result
}

#[test]
fn the_report_has_the_figures_it_had() {
    let copy = tempfile::tempdir().unwrap();
    for file in ["experiment.yaml", "events.ndjson", "events.ndjson.zst"] {
        if recorded().join(file).exists() {
            std::fs::copy(recorded().join(file), copy.path().join(file)).unwrap();
        }
    }
    temblor_report::write(copy.path()).unwrap();
    for file in ["result.json", "report.md", "junit.xml"] {
        let now = std::fs::read_to_string(copy.path().join(file)).unwrap();
        let kept = recorded().join(file);
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            std::fs::write(&kept, &now).unwrap();
        }
        let before = std::fs::read_to_string(&kept).unwrap();
        assert!(now == before, "{file} differs: UPDATE_EXPECT=1 accepts it, git diff shows it");
    }
}

/// What the run was, so that accepting new figures cannot turn it into something else.
#[test]
fn the_run_is_a_survived_partition() {
    let result = judged(&events());
    assert_eq!(result.verdict, Verdict::Pass);
    let ledger = result.ledger.unwrap();
    assert_eq!((ledger.lost, ledger.duplicated, ledger.unexpected), (Some(0), Some(0), Some(0)));
    assert!(ledger.acknowledged > 500 && ledger.stored == Some(ledger.acknowledged));
    assert!(result.cross_checks.len() >= 7 && result.cross_checks.iter().all(|c| c.agrees));
    assert!(result.faults[0].effect.count > 0);
    let (detection, full) = (result.detection_seconds.unwrap(), result.recovery_seconds.full);
    assert!(detection > result.kernel_detection_seconds.unwrap() && full.unwrap() > 0.0);
}

/// Each way of tampering with the evidence, and what must come of it.
#[test]
fn evidence_that_is_tampered_with_does_not_pass() {
    type Tamper = fn(&mut Vec<Event>);
    type Noticed = fn(&RunResult) -> bool;
    let cases: [(&str, Tamper, Verdict, Noticed); 9] = [
        (
            "an acknowledged order is not in the database",
            |events| {
                change_rows(events, |rows| drop(rows.pop()));
                change_read(events, |rows| *rows -= 1);
            },
            Verdict::Fail,
            |r| r.ledger.as_ref().is_some_and(|l| l.lost == Some(1)),
        ),
        (
            "an order is in the database twice",
            |events| {
                change_rows(events, |rows| rows.push(rows[0].clone()));
                change_read(events, |rows| *rows += 1);
            },
            Verdict::Fail,
            |r| r.ledger.as_ref().is_some_and(|l| l.duplicated == Some(1)),
        ),
        (
            "an order that nobody sent is in the database",
            |events| {
                change_rows(events, |rows| {
                    let mut row = rows[0].clone();
                    row.key.push('x');
                    rows.push(row);
                });
                change_read(events, |rows| *rows += 1);
            },
            Verdict::Fail,
            |r| r.ledger.as_ref().is_some_and(|l| l.unexpected == Some(1)),
        ),
        (
            "rows are missing from the record",
            |events| change_rows(events, |rows| drop(rows.pop())),
            Verdict::Fail,
            |r| r.ledger.as_ref().is_some_and(|l| l.lost.is_none()),
        ),
        (
            "the fault had no effect",
            |events| {
                for event in events {
                    if let Body::FaultReverted(reverted) = &mut event.body {
                        reverted.effect.count = 0;
                    }
                    if let Body::FaultEffect(effect) = &mut event.body {
                        effect.effect.count = 0;
                    }
                }
            },
            Verdict::Invalid,
            |r| r.reasons[0].contains("effect"),
        ),
        (
            "a second of load is missing",
            |events| {
                let at = events.iter().position(|e| matches!(e.body, Body::LoadSecond(_))).unwrap();
                events.remove(at);
            },
            Verdict::Invalid,
            |r| r.load_account.as_ref().is_some_and(|a| !a.balanced),
        ),
        ("the record ends early", |events| drop(events.pop()), Verdict::Aborted, |_| true),
        (
            "the run was interrupted",
            |events| events.push(Event::at(u64::MAX, Aborted { why: "by hand".into() })),
            Verdict::Aborted,
            |r| r.reasons[0].contains("by hand"),
        ),
        (
            "a table was left behind",
            |events| events.push(Event::at(u64::MAX, LeftBehind { what: "a table".into() })),
            Verdict::Leak,
            |r| r.reasons[0].contains("a table"),
        ),
    ];
    for (what, tamper, verdict, noticed) in cases {
        let mut events = events();
        tamper(&mut events);
        let result = judged(&events);
        assert_eq!(result.verdict, verdict, "{what}: {:?}", result.reasons);
        assert!(noticed(&result), "{what}: {:?} {:?}", result.reasons, result.ledger);
    }
}

/// A retransmission that the probe had missed would show: the kernel's own counter has it.
#[test]
fn a_retransmission_that_was_not_seen_is_missed() {
    let mut events = events();
    let seen = |e: &Event| matches!(&e.body, Body::TcpRetransmit(r) if r.segments > 0);
    let at = events.iter().position(seen).unwrap();
    events.remove(at);
    let result = judged(&events);
    let differing = result.cross_checks.iter().filter(|check| !check.agrees).count();
    assert_eq!(differing, 1);
    assert!(
        result.reasons.iter().any(|reason| reason.contains("disagree")),
        "{:?}",
        result.reasons
    );
}

/// A service that died and was started again is no verdict by itself, and is told.
#[test]
fn a_process_that_ended_is_told() {
    let mut events = events();
    let t_ns = events[events.len() / 2].t_ns;
    events.push(Event::at(
        t_ns,
        ProcessEnded { service: "trading-api".into(), pid: 4242, how: None },
    ));
    let result = judged(&events);
    assert_eq!(result.verdict, Verdict::Pass);
    let told = |text: &str| text.contains("process 4242 of trading-api");
    assert!(result.reasons.iter().any(|reason| told(reason)), "{:?}", result.reasons);
    assert!(result.timeline.iter().any(|entry| told(&entry.what)));
}

/// Changes the first event that has rows.
fn change_rows(events: &mut [Event], change: impl Fn(&mut Vec<temblor_event::StoredRow>)) {
    let rows = events.iter_mut().find_map(|event| match &mut event.body {
        Body::LedgerRows(rows) => Some(&mut rows.rows),
        _ => None,
    });
    change(rows.unwrap());
}

/// Changes the count of rows that the read gives.
fn change_read(events: &mut [Event], change: impl Fn(&mut u64)) {
    let read = events.iter_mut().find_map(|event| match &mut event.body {
        Body::LedgerRead(read) => Some(&mut read.rows),
        _ => None,
    });
    change(read.unwrap());
}
