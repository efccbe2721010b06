//! Wakes a thread that waits for its tracees, which is a wait that knows no bound.
//!
//! A timer of the kernel sends a real-time signal to that one thread; the signal's handler does
//! nothing but end the wait. A signal that comes just before the wait begins would be lost, so the
//! timer goes on at short intervals until it is set anew.

use std::io;
use std::mem::MaybeUninit;
use std::ptr::null_mut;
use std::sync::OnceLock;

use libc::c_int;

/// How soon a signal that was lost is made good.
const AGAIN_NS: i64 = 500_000;

extern "C" fn nothing(_signal: c_int) {}

/// The signal: the last real-time signal that nobody handles, found once.
fn signal() -> io::Result<c_int> {
    static SIGNAL: OnceLock<Option<c_int>> = OnceLock::new();
    SIGNAL
        .get_or_init(|| (libc::SIGRTMIN()..=libc::SIGRTMAX()).rev().find(|signal| take(*signal)))
        .ok_or_else(|| io::Error::other("every real-time signal of this program is in use"))
}

fn take(signal: c_int) -> bool {
    // SAFETY: a zeroed sigaction is a valid one, the kernel fills in the old one, and the
    // handler does nothing. Without SA_RESTART a wait ends with EINTR.
    unsafe {
        let mut old = MaybeUninit::<libc::sigaction>::zeroed();
        if libc::sigaction(signal, std::ptr::null(), old.as_mut_ptr()) != 0
            || old.assume_init().sa_sigaction != libc::SIG_DFL
        {
            return false;
        }
        let mut new: libc::sigaction = std::mem::zeroed();
        new.sa_sigaction = nothing as extern "C" fn(c_int) as usize;
        libc::sigaction(signal, &raw const new, null_mut()) == 0
    }
}

/// Ends the waits of the thread that made it.
#[derive(Debug)]
pub(super) struct Alarm {
    timer: libc::timer_t,
    due_ns: Option<u64>,
}

impl Alarm {
    /// For the calling thread.
    pub(super) fn for_this_thread() -> io::Result<Self> {
        let signal = signal()?;
        // SAFETY: plain structures that the kernel reads, a set that is filled before it is
        // used, and a timer id that it writes.
        unsafe {
            let mut set = MaybeUninit::<libc::sigset_t>::zeroed();
            libc::sigemptyset(set.as_mut_ptr());
            libc::sigaddset(set.as_mut_ptr(), signal);
            libc::pthread_sigmask(libc::SIG_UNBLOCK, set.as_ptr(), null_mut());
            let mut event: libc::sigevent = std::mem::zeroed();
            event.sigev_notify = libc::SIGEV_THREAD_ID;
            event.sigev_signo = signal;
            event.sigev_notify_thread_id = libc::gettid();
            let mut timer: libc::timer_t = null_mut();
            if libc::timer_create(libc::CLOCK_MONOTONIC, &raw mut event, &raw mut timer) != 0 {
                return Err(io::Error::last_os_error());
            }
            Ok(Self { timer, due_ns: None })
        }
    }

    /// Rings at this time (CLOCK_MONOTONIC), and again until it is set anew.
    pub(super) fn set(&mut self, due_ns: u64) -> io::Result<()> {
        if self.due_ns == Some(due_ns) {
            return Ok(());
        }
        let second = |ns: u64| libc::timespec {
            tv_sec: i64::try_from(ns / 1_000_000_000).unwrap_or(i64::MAX),
            tv_nsec: (ns % 1_000_000_000).cast_signed(),
        };
        let when = libc::itimerspec {
            it_value: second(due_ns.max(1)),
            it_interval: libc::timespec { tv_sec: 0, tv_nsec: AGAIN_NS },
        };
        // SAFETY: the timer is ours, and the kernel reads one structure.
        let set = unsafe {
            libc::timer_settime(self.timer, libc::TIMER_ABSTIME, &raw const when, null_mut())
        };
        if set != 0 {
            return Err(io::Error::last_os_error());
        }
        self.due_ns = Some(due_ns);
        Ok(())
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        // SAFETY: the timer is ours and is not used after this.
        unsafe { libc::timer_delete(self.timer) };
    }
}

/// Ends the wait of a thread of this process that has an alarm.
pub(super) fn ring(tid: i32) {
    if let Ok(signal) = signal() {
        // SAFETY: a signal to a thread of our own; one that has ended is not found.
        unsafe {
            libc::syscall(libc::SYS_tgkill, std::process::id().cast_signed(), tid, signal);
        }
    }
}
