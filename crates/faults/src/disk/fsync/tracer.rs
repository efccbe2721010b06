//! The thread that traces: every ptrace request comes from it, and when it ends, the kernel lets
//! go of all that it traced, as it does when this process is killed.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::io;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use temblor_event::clock::now_ns;
use temblor_host::target::Target;

use super::alarm::Alarm;
use super::ptrace::{self, Call, Report};
use super::seen::Seen;
use super::who::{self, CannotTrace};
use crate::process::stat::thread_has_ended;

/// How often processes that the target has got otherwise than from its own are looked for.
const LOOK_EVERY_NS: u64 = 250_000_000;
/// How long the threads may take to come by, before the fault counts as in place without them:
/// one that waits for a disk comes by when it has waited.
const ALL_WITHIN_NS: u64 = 1_000_000_000;
/// How long to wait where nothing is traced, before the target is looked at again.
const IDLE: Duration = Duration::from_millis(20);

/// What is done to a call.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dose {
    pub(super) delay_ns: Option<u64>,
    pub(super) errno: Option<i32>,
    /// How many of 2^32 calls.
    pub(super) share: u64,
}

/// A call that is held until its time.
#[derive(Debug, Clone, Copy)]
struct Held {
    since_ns: u64,
    until_ns: u64,
    number: i64,
}

pub(super) struct Tracer {
    target: Target,
    dose: Dose,
    seen: Arc<Seen>,
    alarm: Alarm,
    threads: HashSet<i32>,
    held: HashMap<i32, Held>,
    /// The same by time.
    due: BTreeSet<(u64, i32)>,
    /// Those that have not come by yet.
    expected: HashSet<i32>,
    /// Where it is said that all have come by, or why none can.
    ready: Option<Sender<Result<(), CannotTrace>>>,
    next_look_ns: u64,
    draws: u64,
}

impl Tracer {
    /// Traces until it is told to end. Runs in a thread of its own, from beginning to end.
    pub(super) fn run(
        target: Target,
        pids: &[u32],
        dose: Dose,
        seen: Arc<Seen>,
        ready: Sender<Result<(), CannotTrace>>,
    ) {
        seen.tracer_is_this_thread();
        let alarm = match Alarm::for_this_thread() {
            Ok(alarm) => alarm,
            Err(error) => {
                let _ = ready.send(Err(CannotTrace::Alarm(error)));
                return;
            }
        };
        let mut tracer = Self {
            target,
            dose,
            seen,
            alarm,
            threads: HashSet::new(),
            held: HashMap::new(),
            due: BTreeSet::new(),
            expected: HashSet::new(),
            ready: None,
            next_look_ns: now_ns() + LOOK_EVERY_NS,
            draws: 0,
        };
        if let Err(error) = tracer.seize_all(pids) {
            // The thread ends, and with it all that was begun.
            let _ = ready.send(Err(error));
            return;
        }
        tracer.ready = Some(ready);
        tracer.trace(now_ns() + ALL_WITHIN_NS);
        tracer.seen.traced_until_now(tracer.threads.into_iter().collect());
    }

    fn trace(&mut self, all_by_ns: u64) {
        while !self.seen.is_to_end() {
            let now = now_ns();
            self.release(now);
            if now >= self.next_look_ns {
                self.next_look_ns = now + LOOK_EVERY_NS;
                // What a traced process starts is traced from birth. Others are only known where
                // the target is a cgroup. One that cannot be traced now is looked at again.
                let _ = self.seize_all(&[]);
            }
            if (self.expected.is_empty() || now >= all_by_ns)
                && let Some(ready) = self.ready.take()
            {
                let _ = ready.send(Ok(()));
            }
            let due = self.due.first().map_or(self.next_look_ns, |(due, _)| *due);
            // Without an alarm a report of any thread still ends the wait.
            let _ = self.alarm.set(due.min(self.next_look_ns));
            match ptrace::wait() {
                Ok((tid, report)) => self.reported(tid, report),
                // A signal: the loop looks at what it was for.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Nothing is traced; the target may get new processes.
                Err(_) => std::thread::park_timeout(IDLE),
            }
        }
    }

