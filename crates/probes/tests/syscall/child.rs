//! What the child asks of the kernel, by the very calls that are named, and how long it took by its
//! own clock.

#![expect(clippy::disallowed_methods, reason = "a writer that keeps its reader waiting sleeps")]

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::time::Duration;

use temblor_event::clock::now_ns;

use crate::common::{Child, obey};

/// Not a test of its own: what the child does.
#[test]
fn obeys() {
    obey(|words| {
        let number = |at: usize| words[at].parse::<u64>().unwrap();
        match words[0] {
            "nothing" => {}
            // Each as often as is said.
            "open" => repeat(number(1), libc::ENOENT, || {
                let nowhere = c"/nowhere/at/all".as_ptr();
                // SAFETY: it reads a string that ends with 0.
                unsafe { libc::syscall(libc::SYS_openat, libc::AT_FDCWD, nowhere, 0) }
            }),
            "close" => repeat(number(1), libc::EBADF, || {
                // SAFETY: no descriptor has this number.
                unsafe { libc::syscall(libc::SYS_close, -1) }
            }),
            "nosys" => repeat(number(1), libc::ENOSYS, || {
                // SAFETY: no kernel has a call of this number yet.
                unsafe { libc::syscall(1_000) }
            }),
            "connect" => connect(number(1)),
            "empty" => empty(number(1)),
            "sleep" => timed(number(1), || sleep(number(2))),
            "pipe" => pipe(number(1), Duration::from_millis(number(2))),
            "clone" => clone(number(1), Duration::from_millis(number(2))),
            "file" => file(number(1), usize::try_from(number(2)).unwrap() << 20),
            "denied" => {
                let times = number(1);
                std::thread::spawn(move || denied(times)).join().unwrap();
            }
            "denied-by" => std::thread::spawn(denied_by_every_error).join().unwrap(),
            "signals" => signals(number(1)),
            "foreign" => foreign(number(1)),
            other => panic!("{other}?"),
        }
    });
}

fn repeat(times: u64, errno: i32, call: impl Fn() -> libc::c_long) {
    for _ in 0..times {
        assert_eq!(call(), -1);
        assert_eq!(std::io::Error::last_os_error().raw_os_error(), Some(errno));
    }
}

/// Says how long it took altogether, by the child's own clock.
fn timed(times: u64, call: impl Fn()) {
    let mut took_ns = 0;
    for _ in 0..times {
        let began_ns = now_ns();
        call();
        took_ns += now_ns() - began_ns;
    }
    println!("\ntook {took_ns}");
}

fn sleep(ms: u64) {
    let time = libc::timespec { tv_sec: 0, tv_nsec: i64::try_from(ms * 1_000_000).unwrap() };
    let rest = std::ptr::null_mut::<libc::timespec>();
    // SAFETY: it reads a plain struct.
    assert_eq!(unsafe { libc::syscall(libc::SYS_nanosleep, &raw const time, rest) }, 0);
}

fn pair() -> [File; 2] {
    let (reader, writer) = rustix::pipe::pipe().unwrap();
    [reader.into(), writer.into()]
}

