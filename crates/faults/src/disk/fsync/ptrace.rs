//! The kernel's ptrace, one function a request. All of it is for the thread that traces.

use std::io;
use std::mem::{MaybeUninit, size_of};
use std::ptr::null_mut;

use libc::c_int;

/// What is reported of a thread that is traced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Report {
    /// It has ended.
    Ended,
    /// It is about to enter a system call, or has just left one.
    Syscall,
    /// It, or its whole process, was stopped by a signal that stops (SIGSTOP and the like).
    GroupStop,
    /// It stopped since it was asked to, or begins its life.
    Asked,
    /// It has become another program; the other threads of its process are gone.
    Exec,
    /// It stopped for something that only needs to go on.
    Event,
    /// A signal is about to be delivered.
    Signal(c_int),
}

/// What a thread does at a system call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    /// Enters this one.
    Entry(i64),
    /// Leaves one, or one of another architecture's numbering.
    Other,
}

const EVENT_STOP: c_int = 128;
const OPTIONS: c_int = libc::PTRACE_O_TRACESYSGOOD
    | libc::PTRACE_O_TRACECLONE
    | libc::PTRACE_O_TRACEFORK
    | libc::PTRACE_O_TRACEVFORK
    | libc::PTRACE_O_TRACEEXEC;

#[cfg(target_arch = "x86_64")]
const NATIVE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const NATIVE: u32 = 0xc000_00b7;
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const NATIVE: u32 = 0;

/// Whether system calls can be told apart and made to fail on this architecture.
pub(super) const SUPPORTED: bool = NATIVE != 0;

fn request(
    request: libc::c_uint,
    tid: i32,
    address: usize,
    data: *mut libc::c_void,
) -> io::Result<i64> {
    // SAFETY: each caller passes what its request reads or writes through `data`, alive for the
    // call; the requests used here have no other effect on this process's memory.
    match unsafe { libc::ptrace(request, tid, address, data) } {
        -1 => Err(io::Error::last_os_error()),
        given => Ok(given),
    }
}

/// Begins to trace a thread, without stopping it. No option kills it with its tracer.
pub(super) fn seize(tid: i32) -> io::Result<()> {
    request(libc::PTRACE_SEIZE, tid, 0, OPTIONS as usize as *mut _).map(drop)
}

/// Asks a thread to stop.
pub(super) fn interrupt(tid: i32) -> io::Result<()> {
    request(libc::PTRACE_INTERRUPT, tid, 0, null_mut()).map(drop)
}

/// Lets a stopped thread go on to its next system call, with a signal or 0.
pub(super) fn resume(tid: i32, signal: c_int) -> io::Result<()> {
    request(libc::PTRACE_SYSCALL, tid, 0, signal as usize as *mut _).map(drop)
}

/// Leaves a thread stopped until it gets SIGCONT, and hears of that.
pub(super) fn listen(tid: i32) -> io::Result<()> {
    request(libc::PTRACE_LISTEN, tid, 0, null_mut()).map(drop)
}

/// Which thread made the exec that is reported: it has taken over its process's id.
pub(super) fn exec_by(tid: i32) -> io::Result<i32> {
    let mut former: libc::c_ulong = 0;
    request(libc::PTRACE_GETEVENTMSG, tid, 0, (&raw mut former).cast())?;
    Ok(i32::try_from(former).unwrap_or_default())
}

/// Which call a thread is at.
pub(super) fn call(tid: i32) -> io::Result<Call> {
    let mut info = MaybeUninit::<libc::ptrace_syscall_info>::zeroed();
    let size = size_of::<libc::ptrace_syscall_info>();
    request(libc::PTRACE_GET_SYSCALL_INFO, tid, size, info.as_mut_ptr().cast())?;
    // SAFETY: all its fields are plain integers, zeroed above and filled in by the kernel.
    let info = unsafe { info.assume_init() };
    if info.op != libc::PTRACE_SYSCALL_INFO_ENTRY || info.arch != NATIVE {
        return Ok(Call::Other);
    }
    // SAFETY: at an entry the kernel fills in this member.
    let number = unsafe { info.u.entry.nr };
    Ok(Call::Entry(number.cast_signed()))
}

