//! What the child does: it forks, and its children end in every way there is.
//!
//! Only one thread of the child works, and what it forks calls nothing but the system before its
//! end: no other thread's locks can be in its way.

#![expect(clippy::disallowed_methods, reason = "how long a process lives is what is measured")]

use std::time::Duration;

use crate::common::obey;

/// Not a test of its own: what the child does.
#[test]
fn obeys() {
    obey(|words| {
        let number = |at: usize| words[at].parse::<i32>().unwrap();
        match words[0] {
            "nothing" => {}
            // Codes from the first to the last.
            "exits" => (number(1)..=number(2)).for_each(|code| wait(fork(|| exit(code)))),
            // All at once.
            "brief" => {
                let living = Duration::from_millis(words[2].parse().unwrap());
                let children: Vec<i32> = (0..number(1))
                    .map(|_| {
                        fork(|| {
                            std::thread::sleep(living);
                            exit(0)
                        })
                    })
                    .collect();
                children.into_iter().for_each(wait);
            }
            "fault" => wait(fork(|| {
                // SAFETY: it is meant to end here.
                unsafe {
                    without_core();
                    std::ptr::null_mut::<u8>().write_volatile(1);
                }
            })),
            "abort" => wait(fork(|| {
                without_core();
                // SAFETY: it takes nothing.
                unsafe { libc::abort() }
            })),
            "run" => wait(fork(|| {
                let arguments = [c"/bin/sh".as_ptr(), c"-c".as_ptr(), c"exit 5".as_ptr()];
                let arguments = [arguments[0], arguments[1], arguments[2], std::ptr::null()];
                // SAFETY: strings that end with 0, and an array that ends with null.
                unsafe { libc::execv(arguments[0], arguments.as_ptr()) };
            })),
            // A supervisor: every time that its child has ended, after a while, it is run anew.
            "supervise" => {
                let pause = Duration::from_millis(words[2].parse().unwrap());
                for round in 0..number(1) {
                    if round > 0 {
                        std::thread::sleep(pause);
                    }
                    wait(fork(|| {
                        // SAFETY: strings that end with 0, and an array that ends with null.
                        unsafe {
                            let arguments = [c"/bin/sh".as_ptr(), c"-c".as_ptr()];
                            let what = if words[3] == "fails" { c"exit 3" } else { c"exit 0" };
                            let all = [arguments[0], arguments[1], what.as_ptr(), std::ptr::null()];
                            libc::execv(all[0], all.as_ptr());
                        }
                    }));
                }
            }
            "kill" => {
                // SAFETY: it takes two numbers.
                assert_eq!(unsafe { libc::kill(number(1), number(2)) }, 0);
            }
            "pause" => {
                let child = fork(|| {
                    loop {
                        // SAFETY: it takes nothing.
                        unsafe { libc::pause() };
                    }
                });
                println!("\nforked {child}");
            }
            "handle" => {
                // SAFETY: the handler does nothing.
                unsafe { libc::signal(number(1), nothing as *const () as usize) };
            }
            "wait" => wait(number(1)),
            "threads" => wait(fork(|| threads(words[1]))),
            "fill" => wait(fork(|| fill(usize::try_from(number(1)).unwrap() << 20))),
            other => panic!("{other}?"),
        }
    });
}

extern "C" fn nothing(_signal: libc::c_int) {}

fn exit(code: i32) {
    // SAFETY: it takes a number.
    unsafe { libc::_exit(code) }
}

/// A child that does this, and exits with 99 if it comes to an end of it.
fn fork(child: impl FnOnce()) -> i32 {
    // SAFETY: see the module.
    match unsafe { libc::fork() } {
        0 => {
            child();
            exit(99);
            unreachable!("it has exited");
        }
        pid => {
            assert!(pid > 0, "{}", std::io::Error::last_os_error());
            pid
        }
    }
}

/// Says how the child has ended, as the kernel told us.
fn wait(pid: i32) {
    let mut status = 0;
    // SAFETY: it writes a number.
    assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
    println!("\nended {pid} {status}");
}

/// A fault as the kernel sends it: no handler, and no file of it.
fn without_core() {
    let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: it reads a plain struct; the default actions are put in place.
    unsafe {
        libc::setrlimit(libc::RLIMIT_CORE, &raw const none);
        libc::signal(libc::SIGSEGV, libc::SIG_DFL);
    }
}

extern "C" fn later(how: *mut libc::c_void) -> *mut libc::c_void {
    std::thread::sleep(Duration::from_millis(20));
    if !how.is_null() {
        exit(7);
    }
    // SAFETY: this thread alone ends, with a code of its own.
    unsafe { libc::syscall(libc::SYS_exit, 9) };
    how
}

/// The first thread goes before the last: by itself, with 5.
fn threads(how: &str) {
    let how = if how == "all" { std::ptr::dangling_mut() } else { std::ptr::null_mut() };
    // SAFETY: the thread gets a number, and this one ends alone.
    unsafe {
        let mut thread = 0;
        let made = libc::pthread_create(&raw mut thread, std::ptr::null(), later, how);
        assert_eq!(made, 0);
        libc::syscall(libc::SYS_exit, 5);
    }
}

/// Uses this much memory, if it is let.
fn fill(bytes: usize) {
    // SAFETY: a mapping of our own is written to within its bounds.
    unsafe {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        let prot = libc::PROT_READ | libc::PROT_WRITE;
        let at = libc::mmap(std::ptr::null_mut(), bytes, prot, flags, -1, 0);
        if at != libc::MAP_FAILED {
            (0..bytes).step_by(4096).for_each(|n| at.cast::<u8>().add(n).write_volatile(1));
        }
    }
}
