//! Bad input starts nothing and says what would be right. Needs no root.

use std::process::{Command, Output};

const TEMBLOR: &str = env!("CARGO_BIN_EXE_temblor");

/// What a program said, for a failure's message.
fn said(out: &Output) -> String {
    format!(
        "{}\n{}{}",
        out.status,
        String::from_utf8_lossy(&out.stdout),
        String::from_utf8_lossy(&out.stderr)
    )
}

fn run(args: &[&str]) -> Output {
    Command::new(TEMBLOR).args(args).output().expect("the program starts")
}

/// Every command line that is wrong, its exit code, and what the message must contain.
#[test]
fn wrong_command_lines() {
    let nowhere = tempfile::tempdir().unwrap();
    let empty = nowhere.path().to_str().unwrap();
    for (args, code, wanted) in [
        (&["run", "network-partitoin"][..], 2, "built in are db-death"),
        (&["run", "/nonexistent.yaml"], 2, "cannot be read"),
        (&["run"], 2, "EXPERIMENT"),
        (&["run", "network-partition", "--seed", "x"], 2, "--seed"),
        (&["report", "/nonexistent"], 2, "/nonexistent"),
        (&["report", empty], 2, "is no run"),
        (&["report", "--summary", empty], 2, "is no run"),
        (&["lab", "up", "--network", "10.0.0.0"], 2, "10.0.0.0"),
        (&["lab", "supervise"], 2, "by hand"),
        (&["check", "network-partition", "/nonexistent.yaml"], 2, "cannot be read"),
        (&["check", "/dev/zero"], 2, "longer than"),
        (&["shake"], 2, "shake"),
        (&["inject", "cpu.burn", "--for", "5s"], 2, "unknown fault \"cpu.burn\""),
        (&["inject", "process.pause", "target=pid:1"], 2, "--for"),
        (&["inject", "process.pause", "target", "--for", "5s"], 2, "is no value"),
        (&["inject", "process.pause", "target=nginx", "--for", "5s"], 2, "is no target"),
        (&["inject", "process.pause", "target=pid:x", "--for", "5s"], 2, "pid"),
        (&["inject", "process.pause", "target=pid:42", "--for", "5"], 2, "no unit"),
        (&["inject", "process.pause", "target=pid:42", "--for", "11m"], 2, "longer than 600s"),
        (&["inject", "cpu.quota", "target=pid:42", "to=200%", "--for", "5s"], 2, "0% to 100%"),
        (&["inject", "network.loss", "from=pid:42", "share=-1%", "--for", "5s"], 2, "0% to 100%"),
        (&["check", "--schema", "network-partition"], 2, "--schema"),
        (&["guardian", "/nonexistent"], 2, "not by hand"),
    ] {
        let out = run(args);
        let told = said(&out);
        assert_eq!(out.status.code(), Some(code), "{args:?}: {told}");
        assert!(told.contains(wanted), "{args:?} says nothing of {wanted:?}: {told}");
        assert!(!told.contains("panicked"), "{told}");
    }
}

/// A bad experiment is refused with file and line by `check` and by `run` alike, and neither
/// starts a lab nor makes a run directory.
#[test]
fn bad_experiments() {
    let good = include_str!("../../../experiments/network-partition.yaml");
    let dir = tempfile::tempdir().unwrap();
    for (old, new, wanted) in [
        ("to: db}", "to: dbx}", "unknown target \"dbx\""),
        ("for: 20s", "for: 20 seconds", "\"seconds\" is not a unit of time"),
        ("steadyHold: 3s", "steadyHold: 3", "no unit"),
        ("observe: [", "observes: [", "observes"),
        ("port: 80\n", "port: 65536\n", "not a port"),
        ("service: postgres", "service: postgers", "the lab has no service \"postgers\""),
        ("timeout: 5s", "timeout: 5m", "at most 120s"),
    ] {
        let text = good.replacen(old, new, 1);
        assert_ne!(text, good, "{old}");
        let file = dir.path().join("mine.yaml");
        std::fs::write(&file, &text).unwrap();
        let line = text.lines().position(|l| l.contains(new.trim())).unwrap() + 1;
        for command in ["check", "run"] {
            let out = Command::new(TEMBLOR)
                .args([command, "mine.yaml"])
                .current_dir(dir.path())
                .output()
                .unwrap();
            let told = said(&out);
            assert_eq!(out.status.code(), Some(2), "{command}: {told}");
            assert!(told.contains(&format!("mine.yaml:{line}:")), "line {line}: {told}");
            assert!(told.contains(wanted), "{wanted}: {told}");
            assert!(!dir.path().join("runs").exists(), "{command} began a run");
        }
    }
    let out = run(&["check", "network-partition"]);
    assert_eq!(out.status.code(), Some(0), "{}", said(&out));
}

/// Every command explains itself.
#[test]
fn help_is_there() {
    for args in [
        &["--help"][..],
        &["run", "--help"],
        &["inject", "--help"],
        &["heal", "--help"],
        &["report", "--help"],
        &["check", "--help"],
        &["lab", "--help"],
        &["lab", "up", "--help"],
        &["doctor", "--help"],
    ] {
        let out = run(args);
        assert_eq!(out.status.code(), Some(0), "{args:?}");
        assert!(said(&out).contains("Usage: temblor"), "{args:?}: {}", said(&out));
    }
}

/// `doctor` names what each probe and fault needs, and its JSON is JSON.
#[test]
fn doctor_names_everything() {
    let out = run(&["doctor", "--json"]);
    let table: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    let rows = table.as_array().unwrap();
    for of in ["probe tcp", "fault network.partition", "lab"] {
        assert!(rows.iter().any(|row| row["of"] == of), "nothing about {of}: {table:#}");
    }
    let missing = rows.iter().any(|row| row["state"] == "missing");
    assert_eq!(out.status.code(), Some(if missing { 6 } else { 0 }));
    for row in rows.iter().filter(|row| row["state"] == "missing") {
        assert!(!row["how_to_get"].as_str().unwrap().is_empty(), "{row}");
    }
}