    /// Begins to trace every thread of the target that is not traced yet. Threads are made while
    /// this goes on: once one pass finds nobody new, the rest come by themselves.
    fn seize_all(&mut self, first: &[u32]) -> Result<(), CannotTrace> {
        let mut found = true;
        while found {
            found = false;
            for pid in first.iter().copied().chain(self.target.processes_now()) {
                for tid in who::threads(pid) {
                    if self.threads.contains(&tid) {
                        continue;
                    }
                    match ptrace::seize(tid) {
                        Ok(()) => {
                            found = true;
                            self.threads.insert(tid);
                            self.expected.insert(tid);
                            // One that has ended since is reported as such.
                            let _ = ptrace::interrupt(tid);
                        }
                        Err(_) if thread_has_ended(pid, tid) => {}
                        // Born traced, and not reported yet.
                        Err(_) if who::tracer_of(tid) == Some(self.seen.tracer()) => {}
                        Err(e) => return Err(CannotTrace::of(pid, tid, e)),
                    }
                }
            }
        }
        Ok(())
    }

    fn reported(&mut self, tid: i32, report: Report) {
        self.expected.remove(&tid);
        if report == Report::Ended {
            self.forget(tid);
            return;
        }
        self.threads.insert(tid);
        // A thread that was killed cannot be let go on; it is reported as ended next.
        let _ = match report {
            Report::Syscall => self.at_call(tid),
            Report::GroupStop => ptrace::listen(tid),
            Report::Signal(signal) => ptrace::resume(tid, signal),
            Report::Exec => {
                if let Ok(former) = ptrace::exec_by(tid)
                    && former != tid
                {
                    self.forget(former);
                }
                self.let_go(tid);
                ptrace::resume(tid, 0)
            }
            Report::Asked | Report::Event | Report::Ended => ptrace::resume(tid, 0),
        };
    }

    fn at_call(&mut self, tid: i32) -> io::Result<()> {
        let Call::Entry(number) = ptrace::call(tid)? else { return ptrace::resume(tid, 0) };
        if !self.seen.is_sync(number) {
            return ptrace::resume(tid, 0);
        }
        self.seen.saw(number);
        if !self.is_drawn() {
            return ptrace::resume(tid, 0);
        }
        self.seen.drew();
        let since_ns = now_ns();
        let until_ns = since_ns.saturating_add(self.dose.delay_ns.unwrap_or(0));
        let held = Held { since_ns, until_ns, number };
        if self.dose.delay_ns.is_none() {
            return self.go_on(tid, held);
        }
        self.held.insert(tid, held);
        self.due.insert((until_ns, tid));
        Ok(())
    }

    /// Every call is drawn by itself, the same in every run: programs sync in patterns, and every
    /// second call could always be the same one.
    fn is_drawn(&mut self) -> bool {
        self.draws += 1;
        // splitmix64, whose outputs for 1, 2, 3, … are even.
        let mut z = self.draws.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 32) < self.dose.share
    }

    fn release(&mut self, now: u64) {
        while let Some((_, tid)) = self.due.first().copied().filter(|(due, _)| *due <= now) {
            if let Some(held) = self.let_go(tid) {
                // Killed while it was held: it is reported as ended next.
                let _ = self.go_on(tid, held);
            }
        }
    }

    fn go_on(&mut self, tid: i32, held: Held) -> io::Result<()> {
        if let Some(errno) = self.dose.errno {
            ptrace::fail(tid, errno)?;
        }
        ptrace::resume(tid, 0)?;
        self.seen.acted(held.number, now_ns().saturating_sub(held.since_ns));
        Ok(())
    }

    fn let_go(&mut self, tid: i32) -> Option<Held> {
        let held = self.held.remove(&tid)?;
        self.due.remove(&(held.until_ns, tid));
        Some(held)
    }

    fn forget(&mut self, tid: i32) {
        self.threads.remove(&tid);
        self.expected.remove(&tid);
        self.let_go(tid);
    }
}

/// The calls that are meant, with their names.
pub(super) const SYNCS: [(i64, &str); 4] = [
    (libc::SYS_fsync, "fsync"),
    (libc::SYS_fdatasync, "fdatasync"),
    (libc::SYS_sync_file_range, "sync_file_range"),
    (libc::SYS_msync, "msync"),
];
