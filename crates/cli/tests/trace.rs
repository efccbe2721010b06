//! `temblor trace` on processes that are nobody's experiment: what it prints, how it ends, and what
//! it refuses.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail where they stand, as tests do")]

mod common;
#[path = "../../probes/tests/common/taken.rs"]
mod taken;

use std::io::{BufRead as _, BufReader, Lines, Read as _};
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use temblor_event::{Body, Event, TcpState};

use self::common::{Process, TEMBLOR, ended, eventually, possible, promtool};
use self::taken::taken_ns;

/// A trace that goes on.
struct Trace {
    child: Child,
    stdout: Lines<BufReader<ChildStdout>>,
    stderr: Lines<BufReader<ChildStderr>>,
}

impl Trace {
    fn start(args: &[&str]) -> Self {
        let mut child = Command::new(TEMBLOR)
            .arg("trace")
            .args(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap()).lines();
        let stderr = BufReader::new(child.stderr.take().unwrap()).lines();
        Self { child, stdout, stderr }
    }

    /// The next line that says this, and those before it.
    fn until(&mut self, what: &str) -> Vec<String> {
        let mut lines = Vec::new();
        for line in self.stdout.by_ref() {
            lines.push(line.unwrap());
            if lines.last().unwrap().contains(what) {
                return lines;
            }
        }
        panic!("it ended and never said {what}: {lines:#?}");
    }

