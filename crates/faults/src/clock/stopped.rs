//! A process all of whose threads stand still, so that its code can be changed under them.
//!
//! They are stopped by `ptrace(2)` without a signal, and go on when the work is done; should this
//! process die, at whatever moment, the kernel lets them go on: nothing is ever done to a thread's
//! registers that would have to be undone first. A system call that a thread waits in is begun
//! again, except those (epoll_wait is one) that any stop ends with EINTR.

use std::collections::BTreeSet;
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
/// Threads that are started while the others are stopped are found by looking again.
const LOOKS_MAX: u32 = 64;
/// Signals that are handed on to one thread before it stands still.
const SIGNALS_MAX: u32 = 10_000;
/// How much of each thread's stack is searched for addresses.
const STACK_BYTES_MAX: u64 = 256 * 1024;

/// A process all of whose threads stand still.
pub(crate) struct Stopped {
    threads: BTreeSet<i32>,
    memory: File,
    /// The kernel ties the tracing to the thread that began it.
    _here: PhantomData<*const ()>,
}

enum Waited {
    /// Because it was asked to, or with its whole process.
    Still,
    /// About to get this signal.
    Signal(i32),
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
        let mut stopped = Self { threads: BTreeSet::new(), memory, _here: PhantomData };
        for _ in 0..LOOKS_MAX {
            let new: Vec<i32> = fs::read_dir(format!("/proc/{pid}/task"))?
                .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
                .filter(|tid| !stopped.threads.contains(tid) && !thread_has_ended(pid, *tid))
                .collect();
            if new.is_empty() {
                return Ok(stopped);
            }
            let mut seized = Vec::new();
            for tid in new {
                match ptrace(libc::PTRACE_SEIZE, tid, 0, 0) {
                    Ok(()) => {
                        // From here on it is let go in any case.
                        stopped.threads.insert(tid);
                        ptrace(libc::PTRACE_INTERRUPT, tid, 0, 0)?;
                        seized.push(tid);
                    }
                    Err(_) if thread_has_ended(pid, tid) => {}
                    Err(error) => return Err(error),
                }
            }
            for tid in seized {
                stopped.wait_for(tid)?;
            }
        }
        Err(io::Error::other("it starts threads faster than they can be stopped"))
    }

    /// Until it stands still. A signal that it stops for first is handed on at once: were it kept
    /// until the thread goes on, it would be lost if this process died meanwhile.
    fn wait_for(&mut self, tid: i32) -> io::Result<()> {
        for _ in 0..SIGNALS_MAX {
            match wait(tid, STOPS_WITHIN_NS)? {
                Waited::Still => return Ok(()),
                Waited::Ended => {
                    self.threads.remove(&tid);
                    return Ok(());
                }
                Waited::Signal(signal) => {
                    // Any stop answers an earlier request for one.
                    ptrace(libc::PTRACE_INTERRUPT, tid, 0, 0)?;
                    ptrace(libc::PTRACE_CONT, tid, 0, signal)?;
                }
            }
        }
        Err(io::Error::other(format!(
            "its thread {tid} gets signals faster than it can be stopped"
        )))
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
        for tid in &self.threads {
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
}

impl Drop for Stopped {
    fn drop(&mut self) {
        for tid in &self.threads {
            // Where not all have been waited for, one may be about to get a signal.
            let signal = match wait(*tid, 0) {
                Ok(Waited::Signal(signal)) => signal,
                _ => 0,
            };
            let _ = ptrace(libc::PTRACE_DETACH, *tid, 0, signal);
        }
    }
}

fn ptrace(request: u32, tid: i32, address: usize, data: i32) -> io::Result<()> {
    let (address, data) = (address as *mut c_void, data as usize as *mut c_void);
    // SAFETY: these requests neither read nor write memory of this process.
    match unsafe { libc::ptrace(request, tid, address, data) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
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
                // A stop that was asked for, or one of the whole group, is an event.
                let is_event = status >> 16 != 0;
                let signal = libc::WSTOPSIG(status);
                return Ok(if is_event { Waited::Still } else { Waited::Signal(signal) });
            }
            _ => return Ok(Waited::Ended),
        }
    }
    Err(io::Error::new(
        io::ErrorKind::TimedOut,
        format!("its thread {tid} does not stop: it waits for a device"),
    ))
}

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

    fn instruction(&self) -> u64 {
        self.0.rip
    }

    fn stack(&self) -> u64 {
        self.0.rsp
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

    fn instruction(&self) -> u64 {
        0
    }

    fn stack(&self) -> u64 {
        0
    }
}
