//! What a report says, in each format, held against the run it is made of.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod sample;
mod walk;

use std::path::{Path, PathBuf};

use proptest::prelude::*;
use quick_xml::events::Event as Xml;
use serde_json::Value;
use temblor_judge::{Judged, Series, Verdict};
use temblor_report::{Beside, ProfileFile, Rendered, ScriptOutput, render};

use walk::{Step, leaves, replaced};

const NOT_OBSERVED: &str = "not observed";

fn rendered(judged: &Judged) -> Rendered {
    let beside = Beside {
        experiment: Some(sample::EXPERIMENT),
        notices: Vec::new(),
        scripts: sample::outputs(),
        profiles: sample::files(),
    };
    render(judged, &beside).unwrap()
}

fn with(change: impl FnOnce(&mut Judged)) -> Rendered {
    let mut judged = sample::judged();
    change(&mut judged);
    rendered(&judged)
}

/// Compares with a file of the repository, or writes it where `UPDATE_EXPECT` is set.
fn expect_file(path: &Path, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        return;
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        expected == text,
        "{} differs from what is rendered; if that is meant, run the tests with UPDATE_EXPECT=1",
        path.display()
    );
}

/// An element of a document: its name, attributes and the text directly in it.
#[derive(Debug, Default)]
struct Element {
    name: String,
    attributes: Vec<(String, String)>,
    text: String,
}

impl Element {
    fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|a| a.0 == name).map(|a| a.1.as_str())
    }
}

/// All elements of a document, in order of their beginning; panics unless it is well-formed.
fn elements(text: &str) -> Vec<Element> {
    let mut reader = quick_xml::Reader::from_str(text);
    let mut elements: Vec<Element> = Vec::new();
    let mut open = Vec::new();
    loop {
        let event = reader.read_event().expect("well-formed");
        match &event {
            Xml::Start(tag) | Xml::Empty(tag) => {
                let attributes = tag
                    .attributes()
                    .map(|a| {
                        let a = a.expect("well-formed attributes");
                        let value =
                            quick_xml::escape::unescape(std::str::from_utf8(&a.value).unwrap())
                                .expect("escaped attribute")
                                .into_owned();
                        (String::from_utf8(a.key.as_ref().to_vec()).unwrap(), value)
                    })
                    .collect();
                let name = String::from_utf8(tag.name().as_ref().to_vec()).unwrap();
                if matches!(event, Xml::Start(_)) {
                    open.push(elements.len());
                }
                elements.push(Element { name, attributes, text: String::new() });
            }
            Xml::End(_) => {
                open.pop();
            }
            Xml::Text(text) => {
                if let Some(i) = open.last() {
                    elements[*i].text.push_str(std::str::from_utf8(text).unwrap());
                }
            }
            Xml::GeneralRef(reference) => {
                let i = *open.last().unwrap();
                let raw = format!("&{};", std::str::from_utf8(reference).unwrap());
                let text = quick_xml::escape::unescape(&raw).expect("a known entity");
                elements[i].text.push_str(&text);
            }
            Xml::Eof => break,
            _ => {}
        }
    }
    assert!(open.is_empty(), "every element ends");
    elements
}

fn texts(html: &str) -> Vec<String> {
    elements(html)
        .into_iter()
        .map(|e| e.text.split_whitespace().collect::<Vec<_>>().join(" "))
        .filter(|t| !t.is_empty())
        .collect()
}

#[test]
fn the_sample_is_rendered_as_it_was() {
    let rendered = rendered(&sample::judged());
    expect_file(Path::new("tests/golden/result.json"), &rendered.json);
    expect_file(Path::new("tests/golden/report.md"), &rendered.markdown);
    expect_file(Path::new("tests/golden/junit.xml"), &rendered.junit);
}

#[test]
fn rendering_twice_gives_the_same_bytes() {
    assert_eq!(rendered(&sample::judged()), rendered(&sample::judged()));
}

