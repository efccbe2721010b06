//! Faults on a target's processes: ended, stopped, ended again and again.
//!
//! Who is hit is decided by [`members`]: a signal goes through a handle on a process that was
//! found in the target after the handle had been opened, so that a reused pid is never hit.

mod crash_loop;
mod death;
mod kill;
pub(crate) mod members;
mod pause;
pub(crate) mod place;
pub(crate) mod record;
mod refusal;
mod restart;
mod signal;
pub(crate) mod stat;
pub(crate) mod watch;

pub use crash_loop::CrashLoop;
pub use kill::Kill;
pub use pause::Pause;
pub use refusal::ProcessRefusal;
pub use restart::Restart;
pub use signal::Signo;
