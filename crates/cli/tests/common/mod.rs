//! What the tests of watching share: processes to watch, and ends that are waited for.

#![allow(dead_code, unreachable_pub, reason = "each test program uses some of it")]
#![allow(clippy::allow_attributes, reason = "what is dead differs from program to program")]

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

pub const TEMBLOR: &str = env!("CARGO_BIN_EXE_temblor");
/// Longer than anything that is waited for here.
pub const BOUND: Duration = Duration::from_secs(60);

/// Whether this can run at all; says why not.
#[expect(clippy::print_stderr, reason = "a skipped test says so")]
pub fn possible() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("skipped: needs root (BPF programs)");
    }
    root
}

/// A process that ends with the test.
pub struct Process(pub Child);

impl Process {
    /// Spins a little, sleeps a little.
    pub fn busy() -> Self {
        let script =
            "while :; do i=0; while [ $i -lt 5000 ]; do i=$((i+1)); done; sleep 0.01; done";
        Self(Command::new("sh").args(["-c", script]).spawn().unwrap())
    }

    /// In a network namespace of its own: makes a connect that is refused for each line it reads.
    pub fn refused() -> Self {
        let script = "ip link set lo up && echo ready && \
                      while read -r _; do (: < /dev/tcp/127.0.0.1/9) 2>/dev/null; done";
        let mut child = Command::new("unshare")
            .args(["-n", "bash", "-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let ready = BufReader::new(child.stdout.take().unwrap()).lines().next().unwrap().unwrap();
        assert_eq!(ready, "ready");
        Self(child)
    }

    pub fn connect(&mut self, times: usize) {
        self.0.stdin.as_mut().unwrap().write_all("\n".repeat(times).as_bytes()).unwrap();
    }

    pub fn pid(&self) -> String {
        self.0.id().to_string()
    }

    /// By the kernel's own count in its network namespace.
    pub fn failed_connects(&self) -> u64 {
        let snmp = std::fs::read_to_string(format!("/proc/{}/net/snmp", self.0.id())).unwrap();
        let mut rows = snmp.lines().filter_map(|line| line.strip_prefix("Tcp: "));
        let (names, values) = (rows.next().unwrap(), rows.next().unwrap());
        let mut columns = names.split(' ').zip(values.split(' '));
        columns.find(|(name, _)| *name == "AttemptFails").unwrap().1.parse().unwrap()
    }

    /// Processor time that it and those of its children that have ended used, nanoseconds.
    pub fn cpu_ns(&self) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.0.id())).unwrap();
        let after = stat.rsplit_once(')').unwrap().1;
        let ticks = after.split_whitespace().skip(11).take(4);
        ticks.map(|ticks| ticks.parse::<u64>().unwrap()).sum::<u64>() * 10_000_000
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits for something to be there.
pub fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end_ns = temblor_event::clock::now_ns() + u64::try_from(BOUND.as_nanos()).unwrap();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(temblor_event::clock::now_ns() < end_ns, "not within {BOUND:?}: {what}");
        std::thread::park_timeout(Duration::from_millis(50));
    }
}

/// Within the bound; a process that goes on is killed, and the test fails.
pub fn ended(mut child: Child) -> ExitStatus {
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    let (told, status) = mpsc::channel();
    let waiting = std::thread::spawn(move || told.send(child.wait().unwrap()).unwrap());
    let status = status.recv_timeout(BOUND);
    if status.is_err() {
        kill_process(pid, Signal::KILL).unwrap();
    }
    waiting.join().unwrap();
    status.unwrap()
}

/// The page is well-formed, and the linter has nothing to say of it.
pub fn promtool(page: &str) {
    let mut child = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool is there (make setup)");
    child.stdin.take().unwrap().write_all(page.as_bytes()).unwrap();
    let out = child.wait_with_output().unwrap();
    let said = [out.stdout, out.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(out.status.success() && said.is_empty(), "{said}\n{page}");
}
