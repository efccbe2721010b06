//! Experiment files, good and bad, as their authors would write them.

use std::path::Path;

use proptest::prelude::*;
use temblor_event::PhaseRole;
use temblor_plan::{Experiment, Fault};

const GOOD: &str = r#"apiVersion: temblor.dev/v1
kind: Experiment
metadata: {name: small, title: Small}
targets:
  api: {service: trading-api}
  db: {service: postgres}
load: {profile: orders, rate: 200/s, target: api, port: 8080}
steadyState:
  - {load: {success: ">= 99.9%", p99: "<= 50ms"}}
phases:
  - {name: baseline, for: 20s}
  - {name: fault, for: 30s, inject: [{network.partition: {from: api, to: [db, fd00::5], ports: 5432}}]}
  - {name: recovery, for: 30s, until: steady}
observe: [tcp]
expect:
  - {ledger.lost: 0}
  - {recovery.full: "<= 10s"}
ledger: {postgres: {target: db, user: u, database: d, query: "SELECT 1 WHERE key LIKE $1"}}
"#;

#[test]
fn a_good_file_says_what_it_says() {
    let experiment = Experiment::parse("good.yaml", GOOD).unwrap();
    let roles: Vec<PhaseRole> = experiment.phases.iter().map(|p| p.role).collect();
    assert_eq!(roles, [PhaseRole::Baseline, PhaseRole::Fault, PhaseRole::Recovery]);
    let Fault::Partition(partition) = &experiment.phases[1].inject[0];
    assert_eq!(partition.to_targets, ["db"]);
    assert_eq!(partition.to_addresses, ["fd00::5".parse::<std::net::IpAddr>().unwrap()]);
    assert_eq!(partition.ports, [5432]);
    assert_eq!(experiment.steady_state.len(), 2);
    assert_eq!(experiment.expect[0].name, "ledger.lost 0");
}

/// Each case changes one piece of the good file and names what the message must contain, the line
/// it must point at included.
#[test]
fn a_bad_file_is_told_where_and_what() {
    let cases: &[(&str, &str, &[&str])] = &[
        ("to: [db, fd00::5]", "to: [dbx]", &["bad.yaml:12:", "unknown target \"dbx\"", "api, db"]),
        ("from: api", "from: apj", &["bad.yaml:12:", "unknown target \"apj\""]),
        ("to: [db, fd00::5]", "to: api", &["separated from itself"]),
        ("for: 20s", "for: 20", &["bad.yaml:11:", "no unit", "500ms"]),
        ("for: 20s", "for: 20 parsecs", &["bad.yaml:11:", "\"parsecs\" is not a unit of time"]),
        ("for: 20s", "for: -20s", &["bad.yaml:11:", "negative"]),
        ("for: 20s", "for: 20ms", &["bad.yaml:11:", "shorter than a second"]),
        ("rate: 200/s", "rate: 200", &["bad.yaml:7:", "no unit", "200/s"]),
        ("rate: 200/s", "rate: 200/h", &["bad.yaml:7:", "not a unit of a rate"]),
        ("port: 8080", "port: 80800", &["bad.yaml:7:", "not a port", "1 to 65535"]),
        ("port: 8080", "port: 0", &["bad.yaml:7:", "not a port"]),
        ("ports: 5432", "ports: [5432, 70000]", &["bad.yaml:12:", "not a port"]),
        (
            "observe: [tcp]",
            "observe: [tpc]",
            &["bad.yaml:14:", "unknown probe \"tpc\"", "known: tcp"],
        ),
        ("observe:", "observ:", &["bad.yaml:14:", "observ"]),
        ("until: steady", "untill: steady", &["bad.yaml:13:", "untill"]),
        ("network.partition", "network.partitoin", &["bad.yaml:12:", "network.partitoin"]),
        (", to: [db, fd00::5]", "", &["bad.yaml:12:", "to"]),
        ("success: \">= 99.9%\"", "success: \">= 99.9\"", &["bad.yaml:9:", "percentage"]),
        ("success:", "sucess:", &["bad.yaml:9:", "load.sucess", "load.success"]),
        ("ledger.lost: 0", "ledger.lost: -1", &["bad.yaml:16:", "whole number"]),
        ("{ledger.lost: 0}", "{name: empty}", &["bad.yaml:16:", "nothing is compared"]),
        ("{ledger.lost: 0}", "{ledger.lost: 0, during: fault}", &["bad.yaml:16:", "during"]),
        ("{ledger.lost: 0}", "{load.p99: \"< 1s\", during: falt}", &["unknown phase \"falt\""]),
        ("temblor.dev/v1", "temblor.dev/v9", &["bad.yaml:1:", "known: temblor.dev/v1"]),
        ("name: small", "name: Small One", &["bad.yaml:3:", "not a name"]),
        ("service: postgres", "sevice: postgres", &["bad.yaml:6:", "sevice"]),
        ("{service: postgres}", "{}", &["bad.yaml:6:", "exactly one way"]),
        ("profile: orders", "profile: odors", &["bad.yaml:7:", "known: orders"]),
        ("  - {name: baseline, for: 20s}\n", "", &["no baseline"]),
        (
            ", inject: [{network.partition: {from: api, to: [db, fd00::5], ports: 5432}}]",
            "",
            &["no phase injects a fault"],
        ),
        ("name: recovery", "name: fault", &["bad.yaml:13:", "two phases"]),
        ("metadata: {", "metadata: {{", &["bad.yaml:"]),
        ("port: 8080}", "port: 8080, timeout: 121s}", &["bad.yaml:7:", "out of range", "120s"]),
        ("port: 8080}", "port: 8080, timeout: 0s}", &["bad.yaml:7:", "out of range"]),
        ("ledger: {", "checks: [] # {", &["bad.yaml:16:", "need a `ledger:`"]),
        ("LIKE $1", "LIKE 'a'", &["bad.yaml:18:", "does not use $1"]),
    ];
    for (old, new, wanted) in cases {
        let text = GOOD.replacen(old, new, 1);
        assert_ne!(text, GOOD, "the case changes nothing: {old}");
        let error = match Experiment::parse("bad.yaml", &text) {
            Err(error) => error.to_string(),
            Ok(_) => panic!("accepted: {old} → {new}"),
        };
        for part in *wanted {
            assert!(error.contains(part), "{old} → {new}: {error:?} has no {part:?}");
        }
    }
}