#[test]
fn the_committed_schema_is_that_of_the_result() {
    expect_file(Path::new("../../docs/result.schema.json"), &temblor_report::schema().unwrap());
}

#[test]
fn a_result_is_valid_by_the_schema_and_a_damaged_one_is_not() {
    let schema: Value = serde_json::from_str(&temblor_report::schema().unwrap()).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let result: Value = serde_json::from_str(&rendered(&sample::judged()).json).unwrap();
    let errors: Vec<_> = validator.iter_errors(&result).map(|e| e.to_string()).collect();
    assert_eq!(errors, Vec::<String>::new());
    let verdict = [Step::Key("verdict".to_owned())];
    assert!(!validator.is_valid(&replaced(&result, &verdict, Value::from("fine"))));
    let detection = [Step::Key("detection_seconds".to_owned())];
    assert!(validator.is_valid(&replaced(&result, &detection, Value::Null)));
    assert!(!validator.is_valid(&replaced(&result, &detection, Value::from("1 s"))));
}

#[test]
fn html_is_one_file_that_asks_for_nothing() {
    let html = rendered(&sample::judged()).html;
    let elements = elements(&html);
    let ids: Vec<&str> = elements.iter().filter_map(|e| e.attribute("id")).collect();
    for element in &elements {
        assert!(
            !["script", "img", "link", "iframe", "object", "embed", "use", "image"]
                .contains(&element.name.as_str()),
            "{element:?}"
        );
        for (name, value) in &element.attributes {
            assert!(!name.starts_with("on"), "{element:?}");
            if name == "src" || name.ends_with("href") {
                let target = value.strip_prefix('#').expect("a link within the page");
                assert!(ids.contains(&target), "{value} leads nowhere");
            }
        }
        if element.name == "style" {
            assert!(!element.text.contains("url(") && !element.text.contains("@import"));
        }
    }
    let policy = elements.iter().find_map(|e| {
        (e.attribute("http-equiv") == Some("Content-Security-Policy"))
            .then(|| e.attribute("content"))
    });
    assert!(policy.flatten().is_some_and(|p| p.starts_with("default-src 'none'")));
}

#[test]
fn html_holds_the_figures_and_their_plots() {
    let html = rendered(&sample::judged()).html;
    let texts = texts(&html);
    for expected in [
        "The order service loses its database",
        "pass",
        "1.2 s",
        "871 ms",
        "4.5 s",
        "13,571",
        "Detection",
        "311 packets dropped",
        "✓ held",
        "seconds from injection",
        "fault in",
        "fault out",
        "steady again",
        "baseline",
        "recovery",
        "+0.226 s",
        "tp_btf/tcp_retransmit_skb",
        "6,003",
        "46 MiB",
        sample::EXPERIMENT.split_whitespace().collect::<Vec<_>>().join(" ").as_str(),
    ] {
        assert!(texts.iter().any(|t| t == expected), "{expected:?} is not in the report");
    }
    // Latency, orders, backlog, retransmissions, back-off, checks, edges, and of profiles one of each
    // phase and a difference: each wide and narrow, those of profiles with a drawing within.
    assert_eq!(elements(&html).iter().filter(|e| e.name == "svg").count(), 14 + 3 * 2 * 2);
}

#[test]
fn what_a_script_printed_stands_where_it_came_in_the_run() {
    let rendered = rendered(&sample::judged());
    let elements = elements(&rendered.html);
    let outputs =
        elements.iter().enumerate().filter(|(_, e)| e.attribute("class") == Some("output"));
    let told: Vec<(&str, &str)> = outputs
        .map(|(i, _)| (elements[i + 1].text.as_str(), elements[i + 2].text.as_str()))
        .collect();
    let before = "   -20.400 s  Attaching 2 probes...";
    let flood = told[2].1;
    assert_eq!(told[0], ("forks, before the first phase: 1 line", before));
    assert_eq!(told[1], ("forks, phase baseline: 1 line", "   -20.000 s  tick 1"));
    assert_eq!(told[2].0, "forks, phase fault: 130 lines, of which the last 100 are shown");
    assert_eq!(flood.lines().count(), 100);
    assert!(flood.starts_with("    +0.031 s  fork 31\n") && flood.ends_with("  fork 130"));
    assert_eq!(told[3].1, "   +54.500 s  \n   +54.500 s  @forks[<b>|sh]: 7");
    assert_eq!(told.len(), 4, "{told:?}");
    assert!(rendered.markdown.contains("@forks[&lt;b&gt;|sh]: 7\n</pre>"));
    assert!(rendered.markdown.contains("fork 111\n") && !rendered.markdown.contains("fork 110\n"));
    let told = "*80 earlier lines in report.html.*";
    assert!(rendered.markdown.contains(told), "{}", rendered.markdown);
}

