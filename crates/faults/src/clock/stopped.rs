//! A process all of whose threads stand still, so that its code can be changed under them.
//!
//! They are stopped by `ptrace(2)` without a signal, and go on when the work is done; should this
//! process die, the kernel lets them go on. A system call that a thread waits in is begun
//! again, except those (epoll_wait is one) that any stop ends with EINTR.

use std::collections::BTreeMap;
use std::ffi::c_void;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::marker::PhantomData;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::time::Duration;

use temblor_event::clock::now_ns;

use crate::process::stat::thread_has_ended;

/// How long a thread may take to stop; one that waits for a disk takes as long as the disk.
const STOPS_WITHIN_NS: u64 = 1_000_000_000;
/// How long the one function that a stopped thread is made to run may take: it takes a
/// microsecond, and until the thread gets a processor.
const RETURNS_WITHIN_NS: u64 = 10_000_000_000;
/// Threads that are started while the others are stopped are found by looking again.
const LOOKS_MAX: u32 = 64;
/// How much of each thread's stack is searched for addresses.
const STACK_BYTES_MAX: u64 = 256 * 1024;
/// Not in every C library's headers: a stop that was asked for, or one of the whole group.
const PTRACE_EVENT_STOP: i32 = 128;

/// Not in every C library's headers either.
const PTRACE_GETSIGMASK: u32 = 0x420a;
const PTRACE_SETSIGMASK: u32 = 0x420b;
/// The signals that a thread's own code raises, which are never to be blocked: the trap is one.
const SIGNALS_OF_CODE: u64 = bit(libc::SIGTRAP)
    | bit(libc::SIGSEGV)
    | bit(libc::SIGBUS)
    | bit(libc::SIGILL)
    | bit(libc::SIGFPE)
    | bit(libc::SIGSYS);

const fn bit(signal: i32) -> u64 {
    1 << (signal - 1)
}

/// A process all of whose threads stand still.
pub(crate) struct Stopped {
    pid: u32,
    /// Each thread, with what has been found when it stopped.
    threads: BTreeMap<i32, Stop>,
    memory: File,
    /// The kernel ties the tracing to the thread that began it.
    _here: PhantomData<*const ()>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Stop {
    /// A signal that was on its way to the thread, and is delivered when it goes on.
    signal: i32,
    /// It stood still already, with the whole process.
    of_group: bool,
}

enum Waited {
    Stopped(Stop),
    Ended,
}

/// Stops every thread of a process, does some work, and lets them go on.
///
/// The tracing is done by a thread that ends with it: then the kernel also lets go a thread that
/// did not stop in time, which this side cannot.
///
/// # Errors
/// It may not be traced or is traced by another, a thread does not stop in time, or the work
/// fails.
pub(crate) fn while_stopped<T: Send>(
    pid: u32,
    work: impl FnOnce(&mut Stopped) -> io::Result<T> + Send,
) -> io::Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("tracer".into())
            .spawn_scoped(scope, || work(&mut Stopped::stop(pid)?))?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

impl Stopped {
    fn stop(pid: u32) -> io::Result<Self> {
        let memory = OpenOptions::new().read(true).write(true).open(format!("/proc/{pid}/mem"))?;
        let mut stopped = Self { pid, threads: BTreeMap::new(), memory, _here: PhantomData };
        for _ in 0..LOOKS_MAX {
            let new: Vec<i32> = fs::read_dir(format!("/proc/{pid}/task"))?
                .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
                .filter(|tid| !stopped.threads.contains_key(tid) && !thread_has_ended(pid, *tid))
                .collect();
            if new.is_empty() {
                return Ok(stopped);
            }
            let mut seized = Vec::new();
            for tid in new {
                match ptrace(libc::PTRACE_SEIZE, tid, 0, 0) {
                    Ok(()) => {
                        // From here on it is let go in any case.
                        stopped.threads.insert(tid, Stop::default());
                        ptrace(libc::PTRACE_INTERRUPT, tid, 0, 0)?;
                        seized.push(tid);
                    }
                    Err(_) if thread_has_ended(pid, tid) => {}
                    Err(error) => return Err(error),
                }
            }
            for tid in seized {
                match wait(tid, STOPS_WITHIN_NS)? {
                    Waited::Stopped(stop) => stopped.threads.insert(tid, stop),
                    Waited::Ended => stopped.threads.remove(&tid),
                };
            }
        }
        Err(io::Error::other("it starts threads faster than they can be stopped"))
    }

    pub(crate) fn read(&self, at: u64, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.memory.read_exact_at(&mut bytes, at)?;
        Ok(bytes)
    }

    /// Writes also where the process itself may only read or run; the page becomes its own.
    pub(crate) fn write(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.memory.write_all_at(bytes, at)
    }

