//! Whole runs on a whole lab: PostgreSQL, Redis, nginx and the exchange, as a user has them.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail where they stand, as tests do")]

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use temblor_tests::{Lab, result, said, skipped, temblor, wait_for};

/// The experiment that comes with the program, with short phases: `edit` may change the rest.
fn short(edit: impl Fn(String) -> String) -> String {
    let text = include_str!("../../experiments/network-partition.yaml");
    let text = text
        .replace("{name: baseline, for: 20s}", "{name: baseline, for: 4s}")
        .replace("{name: fault, for: 90s,", "{name: fault, for: 8s,")
        .replace("rate: 200/s", "rate: 100/s")
        // How fast the exchange is on a machine that tests share is not what is asked here.
        .replace(r#"{p99: "<= 250ms"}"#, r#"{p99: "<= 2s"}"#);
    let edited = edit(text.clone());
    assert!(text.contains("for: 4s") && text.contains("for: 8s"));
    edited
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is not a number"))
}

/// The whole of it: a partition is noticed, survived and proven, every count agrees with the
/// count that somebody else keeps, and the report can be made again by anybody.
#[test]
fn a_partition_is_survived_and_the_report_proves_it() {
    if skipped() {
        return;
    }
    let lab = Lab::up("tmbe2e0");
    let run = lab.dir.path().join("partition");
    let out = lab.run(&lab.experiment(&short(|text| text)), &run);
    let told = said(&out);
    assert_eq!(out.status.code(), Some(0), "{told}");
    let result = result(&run);
    assert_eq!(result["verdict"], "pass", "{told}");

    let ledger = &result["ledger"];
    assert_eq!(ledger["lost"], 0);
    assert_eq!(ledger["duplicated"], 0);
    assert_eq!(ledger["unexpected"], 0);
    assert_eq!(ledger["stored"], ledger["acknowledged"]);
    assert!(number(&ledger["acknowledged"]) > 1000.0, "{ledger}");
    let account = &result["load_account"];
    assert_eq!(account["balanced"], true);
    assert_eq!(account["planned"], ledger["attempted"]);

    let fault = &result["faults"][0];
    assert!(number(&fault["effect"]["count"]) > 0.0, "{fault}");
    assert_eq!(fault["verified_gone"], true);
    assert!(number(&result["detection_seconds"]) < 5.0, "{told}");
    assert!(number(&result["kernel_detection_seconds"]) < 2.0, "{told}");
    assert!(number(&result["recovery_seconds"]["first"]) < 8.0, "{told}");
    assert!(number(&result["recovery_seconds"]["full"]) < 20.0, "{told}");

    // Retransmissions per service against TcpRetransSegs, orders against the API's own counter.
    let checks = result["cross_checks"].as_array().unwrap();
    assert!(checks.len() >= 7, "{checks:#?}");
    for check in checks {
        assert_eq!(check["agrees"], true, "{check:#}");
    }
    // Zeros agree with zeros: the partition made segments go again, and orders were counted.
    for (what, more_than) in
        [("segments sent again by trading-api", 0.0), ("orders accepted", 1000.0)]
    {
        let counted = |c: &&Value| c["what"].as_str().unwrap().starts_with(what);
        let check = checks.iter().find(counted).unwrap_or_else(|| panic!("no {what}: {checks:#?}"));
        assert!(number(&check["theirs"]) > more_than, "{check:#}");
    }
    let backoffs: Vec<f64> = result["evidence"]["connections"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|c| c["retransmissions"].as_array().unwrap())
        .map(|r| number(&r["backoff"]))
        .collect();
    assert!(backoffs.iter().any(|b| *b >= 2.0), "no connection backed off twice: {backoffs:?}");
    assert_eq!(result["cost"]["events_lost"], 0);
    assert!(number(&result["cost"]["bpf_seconds"]) > 0.0);

    let schema = include_str!("../../docs/result.schema.json");
    let schema = jsonschema::validator_for(&serde_json::from_str(schema).unwrap()).unwrap();
    let problems: Vec<String> = schema.iter_errors(&result).map(|e| e.to_string()).collect();
    assert!(problems.is_empty(), "{problems:?}");

    the_report_can_be_made_again_without_root(&run);
}

fn the_report_can_be_made_again_without_root(run: &Path) {
    let files = ["result.json", "report.html", "report.md", "junit.xml"];
    let read = |file: &str| std::fs::read(run.join(file)).unwrap();
    let before = files.map(read);
    // Somebody else's copy, without the rendered files, and a copy of the program that somebody
    // else may run: the checkout may lie in a place that is root's alone.
    let copy = tempfile::Builder::new().prefix("temblor-copy-").tempdir().unwrap();
    let program = copy.path().join("temblor");
    std::fs::copy(temblor(), &program).unwrap();
    let theirs = copy.path().join("run");
    let sh = |script: &str| {
        let out = Command::new("sh").args(["-ec", script]).output().unwrap();
        assert!(out.status.success(), "{}", said(&out));
    };
    sh(&format!(
        "cp -r {run} {theirs}; cd {theirs}; rm {files}; chown -R nobody {all}",
        run = run.display(),
        theirs = theirs.display(),
        files = files.join(" "),
        all = copy.path().display(),
    ));
    let out = Command::new("setpriv")
        .args(["--reuid", "nobody", "--clear-groups"])
        .arg(&program)
        .args(["report", theirs.to_str().unwrap()])
        .env("TEMBLOR_LAB_RUNTIME_DIR", "/nonexistent")
        .output()
        .unwrap();
    assert_eq!(out.status.code(), Some(0), "{}", said(&out));
    for (file, before) in files.iter().zip(before) {
        let after = std::fs::read(theirs.join(file)).unwrap();
        assert!(after == before, "{file} is not the same when it is made again");
    }
}

/// A fault cannot outlive the program, however it dies; the lab does not even notice.
#[test]
fn sigkill_in_the_middle_of_the_fault_leaves_nothing() {
    if skipped() {
        return;
    }
    let lab = Lab::up("tmbe2e1");
    let before = lab.whole_state();
    let run = lab.dir.path().join("killed");
    let mut child = lab.start_run(&lab.experiment(&short(|text| text)), &run);
    let within = Duration::from_secs(30);
    wait_for("the fault", within, || lab.tables("trading-api").contains("temblor").then_some(()));
    kill_process(Pid::from_child(&child), Signal::KILL).unwrap();
    wait_for("healing", Duration::from_secs(2), || {
        (!lab.tables("trading-api").contains("temblor")).then_some(())
    });
    assert_eq!(child.wait().unwrap().signal(), Some(9));
    assert_eq!(lab.whole_state(), before);

    // It goes on serving: an order is accepted, through the front.
    let address = lab.service("nginx")["address"].as_str().unwrap().to_owned();
    let order = r#"{"user_id":"after","symbol":"BTCUSD","side":"BUY","type":"LIMIT","quantity":1,"price":100}"#;
    let answer = post(&address, order);
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");

    // What was recorded until then can be read, and says that it is not whole.
    let out = Command::new(temblor()).arg("report").arg(&run).output().unwrap();
    assert_eq!(out.status.code(), Some(4), "{}", said(&out));
    assert_eq!(result(&run)["verdict"], "aborted");
}

fn post(host: &str, body: &str) -> String {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect((host, 80)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    write!(
        stream,
        "POST /api/orders HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// A fault that hits nothing proves nothing.
#[test]
fn a_partition_of_a_pair_that_never_talks_is_invalid() {
    if skipped() {
        return;
    }
    let lab = Lab::up("tmbe2e2");
    let run = lab.dir.path().join("nothing");
    let experiment = lab.experiment(&short(|text| {
        text.replace(
            "  db: {service: postgres}",
            "  db: {service: postgres}\n  market: {service: market-simulator}",
        )
        .replace("{from: api, to: db}", "{from: market, to: db}")
        .replace("for: 8s", "for: 3s")
    }));
    let out = lab.run(&experiment, &run);
    assert_eq!(out.status.code(), Some(3), "{}", said(&out));
    let result = result(&run);
    assert_eq!(result["verdict"], "invalid");
    assert!(result["reasons"][0].as_str().unwrap().contains("effect"), "{}", result["reasons"]);
    assert_eq!(result["faults"][0]["effect"]["count"], 0);

    ctrl_c_heals_reports_and_says_so(&lab);
}

/// Shares the lab of the test above: starting one takes longer than either.
fn ctrl_c_heals_reports_and_says_so(lab: &Lab) {
    let before = lab.whole_state();
    let run = lab.dir.path().join("interrupted");
    let child = lab.start_run(&lab.experiment(&short(|text| text)), &run);
    let within = Duration::from_secs(30);
    wait_for("the fault", within, || lab.tables("trading-api").contains("temblor").then_some(()));

    // A second run at the same time is refused, and starts nothing.
    let second = lab.dir.path().join("second");
    let out = lab.run(&lab.experiment(&short(|text| text)), &second);
    assert_eq!(out.status.code(), Some(2), "{}", said(&out));
    assert!(!second.exists());

    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    wait_for("healing", Duration::from_secs(2), || {
        (!lab.tables("trading-api").contains("temblor")).then_some(())
    });
    let out = child.wait_with_output().unwrap();
    assert_eq!(out.status.code(), Some(4), "{}", said(&out));
    assert_eq!(lab.whole_state(), before);
    let result = result(&run);
    assert_eq!(result["verdict"], "aborted");
    assert!(result["reasons"][0].as_str().unwrap().contains("SIGINT"), "{}", result["reasons"]);
    assert_eq!(result["ledger"]["lost"], 0, "an interrupted run is audited too");
}