#[test]
fn a_script_whose_output_is_gone_is_still_told_of() {
    let beside = Beside {
        scripts: vec![ScriptOutput { script: "forks".into(), printed: Err("it is gone".into()) }],
        ..Beside::default()
    };
    let rendered = render(&sample::judged(), &beside).unwrap();
    assert!(rendered.html.contains("bpftrace-forks.txt is not shown: it is gone."));
    assert!(rendered.markdown.contains("bpftrace-forks.txt is not shown: it is gone."));
}

/// A profile whose every name is this text.
fn evil_profile(text: &str) -> temblor_profile::Profile {
    let mut profile = sample::files().remove(0).profile.unwrap();
    for function in &mut profile.functions {
        function.name = text.to_owned();
    }
    for label in profile.samples.iter_mut().flat_map(|sample| &mut sample.labels) {
        label.value = temblor_profile::LabelValue::Text(text.to_owned());
    }
    profile
}

#[test]
fn profiles_are_drawn_and_what_changed_stands_first() {
    let Rendered { html, markdown, .. } = rendered(&sample::judged());
    let texts = texts(&html);
    for there in [
        "What changed from baseline to fault (cpu)",
        "trading-api: tcp_retransmit_timer: 9.1ms a second instead of 0",
        "There is no cpu profile of recovery: no samples in 17.8 s",
        "postgres: too few samples to say anything",
        "profiles/cpu-baseline.pb.gz",
    ] {
        assert!(texts.iter().any(|text| text.contains(there)), "{there}");
        assert!(markdown.replace('\\', "").contains(there), "{there}: {markdown}");
    }
    // What took 400 of 900 samples, each of 10.1 ms, and was not there before.
    let frame = "tcp_retransmit_timer (4,040 ms, 44.44%; +44.44%)";
    assert!(html.contains(frame), "{html}");
    // The baseline's 700 samples of orders, as if it had lasted as long as the fault.
    assert!(html.contains("orders (5,051 ms, 55.56%; -61.24%)"), "{html}");
    let (changed, drawn) = (html.find("What changed from"), html.find("cpu: fault, red where"));
    assert!(changed.is_some() && changed < drawn, "{changed:?} {drawn:?}");
}

#[test]
fn a_profile_that_cannot_be_read_is_still_told_of() {
    let beside = Beside {
        profiles: vec![ProfileFile {
            file: "profiles/cpu-fault.pb.gz".to_owned(),
            profile: Err("it is gone".to_owned()),
        }],
        ..Beside::default()
    };
    let rendered = render(&sample::judged(), &beside).unwrap();
    let html = texts(&rendered.html).join("\n");
    for text in [&html, &rendered.markdown] {
        assert!(text.contains("profiles/cpu-fault.pb.gz is not shown: it is gone."));
        assert!(text.contains("profiles/cpu-baseline.pb.gz is not shown."));
        assert!(text.contains("The profiles are not there to be drawn."));
    }
}

