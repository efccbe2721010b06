//! Why a fault on processes, as asked for, is not made.

use std::time::Duration;

use crate::{Error, Refusal};

/// Why a fault on processes, as asked for, is not made.
#[derive(Debug, thiserror::Error)]
pub enum ProcessRefusal {
    /// Signal 0 asks whether a process is there and sends nothing.
    #[error("signal 0 is sent to nobody: give a signal such as SIGTERM, or 15")]
    SignalZero,
    /// No such signal.
    #[error(
        "`{given}` is not a signal: give a name such as SIGTERM or SIGRTMIN+2, or a number from 1 \
         to 64"
    )]
    NotASignal {
        /// What was written.
        given: String,
    },
    /// Signals 32 and 33 belong to the C library.
    #[error("signal {number} belongs to the C library, which uses it between threads")]
    LibrarySignal {
        /// Its number.
        number: i32,
    },
    /// A process that `process.kill` had stopped would stay stopped.
    #[error("{signal} would leave {service} stopped for good: use process.pause, which undoes it")]
    Stops {
        /// The signal.
        signal: &'static str,
        /// The target.
        service: String,
    },
    /// Nobody to act on.
    #[error("{service} has no process now: start it, or choose another target")]
    NoProcesses {
        /// The target.
        service: String,
    },
    /// This program.
    #[error("{service} contains this program, which could then not undo the fault")]
    Ourselves {
        /// The target.
        service: String,
    },
    /// A restart or a crash loop wants somebody who starts the target again.
    #[error(
        "nobody is known to start {service} again, since it was found by its processes: name it \
         as a lab service, a systemd unit, a container or a cgroup, or use process.kill"
    )]
    NobodyRestarts {
        /// The target.
        service: String,
    },
    /// An engine stops a container with the signal that its image names.
    #[error(
        "the engine of {service} restarts it with its own stop signal or with SIGKILL, not with \
         {signal}: use SIGTERM for the former, or process.kill"
    )]
    NotForContainers {
        /// The target.
        service: String,
        /// What was asked.
        signal: String,
    },
    /// The unit's own settings say that it stays down.
    #[error(
        "systemd does not start {unit} again after {signal} (its Restart= is {policy}): use \
         SIGKILL or set Restart=always"
    )]
    UnitStaysDown {
        /// The unit.
        unit: String,
        /// The signal.
        signal: String,
        /// Its `Restart=`.
        policy: String,
    },
    /// Its processes cannot be told from others'.
    #[error("{service} has no cgroup of its own: its new processes could not be told from others")]
    NoGroup {
        /// The target.
        service: String,
    },
    /// Somebody has stopped it already.
    #[error("{service} is frozen already ({by}): whoever did it should let it go on first")]
    FrozenAlready {
        /// The target.
        service: String,
        /// The file that says so.
        by: String,
    },
    /// A wait that is too short or too long.
    #[error("{what} of {given:?} is not between {least:?} and {most:?}")]
    Bounds {
        /// What it is.
        what: &'static str,
        /// What was asked.
        given: Duration,
        /// The least there may be.
        least: Duration,
        /// The most there may be.
        most: Duration,
    },
}

impl From<ProcessRefusal> for Error {
    fn from(refusal: ProcessRefusal) -> Self {
        Refusal::from(refusal).into()
    }
}
