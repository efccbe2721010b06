//! Processes: one that was stopped goes on, one that is ours ends.

use std::fs;
use std::io;
use std::path::Path;

use rustix::process::Signal;
use serde::{Deserialize, Serialize};
use temblor_host::process::Identity;

use super::{Undoing, Undone};
use crate::{Error, Result};

/// How long a process that was killed may take to end: the kernel has pages to give back.
const ENDS_WITHIN_MS: u32 = 2_000;

/// A process that is stopped with SIGSTOP and goes on with SIGCONT.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Continue {
    process: Identity,
    /// Somebody else had stopped it: then it stays as it is.
    stopped_before: bool,
}

impl Continue {
    /// Looks at a process, before it is stopped.
    ///
    /// # Errors
    /// There is no such process.
    pub fn about_to_stop(pid: u32) -> Result<Self> {
        let doing = || format!("look at process {pid}");
        let process = Identity::of(pid).map_err(|e| Error::system(doing(), e))?;
        let stopped_before = is_stopped(pid).map_err(|e| Error::system(doing(), e))?;
        Ok(Self { process, stopped_before })
    }

    /// Makes the change that this is the undo of. Each thread stops when it next leaves the
    /// kernel, so one that waits for a disk stops a little later.
    ///
    /// # Errors
    /// The process may not be signalled, or has ended: a fault on nobody is none.
    pub fn stop(&self) -> Result<()> {
        let doing = || format!("stop process {}", self.process.pid);
        if signal(&self.process, Signal::STOP).map_err(|e| Error::system(doing(), e))? {
            return Ok(());
        }
        Err(Error::system(doing(), io::Error::from_raw_os_error(libc::ESRCH)))
    }

    /// Which process.
    #[must_use]
    pub fn process(&self) -> &Identity {
        &self.process
    }

    /// Whether it was stopped already when it was looked at.
    #[must_use]
    pub fn stopped_before(&self) -> bool {
        self.stopped_before
    }
}

impl Undoing for Continue {
    fn words(&self) -> String {
        format!("let process {} go on (SIGCONT)", self.process.pid)
    }

    fn undo(&self) -> Result<Undone> {
        if !self.process.is_alive() {
            return Ok(Undone::NotOurs(format!("process {} has ended", self.process.pid)));
        }
        // A SIGCONT to one that runs would be seen by its handler: it is spared that.
        if !self.is_open()? {
            return Ok(Undone::Nothing);
        }
        match signal(&self.process, Signal::CONT) {
            Ok(true) => Ok(Undone::Restored),
            Ok(false) => Ok(Undone::NotOurs(format!("process {} has ended", self.process.pid))),
            Err(e) => Err(Error::system(self.words(), e)),
        }
    }

    fn is_open(&self) -> Result<bool> {
        if self.stopped_before || !self.process.is_alive() {
            return Ok(false);
        }
        match is_stopped(self.process.pid) {
            Ok(stopped) => Ok(stopped),
            Err(_) if !self.process.is_alive() => Ok(false),
            Err(e) => Err(Error::system(format!("look at process {}", self.process.pid), e)),
        }
    }
}

/// A process that we started and that ends with SIGKILL.
///
/// A process cannot be on record before it is there. So it is started waiting (for a byte from a
/// pipe, at whose end it ends too), recorded, and then told to begin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndProcess {
    process: Identity,
    /// What it is for, in words: `the stressor of redis`.
    what: String,
}

impl EndProcess {
    /// A process of ours that has done nothing yet; `what` says in words what it is for.
    ///
    /// # Errors
    /// There is no such process.
    pub fn of(pid: u32, what: &str) -> Result<Self> {
        let process = Identity::of(pid)
            .map_err(|e| Error::system(format!("look at process {pid} ({what})"), e))?;
        Ok(Self { process, what: what.to_owned() })
    }

    /// Which process.
    #[must_use]
    pub fn process(&self) -> &Identity {
        &self.process
    }
}

impl Undoing for EndProcess {
    fn words(&self) -> String {
        format!("end process {}, {}", self.process.pid, self.what)
    }

    fn undo(&self) -> Result<Undone> {
        let failed = |e: io::Error| Error::system(self.words(), e);
        let Some(process) = self.process.open().map_err(failed)? else {
            return Ok(Undone::Nothing);
        };
        if !process.signal(Signal::KILL).map_err(failed)? {
            return Ok(Undone::Nothing);
        }
        if process.wait_ended(ENDS_WITHIN_MS).map_err(failed)? {
            return Ok(Undone::Restored);
        }
        Err(failed(io::Error::new(io::ErrorKind::TimedOut, "it was killed and has not ended")))
    }

    fn is_open(&self) -> Result<bool> {
        Ok(self.process.is_alive())
    }
}

fn signal(to: &Identity, signal: Signal) -> io::Result<bool> {
    match to.open()? {
        Some(process) => process.signal(signal),
        None => Ok(false),
    }
}