/// Makes a thread that is about to enter a call skip it and see an error. The answer is in place
/// with the skip: whatever becomes of us afterwards, the call is over for the thread.
#[cfg(target_arch = "x86_64")]
pub(super) fn fail(tid: i32, errno: c_int) -> io::Result<()> {
    let mut registers = MaybeUninit::<libc::user_regs_struct>::zeroed();
    request(libc::PTRACE_GETREGS, tid, 0, registers.as_mut_ptr().cast())?;
    // SAFETY: plain integers, filled in by the kernel.
    let mut registers = unsafe { registers.assume_init() };
    // No call has the number -1; the kernel then leaves the register of the result as it is.
    registers.orig_rax = u64::MAX;
    registers.rax = i64::from(-errno).cast_unsigned();
    request(libc::PTRACE_SETREGS, tid, 0, (&raw mut registers).cast()).map(drop)
}

/// Makes a thread that is about to enter a call skip it and see an error. Two steps are needed:
/// were this process killed in between, the call would fail with EBADF.
#[cfg(target_arch = "aarch64")]
pub(super) fn fail(tid: i32, errno: c_int) -> io::Result<()> {
    const NT_PRSTATUS: usize = 1;
    const NT_ARM_SYSTEM_CALL: usize = 0x404;
    let mut registers = MaybeUninit::<libc::user_regs_struct>::zeroed();
    let mut all = libc::iovec {
        iov_base: registers.as_mut_ptr().cast(),
        iov_len: size_of::<libc::user_regs_struct>(),
    };
    request(libc::PTRACE_GETREGSET, tid, NT_PRSTATUS, (&raw mut all).cast())?;
    // SAFETY: plain integers, filled in by the kernel.
    let mut registers = unsafe { registers.assume_init() };
    registers.regs[0] = i64::from(-errno).cast_unsigned();
    let mut all = libc::iovec {
        iov_base: (&raw mut registers).cast(),
        iov_len: size_of::<libc::user_regs_struct>(),
    };
    request(libc::PTRACE_SETREGSET, tid, NT_PRSTATUS, (&raw mut all).cast())?;
    let mut none: c_int = -1;
    let mut number = libc::iovec { iov_base: (&raw mut none).cast(), iov_len: size_of::<c_int>() };
    request(libc::PTRACE_SETREGSET, tid, NT_ARM_SYSTEM_CALL, (&raw mut number).cast()).map(drop)
}

/// Not on this architecture.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
pub(super) fn fail(_tid: i32, _errno: c_int) -> io::Result<()> {
    Err(io::Error::from_raw_os_error(libc::ENOSYS))
}

/// Waits for the next report of a thread that the calling thread traces; other threads' children
/// are left to them.
///
/// # Errors
/// `EINTR`: a signal came. `ECHILD`: nothing is traced (any more).
pub(super) fn wait() -> io::Result<(i32, Report)> {
    let mut status = 0;
    // SAFETY: the kernel writes one integer.
    let tid = unsafe { libc::waitpid(-1, &raw mut status, libc::__WALL | libc::__WNOTHREAD) };
    if tid < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok((tid, report(status)))
}

fn report(status: c_int) -> Report {
    if !libc::WIFSTOPPED(status) {
        return Report::Ended;
    }
    let (signal, event) = (libc::WSTOPSIG(status), status >> 16);
    match event {
        0 if signal == libc::SIGTRAP | 0x80 => Report::Syscall,
        0 => Report::Signal(signal),
        libc::PTRACE_EVENT_EXEC => Report::Exec,
        EVENT_STOP if signal == libc::SIGTRAP => Report::Asked,
        EVENT_STOP => Report::GroupStop,
        _ => Report::Event,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_says_what_a_thread_stopped_for() {
        let stopped = |signal: c_int, event: c_int| report((event << 16) | (signal << 8) | 0x7f);
        assert_eq!(stopped(libc::SIGTRAP | 0x80, 0), Report::Syscall);
        assert_eq!(stopped(libc::SIGTRAP, 0), Report::Signal(libc::SIGTRAP));
        assert_eq!(stopped(libc::SIGHUP, 0), Report::Signal(libc::SIGHUP));
        assert_eq!(stopped(libc::SIGTRAP, 128), Report::Asked);
        assert_eq!(stopped(libc::SIGSTOP, 128), Report::GroupStop);
        assert_eq!(stopped(libc::SIGTTIN, 128), Report::GroupStop);
        assert_eq!(stopped(libc::SIGTRAP, libc::PTRACE_EVENT_EXEC), Report::Exec);
        assert_eq!(stopped(libc::SIGTRAP, 1), Report::Event);
        assert_eq!([report(0), report(9), report(0x100)], [Report::Ended; 3]);
    }
}