    fn attached(&mut self) {
        let mut said = self.stderr.by_ref().map(Result::unwrap);
        assert!(said.any(|line| line.contains("probe is attached")));
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// What it still said, and how it ended.
    fn end(self) -> (Vec<String>, ExitStatus) {
        let lines = self.stdout.map(Result::unwrap).collect();
        drop(self.stderr);
        (lines, ended(self.child))
    }
}

fn run(args: &[&str]) -> (Option<i32>, String, String) {
    let out = Command::new(TEMBLOR).arg("trace").args(args).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (out.status.code(), text(&out.stdout), text(&out.stderr))
}

fn events(lines: &[String]) -> Vec<Event> {
    lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn processor_time_is_told_each_second_and_drawn_at_the_end() {
    if !possible() {
        return;
    }
    let busy = Process::busy();
    let (code, out, said) = run(&["sched", "--pid", &busy.pid(), "--for", "2500ms"]);
    assert_eq!(code, Some(0), "{said}");
    let of = format!("sched   sh-{}", busy.pid());
    let seconds: Vec<&str> = out.lines().filter(|line| line.contains(&of)).collect();
    assert_eq!(seconds.len(), 3, "two whole seconds and the rest: {out}");
    for part in ["on cpu", "run-queue wait p50", " p99 ", " max ", "switches (", "involuntary)"] {
        assert!(seconds[0].contains(part), "{part}: {}", seconds[0]);
    }
    for part in ["run-queue waits", "█", "sched_switch", "0 lost", "not seen", "this program"] {
        assert!(out.contains(part), "{part}: {out}");
    }
    let (_, summary) = out.split_once("\n\n").unwrap();
    assert!(summary.lines().all(|line| line.chars().count() <= 80), "{summary}");
}

#[test]
fn json_is_the_events_of_a_run_and_nothing_else() {
    if !possible() {
        return;
    }
    let busy = Process::busy();
    let (before_ns, taken_before_ns) = (busy.cpu_ns(), taken_ns());
    let (code, out, said) = run(&["sched", "--pid", &busy.pid(), "--for", "2s", "--json"]);
    let (used_ns, taken_ns) = (busy.cpu_ns() - before_ns, taken_ns() - taken_before_ns);
    assert_eq!((code, said.as_str()), (Some(0), ""));
    let lines: Vec<String> = out.lines().map(str::to_owned).collect();
    let events = events(&lines);
    assert!(matches!(events[0].body, Body::TargetSeen(_)), "{out}");
    assert!(matches!(events[1].body, Body::ProbeStatus(_)), "{out}");
    assert!(matches!(events.last().unwrap().body, Body::Cost(_)), "{out}");
    assert!(events.iter().any(|event| matches!(event.body, Body::ProbeCost(_))), "{out}");
    let mut on_cpu_ns = 0;
    for event in &events {
        if let Body::SchedWindow(window) = &event.body {
            assert_eq!(window.wait.buckets.samples(), window.wait.samples, "{out}");
            on_cpu_ns += window.on_cpu_ns;
        }
    }
    // The clock of the one is read before and after that of the other; its ticks are 10 ms.
    let at_most_ns = used_ns + taken_ns + 100_000_000;
    assert!(on_cpu_ns > 0 && on_cpu_ns < at_most_ns, "{on_cpu_ns} of {used_ns} and {taken_ns}");
}

#[test]
fn the_figures_for_prometheus_are_all_that_is_printed() {
    if !possible() {
        return;
    }
    let mut process = Process::refused();
    let pid = process.pid();
    let mut trace = Trace::start(&["tcp", "sched", "syscall", "--prometheus", "--pid", &pid]);
    trace.attached();
    trace.attached();
    trace.attached();
    process.connect(3);
    let target = format!("bash-{pid}");
    // What was seen shows at the end only.
    eventually("three connects failed", || (process.failed_connects() == 3).then_some(()));
    trace.signal(Signal::INT);
    let (lines, status) = trace.end();
    assert_eq!(status.code(), Some(0));
    let page = lines.join("\n") + "\n";
    promtool(&page);
    let refused = format!(
        "temblor_tcp_connects_total{{target=\"{target}\",peer=\"127.0.0.1\",\
         result=\"ECONNREFUSED\"}} 3"
    );
    let failed = format!(
        "temblor_syscall_errors_total{{target=\"{target}\",call=\"connect\",\
         errno=\"ECONNREFUSED\"}} 3"
    );
    let waits = "temblor_sched_run_queue_wait_seconds_bucket{";
    for part in [&*refused, &failed, waits, "temblor_ebpf_runs_total{"] {
        assert!(page.contains(part), "{part}: {page}");
    }
}

#[test]
fn system_calls_that_failed_are_summed_up_by_call_and_errno() {
    if !possible() {
        return;
    }
    let mut process = Process::refused();
    let mut trace = Trace::start(&["syscall", "--pid", &process.pid()]);
    trace.attached();
    process.connect(5);
    eventually("five connects failed", || (process.failed_connects() == 5).then_some(()));
    // Each is whole with the answer that the shell waits for.
    trace.until("connect, ECONNREFUSED");
    trace.signal(Signal::INT);
    let (lines, status) = trace.end();
    assert_eq!(status.code(), Some(0));
    let summary = lines.iter().skip_while(|line| !line.is_empty()).skip(1);
    let summary: Vec<&str> = summary.map(String::as_str).collect();
    let all = summary.join("\n");
    assert!(summary.iter().all(|line| line.chars().count() <= 80), "{all}");
    let words = |line: &&str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    let failed = summary.iter().map(words).find(|line| line.starts_with("connect, ECONNREFUSED"));
    assert!(failed.unwrap().starts_with("connect, ECONNREFUSED 5, "), "{all}");
    let place = |of: &str| all.find(of).unwrap_or_else(|| panic!("no {of}: {all}"));
    assert!(place("system calls that failed") < place("time in system calls"), "{all}");
    for part in ["time waited in system calls", "syscall_exit", " 0 lost"] {
        place(part);
    }
}

#[test]
fn a_refused_connect_is_an_event_with_its_errno() {
    if !possible() {
        return;
    }
    let mut process = Process::refused();
    let mut trace = Trace::start(&["tcp", "--json", "--pid", &process.pid()]);
    let mut lines = trace.until("probe.status");
    process.connect(3);
    let failed = r#""from":"SYN_SENT","to":"CLOSE","errno":111"#;
    (0..3).for_each(|_| lines.extend(trace.until(failed)));
    trace.signal(Signal::INT);
    let (rest, status) = trace.end();
    assert_eq!(status.code(), Some(0));
    lines.extend(rest);
    let events = events(&lines);
    let of = format!("bash-{}", process.pid());
    let refused = events.iter().filter_map(|event| match &event.body {
        Body::TcpState(change) if change.to == TcpState::Close && change.errno == 111 => {
            Some(change.conn.service.clone().unwrap())
        }
        _ => None,
    });
    assert_eq!(refused.collect::<Vec<_>>(), [of.clone(), of.clone(), of]);
    assert!(matches!(events.last().unwrap().body, Body::Cost(_)), "{lines:#?}");
}

#[test]
fn interrupted_it_sums_up_and_exits_with_0() {
    if !possible() {
        return;
    }
    let mut process = Process::refused();
    let mut trace = Trace::start(&["tcp", "--pid", &process.pid()]);
    trace.attached();
    process.connect(2);
    let line = trace.until("connect refused (ECONNREFUSED) after").pop().unwrap();
    assert!(line.contains(&format!("tcp     bash-{} → 127.0.0.1", process.pid())), "{line}");
    trace.until("connect refused (ECONNREFUSED) after");
    trace.signal(Signal::INT);
    let (lines, status) = trace.end();
    assert_eq!(status.code(), Some(0));
    let summary = lines.join("\n");
    for part in ["2: 0 connected, 2 ECONNREFUSED", "what watching cost", "tcp_state", "0 lost"] {
        assert!(summary.contains(part), "{part}: {summary}");
    }
}

#[test]
fn who_killed_a_process_is_told() {
    if !possible() {
        return;
    }
    let mut busy = Process::busy();
    let mut trace = Trace::start(&["process", "--pid", &busy.pid()]);
    trace.attached();
    busy.0.kill().unwrap();
    let line = trace.until("was killed by SIGKILL, sent by").pop().unwrap();
    assert!(line.contains(&format!("process sh-{}", busy.pid())), "{line}");
    trace.signal(Signal::INT);
    let (lines, status) = trace.end();
    assert_eq!(status.code(), Some(0));
    assert!(lines.join("\n").contains("1 was killed by SIGKILL"), "{lines:#?}");
}

#[test]
fn terminated_it_ends_without_a_word() {
    if !possible() {
        return;
    }
    let process = Process::refused();
    let mut trace = Trace::start(&["tcp", "--pid", &process.pid()]);
    trace.attached();
    trace.signal(Signal::TERM);
    let (lines, status) = trace.end();
    assert_eq!((lines, status.code()), (Vec::new(), Some(0)));
}

#[test]
fn it_ends_when_nobody_reads_also_while_nothing_happens() {
    if !possible() {
        return;
    }
    let process = Process::refused();
    for (args, first) in [
        (&["tcp", "--json", "--pid", &process.pid()][..], "run.target"),
        (&["sched", "--pid", &process.pid()], "on cpu"),
    ] {
        let mut trace = Trace::start(args);
        trace.until(first);
        let Trace { child, stdout, mut stderr } = trace;
        drop(stdout);
        assert_eq!(ended(child).code(), Some(0), "{args:?}");
        let said: Vec<String> = stderr.by_ref().map(Result::unwrap).collect();
        assert!(!said.iter().any(|line| line.starts_with("temblor:")), "{said:?}");
    }
}

#[test]
fn watching_is_not_acting_so_anybody_may_be_watched() {
    if !possible() {
        return;
    }
    let us = std::process::id().to_string();
    let mut args = vec!["sched", "--pid", &us, "--for", "1s"];
    // Root in a container may not look at the first process.
    if std::fs::read_link("/proc/1/ns/net").is_ok() {
        args.extend(["--pid", "1"]);
    }
    let (code, out, said) = run(&args);
    assert_eq!(code, Some(0), "{said}");
    assert!(out.contains(&format!("-{us}  on cpu")), "{out}");
}

#[test]
fn what_is_wrong_is_said_before_anything_is_attached() {
    if !possible() {
        return;
    }
    let gone = {
        let process = Process::busy();
        process.pid()
    };
    let us = std::process::id().to_string();
    for (args, wanted) in [
        (&["tpc", "--pid", "1"][..], "unknown probe \"tpc\": there are tcp, sched"),
        (&["sched"], "--pid <PID>"),
        (&["--pid", "1"], "<PROBE>"),
        (&["sched", "--pid", &gone], "there is no process"),
        (&["sched", "--pid", "0"], "there is no process 0"),
        (&["sched", "--pid", "nginx"], "invalid digit"),
        (&["sched", "--process", "no-such-program"], "no process named `no-such-program`"),
        (&["sched", "--cgroup", "no/such/group"], "no cgroup `no/such/group`"),
        (&["sched", "--pid", &us, "--pid", &gone], "there is no process"),
        (&["sched", "--pid", "1", "--json", "--prometheus"], "cannot be used with"),
        (&["sched", "--pid", "1", "--for", "5"], "--for 5: "),
        (&["sched", "--pid", "1", "--for", "0s"], "more than 0"),
        (&["sched", "--pid", "1", "--for", "25h"], "at most 24h"),
    ] {
        let (code, out, said) = run(args);
        assert_eq!(code, Some(2), "{args:?}: {said}");
        assert!(said.contains(wanted), "{args:?}: {said}");
        assert_eq!(out, "", "{args:?}");
        assert!(!said.contains("attached"), "{args:?}: {said}");
    }
}

#[test]
fn without_root_it_says_what_is_missing() {
    if !possible() {
        return;
    }
    let out = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", TEMBLOR])
        .args(["trace", "sched", "--pid", "1"])
        .output()
        .unwrap();
    let mut said = String::new();
    out.stderr.as_slice().read_to_string(&mut said).unwrap();
    assert_eq!(out.status.code(), Some(6), "{said}");
    assert!(said.contains("root"), "{said}");
}