#[test]
fn a_cascade_shows_its_faults_its_doses_and_its_services() {
    let rendered = rendered(&sample::cascade());
    let texts = texts(&rendered.html);
    for expected in [
        "Faults in place",
        "Share of the dose in place",
        "Services away",
        "What was to be learnt",
        "In which order do the services come back?",
        "latency in",
        "latency out",
        "kill 2",
        "✓ as asked",
        "✗ off",
        "+1.3 ms",
        "1 MiB/s",
        "well again",
        "19.0 s",
    ] {
        assert!(texts.iter().any(|t| t == expected), "{expected:?} is not in the report");
    }
    // As the sample, with faults, levels and services; the map of edges, wide and narrow; profiles.
    assert_eq!(elements(&rendered.html).iter().filter(|e| e.name == "svg").count(), 20 + 3 * 2 * 2);
    expect_file(Path::new("tests/golden/cascade.md"), &rendered.markdown);
    elements(&rendered.junit);
}

/// The names that the vocabulary fixes: no text of a run can stand there.
fn is_fixed(path: &[Step]) -> bool {
    let text = walk::text(path);
    let last = text.rsplit('.').next().unwrap_or_default();
    text == "verdict"
        || (text.starts_with("phases.") && last == "role")
        || (text.starts_with("timeline.") && last == "kind")
        || (text.starts_with("services.order.") && last == "step")
        || (text.starts_with("evidence.figures.") && last == "unit")
        || (text.starts_with("evidence.edges.") && last == "seen_at")
        || (text.starts_with("scripts.") && last == "end")
        || (text.contains(".condition.") && (last == "figure" || last == "op"))
}

#[test]
fn whatever_changes_in_the_result_changes_in_every_format() {
    every_leaf_is_shown(&sample::result(), 200);
}

/// Services, doses, levels and several faults are only there.
#[test]
fn whatever_changes_in_a_cascade_changes_in_every_format() {
    every_leaf_is_shown(&sample::cascade().result, 250);
}

fn every_leaf_is_shown(result: &temblor_judge::RunResult, at_least: u32) {
    // Without the series every difference is one of what is written.
    let result = walk::pruned(&serde_json::to_value(result).unwrap());
    let render = |value: &Value| {
        let result = serde_json::from_value(value.clone()).unwrap();
        // Nor is a flamegraph drawn for each: what they show is no leaf of the result.
        let beside = Beside {
            experiment: Some(sample::EXPERIMENT),
            scripts: sample::outputs(),
            ..Beside::default()
        };
        render(&Judged { result, series: Series::default() }, &beside).unwrap()
    };
    let before = render(&result);
    let mut changed = 0;
    for (path, leaf) in leaves(&result) {
        let other = match &leaf {
            Value::Number(n) if n.is_u64() => Value::from(n.as_u64().unwrap() * 2 + 1),
            Value::Number(n) => Value::from(n.as_f64().unwrap() * 2.0 + 1.0),
            Value::Bool(b) => Value::from(!b),
            Value::String(s) if !is_fixed(&path) => Value::from(format!("{s} otherwise")),
            _ => continue,
        };
        let after = render(&replaced(&result, &path, other));
        let name = walk::text(&path);
        assert_ne!(before.json, after.json, "{name} in JSON");
        assert_ne!(before.html, after.html, "{name} in HTML");
        // The author's own spelling of a bound is a tooltip of the HTML only.
        if !name.ends_with("condition.text") {
            assert_ne!(before.markdown, after.markdown, "{name} in Markdown");
        }
        let in_junit =
            ["detection", "kernel_det", "recovery_s", "cross_checks", "reasons", "load_ac"]
                .iter()
                .any(|start| name.starts_with(start))
                || [
                    "observed",
                    "bound",
                    "effect.count",
                    "p99_seconds",
                    ".lost",
                    ".stored",
                    ".success",
                    "ended.lines",
                    "ended.status",
                ]
                .iter()
                .any(|end| name.ends_with(end));
        if in_junit && !name.starts_with("evidence.edges.") {
            assert_ne!(before.junit, after.junit, "{name} in JUnit");
        }
        changed += 1;
    }
    assert!(changed > at_least, "only {changed} leaves were changed");
}

