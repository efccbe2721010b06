//! `temblor profile view`, and the formats and pictures that know of time.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail where they stand, as tests do")]

mod common;

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use self::common::{TEMBLOR, ended};

const STACKS: &str = "main;accept 10\nmain;work 70\n";

fn temblor(args: &[&str]) -> Output {
    Command::new(TEMBLOR).arg("profile").args(args).stdin(Stdio::null()).output().unwrap()
}

fn file(dir: &Path, name: &str, text: &str) -> String {
    let path = dir.join(name);
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn the_page_is_served_until_a_signal_comes() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) =
        (file(dir.path(), "one.folded", STACKS), file(dir.path(), "two.folded", STACKS));
    for signal in [Signal::INT, Signal::TERM] {
        let mut child = Command::new(TEMBLOR)
            .args(["profile", "view", &one, &two])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let told = BufReader::new(child.stdout.take().unwrap()).lines().next().unwrap().unwrap();
        let address = told.strip_prefix("http://").unwrap().trim_end_matches('/').to_owned();
        assert!(address.starts_with("127.0.0.1:"), "nobody else can reach it: {address}");
        let mut stream = TcpStream::connect(&address).unwrap();
        write!(stream, "GET /data/profiles HTTP/1.1\r\nHost: {address}\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        let body: serde_json::Value =
            serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
        assert_eq!(
            (&body[0]["name"], &body[1]["name"]),
            (&"one.folded".into(), &"two.folded".into())
        );
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
        assert_eq!(ended(child).code(), Some(0), "{signal:?}");
    }
}

#[test]
fn what_cannot_be_shown_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let stacks = file(dir.path(), "stacks.folded", STACKS);
    let wrong = file(dir.path(), "wrong.folded", "no count at its end\n");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = listener.local_addr().unwrap().to_string();
    for (args, expected) in [
        (vec!["view", &stacks, "/nowhere/at.all"], "/nowhere/at.all"),
        (vec!["view", &wrong], "line 1 is no folded stack"),
        (vec!["view", &stacks, "--listen", &taken], "cannot listen on"),
        (vec!["view", &stacks, "--listen", "example.org"], "--listen"),
        (vec!["view"], "PROFILE"),
        (vec!["svg", "--chart", &stacks], "temblor profile cpu --timeline"),
    ] {
        let output = temblor(&args);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{args:?}: {said}");
        assert!(said.contains(expected), "{args:?}: {said}");
    }
}

#[test]
fn the_firefox_profiler_is_given_its_format() {
    let dir = tempfile::tempdir().unwrap();
    let stacks = file(dir.path(), "stacks.folded", STACKS);
    let output = temblor(&["convert", &stacks, "--to", "firefox"]);
    assert_eq!(output.status.code(), Some(0));
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(told["threads"][0]["samples"]["weight"], serde_json::json!([10, 70]));
    assert_eq!(told["meta"]["product"], "stacks.folded");
}