    /// Whether a thread stands in one of these ranges, or will come back into one from a signal
    /// handler: then the address is somewhere on its stack.
    pub(crate) fn is_anybody_in(&self, ranges: &[Range<u64>]) -> io::Result<bool> {
        let is_in = |address: u64| ranges.iter().any(|range| range.contains(&address));
        for tid in self.threads.keys() {
            let registers = Registers::of(*tid)?;
            if is_in(registers.instruction()) {
                return Ok(true);
            }
            if self.stack(registers.stack()).chunks_exact(8).any(|word| {
                let word: [u8; 8] = word.try_into().unwrap_or_default();
                is_in(u64::from_ne_bytes(word))
            }) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// What is on a stack from its top on, as far as it is mapped.
    fn stack(&self, top: u64) -> Vec<u8> {
        let mut bytes = vec![0; usize::try_from(STACK_BYTES_MAX).unwrap_or_default()];
        let top = top & !7;
        let mut filled = 0;
        while filled < bytes.len() {
            match self.memory.read_at(&mut bytes[filled..], top + filled as u64) {
                Ok(0) | Err(_) => break,
                Ok(more) => filled += more,
            }
        }
        bytes.truncate(filled);
        bytes
    }

    /// Has one thread ask `clock_gettime` for the wall time, at this address, and gives what it
    /// was told, in nanoseconds, with our own clock right before and right after. None where no
    /// thread can be made to, because the process had been stopped by somebody before.
    ///
    /// The function must return; it returns to `trap`, which holds a trap.
    pub(crate) fn wall_clock(
        &mut self,
        clock_gettime: u64,
        trap: u64,
    ) -> io::Result<Option<Reading>> {
        let main = self.pid.cast_signed();
        let tid = if self.threads.contains_key(&main) {
            Some(main)
        } else {
            self.threads.keys().next().copied()
        };
        let Some(tid) = tid.filter(|tid| !self.threads[tid].of_group) else { return Ok(None) };
        let registers = Registers::of(tid)?;
        // Below what a leaf function may keep below the stack's end without saying so.
        let answer = (registers.stack().saturating_sub(256)) & !15;
        let kept = self.read(answer - 8, 24)?;
        self.write(answer - 8, &[&trap.to_ne_bytes()[..], &[0xff; 16]].concat())?;
        registers.calling(clock_gettime, [0, answer], answer - 8).set(tid)?;
        // Signals wait: a timer's, on a busy machine, would come before each instruction.
        let mask = swap_signal_mask(tid, !SIGNALS_OF_CODE);
        let ran = self.run_to_trap(tid, trap);
        let told = self.read(answer, 16);
        // Whatever came of it, the thread is itself again before it goes on.
        if self.threads.contains_key(&tid) {
            registers.set(tid)?;
            self.write(answer - 8, &kept)?;
            if let Ok(mask) = mask {
                swap_signal_mask(tid, mask)?;
            }
        }
        let ((true, before_ns, after_ns), told) = (ran?, told?) else { return Ok(None) };
        let word = |at: usize| {
            i128::from(i64::from_ne_bytes(told[at..at + 8].try_into().unwrap_or_default()))
        };
        Ok(Some(Reading { told_ns: word(0) * 1_000_000_000 + word(8), before_ns, after_ns }))
    }

    /// Lets a thread run until it meets the trap; says whether it did, and when.
    fn run_to_trap(&mut self, tid: i32, trap: u64) -> io::Result<(bool, i128, i128)> {
        let before_ns = wall_ns();
        let deadline_ns = now_ns() + RETURNS_WITHIN_NS;
        let mut aside = Vec::new();
        let is_there = loop {
            ptrace(libc::PTRACE_CONT, tid, 0, 0)?;
            let waited = wait(tid, RETURNS_WITHIN_NS).or_else(|_| {
                // It must not run on as it is: it would meet the trap alone.
                ptrace(libc::PTRACE_INTERRUPT, tid, 0, 0)?;
                wait(tid, RETURNS_WITHIN_NS)
            });
            match waited? {
                Waited::Ended => {
                    self.threads.remove(&tid);
                    break false;
                }
                Waited::Stopped(Stop { signal: libc::SIGTRAP, .. }) => {
                    break Registers::of(tid)?.instruction() == trap + 1;
                }
                // A signal to the thread waits until it is itself again.
                Waited::Stopped(Stop { signal, .. }) if signal != 0 => aside.push(signal),
                Waited::Stopped(_) => {}
            }
            if now_ns() > deadline_ns {
                break false;
            }
        };
        let after_ns = wall_ns();
        for signal in aside {
            // SAFETY: it sends a signal to a thread that this one traces.
            unsafe { libc::syscall(libc::SYS_tgkill, self.pid, tid, signal) };
        }
        Ok((is_there, before_ns, after_ns))
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        for (tid, stop) in &self.threads {
            let _ = ptrace(libc::PTRACE_DETACH, *tid, 0, stop.signal);
        }
    }
}

/// What a process was told the time is, between two looks at our own clock.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reading {
    pub(crate) told_ns: i128,
    pub(crate) before_ns: i128,
    pub(crate) after_ns: i128,
}

fn wall_ns() -> i128 {
    i128::from(temblor_event::clock::wall_unix_ns())
}

fn ptrace(request: u32, tid: i32, address: usize, data: i32) -> io::Result<()> {
    let (address, data) = (address as *mut c_void, data as usize as *mut c_void);
    // SAFETY: these requests neither read nor write memory of this process.
    match unsafe { libc::ptrace(request, tid, address, data) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Gives a stopped thread another signal mask, and says what it had.
fn swap_signal_mask(tid: i32, new: u64) -> io::Result<u64> {
    let mut old = 0_u64;
    // SAFETY: the kernel writes 8 bytes to `old`, and reads as many from `new`.
    unsafe {
        if libc::ptrace(PTRACE_GETSIGMASK, tid, 8_usize, &raw mut old) == -1
            || libc::ptrace(PTRACE_SETSIGMASK, tid, 8_usize, &raw const new) == -1
        {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(old)
}

fn wait(tid: i32, bound_ns: u64) -> io::Result<Waited> {
    let deadline_ns = now_ns() + bound_ns;
    for look in 0_u32.. {
        let mut status = 0;
        // SAFETY: `status` is written to, nothing else.
        match unsafe { libc::waitpid(tid, &raw mut status, libc::__WALL | libc::WNOHANG) } {
            0 if now_ns() > deadline_ns => break,
            // Most stop within microseconds.
            0 if look < 200 => std::thread::yield_now(),
            0 => std::thread::park_timeout(Duration::from_micros(200)),
            -1 => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => {}
                error if error.raw_os_error() == Some(libc::ECHILD) => return Ok(Waited::Ended),
                error => return Err(error),
            },
            _ if libc::WIFSTOPPED(status) => {
                let (signal, event) = (libc::WSTOPSIG(status), status >> 16);
                let of_group = event == PTRACE_EVENT_STOP && signal != libc::SIGTRAP;
                let signal = if event == 0 { signal } else { 0 };
                return Ok(Waited::Stopped(Stop { signal, of_group }));
            }
            _ => return Ok(Waited::Ended),
        }
    }
    Err(io::Error::new(
        io::ErrorKind::TimedOut,
        format!("its thread {tid} does not stop: it waits for a device"),
    ))
}

/// One that has ended and is still listed because its parent, or the other threads, have not
/// taken note.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
struct Registers(libc::user_regs_struct);

#[cfg(target_arch = "x86_64")]
impl Registers {
    fn of(tid: i32) -> io::Result<Self> {
        let mut registers = std::mem::MaybeUninit::<libc::user_regs_struct>::zeroed();
        // SAFETY: the kernel fills a structure of this type, for which all zeros are valid too.
        unsafe {
            if libc::ptrace(libc::PTRACE_GETREGS, tid, 0, registers.as_mut_ptr()) == -1 {
                return Err(io::Error::last_os_error());
            }
            Ok(Self(registers.assume_init()))
        }
    }

    fn set(self, tid: i32) -> io::Result<()> {
        // SAFETY: the kernel reads the structure, which lives through the call.
        match unsafe { libc::ptrace(libc::PTRACE_SETREGS, tid, 0, &raw const self.0) } {
            -1 => Err(io::Error::last_os_error()),
            _ => Ok(()),
        }
    }

    fn instruction(&self) -> u64 {
        self.0.rip
    }

    fn stack(&self) -> u64 {
        self.0.rsp
    }

    /// About to run a function, outside any system call.
    fn calling(mut self, function: u64, arguments: [u64; 2], stack: u64) -> Self {
        self.0.rip = function;
        self.0.rsp = stack;
        [self.0.rdi, self.0.rsi] = arguments;
        // Not in a system call that would be begun again.
        self.0.orig_rax = u64::MAX;
        self
    }
}

#[cfg(not(target_arch = "x86_64"))]
#[derive(Clone, Copy)]
struct Registers;

#[cfg(not(target_arch = "x86_64"))]
impl Registers {
    fn of(_tid: i32) -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn set(self, _tid: i32) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn instruction(&self) -> u64 {
        0
    }

    fn stack(&self) -> u64 {
        0
    }

    fn calling(self, _function: u64, _arguments: [u64; 2], _stack: u64) -> Self {
        self
    }
}
