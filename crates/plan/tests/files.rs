//! Experiment files, good and bad, as their authors would write them.

use std::path::Path;

use proptest::prelude::*;
use temblor_event::PhaseRole;
use temblor_plan::fault::{FAULTS, Peers, Value, fault_spec};
use temblor_plan::{Experiment, ProfileKind};

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
    let fault = &experiment.phases[1].inject[0];
    assert_eq!(fault.name(), "network.partition");
    assert_eq!(fault.acts_on().collect::<Vec<_>>(), ["api"]);
    let peers = Peers { targets: vec!["db".into()], addresses: vec!["fd00::5".into()] };
    assert_eq!(fault.values["to"], Value::Peers(peers));
    assert_eq!(fault.values["ports"], Value::Ports(vec![5432]));
    assert_eq!(fault.values["direction"], Value::Text("both".into()), "what is left out");
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
        ("[tcp]", "[tcp]\nprofile: cpo", &["bad.yaml:15:", "profile \"cpo\"", "known: cpu"]),
        ("[tcp]", "[tcp]\nprofile: [cpu, cpu]", &["bad.yaml:15:", "\"cpu\" is there twice"]),
        ("[tcp]", "[tcp]\nprofile: []", &["bad.yaml:15:", "nothing is profiled"]),
        ("[tcp]", "[tcp]\nprofile: {cpo: [fault]}", &["bad.yaml:15:", "profile \"cpo\""]),
        (
            "[tcp]",
            "[tcp]\nprofile:\n  cpu: [baseline, falt]",
            &["bad.yaml:16:", "unknown phase \"falt\"", "baseline, fault, recovery"],
        ),
        (
            "[tcp]",
            "[tcp]\nprofile: {cpu: [fault, fault]}",
            &["bad.yaml:15:", "\"fault\" is named twice"],
        ),
        ("[tcp]", "[tcp]\nprofile: {cpu: []}", &["bad.yaml:15:", "no phase is named"]),
        ("[tcp]", "[tcp]\nprofile: {cpu: [[fault]]}", &["not the name of a phase"]),
        ("[tcp]", "[tcp]\nprofile: {cpu: {phase: fault}}", &["no value \"phase\"", "phases, rate"]),
        ("[tcp]", "[tcp]\nprofile: {cpu: {rate: 99}}", &["no unit", "99/s"]),
        ("[tcp]", "[tcp]\nprofile: {cpu: {rate: 0.5/s}}", &["out of range", "1/s to 10000/s"]),
        ("[tcp]", "[tcp]\nprofile: {cpu: {rate: 20000/s}}", &["out of range"]),
        ("[tcp]", "[tcp]\nprofile: {lock: {rate: 9/s}}", &["does not look by a clock"]),
        (
            "[tcp]",
            "[{bpftrac: a.bt}]",
            &["bad.yaml:14:", "observe \"bpftrac\"", "{bpftrace: FILE}"],
        ),
        ("[tcp]", "[{bpftrace: a.bt, tcp: b}]", &["bad.yaml:14:", "one item observes one thing"]),
        ("[tcp]", "[{bpftrace: [a.bt]}]", &["bad.yaml:14:", "takes the path of one script"]),
        ("[tcp]", "[{bpftrace: \"\"}]", &["bad.yaml:14:", "not the path of a script"]),
        ("[tcp]", "[{bpftrace: a/}]", &["bad.yaml:14:", "not the path of a script"]),
        (
            "[tcp]",
            "[{bpftrace: a/x.bt}, {bpftrace: b/x.bt}]",
            &["bad.yaml:14:", "two scripts are called \"x\": a/x.bt and b/x.bt"],
        ),
        (
            "[tcp]",
            "[{bpftrace: 1}, {bpftrace: 2}, {bpftrace: 3}, {bpftrace: 4}, {bpftrace: 5}, \
             {bpftrace: 6}, {bpftrace: 7}, {bpftrace: 8}, {bpftrace: 9}]",
            &["bad.yaml:14:", "too many bpftrace scripts", "may have 8"],
        ),
        ("[tcp]", "[[tcp]]", &["bad.yaml:14:", "nothing to observe"]),
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
fn scripts_stand_among_the_probes_and_keep_their_paths() {
    let text =
        GOOD.replacen("[tcp]", "[{bpftrace: ../own/slow writes.bt}, tcp, {bpftrace: /x}]", 1);
    let experiment = Experiment::parse("good.yaml", &text).unwrap();
    assert_eq!(experiment.observe, ["tcp"]);
    let scripts: Vec<(&str, &str)> =
        experiment.scripts.iter().map(|s| (s.name.as_str(), s.path.as_str())).collect();
    assert_eq!(scripts, [("slow-writes", "../own/slow writes.bt"), ("x", "/x")]);
    let resolved = experiment.to_yaml();
    assert_eq!(Experiment::parse("resolved", &resolved).unwrap(), experiment, "{resolved}");
}

