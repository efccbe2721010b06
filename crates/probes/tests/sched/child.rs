//! A program that does as it is told, one line at a time: this test program itself.

use std::io::{self, BufRead as _, Write as _};
use std::process::{ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

const CHILD: &str = "TEMBLOR_TEST_SCHED_CHILD";

/// What the kernel says that a process has used.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Account {
    pub(crate) voluntary: u64,
    pub(crate) involuntary: u64,
    pub(crate) cpu_ns: u64,
    /// 0 where this kernel does not keep it.
    pub(crate) waited_ns: u64,
}

/// Not a test of its own: it does what it reads, and says when it has.
#[test]
fn obeys() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    for line in io::stdin().lines() {
        let line = line.unwrap();
        let words: Vec<&str> = line.split_whitespace().collect();
        let number = |at: usize| words[at].parse::<u64>().unwrap();
        match words[0] {
            "sleep" => {
                for _ in 0..number(1) {
                    std::thread::sleep(Duration::from_micros(number(2)));
                }
            }
            "spin" => spin(Duration::from_millis(number(1))),
            "pin" => {
                let mut only = rustix::thread::CpuSet::new();
                only.set(usize::try_from(number(1)).unwrap());
                rustix::thread::sched_setaffinity(None, &only).unwrap();
            }
            "fork" => (0..number(1)).for_each(|_| fork(Duration::from_millis(number(2)))),
            "account" => account(),
            other => panic!("{other}?"),
        }
        println!("\ndone");
    }
}

fn spin(time: Duration) {
    let began = Instant::now();
    while began.elapsed() < time {
        std::hint::spin_loop();
    }
}

/// A child that uses this much processor time, and is waited for.
fn fork(time: Duration) {
    // SAFETY: only this thread is there that does anything, and the child calls nothing but the
    // clock before it exits.
    unsafe {
        match libc::fork() {
            0 => {
                let mut used = libc::timespec { tv_sec: 0, tv_nsec: 0 };
                while used.tv_sec == 0 && used.tv_nsec < i64::try_from(time.as_nanos()).unwrap() {
                    libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut used);
                }
                libc::_exit(0);
            }
            pid => assert_eq!(libc::waitpid(pid, std::ptr::null_mut(), 0), pid),
        }
    }
}

/// Of this thread, which is the one that works.
fn account() {
    // SAFETY: it writes a plain struct of integers.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        assert_eq!(libc::getrusage(libc::RUSAGE_SELF, &raw mut usage), 0);
        usage
    };
    let mut used = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: it is written to.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut used) };
    let schedstat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let waited = schedstat.split_whitespace().nth(1).unwrap_or("0");
    println!(
        "\naccount {} {} {} {waited}",
        usage.ru_nvcsw,
        usage.ru_nivcsw,
        used.tv_sec * 1_000_000_000 + used.tv_nsec,
    );
}

/// The program, running. Dropping it ends it.
pub(crate) struct Child {
    child: std::process::Child,
    stdin: ChildStdin,
    said: Box<dyn Iterator<Item = String>>,
}

impl Child {
    pub(crate) fn start() -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child::obeys", "--nocapture"])
            .env(CHILD, "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdin = child.stdin.take().unwrap();
        let said = io::BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut child = Self { child, stdin, said: Box::new(said) };
        child.ask("spin 0");
        child
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn begin(&mut self, what: &str) {
        writeln!(self.stdin, "{what}").unwrap();
    }

    pub(crate) fn end(&mut self) {
        assert!(self.said.any(|line| line == "done"), "it has ended");
    }

    pub(crate) fn ask(&mut self, what: &str) {
        self.begin(what);
        self.end();
    }

    pub(crate) fn account(&mut self) -> Account {
        self.begin("account");
        let line = self.said.find_map(|line| Some(line.strip_prefix("account ")?.to_owned()));
        let figures: Vec<u64> =
            line.unwrap().split_whitespace().map(|figure| figure.parse().unwrap()).collect();
        self.end();
        Account {
            voluntary: figures[0],
            involuntary: figures[1],
            cpu_ns: figures[2],
            waited_ns: figures[3],
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // It has ended already, or ends now.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