/// Attempts to reach a port that is somebody's who does not listen.
fn connect(times: u64) {
    use std::net::Ipv4Addr;

    use rustix::net::{AddressFamily, SocketAddrV4, SocketType, bind, getsockname, socket};
    let socket = || socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    let deaf = socket();
    bind(&deaf, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = SocketAddrV4::try_from(getsockname(&deaf).unwrap()).unwrap();
    for _ in 0..times {
        assert_eq!(rustix::net::connect(socket(), &port), Err(rustix::io::Errno::CONNREFUSED));
    }
}

/// Reads that come back at once with nothing.
fn empty(times: u64) {
    let [reader, _writer] = pair();
    rustix::io::ioctl_fionbio(&reader, true).unwrap();
    repeat(times, libc::EAGAIN, || {
        let mut byte = 0_u8;
        // SAFETY: it writes at most one byte.
        unsafe { libc::syscall(libc::SYS_read, reader.as_raw_fd(), &raw mut byte, 1) }
    });
}

/// Reads that wait for somebody to write.
fn pipe(times: u64, wait: Duration) {
    let [mut reader, mut writer] = pair();
    let [mut asks, mut asked] = pair();
    let other = std::thread::spawn(move || {
        let mut byte = [0];
        while asks.read(&mut byte).unwrap() > 0 {
            std::thread::sleep(wait);
            writer.write_all(&byte).unwrap();
        }
    });
    let mut took_ns = 0;
    for _ in 0..times {
        asked.write_all(&[1]).unwrap();
        let began_ns = now_ns();
        reader.read_exact(&mut [0]).unwrap();
        took_ns += now_ns() - began_ns;
    }
    drop(asked);
    other.join().unwrap();
    println!("\ntook {took_ns}");
}

/// A call that takes as long as the child that it makes lives, and is not there to wait.
fn clone(times: u64, living: Duration) {
    extern "C" fn live(living: *mut libc::c_void) -> i32 {
        // SAFETY: the parent waits, and with it what this points to.
        std::thread::sleep(unsafe { *living.cast::<Duration>() });
        0
    }
    let mut stack = vec![0_u8; 1 << 16];
    let mut living = living;
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
    let mut took_ns = 0;
    for _ in 0..times {
        // SAFETY: the stack is the child's own, and this thread waits until the child has ended.
        unsafe {
            let top = stack.as_mut_ptr().add(stack.len()).cast();
            let began_ns = now_ns();
            let pid = libc::clone(live, top, flags, (&raw mut living).cast());
            took_ns += now_ns() - began_ns;
            assert_eq!(libc::waitpid(pid, std::ptr::null_mut(), 0), pid);
        }
    }
    println!("\ntook {took_ns}");
}

/// Long reads of what is a file: they do not wait for anybody.
fn file(times: u64, bytes: usize) {
    let file = rustix::fs::memfd_create(c"long", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
    rustix::fs::ftruncate(&file, bytes as u64).unwrap();
    let mut to = vec![1_u8; bytes];
    let mut took_ns = 0;
    for _ in 0..times {
        let began_ns = now_ns();
        // SAFETY: it writes at most as much as there is room for.
        let read = unsafe { libc::read(file.as_raw_fd(), to.as_mut_ptr().cast(), to.len()) };
        took_ns += now_ns() - began_ns;
        assert_eq!(usize::try_from(read).unwrap(), bytes);
        rustix::fs::seek(&file, rustix::fs::SeekFrom::Start(0)).unwrap();
    }
    println!("\ntook {took_ns}");
}

/// A filter that has `getppid` and `getpgid` fail with whatever error their argument says, on this
/// thread.
fn deny() {
    let (load, and) = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, libc::BPF_ALU | libc::BPF_AND);
    let (equal, or) = (libc::BPF_JMP | libc::BPF_JEQ, libc::BPF_ALU | libc::BPF_OR);
    let number = |call: libc::c_long| u32::try_from(call).unwrap();
    let line =
        |code: u32, jt, jf, k| libc::sock_filter { code: code.try_into().unwrap(), jt, jf, k };
    // The low half of the first argument.
    let argument = if cfg!(target_endian = "little") { 16 } else { 20 };
    let mut filter = [
        line(load, 0, 0, 0),
        line(equal, 2, 0, number(libc::SYS_getppid)),
        line(equal, 1, 0, number(libc::SYS_getpgid)),
        line(libc::BPF_RET, 0, 0, libc::SECCOMP_RET_ALLOW),
        line(load, 0, 0, argument),
        line(and, 0, 0, libc::SECCOMP_RET_DATA),
        line(or, 0, 0, libc::SECCOMP_RET_ERRNO),
        line(libc::BPF_RET | libc::BPF_A, 0, 0, 0),
    ];
    let program =
        libc::sock_fprog { len: filter.len().try_into().unwrap(), filter: filter.as_mut_ptr() };
    // SAFETY: the filter lives for the call, and says itself how long it is.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        let mode = libc::SECCOMP_MODE_FILTER;
        assert_eq!(libc::prctl(libc::PR_SET_SECCOMP, mode, &raw const program), 0);
    }
}

fn denied(times: u64) {
    deny();
    // SAFETY: it takes no argument that the kernel would look at.
    repeat(times, libc::EPERM, || unsafe { libc::syscall(libc::SYS_getppid, libc::EPERM) });
}

/// Every error that there can be, of two calls.
fn denied_by_every_error() {
    deny();
    for errno in 1..4096 {
        for call in [libc::SYS_getppid, libc::SYS_getpgid] {
            // SAFETY: the filter answers it.
            repeat(1, errno, || unsafe { libc::syscall(call, errno) });
        }
    }
}

/// A program that returns from a handler has the result of what was interrupted: an error, here.
fn signals(times: u64) {
    extern "C" fn nothing(_signal: libc::c_int) {}
    // SAFETY: the handler does nothing; the signal is this thread's own.
    unsafe {
        libc::signal(libc::SIGUSR1, nothing as *const () as usize);
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        let mut blocked = none;
        libc::sigaddset(&raw mut blocked, libc::SIGUSR1);
        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const blocked, std::ptr::null_mut());
        for _ in 0..times {
            libc::pthread_kill(libc::pthread_self(), libc::SIGUSR1);
            assert_eq!(libc::sigsuspend(&raw const none), -1);
        }
    }
}

/// Calls as programs of 32 bits make them: number 20 is `getpid` there, and `writev` elsewhere.
#[cfg(target_arch = "x86_64")]
fn foreign(times: u64) {
    // SAFETY: only this thread is there that does anything; the child makes a call that takes
    // nothing, and ends.
    unsafe {
        match libc::fork() {
            0 => {
                for _ in 0..times {
                    let mut number = 20_u64;
                    std::arch::asm!(
                        "int 0x80",
                        inout("rax") number,
                        out("r8") _, out("r9") _, out("r10") _, out("r11") _,
                    );
                    if number == 0 {
                        libc::_exit(1);
                    }
                }
                libc::_exit(0);
            }
            pid => {
                let mut status = 0;
                assert_eq!(libc::waitpid(pid, &raw mut status, 0), pid);
                println!("\nstatus {status}");
            }
        }
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn foreign(_times: u64) {
    println!("\nstatus 255");
}

impl Child {
    /// The number that it says after this word when it has done what it was asked.
    pub(crate) fn says(&mut self, what: &str, word: &str) -> u64 {
        self.begin(what);
        self.has_said(word)
    }

    /// The same of what it has begun.
    pub(crate) fn has_said(&mut self, word: &str) -> u64 {
        let said = self.end();
        let line = said.iter().find_map(|line| line.strip_prefix(word)).unwrap();
        line.trim().parse().unwrap()
    }
}