#[test]
fn whatever_was_not_observed_is_said_to_be_so() {
    let result = serde_json::to_value(sample::result()).unwrap();
    let nullable = [
        "detection_seconds",
        "kernel_detection_seconds",
        "recovery_seconds.first",
        "recovery_seconds.backlog_drained",
        "recovery_seconds.full",
        "ledger.stored",
        "ledger.lost",
        "ledger.duplicated",
        "ledger.unexpected",
        "ledger.recovered",
        "expectations.0.observed",
        "phases.1.load",
        "phases.1.load.p50_seconds",
        "phases.1.load.p90_seconds",
        "phases.1.load.p99_seconds",
        "phases.1.load.max_seconds",
        "phases.1.load.success",
        "phases.1.load.errors",
        "phases.1.retransmitted_segments",
        "faults.0.reverted_seconds",
        "cost.bpf_seconds",
        "cost.cpu_seconds",
        "cost.cpu_share",
        "cost.memory_bytes_max",
        "scripts.0.ended",
    ];
    let count = |text: &str| text.matches(NOT_OBSERVED).count();
    let before = rendered(&sample::judged());
    for path in nullable {
        let steps = walk::path(path);
        let judged = Judged {
            result: serde_json::from_value(replaced(&result, &steps, Value::Null)).unwrap(),
            series: sample::series(),
        };
        let after = rendered(&judged);
        assert!(count(&after.html) > count(&before.html), "{path} in HTML");
        assert!(count(&after.markdown) > count(&before.markdown), "{path} in Markdown");
    }
    let junit = with(|j| j.result.detection_seconds = None).junit;
    assert!(
        junit.contains("<property name=\"detection_seconds\" value=\"not observed\"/>"),
        "{junit}"
    );
}

#[test]
fn nothing_in_a_run_is_markup() {
    const EVIL: &str = "<script>alert('x')</script>|\"&amp;\n`![a](http://evil.example)`\u{0}";
    let mut value = serde_json::to_value(sample::result()).unwrap();
    for (path, leaf) in leaves(&value.clone()) {
        if leaf.is_string() && !is_fixed(&path) {
            value = replaced(&value, &path, Value::from(EVIL));
        }
    }
    let mut judged =
        Judged { result: serde_json::from_value(value).unwrap(), series: sample::series() };
    let checks = std::mem::take(&mut judged.series.checks);
    judged.series.checks = checks.into_values().map(|v| (EVIL.to_owned(), v)).collect();
    let gauges = std::mem::take(&mut judged.series.gauges);
    judged.series.gauges = gauges.into_values().map(|v| (EVIL.to_owned(), v)).collect();
    for phase in &mut judged.result.phases {
        let gauges = std::mem::take(&mut phase.gauges);
        phase.gauges = gauges.into_values().map(|v| (EVIL.to_owned(), v)).collect();
    }
    let beside = Beside {
        experiment: Some(EVIL),
        notices: vec![EVIL.to_owned()],
        scripts: vec![ScriptOutput {
            script: EVIL.to_owned(),
            printed: Ok(format!("5.000000000 </pre>{}", EVIL.replace('\n', " ")).into_bytes()),
        }],
        // As the files are called by now.
        profiles: vec![ProfileFile { file: EVIL.to_owned(), profile: Ok(evil_profile(EVIL)) }],
    };
    let rendered = render(&judged, &beside).unwrap();

    assert!(rendered.html.matches("&lt;script&gt;").count() > 100);
    // The NUL is the one character that no escape makes legal in XML; browsers replace it.
    for element in elements(&rendered.html.replace('\u{0}', "")) {
        assert!(!["script", "img", "a "].contains(&element.name.as_str()), "{element:?}");
        if element.name == "a" {
            assert!(element.attribute("href").unwrap().starts_with('#'));
        }
    }
    elements(&rendered.junit);
    // Between these tags nothing is Markdown, and the one thing that ends that is the second tag.
    let mut markdown = rendered.markdown.clone();
    while let Some((before, rest)) = markdown.split_once("<pre>") {
        let (printed, after) = rest.split_once("</pre>").expect("what is open is closed");
        assert!(printed.contains("&lt;/pre&gt;&lt;script&gt;") && !printed.contains('<'));
        markdown = format!("{before}{after}");
    }
    assert_ne!(markdown, rendered.markdown, "the script's output is there");
    for forbidden in ["<script", "![a]", "\u{0}", "\n`"] {
        assert!(!markdown.contains(forbidden), "{forbidden:?} in Markdown");
    }
    for line in rendered.markdown.lines().filter(|l| l.starts_with('|')) {
        assert!(line.ends_with('|'), "a cell broke out of its row: {line}");
    }
}

