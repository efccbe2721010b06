//! What the child does with memory, and what the kernel says that it did.

#![expect(clippy::disallowed_methods, reason = "how long a process lives is what is measured")]

use std::fs::File;
use std::io::Read as _;
use std::os::fd::AsRawFd as _;
use std::time::Duration;

use crate::common::{Child, obey};

/// What the kernel says of a process, and of its children that have ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Account {
    pub(crate) minor: u64,
    pub(crate) major: u64,
    pub(crate) childrens_minor: u64,
}

/// Not a test of its own: what the child does.
#[test]
fn obeys() {
    obey(|words| {
        let number = |at: usize| words[at].parse::<usize>().unwrap();
        match words[0] {
            "nothing" => {}
            // As many pages, and gives them back.
            "touch" => unmap(touch(number(1), libc::MAP_PRIVATE), number(1)),
            // As many pages of its own, and as many that could be shared.
            "hold" => {
                touch(number(1), libc::MAP_PRIVATE);
                touch(number(2), libc::MAP_SHARED);
            }
            "major" => major(words[1]),
            "read" => read(words[1]),
            // Children, one after the other; each touches pages and lives for a while.
            "brief" => (0..number(1)).for_each(|_| {
                brief(number(2), Duration::from_millis(number(3) as u64));
            }),
            // A child that has its parent's memory, as before it runs a program, for a while.
            "share" => share(Duration::from_millis(number(1) as u64)),
            // A child that is killed by its parent.
            "killed" => killed(),
            "account" => account(),
            other => panic!("{other}?"),
        }
    });
}

fn page() -> usize {
    rustix::param::page_size()
}

/// A mapping of as many pages, each of which is written to once and costs a fault.
fn touch(pages: usize, flags: i32) -> *mut u8 {
    let bytes = pages * page();
    // SAFETY: a mapping of our own is written to within its bounds.
    unsafe {
        let flags = flags | libc::MAP_ANONYMOUS;
        let prot = libc::PROT_READ | libc::PROT_WRITE;
        let at = libc::mmap(std::ptr::null_mut(), bytes, prot, flags, -1, 0);
        assert_ne!(at, libc::MAP_FAILED);
        // Huge pages would make one fault of many. Some kernels have none to refuse.
        libc::madvise(at, bytes, libc::MADV_NOHUGEPAGE);
        let at = at.cast::<u8>();
        (0..pages).for_each(|n| at.add(n * page()).write_volatile(1));
        at
    }
}

fn unmap(at: *mut u8, pages: usize) {
    // SAFETY: the mapping is our own, and nothing points into it any more.
    assert_eq!(unsafe { libc::munmap(at.cast(), pages * page()) }, 0);
}

/// Touches every sixteenth page of a file that is nowhere in memory.
fn major(path: &str) {
    let file = File::open(path).unwrap();
    let bytes = usize::try_from(file.metadata().unwrap().len()).unwrap();
    // SAFETY: a mapping of our own is read within its bounds, and removed.
    unsafe {
        let dropped = libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED);
        assert_eq!(dropped, 0);
        let at = libc::mmap(
            std::ptr::null_mut(),
            bytes,
            libc::PROT_READ,
            libc::MAP_PRIVATE,
            file.as_raw_fd(),
            0,
        );
        assert_ne!(at, libc::MAP_FAILED);
        assert_eq!(libc::madvise(at, bytes, libc::MADV_RANDOM), 0);
        for n in (0..bytes).step_by(16 * page()) {
            at.cast::<u8>().add(n).read_volatile();
        }
        assert_eq!(libc::munmap(at, bytes), 0);
    }
}

fn read(path: &str) {
    let mut file = File::open(path).unwrap();
    let mut buffer = vec![0; 1 << 16];
    while file.read(&mut buffer).unwrap() > 0 {}
}

fn brief(pages: usize, living: Duration) {
    // SAFETY: only this thread is there that does anything, and the child calls nothing but the
    // system before it exits.
    unsafe {
        match libc::fork() {
            0 => {
                touch(pages, libc::MAP_PRIVATE);
                std::thread::sleep(living);
                libc::_exit(0);
            }
            pid => assert_eq!(libc::waitpid(pid, std::ptr::null_mut(), 0), pid),
        }
    }
}

fn share(mut living: Duration) {
    extern "C" fn sleep(living: *mut libc::c_void) -> i32 {
        // SAFETY: the parent waits, and with it what this points to.
        std::thread::sleep(unsafe { *living.cast::<Duration>() });
        0
    }
    let mut stack = vec![0_u8; 1 << 16];
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
    // SAFETY: the stack is the child's own, and this thread waits until the child has ended.
    unsafe {
        let top = stack.as_mut_ptr().add(stack.len()).cast();
        let pid = libc::clone(sleep, top, flags, (&raw mut living).cast());
        assert_eq!(libc::waitpid(pid, std::ptr::null_mut(), 0), pid);
    }
}

fn killed() {
    // SAFETY: as above.
    unsafe {
        match libc::fork() {
            0 => loop {
                libc::pause();
            },
            pid => {
                assert_eq!(libc::kill(pid, libc::SIGKILL), 0);
                assert_eq!(libc::waitpid(pid, std::ptr::null_mut(), 0), pid);
            }
        }
    }
}

fn account() {
    // SAFETY: it writes a plain struct of integers.
    let usage = |who| unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        assert_eq!(libc::getrusage(who, &raw mut usage), 0);
        usage
    };
    let (own, children) = (usage(libc::RUSAGE_SELF), usage(libc::RUSAGE_CHILDREN));
    println!("\naccount {} {} {}", own.ru_minflt, own.ru_majflt, children.ru_minflt);
}

impl Child {
    pub(crate) fn account(&mut self) -> Account {
        let said = self.ask("account");
        let line = said.iter().find_map(|line| line.strip_prefix("account ")).unwrap();
        let figures: Vec<u64> =
            line.split_whitespace().map(|figure| figure.parse().unwrap()).collect();
        Account { minor: figures[0], major: figures[1], childrens_minor: figures[2] }
    }

    /// What it has of files in memory, as its page tables have it. Before Linux 6.2 threads keep
    /// counts of their own for a while, of up to a thousand pages, which `status` leaves out.
    pub(crate) fn resident_file(&self) -> u64 {
        let of_all = |name| self.line("smaps_rollup", name);
        of_all("Rss") - of_all("Anonymous") - self.status("RssShmem")
    }

    /// A line of its `/proc/PID/status`, in bytes.
    pub(crate) fn status(&self, name: &str) -> u64 {
        self.line("status", name)
    }

    fn line(&self, file: &str, name: &str) -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{}/{file}", self.pid())).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        kib * 1024
    }
}