/// Whether any thread is stopped, or will be as soon as it leaves the kernel. One that a debugger
/// holds is not: that is the debugger's business.
fn is_stopped(pid: u32) -> io::Result<bool> {
    // Pending signals first: the thread that takes a SIGSTOP is stopped by the time that the
    // signal is no longer pending, so that one of the two looks sees it.
    if is_pending(&fs::read_to_string(format!("/proc/{pid}/status"))?) {
        return Ok(true);
    }
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        match state(&task?.path()) {
            Ok(Some('T')) => return Ok(true),
            Ok(_) => {}
            // Threads come and go.
            Err(e) if matches!(e.raw_os_error(), Some(libc::ENOENT | libc::ESRCH)) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(false)
}

fn state(task: &Path) -> io::Result<Option<char>> {
    let text = fs::read_to_string(task.join("status"))?;
    Ok(field(&text, "State:").and_then(|state| state.chars().next()))
}

fn is_pending(status: &str) -> bool {
    let stop = 1u64 << (Signal::STOP.as_raw() - 1);
    ["SigPnd:", "ShdPnd:"].iter().any(|name| {
        field(status, name)
            .and_then(|mask| u64::from_str_radix(mask, 16).ok())
            .is_some_and(|mask| mask & stop != 0)
    })
}

fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Child, Command};
    use std::time::Duration;

    struct Sleeper(Child);

    impl Sleeper {
        fn start() -> Self {
            Self(Command::new("sleep").arg("60").spawn().unwrap())
        }

        /// A stop is taken when the process next leaves the kernel.
        #[track_caller]
        fn comes_to_be(&self, wanted: char) {
            let task = Path::new("/proc").join(self.0.id().to_string());
            for _ in 0..5_000 {
                if state(&task).unwrap() == Some(wanted) {
                    return;
                }
                std::thread::park_timeout(Duration::from_millis(1));
            }
            panic!("is {:?}, not {wanted}", state(&task));
        }
    }

    impl Drop for Sleeper {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    #[test]
    fn a_stopped_process_goes_on_once_and_a_running_one_is_left_alone() {
        let sleeper = Sleeper::start();
        let undo = Continue::about_to_stop(sleeper.0.id()).unwrap();
        assert_eq!(undo.undo().unwrap(), Undone::Nothing, "before the change");
        undo.stop().unwrap();
        // No wait: a stop that is still on its way counts.
        assert!(undo.is_open().unwrap());
        assert_eq!(undo.undo().unwrap(), Undone::Restored);
        assert!(!undo.is_open().unwrap());
        undo.stop().unwrap();
        sleeper.comes_to_be('T');
        assert_eq!(undo.undo().unwrap(), Undone::Restored);
        sleeper.comes_to_be('S');
        assert_eq!(undo.undo().unwrap(), Undone::Nothing, "twice");
    }

    #[test]
    fn who_was_stopped_before_or_has_ended_is_not_ours_to_continue() {
        let mut sleeper = Sleeper::start();
        let ours = Continue::about_to_stop(sleeper.0.id()).unwrap();
        ours.stop().unwrap();
        sleeper.comes_to_be('T');
        let theirs = Continue::about_to_stop(sleeper.0.id()).unwrap();
        assert!(theirs.stopped_before());
        assert_eq!(theirs.undo().unwrap(), Undone::Nothing);
        sleeper.comes_to_be('T');
        let successor = Continue {
            process: Identity { start_ticks: ours.process.start_ticks + 1, ..ours.process.clone() },
            stopped_before: false,
        };
        assert!(matches!(successor.undo().unwrap(), Undone::NotOurs(_)));
        let other_boot = Continue {
            process: Identity { boot_id: "another".into(), ..ours.process.clone() },
            stopped_before: false,
        };
        assert!(matches!(other_boot.undo().unwrap(), Undone::NotOurs(_)));
        sleeper.comes_to_be('T');
        sleeper.0.kill().unwrap();
        sleeper.0.wait().unwrap();
        assert!(matches!(ours.undo().unwrap(), Undone::NotOurs(_)));
        assert!(!ours.is_open().unwrap());
        assert!(ours.stop().is_err(), "nobody is there to be stopped");
    }

    #[test]
    fn a_process_of_ours_ends_and_its_successor_does_not() {
        let mut sleeper = Sleeper::start();
        let undo = EndProcess::of(sleeper.0.id(), "a sleeper").unwrap();
        let successor = EndProcess {
            process: Identity { start_ticks: undo.process.start_ticks + 1, ..undo.process.clone() },
            what: "somebody else".into(),
        };
        assert_eq!(successor.undo().unwrap(), Undone::Nothing);
        assert!(undo.is_open().unwrap());
        assert_eq!(undo.undo().unwrap(), Undone::Restored);
        assert!(!undo.is_open().unwrap());
        assert_eq!(undo.undo().unwrap(), Undone::Nothing, "ended, and not yet waited for");
        assert!(!sleeper.0.wait().unwrap().success());
        assert_eq!(undo.undo().unwrap(), Undone::Nothing);
        assert_eq!(undo.words(), format!("end process {}, a sleeper", sleeper.0.id()));
    }

    #[test]
    fn a_pending_stop_is_read_from_either_mask() {
        let status =
            |own: &str, shared: &str| format!("Name:\tx\nSigPnd:\t{own}\nShdPnd:\t{shared}\n");
        for (own, shared, expected) in [
            ("0000000000040000", "0000000000000000", true),
            ("0000000000000000", "0000000000040000", true),
            ("0000000000000000", "0000000000020000", false),
            ("ffffffffffffffff", "0", true),
        ] {
            assert_eq!(is_pending(&status(own, shared)), expected, "{own} {shared}");
        }
        assert!(!is_pending(""));
    }
}
