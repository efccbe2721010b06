//! `temblor trace --top` on a terminal of our own, whose screen is read as somebody would see it.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail where they stand, as tests do")]

mod common;

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use rustix::fs::{Mode, OFlags, open};
use rustix::process::{Pid, Signal, ioctl_tiocsctty, kill_process, setsid};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Termios, Winsize, tcgetattr, tcsetwinsize};

use self::common::{Process, TEMBLOR, ended, eventually, possible};

/// A terminal and a trace that draws on it.
struct Terminal {
    keys: File,
    /// Kept, so that what was written can be read after its end, and its settings looked at.
    own: Option<OwnedFd>,
    before: Termios,
    seen: Arc<Mutex<Seen>>,
    /// Ends when the terminal's last user does and all that was written has been read.
    reader: Option<JoinHandle<()>>,
    /// None: it has been waited for.
    child: Option<Child>,
}

struct Seen {
    screen: vt100::Parser,
    bytes: Vec<u8>,
}

impl Terminal {
    fn start(args: &[&str], columns: u16, rows: u16) -> Self {
        let master =
            openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let own =
            open(&name, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty()).unwrap();
        tcsetwinsize(&master, size(columns, rows)).unwrap();
        let before = tcgetattr(&own).unwrap();
        let end = || Stdio::from(own.try_clone().unwrap());
        let mut command = Command::new(TEMBLOR);
        command.arg("trace").args(args).env("TERM", "xterm-256color");
        command.stdin(end()).stdout(end()).stderr(end());
        let take = || {
            setsid()?;
            ioctl_tiocsctty(rustix::stdio::stdin())?;
            Ok(())
        };
        // SAFETY: two system calls and nothing else.
        unsafe { command.pre_exec(take) };
        let child = command.spawn().unwrap();
        let screen = vt100::Parser::new(rows, columns, 0);
        let seen = Arc::new(Mutex::new(Seen { screen, bytes: Vec::new() }));
        let keys = File::from(master);
        let (mut from, into) = (keys.try_clone().unwrap(), Arc::clone(&seen));
        let reader = std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(read @ 1..) = from.read(&mut buffer) {
                let mut seen = into.lock().unwrap();
                seen.screen.process(&buffer[..read]);
                seen.bytes.extend_from_slice(&buffer[..read]);
            }
        });
        let own = Some(own);
        Self { keys, own, before, seen, reader: Some(reader), child: Some(child) }
    }

    fn resize(&self, columns: u16, rows: u16) {
        self.seen.lock().unwrap().screen.screen_mut().set_size(rows, columns);
        tcsetwinsize(self.keys.as_fd(), size(columns, rows)).unwrap();
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    fn screen(&self) -> String {
        self.seen.lock().unwrap().screen.screen().contents()
    }

    fn shows(&self, parts: &[&str]) {
        let mut last = String::new();
        let all = || {
            last = self.screen();
            parts.iter().all(|part| last.contains(part)).then_some(())
        };
        let what = format!("{parts:?} on the screen");
        eventually(&what, all);
    }

    fn is_raw(&self) -> bool {
        !tcgetattr(self.own.as_ref().unwrap()).unwrap().local_modes.contains(LocalModes::ICANON)
    }

    fn is_full_screen(&self) -> bool {
        self.seen.lock().unwrap().screen.screen().alternate_screen()
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(self.child.as_ref().unwrap()), signal).unwrap();
    }

    /// How it ended and all that was ever written; the terminal is as it was.
    fn end(mut self) -> (Option<i32>, String) {
        let code = ended(self.child.take().unwrap()).code();
        let own = self.own.take().unwrap();
        let (before, after) = (&self.before, tcgetattr(&own).unwrap());
        assert_eq!(after.local_modes, before.local_modes);
        assert_eq!(after.input_modes, before.input_modes);
        assert_eq!(after.output_modes, before.output_modes);
        drop(own);
        self.reader.take().unwrap().join().unwrap();
        let seen = self.seen.lock().unwrap();
        let screen = seen.screen.screen();
        assert!(!screen.alternate_screen() && !screen.hide_cursor());
        (code, String::from_utf8_lossy(&seen.bytes).into_owned())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // A test that failed leaves nobody behind.
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn size(columns: u16, rows: u16) -> Winsize {
    Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }
}

#[test]
fn it_draws_in_any_width_takes_keys_and_gives_the_terminal_back() {
    if !possible() {
        return;
    }
    let (busy, other) = (Process::busy(), Process::busy());
    let (one, two) = (busy.pid(), other.pid());
    let args = ["sched", "process", "--top", "--pid", &one, "--pid", &two];
    let mut terminal = Terminal::start(&args, 80, 24);
    let names = [format!("sh-{one}"), format!("sh-{two}")];
    terminal.shows(&[
        &names[0],
        &names[1],
        "cpu",
        "runq99",
        "run-queue wait",
        "sort: cpu",
        "q quit",
    ]);
    assert!(terminal.is_full_screen() && terminal.is_raw());
    // A share of a processor, from a second that was measured.
    eventually("time on a processor", || {
        let screen = terminal.screen();
        let row = screen.lines().find(|line| line.starts_with(&names[0]))?.to_owned();
        row.contains('%').then_some(())
    });
    terminal.press("s");
    terminal.shows(&["sort: runq99"]);
    terminal.resize(40, 24);
    terminal.shows(&["  cpu ", &names[0], "q quit"]);
    assert!(terminal.screen().lines().all(|line| line.chars().count() <= 40));
    terminal.resize(120, 30);
    terminal.shows(&["switch", "q quit"]);
    terminal.press("q");
    let (code, written) = terminal.end();
    assert_eq!(code, Some(0), "{written}");
    let (_, after) = written.rsplit_once("\x1b[?1049l").unwrap();
    for part in ["what watching cost", "sched_switch", "in all", &names[1]] {
        assert!(after.contains(part), "{part}: {after}");
    }
}

#[test]
fn whoever_ends_it_the_terminal_is_given_back() {
    if !possible() {
        return;
    }
    let busy = Process::busy();
    let args = ["sched", "--top", "--pid", &busy.pid()];
    for (signal, sums_up) in [(None, true), (Some(Signal::INT), true), (Some(Signal::TERM), false)]
    {
        let mut terminal = Terminal::start(&args, 80, 24);
        terminal.shows(&["q quit"]);
        match signal {
            // As a key it is no signal here.
            None => terminal.press("\x03"),
            Some(signal) => terminal.signal(signal),
        }
        let (code, written) = terminal.end();
        assert_eq!(code, Some(0), "{signal:?}: {written}");
        let (_, after) = written.rsplit_once("\x1b[?1049l").unwrap();
        assert_eq!(after.contains("what watching cost"), sums_up, "{signal:?}: {after}");
    }
}

#[test]
fn what_is_wrong_is_said_on_the_screen_as_it_was() {
    if !possible() {
        return;
    }
    let gone = Process::busy().pid();
    let terminal = Terminal::start(&["sched", "--top", "--pid", &gone], 80, 24);
    let (code, written) = terminal.end();
    assert_eq!(code, Some(2), "{written}");
    assert!(written.contains("there is no process") && !written.contains('\x1b'), "{written}");
}

#[test]
fn without_a_terminal_it_says_so() {
    let out = Command::new(TEMBLOR)
        .args(["trace", "sched", "--top", "--pid", "1"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(2), "{said}");
    assert!(said.contains("--top draws on a terminal, and this is none"), "{said}");
}