#[test]
fn verdicts_show_as_what_they_are() {
    for (verdict, failures, errors) in [
        (Verdict::Pass, 0, 0),
        (Verdict::Fail, 0, 0),
        (Verdict::Invalid, 0, 1),
        (Verdict::Aborted, 0, 1),
        (Verdict::Leak, 0, 1),
    ] {
        let rendered = with(|j| j.result.verdict = verdict);
        let suites = &elements(&rendered.junit)[0];
        let figure = |name| suites.attribute(name).unwrap().parse::<u32>().unwrap();
        assert_eq!((figure("failures"), figure("errors")), (failures, errors), "{verdict:?}");
    }
    let missed = with(|j| {
        j.result.verdict = Verdict::Fail;
        j.result.expectations[5].held = false;
        j.result.expectations[5].observed = Some(10.04);
        j.result.cross_checks[0].agrees = false;
        j.result.faults[0].effect.count = 0;
        j.result.load_account.as_mut().unwrap().unsent = 1_000;
    });
    let elements = elements(&missed.junit);
    let messages = |name: &str| -> Vec<String> {
        elements
            .iter()
            .filter(|e| e.name == name)
            .map(|e| e.attribute("message").unwrap().to_owned())
            .collect()
    };
    assert_eq!(messages("failure").len(), 1);
    assert!(messages("failure")[0].contains("10.04 s, expected ≤ 10.0 s"), "{elements:?}");
    // Sources that differ are marked, and turn nothing red: the verdict does not hang on them.
    // So is a counter that could not be read.
    assert_eq!(messages("skipped").len(), 2);
    assert!(messages("skipped")[0].starts_with("the two sources differ"));
    assert!(messages("skipped")[1].starts_with("not read after the run: connection refused"));
    assert_eq!(messages("error").len(), 2);
    assert!(messages("error")[0].starts_with("0 packets dropped"));
    assert!(missed.html.contains("✗ did not hold") && missed.html.contains("10.04 s"));
    assert!(missed.markdown.contains("**❌ FAIL**"));
}

#[test]
fn cases_of_a_suite_have_names_of_their_own() {
    let junit = rendered(&sample::judged()).junit;
    let mut names: Vec<_> = elements(&junit)
        .iter()
        .filter(|e| e.name == "testcase")
        .map(|e| {
            (e.attribute("classname").unwrap().to_owned(), e.attribute("name").unwrap().to_owned())
        })
        .collect();
    let all = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), all);
}

#[test]
fn a_run_without_anything_still_has_a_report() {
    let rendered = with(|j| {
        j.series = Series::default();
        let r = &mut j.result;
        r.verdict = Verdict::Aborted;
        r.duration_seconds = 0.0;
        r.load = None;
        r.load_account = None;
        r.ledger = None;
        r.phases.clear();
        r.timeline.clear();
        r.faults.clear();
        r.expectations.clear();
        r.steady_state.clear();
        r.cross_checks.clear();
        r.evidence = temblor_judge::Evidence::default();
        r.cost = temblor_judge::CostResult::default();
        r.experiment.title = String::new();
    });
    elements(&rendered.html);
    elements(&rendered.junit);
    let texts = texts(&rendered.html);
    for expected in ["No fault was injected.", "No phase was begun.", "No probe was attached."] {
        assert!(texts.iter().any(|t| t == expected), "{expected}");
    }
    // Without a title the name stands in its place.
    assert!(rendered.markdown.starts_with("# network-partition\n"));
}

