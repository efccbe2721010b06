//! What system calls and their errors are called, and which of both are no trouble.

use syscalls::{Errno, Sysno};

use super::generated::types::syscall_special;

const OF_32_BITS: i32 = syscall_special::SYSCALL_OF_32_BITS.0;

/// Calls that are there to wait: that they take their time says nothing. Whether a `read` is one
/// depends on what it reads from; the kernel half looks.
const WAITING: &[&str] = &[
    "accept",
    "accept4",
    "clock_nanosleep",
    "epoll_pwait",
    "epoll_pwait2",
    "epoll_wait",
    "epoll_wait_old",
    "futex",
    "futex_wait",
    "futex_waitv",
    "io_getevents",
    "io_pgetevents",
    "io_uring_enter",
    "mq_timedreceive",
    "msgrcv",
    "nanosleep",
    "pause",
    "poll",
    "ppoll",
    "pselect6",
    "recvfrom",
    "recvmmsg",
    "recvmsg",
    "restart_syscall",
    "rt_sigsuspend",
    "rt_sigtimedwait",
    "select",
    "semop",
    "semtimedop",
    "wait4",
    "waitid",
];

/// Errors that say "not now", whatever the call.
const LATER: [Errno; 4] = [Errno::EAGAIN, Errno::EINPROGRESS, Errno::EALREADY, Errno::EINTR];
/// What a call that a signal has interrupted ends with inside the kernel: it is begun again, or the
/// program is told EINTR.
const INTERRUPTED: [Errno; 4] = [
    Errno::ERESTARTSYS,
    Errno::ERESTARTNOINTR,
    Errno::ERESTARTNOHAND,
    Errno::ERESTART_RESTARTBLOCK,
];

/// A call, by its number: `openat`.
pub(super) fn call(number: i32) -> String {
    if number == OF_32_BITS {
        return "32-bit call".to_owned();
    }
    let known = usize::try_from(number).ok().and_then(Sysno::new);
    match known {
        Some(call) => call.name().to_owned(),
        // Newer than our table, or nothing at all.
        None if number >= 0 => format!("call {number}"),
        None => "unknown call".to_owned(),
    }
}

/// Whether the call is there to wait.
pub(super) fn waits(call: &str) -> bool {
    WAITING.binary_search(&call).is_ok()
}

/// An error, by its number: `ENOENT`.
pub(super) fn error(number: u32) -> String {
    let error = Errno::new(i32::try_from(number).unwrap_or(i32::MAX));
    if INTERRUPTED.contains(&error) {
        return "interrupted".to_owned();
    }
    error.name().map_or_else(|| format!("errno {number}"), str::to_owned)
}

/// Whether a call that fails so has merely not come to anything yet.
pub(super) fn is_expected(number: u32, call: &str) -> bool {
    let error = Errno::new(i32::try_from(number).unwrap_or(i32::MAX));
    LATER.contains(&error)
        || INTERRUPTED.contains(&error)
        || (error == Errno::ETIMEDOUT && waits(call))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_have_the_names_that_this_machine_has_for_them() {
        for (number, name) in [
            (libc::SYS_openat, "openat"),
            (libc::SYS_close, "close"),
            (libc::SYS_clock_nanosleep, "clock_nanosleep"),
            (libc::SYS_rt_sigreturn, "rt_sigreturn"),
            (libc::SYS_io_uring_enter, "io_uring_enter"),
        ] {
            assert_eq!(call(i32::try_from(number).unwrap()), name);
        }
        assert_eq!(call(-1), "32-bit call");
        assert_eq!(call(-2), "unknown call");
        assert_eq!(call(1023), "call 1023");
    }

    #[test]
    fn the_list_of_those_that_wait_can_be_searched_and_means_calls() {
        assert!(WAITING.is_sorted());
        let known: Vec<String> = (0..1024).map(call).collect();
        // A few of them are of one architecture only.
        let named = WAITING.iter().filter(|call| known.iter().any(|known| known == *call)).count();
        assert!(named >= WAITING.len() - 8, "{named} of {}", WAITING.len());
        assert!(waits("futex") && !waits("openat") && !waits("read"));
    }

    #[test]
    fn errors_are_told_from_what_is_to_be_tried_again() {
        for (number, of, name, expected) in [
            (2, "openat", "ENOENT", false),
            (9, "close", "EBADF", false),
            (11, "recvfrom", "EAGAIN", true),
            (115, "connect", "EINPROGRESS", true),
            (4, "epoll_wait", "EINTR", true),
            (110, "futex", "ETIMEDOUT", true),
            (110, "connect", "ETIMEDOUT", false),
            (512, "read", "interrupted", true),
            (513, "fork", "interrupted", true),
            (514, "poll", "interrupted", true),
            (516, "nanosleep", "interrupted", true),
            (4000, "ioctl", "errno 4000", false),
        ] {
            assert_eq!((error(number).as_str(), is_expected(number, of)), (name, expected));
        }
    }
}
