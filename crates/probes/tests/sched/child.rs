//! What the child does on a processor, and what the kernel says that it did.

#![expect(clippy::disallowed_methods, reason = "sleeping and spinning are what is measured")]

use std::time::{Duration, Instant};

use crate::common::{Child, obey};

/// What the kernel says that a process has used.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Account {
    pub(crate) voluntary: u64,
    pub(crate) involuntary: u64,
    pub(crate) cpu_ns: u64,
    /// 0 where this kernel does not keep it.
    pub(crate) waited_ns: u64,
}

/// Not a test of its own: what the child does.
#[test]
fn obeys() {
    obey(|words| {
        let number = |at: usize| words[at].parse::<u64>().unwrap();
        match words[0] {
            "nothing" => {}
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
    });
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

impl Child {
    pub(crate) fn account(&mut self) -> Account {
        let said = self.ask("account");
        let line = said.iter().find_map(|line| line.strip_prefix("account ")).unwrap();
        let figures: Vec<u64> =
            line.split_whitespace().map(|figure| figure.parse().unwrap()).collect();
        Account {
            voluntary: figures[0],
            involuntary: figures[1],
            cpu_ns: figures[2],
            waited_ns: figures[3],
        }
    }
}