#[test]
fn the_greatest_figures_and_the_longest_names_fit() {
    let long = "name".repeat(2_500);
    let judged = {
        let mut j = sample::judged();
        j.result.experiment.title = long.clone();
        j.result.reasons = vec![long.clone(); 100];
        j.result.timeline = vec![j.result.timeline[2].clone(); 200];
        for entry in &mut j.result.timeline {
            entry.what = long.clone();
        }
        j.result.evidence.connections = vec![j.result.evidence.connections[0].clone(); 50];
        let account = j.result.load_account.as_mut().unwrap();
        (account.planned, account.ok) = (u64::MAX, u64::MAX);
        j.result.faults[0].effect.count = u64::MAX;
        j.result.phases[0].load.as_mut().unwrap().p99_seconds = Some(1e9);
        // A day, second by second, and a gauge and a check to go with it.
        let second = j.series.load[0].clone();
        j.series.load = (0..86_400).map(|_| second.clone()).collect();
        for (i, second) in (0_i32..).zip(&mut j.series.load) {
            second.t_seconds = f64::from(i);
            second.ok = 1_000_000_000;
        }
        j.series.gauges.insert(long.clone(), (0..86_400).map(|i| (f64::from(i), 1e12)).collect());
        j.series
            .checks
            .insert(long.clone(), (0..86_400).map(|i| (f64::from(i), i % 2 == 0)).collect());
        j.series.retransmitted = (0..86_400).map(|i| (f64::from(i), 1)).collect();
        j
    };
    let rendered = rendered(&judged);
    elements(&rendered.html);
    // GitHub cuts a step summary at 1 MiB.
    assert!(rendered.markdown.len() < 1 << 20, "{} bytes of Markdown", rendered.markdown.len());
    assert!(rendered.markdown.contains("140 more rows in report.html"));
    let plots: usize = rendered
        .html
        .split("<svg")
        .skip(1)
        .map(|rest| rest.split("</svg>").next().unwrap_or_default().len())
        .sum();
    assert!(plots < 4 << 20, "{plots} bytes of plots for a day");
    assert!(rendered.html.contains("greatest of each 96 s"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// Plots are drawn of whatever numbers there are; none makes them fail or end the program.
    #[test]
    fn any_number_can_be_drawn(bits in prop::collection::vec(any::<u64>(), 12)) {
        let value = |i: usize| f64::from_bits(bits[i]);
        let rendered = with(|j| {
            j.series.load[3].t_seconds = value(0);
            j.series.load[4].p99_seconds = Some(value(1));
            j.series.load[5].p50_seconds = Some(value(2));
            j.series.load[6].ok = bits[3];
            j.series.retransmitted[1] = (value(4), bits[5]);
            for readings in j.series.gauges.values_mut() {
                readings[2] = (value(6), value(7));
            }
            for answers in j.series.checks.values_mut() {
                answers[2].0 = value(8);
            }
            j.result.phases[1].end_seconds = value(9);
            j.result.faults[0].reverted_seconds = Some(value(10));
            j.result.evidence.connections[0].retransmissions[1].t_seconds = value(11);
        });
        elements(&rendered.html);
    }
}

fn repository_file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

#[test]
fn drawings_have_no_colour_that_the_style_sheet_does_not_know() {
    let css = std::fs::read_to_string(repository_file("templates/report.css")).unwrap();
    for element in elements(&rendered(&sample::judged()).html) {
        for paint in ["fill", "stroke"] {
            let Some(colour) = element.attribute(paint).filter(|c| *c != "none") else { continue };
            // Frames of flamegraphs are light on either page, and their names dark.
            if colour.starts_with("rgb(") {
                continue;
            }
            assert!(
                css.contains(&format!("[{paint}=\"{colour}\"]")),
                "{paint} {colour} would look the same on a dark page"
            );
        }
    }
}
