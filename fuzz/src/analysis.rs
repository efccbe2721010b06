//! What profiles mean; rules and budgets as people write them; what a language model answers.

use std::sync::LazyLock;

use temblor_analysis::{
    AgainstOptions, Budget, ChangesOptions, Report, Rules, against, analyze, changes, explain,
    hold, json, text,
};

/// A share is one, an interval has its figure, and what is written can be read.
pub(crate) fn profile(bytes: &[u8]) {
    let Ok(profile) = temblor_profile::read(bytes) else { return };
    let rules = Rules::built_in();
    for of in &profile.types {
        let kind = Some(of.kind.as_str());
        let Ok(analysis) = analyze(&profile, kind, rules) else { continue };
        for row in &analysis.rows {
            for figure in [&row.own, &row.with_calls] {
                assert!((0.0..=1.0).contains(&figure.share), "{row:?}");
                assert!(figure.within.is_none_or(|within| within.has(figure.share)), "{row:?}");
            }
        }
        let budgets = ["gc<=5%", "function:^main<=10%"].map(|budget| budget.parse().unwrap());
        let compared = ChangesOptions { kind: Some(of.kind.clone()), basis: None };
        let same = changes(&profile, &profile, &compared, rules).ok();
        let options = AgainstOptions { compared, allowed: 0.05 };
        let held = against(&profile, &profile, &options, rules).ok();
        assert!(held.as_ref().is_none_or(|held| held.over.is_empty()), "against itself: {held:?}");
        let report = Report {
            analysis: Some(analysis),
            changes: same,
            budgets: hold(&profile, kind, &budgets, rules).unwrap_or_default(),
            against: held,
            explanation: None,
        };
        is_written(&report);
    }
}

fn is_written(report: &Report) {
    assert!(text(report, 80).ends_with('\n'));
    // A figure that is none would be null there, and null is not what is promised.
    let written = serde_json::to_string(&json(report)).unwrap();
    serde_json::from_str::<serde_json::Value>(&written).unwrap();
    let _ = explain::request("model", report);
}

/// What a model answers is plain text of a bounded length, whatever it was.
pub(crate) fn answer(bytes: &[u8]) {
    static REPORT: LazyLock<Report> = LazyLock::new(|| {
        let profile = temblor_profile::read(b"main;work;malloc 312\nmain;idle 900\n").unwrap();
        Report {
            analysis: Some(analyze(&profile, None, Rules::built_in()).unwrap()),
            ..Report::default()
        }
    });
    let Ok(told) = explain::read(bytes, "a\u{1b}[model", &REPORT) else { return };
    assert!(!told.text.trim().is_empty());
    assert!(!told.text.contains(|c: char| c.is_control() && c != '\n'), "{:?}", told.text);
    assert!(!told.model.contains(char::is_control));
    assert!(told.text.matches(explain::MARK).count() >= told.not_found.len());
    let with = Report { explanation: Some(told), ..REPORT.clone() };
    let _ = text(&with, 80);
}

pub(crate) fn answers() -> Vec<Vec<u8>> {
    ["The heap takes 25.7 % of 1,212 samples, not 31 %.\n1. Try less.", "gc takes 3e9 v9 ½ 1.2.3"]
        .map(|said| {
            let message = serde_json::json!({"role": "assistant", "content": said});
            let answer = serde_json::json!({"choices": [{"index": 0, "message": message}]});
            answer.to_string().into_bytes()
        })
        .into()
}

/// A budget is a budget or is told why it is none, in one line.
pub(crate) fn budget(bytes: &[u8]) {
    let written = crate::text(bytes);
    match written.parse::<Budget>() {
        Ok(budget) => {
            let profile = temblor_profile::read(b"main;work;malloc 312\nmain;idle 900\n").unwrap();
            let _ = hold(&profile, None, &[budget], Rules::built_in());
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

pub(crate) fn budgets() -> Vec<Vec<u8>> {
    crate::seeds_of([
        "serialization<=15%",
        "own:gc <= 0.5 %",
        "function:^encoding/json|(a.*b){2,5}[^x]<=10%",
    ])
}

/// Rules are rules or are told why they are none; those that are can be asked.
pub(crate) fn rules(bytes: &[u8]) {
    let written = crate::text(bytes);
    let written = written.as_str();
    for (categories, languages) in [(written, vec![]), (CATEGORIES, vec![written])] {
        match Rules::read(categories, &languages) {
            Ok(rules) => {
                for name in ["main", "gc::work", "<&mut gc::Heap as Drop>::drop", "", "ä"] {
                    let _ = rules.category_of(name, "/usr/lib/libc.so.6");
                }
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
}

pub(crate) fn rule_files() -> Vec<Vec<u8>> {
    crate::seeds_of([CATEGORIES, RUST, KERNEL])
}

const CATEGORIES: &str = r#"
[[category]]
id = "gc"
name = "Garbage collection"
rank = "means"
finding_from_percent = 10
advice = "Allocate less."

[[category]]
id = "system"
name = "System calls"
rank = "ground"
finding_from_percent = 12.5
advice = ""
"#;

const RUST: &str = r#"
language = "rust"

[[rule]]
category = "gc"
calls_back = true
is = ["main", "work"]
starts = ["gc::", "<gc"]
contains = ["::collect"]
examples = []
"#;

const KERNEL: &str = r#"
language = "kernel"

[[rule]]
category = "system"
starts = ["do_", "__x64_sys_"]
files = ["/usr/lib/libc"]
examples = ["do_syscall_64"]
"#;
