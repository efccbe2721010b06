//! `temblor agent` on real processes, read by a real Prometheus.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail where they stand, as tests do")]

mod common;

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Lines, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use self::common::{BOUND, Process, TEMBLOR, ended, eventually, possible, promtool};

/// An agent that goes on.
struct Agent {
    /// None: it has been waited for.
    child: Option<Child>,
    stderr: Lines<BufReader<ChildStderr>>,
    at: SocketAddr,
}

impl Agent {
    /// One whose probes are attached.
    fn start(probes: &[&str], targets: &[&str]) -> Self {
        let mut child = Command::new(TEMBLOR)
            .arg("agent")
            .args(probes)
            .args(targets)
            .args(["--listen", "127.0.0.1:0"])
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap()).lines();
        let first = stderr.next().unwrap().unwrap();
        let at = first
            .strip_prefix("the figures are at http://")
            .and_then(|rest| rest.strip_suffix("/metrics"))
            .unwrap_or_else(|| panic!("{first}"));
        let mut agent = Self { child: Some(child), stderr, at: at.parse().unwrap() };
        for probe in probes {
            agent.says(&format!("the {probe} probe is attached"));
        }
        agent
    }

    fn says(&mut self, what: &str) {
        let mut lines = Vec::new();
        for line in self.stderr.by_ref() {
            lines.push(line.unwrap());
            if lines.last().unwrap().contains(what) {
                return;
            }
        }
        panic!("it ended and never said {what}: {lines:#?}");
    }

    fn page(&self) -> String {
        let answer = get(self.at, "/metrics");
        let (head, page) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        page.to_owned()
    }

    /// The value of the series that is written so, if there is one.
    fn value(&self, series: &str) -> Option<f64> {
        let page = self.page();
        let line = page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.map(|value| value.parse().unwrap())
    }

    /// Waits until a figure that goes up and down is so.
    fn is(&self, series: &str, value: f64) {
        eventually(&format!("{series} {value}"), || self.value(series).filter(|now| *now == value));
    }

    /// Waits until a figure that only grows is so much, and not more.
    fn reaches(&self, series: &str, value: f64) {
        eventually(&format!("{series} {value}"), || {
            let now = self.value(series)?;
            assert!(now <= value, "{series} is {now}, more than {value}");
            (now == value).then_some(())
        });
    }

    fn end(mut self, signal: Signal) -> ExitStatus {
        let child = self.child.take().unwrap();
        let pid = Pid::from_child(&child);
        kill_process(pid, signal).unwrap();
        self.stderr.by_ref().for_each(drop);
        ended(child)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // A test that failed leaves nobody behind.
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn get(to: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(BOUND)).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// A shell under a name of its own: runs a program for each line it reads, and tells of it.
struct Shell {
    child: Child,
    answers: Lines<BufReader<std::process::ChildStdout>>,
}

impl Shell {
    fn named(program: &Path, before: &[&str]) -> Self {
        let script = "echo ready; while read -r _; do /bin/true; echo done; done";
        let mut words = before.iter().copied().chain([program.to_str().unwrap(), "-c", script]);
        let mut child = Command::new(words.next().unwrap())
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut answers = BufReader::new(child.stdout.take().unwrap()).lines();
        assert_eq!(answers.next().unwrap().unwrap(), "ready");
        Self { child, answers }
    }

    fn runs(&mut self, times: usize) {
        for _ in 0..times {
            self.child.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
            assert_eq!(self.answers.next().unwrap().unwrap(), "done");
        }
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A copy of the shell, whose processes nobody else's have the name of.
fn shell_in(dir: &tempfile::TempDir) -> PathBuf {
    let program = dir.path().join(format!("sh-{}", std::process::id()));
    std::fs::copy("/bin/sh", &program).unwrap();
    program
}

/// A Prometheus of our own, with a database that goes with it.
struct Prometheus {
    child: Child,
    at: SocketAddr,
    _dir: tempfile::TempDir,
}

impl Prometheus {
    fn reading(agent: SocketAddr) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("prometheus.yml");
        let text = format!(
            "global: {{scrape_interval: 1s}}\nscrape_configs:\n  - job_name: temblor\n    \
             static_configs: [{{targets: ['{agent}']}}]\n"
        );
        std::fs::write(&config, text).unwrap();
        // It takes no port 0 and tells of none: the one that was free a moment ago.
        let at = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", dir.path().join("data").display()))
            .arg(format!("--web.listen-address={at}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("prometheus is there (make setup)");
        Self { child, at, _dir: dir }
    }

    /// The only series that answers, by the value it has; none until there is one.
    fn asked(&self, query: &str) -> Option<(BTreeMap<String, String>, f64)> {
        let escaped: String = query.bytes().map(|byte| format!("%{byte:02x}")).collect();
        TcpStream::connect(self.at).ok()?;
        let answer = get(self.at, &format!("/api/v1/query?query={escaped}"));
        let (head, body) = answer.split_once("\r\n\r\n")?;
        if !head.starts_with("HTTP/1.1 200") {
            return None;
        }
        let json: serde_json::Value = serde_json::from_str(body).unwrap();
        let result = json["data"]["result"].as_array().unwrap();
        assert!(result.len() <= 1, "{query}: {body}");
        let one = result.first()?;
        let labels = serde_json::from_value(one["metric"].clone()).unwrap();
        Some((labels, one["value"][1].as_str().unwrap().parse().unwrap()))
    }

    fn answers(&self, query: &str, value: f64) {
        eventually(&format!("{query} is {value}"), || {
            self.asked(query).filter(|(_, now)| *now == value)
        });
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn prometheus_has_what_really_happened() {
    if !possible() {
        return;
    }
    let mut process = Process::refused();
    let (pid, target) = (process.pid(), format!("bash-{}", process.pid()));
    let agent = Agent::start(&["tcp", "sched", "process"], &["--pid", &pid]);
    let prometheus = Prometheus::reading(agent.at);
    prometheus.answers("up{job=\"temblor\"}", 1.0);
    prometheus.answers(&format!("temblor_process_execs_total{{target=\"{target}\"}}"), 0.0);
    process.connect(7);
    eventually("seven connects failed", || (process.failed_connects() == 7).then_some(()));
    let refused = "temblor_tcp_connects_total{result=\"ECONNREFUSED\"}";
    prometheus.answers(refused, 7.0);
    let (labels, _) = prometheus.asked(refused).unwrap();
    assert_eq!((&*labels["target"], &*labels["peer"]), (&*target, "127.0.0.1"));
    // The subshells in which it connects.
    prometheus.answers("temblor_process_exits_total{cause=\"code 1\"}", 7.0);
    prometheus.answers("sum(temblor_sched_run_queue_wait_seconds_count) > bool 0", 1.0);
    let quantile = "histogram_quantile(0.99, temblor_sched_run_queue_wait_seconds_bucket)";
    let (_, seconds) = prometheus.asked(quantile).unwrap();
    assert!(seconds > 0.0 && seconds < 60.0, "{seconds}");
    prometheus.answers("sum(temblor_probe_up)", 3.0);
    prometheus.answers("sum(temblor_probe_lost_events_total)", 0.0);
    prometheus.answers("sum(temblor_ebpf_runs_total) > bool 0", 1.0);
    prometheus.answers("temblor_build_info", 1.0);
    promtool(&agent.page());
    assert!(get(agent.at, "/-/healthy").ends_with("healthy\n"));
    assert_eq!(agent.end(Signal::TERM).code(), Some(0));
    prometheus.answers("up{job=\"temblor\"}", 0.0);
}

#[test]
fn who_is_not_there_yet_or_starts_again_is_found_by_name() {
    if !possible() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let program = shell_in(&dir);
    let name = program.file_name().unwrap().to_str().unwrap().to_owned();
    let mut agent = Agent::start(&["process"], &["--process", &name]);
    let sought = format!("temblor_targets{{sought=\"process:{name}\"}}");
    agent.is(&sought, 0.0);

    let mut first = Shell::named(&program, &[]);
    agent.says(&format!("{name} is there"));
    agent.is(&sought, 1.0);
    let execs = format!("temblor_process_execs_total{{target=\"{name}\"}}");
    agent.reaches(&execs, 0.0);
    first.runs(5);
    agent.reaches(&execs, 5.0);
    let attaches = "temblor_probe_attaches_total{probe=\"process\"}";
    assert_eq!(agent.value(attaches), Some(2.0), "for nobody, and for the one that came");
    let unwatched = "temblor_probe_unwatched_seconds_total{probe=\"process\"}";
    assert_eq!(agent.value(unwatched), Some(0.0), "nobody was there meanwhile");

    drop(first);
    let killed = format!("temblor_process_exits_total{{target=\"{name}\",cause=\"SIGKILL\"}}");
    agent.reaches(&killed, 1.0);
    agent.is(&sought, 0.0);
    let mut second = Shell::named(&program, &[]);
    agent.is(&sought, 1.0);
    second.runs(3);
    agent.reaches(&execs, 8.0);
    assert_eq!(agent.value(attaches), Some(2.0), "the same name in the same place");

    // Another network namespace is another place.
    drop(second);
    agent.is(&sought, 0.0);
    let mut third = Shell::named(&program, &["unshare", "-n"]);
    agent.reaches(attaches, 3.0);
    let gap = eventually("a gap", || agent.value(unwatched).filter(|gap| *gap > 0.0));
    assert!(gap < 60.0, "{gap}");
    third.runs(2);
    agent.reaches(&execs, 10.0);
    assert!(get(agent.at, "/-/healthy").ends_with("healthy\n"));
    assert_eq!(agent.end(Signal::INT).code(), Some(0));
}

#[test]
fn what_is_wrong_is_said_before_anything_is_attached() {
    if !possible() {
        return;
    }
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().to_string();
    let us = std::process::id().to_string();
    let gone = Process::busy().pid();
    for (args, wanted) in [
        (&["sched", "--pid", &us, "--listen", &port][..], "another program has this port"),
        (&["sched", "--pid", &us, "--listen", "192.0.2.1:0"], "--listen 192.0.2.1:0: "),
        (&["sched", "--pid", &us, "--listen", "9464"], "invalid socket address"),
        (&["sched", "--pid", &gone, "--listen", "127.0.0.1:0"], "there is no process"),
        (&["sched", "--cgroup", "/", "--listen", "127.0.0.1:0"], "root cgroup"),
        (&["sched", "--process", "a/b", "--listen", "127.0.0.1:0"], "does not name a process"),
        (&["tpc", "--pid", &us], "unknown probe \"tpc\""),
        (&["sched"], "--pid <PID>"),
        (&["sched", "--pid", &us, "--series-max", "3"], "100..=100000"),
    ] {
        let out = Command::new(TEMBLOR).arg("agent").args(args).output().unwrap();
        let said = String::from_utf8_lossy(&out.stderr);
        assert_eq!(out.status.code(), Some(2), "{args:?}: {said}");
        assert!(said.contains(wanted), "{args:?}: {said}");
        assert!(!said.contains("attached"), "{args:?}: {said}");
    }
}

#[test]
fn others_than_this_machine_are_let_in_only_with_a_word_about_it() {
    if !possible() {
        return;
    }
    let busy = Process::busy();
    let mut child = Command::new(TEMBLOR)
        .args(["agent", "sched", "--pid", &busy.pid(), "--listen", "0.0.0.0:0"])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(said.next().unwrap().starts_with("the figures are at http://0.0.0.0:"));
    assert!(said.next().unwrap().contains("nobody is asked for a password"));
    assert!(said.any(|line| line.contains("the sched probe is attached")));
    kill_process(Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap(), Signal::HUP).unwrap();
    drop(said);
    assert_eq!(ended(child).code(), Some(0));
}