/// A misspelt service is found before a lab is started for it, where its services are known.
#[test]
fn a_service_that_the_lab_does_not_have_is_told_with_its_line() {
    let services = ["postgres".to_owned(), "trading-api".to_owned()];
    assert!(Experiment::parse_for("good.yaml", GOOD, Some(&services)).is_ok());
    let text = GOOD.replacen("service: postgres", "service: postgers", 1);
    assert!(Experiment::parse_for("bad.yaml", &text, None).is_ok());
    let error = Experiment::parse_for("bad.yaml", &text, Some(&services)).unwrap_err();
    let told = error.to_string();
    assert!(told.contains("bad.yaml:6:") && told.contains("no service \"postgers\""), "{told}");
    assert!(told.contains("postgres, trading-api"), "{told}");
}

#[test]
fn without_load_its_figures_are_refused() {
    let load = GOOD.lines().find(|line| line.starts_with("load:")).unwrap();
    let text = GOOD.replace(load, "abort: [{load: {errors: \"> 50%\"}, for: 10s}]");
    let text = text.replace("{ledger.lost: 0}", "{load.p99: \"< 1s\"}");
    let error = Experiment::parse("bad.yaml", &text).unwrap_err().to_string();
    for part in ["bad.yaml:7:", "abort needs a `load:`", "bad.yaml:16:", "figures of the load need"]
    {
        assert!(error.contains(part), "{part}: {error}");
    }
}

#[test]
fn without_phases_nothing_can_be_run() {
    let start = GOOD.find("phases:").unwrap();
    let end = GOOD.find("observe:").unwrap();
    let text = format!("{}{}", &GOOD[..start], &GOOD[end..]);
    let error = Experiment::parse("bad.yaml", &text).unwrap_err().to_string();
    assert!(error.contains("no phases") && error.contains("baseline"), "{error}");
    let empty = format!("{}phases: []\n{}", &GOOD[..start], &GOOD[end..]);
    let error = Experiment::parse("bad.yaml", &empty).unwrap_err().to_string();
    assert!(error.contains("no phases"), "{error}");
}

#[test]
fn all_problems_are_told_at_once() {
    let text = GOOD.replace("from: api", "from: apj").replace("observe: [tcp]", "observe: [tpc]");
    let error = Experiment::parse("bad.yaml", &text).unwrap_err();
    assert_eq!(error.problems.len(), 2, "{error}");
}

#[test]
fn every_experiment_of_ours_is_good_and_its_resolved_form_means_the_same() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../experiments");
    let mut seen = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).unwrap();
        let experiment = Experiment::parse(&name, &text).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(experiment.name, name, "a file is named after its experiment");
        let resolved = experiment.to_yaml();
        let again =
            Experiment::parse("resolved", &resolved).unwrap_or_else(|e| panic!("{e}\n{resolved}"));
        assert_eq!(again, experiment, "{resolved}");
        seen += 1;
    }
    assert!(seen > 0);
    let good = Experiment::parse("good.yaml", GOOD).unwrap();
    assert_eq!(Experiment::parse("resolved", &good.to_yaml()).unwrap(), good);
}

proptest! {
    #[test]
    fn any_text_in_the_title_survives_being_written_out(title in any::<String>()) {
        let mut experiment = Experiment::parse("good.yaml", GOOD).unwrap();
        experiment.title = title;
        let yaml = experiment.to_yaml();
        let again = Experiment::parse("resolved", &yaml);
        prop_assert_eq!(again.map(|e| e.title).map_err(|e| e.to_string()), Ok(experiment.title));
    }

    #[test]
    fn a_damaged_file_never_panics(at in 0usize..700, with in ".{0,4}") {
        let at = (at..GOOD.len()).find(|i| GOOD.is_char_boundary(*i)).unwrap_or(0);
        let text = format!("{}{with}{}", &GOOD[..at], GOOD.get(at + 1..).unwrap_or(""));
        let _ = Experiment::parse("damaged.yaml", &text);
    }
}