/// Names that look like YAML, and quantities that are no round numbers.
#[test]
fn what_is_odd_is_written_out_as_it_was_meant() {
    for (written, instead) in [
        (" api", " \"a, b\""),
        ("20s", "20.0000015s"),
        ("200/s", "0.1/m"),
        ("99.9%", "29.000000000000004%"),
        ("name: small", "name: 1e3"),
        (
            "network.partition: {from: api, to: [db, fd00::5], ports: 5432}",
            "time.offset: {target: api, by: -2d}",
        ),
    ] {
        let text = GOOD.replace(written, instead);
        let experiment = Experiment::parse("odd.yaml", &text).unwrap_or_else(|e| panic!("{e}"));
        let resolved = experiment.to_yaml();
        let again =
            Experiment::parse("resolved", &resolved).unwrap_or_else(|e| panic!("{e}\n{resolved}"));
        assert_eq!(again, experiment, "{resolved}");
    }
}

/// Short or long, each way of writing it means phases in the order of the run, and a rate.
#[test]
fn a_profile_is_of_the_phases_that_are_named_or_of_all() {
    let all = ["baseline", "fault", "recovery"];
    for (written, phases, rate_hz) in [
        ("cpu", &all[..], 99),
        ("[cpu]", &all[..], 99),
        ("{cpu: fault}", &all[1..2], 99),
        ("{cpu: [fault, baseline]}", &all[..2], 99),
        ("{cpu: {rate: 199/s}}", &all[..], 199),
        ("{cpu: {phases: [recovery], rate: 49/s}}", &all[2..], 49),
    ] {
        let text = GOOD.replacen("[tcp]", &format!("[tcp]\nprofile: {written}"), 1);
        let experiment = Experiment::parse("good.yaml", &text).unwrap();
        let [profiled] = &experiment.profile[..] else { panic!("{written}: one kind") };
        assert_eq!(profiled.kind, ProfileKind::Cpu);
        assert_eq!(profiled.phases, phases, "{written}");
        assert_eq!(profiled.rate_hz, Some(rate_hz), "{written}");
        let resolved = experiment.to_yaml();
        assert_eq!(Experiment::parse("resolved", &resolved).unwrap(), experiment, "{resolved}");
        let validator = jsonschema::validator_for(&temblor_plan::schema()).unwrap();
        for text in [&text, &resolved] {
            let value = serde_saphyr::from_str::<serde_json::Value>(text).unwrap();
            let errors: Vec<String> =
                validator.iter_errors(&value).map(|e| e.to_string()).collect();
            assert!(errors.is_empty(), "{errors:?}\n{text}");
        }
    }
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

/// A file whose fault phase injects this.
fn injecting(item: &str) -> String {
    let (before, after) = GOOD.split_once("inject: [").expect("it injects");
    let (_, after) = after.split_once("}}]").expect("the list ends");
    format!("{before}inject: [{item}]{after}")
}

fn refused(item: &str) -> String {
    match Experiment::parse("bad.yaml", &injecting(item)) {
        Err(error) => error.to_string(),
        Ok(_) => panic!("accepted: {item}"),
    }
}

#[test]
fn each_fault_is_read_with_its_required_values_and_with_its_defaults() {
    for spec in FAULTS {
        let item = format!("{{{}: {{{}}}}}", spec.name, spec.example());
        let experiment = match Experiment::parse("good.yaml", &injecting(&item)) {
            Ok(experiment) => experiment,
            Err(error) => panic!("{item}: {error}"),
        };
        let fault = &experiment.phases[1].inject[0];
        for param in spec.params.iter().filter(|p| p.required || p.default.is_some()) {
            assert!(fault.values.contains_key(param.name), "{}: {}", spec.name, param.name);
        }
        let again = Experiment::parse("again.yaml", &experiment.to_yaml()).unwrap();
        assert_eq!(again.phases, experiment.phases, "{item}");
    }
}

/// One line a bad dose: the item, and what its message must say.
#[test]
fn every_bad_dose_is_told() {
    for (item, wanted) in [
        ("{network.latency: {from: api, delay: -5ms}}", "cannot be negative"),
        ("{network.latency: {from: api, delay: 0ms}}", "out of range: from 1ms to 60s"),
        ("{network.latency: {from: api, delay: 2m}}", "out of range: from 1ms to 60s"),
        ("{network.latency: {from: api, delay: 5}}", "no unit"),
        ("{network.latency: {from: api, delay: 5 elephants}}", "not a unit of time"),
        ("{network.latency: {from: api}}", "network.latency wants `delay`"),
        ("{network.latency: {from: [api], delay: 5ms}}", "`from` takes one value"),
        ("{network.latency: {from: api, delay: 5ms, direction: up}}", "not one of: out, in, both"),
        ("{network.loss: {from: api, share: 101%}}", "from 0% to 100%"),
        ("{network.loss: {from: api, share: 0%}}", "out of range"),
        ("{network.loss: {from: api, share: -1%}}", "from 0% to 100%"),
        ("{network.loss: {from: api, share: 0.5}}", "write a percentage"),
        ("{network.bandwidth: {from: api, rate: 10}}", "such as 1MiB/s"),
        ("{network.bandwidth: {from: api, rate: 1B/s}}", "out of range"),
        ("{network.reset: {from: api}}", "network.reset wants `to`"),
        ("{network.partition: {from: api, to: []}}", "the other side is empty"),
        ("{network.dns: {target: api}}", "takes exactly one of answer, delay"),
        ("{network.dns: {target: api, answer: drop, delay: 5s}}", "exactly one of answer, delay"),
        ("{process.kill: {target: api, signal: SIGNAL}}", "not a signal: known are HUP"),
        ("{process.kill: {target: api, signal: 0}}", "not a signal"),
        ("{process.kill: {}}", "process.kill wants `target`"),
        ("{process.kill: api}", "write process.kill: {target: api}"),
        ("{process.kill: {target: nobody}}", "unknown target \"nobody\""),
        ("{process.kill: {target: api, all: perhaps}}", "neither true nor false"),
        ("{process.kill: {target: api}, for: 5s}", "over as soon as it is done"),
        ("{cpu.quota: {target: api, to: 0%}}", "out of range: from 1% to 100%"),
        ("{cpu.quota: {target: api}}", "exactly one of to, cpus"),
        ("{cpu.quota: {target: api, cpus: 0}}", "out of range"),
        ("{cpu.stress: {target: api, workers: 0}}", "out of range: from 1 to 1024"),
        ("{cpu.stress: {target: api, workers: two}}", "whole number"),
        ("{memory.limit: {target: api, to: 1KiB}}", "out of range"),
        ("{memory.limit: {target: api, to: 64}}", "no unit"),
        ("{memory.limit: {target: api, to: 64 MiBi}}", "not a unit of size"),
        ("{disk.throttle: {target: db}}", "at least one of read, write, readIops, writeIops"),
        ("{disk.throttle: {target: db, writeIops: 100}}", "such as 100/s"),
        ("{disk.fill: {target: db, to: 101%}}", "from 0% to 100%"),
        ("{disk.fill: {target: db, to: 90%, path: here}}", "not an absolute path"),
        ("{disk.fsync: {target: db, fail: EPERM}}", "not one of: EIO, ENOSPC, EDQUOT"),
        ("{resource.connections: {target: db, port: 70000}}", "1 to 65535"),
        ("{resource.connections: {target: db, port: 5432, hold: 0}}", "out of range"),
        ("{resource.files: {target: db, to: 5, spare: 1}}", "exactly one of to, spare"),
        ("{time.offset: {target: db, by: 0s}}", "not 0"),
        ("{time.offset: {target: db, by: 20000d}}", "at most 3652d"),
        (
            "{process.kill: {target: api}, network.reset: {from: api, to: db}}",
            "stands beside a fault",
        ),
        ("{process.pause: {target: api}, after: 30s}", "not over when its phase is"),
        ("{process.pause: {target: api}, after: 20s, for: 20s}", "not over when its phase is"),
        ("{process.pause: {target: api}, for: 0s}", "lasts no time"),
        ("{process.pause: {target: api}, ramp: 5s}", "no dose that could grow"),
        ("{cpu.quota: {target: api, to: 10%}, ramp: 40s}", "longer than the fault"),
        ("{cpu.quota: {target: api, to: 10%}, steps: []}", "1 to 100 shares"),
        ("{cpu.quota: {target: api, to: 10%}, steps: [110%]}", "from 0% to 100%"),
        ("{cpu.quota: {target: api, to: 10%}, ramp: 5s, steps: [50%]}", "not both"),
        ("{cpu.burn: {target: api}}", "known: cpu.quota, cpu.stress"),
        ("{cpu.quota: {target: api, to: 10%, from: 5%}}", "cpu.quota has no value \"from\""),
        ("{after: 5s}", "no fault is named here"),
    ] {
        let told = refused(item);
        assert!(told.contains("bad.yaml:12:"), "{item}: {told}");
        assert!(told.contains(wanted), "{item}: {told}");
    }
}

#[test]
fn a_fault_that_lasts_too_long_wants_a_word() {
    let long =
        injecting("{process.pause: {target: api}}").replace("for: 30s, inject", "for: 11m, inject");
    let told = Experiment::parse("bad.yaml", &long).unwrap_err().to_string();
    assert!(told.contains("in place for 660s, which is longer than 600s"), "{told}");
    assert!(told.contains("safety: {faultMax: 660s}"), "{told}");
    let meant = long.replace("targets:", "safety: {faultMax: 11m}\ntargets:");
    Experiment::parse("good.yaml", &meant).unwrap();
}

#[test]
fn what_else_can_be_wrong_with_targets_and_words_is_told() {
    let cases: &[(&str, &str, &str)] = &[
        ("{service: postgres}", "{process: nginx, pid: 5}", "exactly one way"),
        ("{service: postgres}", "{process: \"\"}", "has no name"),
        ("{service: postgres}", "{label: app}", "has no name"),
        ("{service: postgres}", "{process: nginx, pick: 0}", "picks nothing"),
        ("{service: postgres}", "{process: nginx, pick: some}", "picks nothing"),
        ("{service: postgres}", "{process: nginx, project: x}", "belongs to a compose service"),
        ("targets:", "safety: {allow: [everything]}\ntargets:", "known: pid1, session"),
        (
            "title: Small",
            "title: Small, learn: [{question: why?, answers: [load.p98]}]",
            "\"load.p98\" answers nothing",
        ),
        ("title: Small", "title: Small, learn: [{question: why?, answers: []}]", "nothing answers"),
        ("observe: [tcp]", "observe: [tcp]\nabort: [{check: well, for: 5s}]", "unknown check"),
    ];
    for (old, new, wanted) in cases {
        let text = GOOD.replacen(old, new, 1);
        assert_ne!(text, GOOD, "the case changes nothing: {old}");
        let told = match Experiment::parse("bad.yaml", &text) {
            Err(error) => error.to_string(),
            Ok(_) => panic!("accepted: {new}"),
        };
        assert!(told.contains(wanted), "{new}: {told}");
    }
    for good in [
        "{process: nginx, pick: 50%}",
        "{compose: web, project: shop, pick: 1}",
        "{label: \"app=web\", pick: all}",
        "{container: db}",
        "{unit: nginx.service}",
        "{cgroup: /system.slice/nginx.service}",
    ] {
        let experiment = match Experiment::parse("good", &GOOD.replace("{service: postgres}", good))
        {
            Ok(experiment) => experiment,
            Err(error) => panic!("{good}: {error}"),
        };
        let again = Experiment::parse("again", &experiment.to_yaml()).unwrap();
        assert_eq!(again, experiment);
    }
}

/// The schema accepts what the parser accepts, and refuses what only it could have known.
#[test]
fn the_schema_says_what_the_parser_says() {
    let schema = temblor_plan::schema();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let as_json = |text: &str| serde_saphyr::from_str::<serde_json::Value>(text).unwrap();
    let mut good = vec![GOOD.to_owned()];
    for spec in FAULTS {
        good.push(injecting(&format!("{{{}: {{{}}}}}", spec.name, spec.example())));
    }
    for entry in std::fs::read_dir(folder("experiments")).unwrap() {
        good.push(std::fs::read_to_string(entry.unwrap().path()).unwrap());
    }
    for text in good {
        let experiment = Experiment::parse("good", &text).unwrap();
        for text in [text, experiment.to_yaml()] {
            let errors: Vec<String> =
                validator.iter_errors(&as_json(&text)).map(|e| format!("{e}")).collect();
            assert!(errors.is_empty(), "{errors:?}\n{text}");
        }
    }
    for (old, new) in [
        ("kind: Experiment", "kind: Experimnt"),
        ("for: 20s", "for: 20"),
        ("for: 20s", "four: 20s"),
        ("port: 8080", "port: 80800"),
        ("network.partition", "network.partitoin"),
        (", to: [db, fd00::5]", ""),
        ("{service: postgres}", "{}"),
        ("{service: postgres}", "{service: postgres, pid: 5}"),
        ("success:", "sucess:"),
        ("observe: [tcp]", "observe: [tpc]"),
        ("observe: [tcp]", "profile: cpo"),
        ("observe: [tcp]", "profile: {cpu: []}"),
        ("observe: [tcp]", "profile: {cpu: [fault, fault]}"),
        ("observe: [tcp]", "profile: {cpu: {rate: 99}}"),
    ] {
        let text = GOOD.replacen(old, new, 1);
        assert!(!validator.is_valid(&as_json(&text)), "{new} is accepted");
    }
}

fn folder(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(name)
}

/// The written pages are what the table says; `UPDATE_EXPECT=1` writes them anew.
#[test]
fn the_reference_and_the_schema_are_published_as_they_are() {
    let mut schema = serde_json::to_string_pretty(&temblor_plan::schema()).unwrap();
    schema.push('\n');
    for (file, expected) in [
        ("docs/faults.md", temblor_plan::fault::reference()),
        ("docs/experiment.schema.json", schema),
    ] {
        let path = folder(file);
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            std::fs::write(&path, &expected).unwrap();
        }
        let written = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            written == expected,
            "{file} is not what the table says: UPDATE_EXPECT=1 writes it"
        );
    }
    assert!(fault_spec("network.partition").is_some());
}
