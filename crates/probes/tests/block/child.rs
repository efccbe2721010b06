//! What the child asks of a disk, and what its own clock says.

use std::fs::File;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use crate::common::{Child, obey};

/// Not a test of its own: what the child does.
#[test]
fn obeys() {
    obey(|words| {
        let number = |at: usize| words[at].parse::<usize>().unwrap();
        match words[0] {
            "nothing" => {}
            "write" => write(words[1], number(2), number(3)),
            "read" => read(words[1], number(2), number(3)),
            "together" => together(words[1], number(2)),
            "buffered" => buffered(words[1], number(2)),
            "sync" => sync(words[1], words[2], number(3)),
            "fork" => fork(words[1], number(2)),
            other => panic!("{other}?"),
        }
    });
}

/// Memory at an address that a disk takes.
struct Aligned(Vec<u8>);

impl Aligned {
    fn new(bytes: usize) -> Self {
        Self(vec![7; bytes + 4096])
    }

    fn of(&mut self, bytes: usize) -> &mut [u8] {
        let at = self.0.as_ptr().align_offset(4096);
        &mut self.0[at..at + bytes]
    }
}

fn past_the_cache(file: &str) -> File {
    File::options().read(true).write(true).custom_flags(libc::O_DIRECT).open(file).unwrap()
}

fn say(began: Instant) {
    println!("\ntook {}", began.elapsed().as_nanos());
}

/// One after the other, each a request of its own.
#[expect(clippy::disallowed_methods, reason = "the child's own clock is the truth")]
fn write(file: &str, times: usize, bytes: usize) {
    use std::os::unix::fs::FileExt as _;
    let (file, mut memory) = (past_the_cache(file), Aligned::new(bytes));
    let began = Instant::now();
    for at in 0..times {
        file.write_all_at(memory.of(bytes), (at * bytes) as u64).unwrap();
    }
    say(began);
}

#[expect(clippy::disallowed_methods, reason = "the child's own clock is the truth")]
fn read(file: &str, times: usize, bytes: usize) {
    use std::os::unix::fs::FileExt as _;
    let (file, mut memory) = (past_the_cache(file), Aligned::new(bytes));
    let began = Instant::now();
    for at in 0..times {
        file.read_exact_at(memory.of(bytes), (at * bytes) as u64).unwrap();
    }
    say(began);
}

/// A block of each thread, all at once.
fn together(file: &str, threads: usize) {
    use std::os::unix::fs::FileExt as _;
    let (file, barrier) = (past_the_cache(file), Barrier::new(threads));
    std::thread::scope(|scope| {
        for at in 0..threads {
            let (file, barrier) = (&file, &barrier);
            scope.spawn(move || {
                let mut memory = Aligned::new(4096);
                barrier.wait();
                // Far apart, so that no two of them are joined.
                file.write_all_at(memory.of(4096), (at * (1 << 20)) as u64).unwrap();
            });
        }
    });
}

/// Into the cache alone: who writes it out is the kernel.
fn buffered(file: &str, bytes: usize) {
    use std::os::unix::fs::FileExt as _;
    let file = File::options().create(true).truncate(false).write(true).open(file).unwrap();
    file.write_all_at(&vec![1; bytes], 0).unwrap();
}

#[expect(clippy::disallowed_methods, reason = "the child's own clock is the truth")]
fn sync(call: &str, file: &str, times: usize) {
    use std::os::unix::fs::FileExt as _;
    let file = File::options().create(true).truncate(false).write(true).open(file).unwrap();
    let mut took = Duration::ZERO;
    for time in 0..times {
        file.write_all_at(&[1; 512], (time * 512) as u64).unwrap();
        let began = Instant::now();
        match call {
            "fsync" => file.sync_all().unwrap(),
            "fdatasync" => file.sync_data().unwrap(),
            other => panic!("{other}?"),
        }
        took += began.elapsed();
    }
    println!("\ntook {}", took.as_nanos());
}

/// Children that write one block each and are gone.
fn fork(file: &str, times: usize) {
    let (file, mut memory) = (past_the_cache(file), Aligned::new(4096));
    let block = memory.of(4096).as_ptr();
    for _ in 0..times {
        // SAFETY: only this thread is there that does anything; the child makes two calls, with a
        // descriptor and memory that it has from its parent.
        unsafe {
            match libc::fork() {
                0 => {
                    let written = libc::pwrite(file.as_raw_fd(), block.cast(), 4096, 0);
                    libc::_exit(i32::from(written != 4096));
                }
                pid => {
                    let mut status = 0;
                    assert_eq!(libc::waitpid(pid, &raw mut status, 0), pid);
                    assert_eq!(status, 0);
                }
            }
        }
    }
}

impl Child {
    /// How long it was at it by its own clock, nanoseconds.
    pub(crate) fn took(&mut self, what: &str) -> u64 {
        let said = self.ask(what);
        said.iter().find_map(|line| line.strip_prefix("took ")).unwrap().parse().unwrap()
    }
}
