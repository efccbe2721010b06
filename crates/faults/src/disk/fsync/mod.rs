//! `disk.fsync`: a target's syncs to disk are slow, or fail.
//!
//! **How.** A thread of this program traces every thread of the target (ptrace), those that it
//! makes later included. The kernel stops a thread when it enters a system call; a sync is held
//! there for the delay, or skipped with an error as its answer. When the tracing thread ends,
//! at the fault's end or with this program, SIGKILL included, the kernel lets go of everything: a
//! held call goes on as if nothing had been.
//!
//! **Which calls.** `fsync`, `fdatasync`, `sync_file_range` and `msync`, of programs of the
//! machine's own architecture. Not `sync` of the whole machine, writes to files opened with
//! O_SYNC or O_DSYNC, nor what is asked through io_uring: no thread enters a call for those.
//!
//! **A failed call did not sync**: what was written stays in the page cache and may reach the
//! disk later. The kernel itself, after a real error, would drop it.
//!
//! **What else the target feels.** Every system call of it stops twice, which costs some
//! microseconds each (the tests print how many). When the fault begins, its threads are
//! interrupted once: a thread that waits in `epoll_wait`, `nanosleep` or the like may see EINTR,
//! as after SIGSTOP and SIGCONT. A debugger cannot attach meanwhile.
//!
//! **The count** is of calls that were stopped, as the kernel reported them to the tracer; the
//! delay is the time between the kernel's report of a call and the moment it was let go on. What
//! the target itself sees of it is for its own figures to tell.

mod alarm;
mod ptrace;
mod seen;
mod tracer;
mod who;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread::JoinHandle;
use std::time::Duration;

use temblor_event::clock::now_ns;
use temblor_event::{DoseSeen, Effect, EffectPart};
use temblor_host::target::Target;

use self::seen::Seen;
use self::tracer::{Dose, Tracer};
use self::who::CannotTrace;
use super::DiskRefusal;
use crate::process::members::Roll;
use crate::undo::Guard;
use crate::{Described, Error, Fault, Injected, PlannedChange, Result, Reverted};

const NAME: &str = "disk.fsync";
const UNDONE_BY: &str = "the kernel, when the thread that traces ends";

/// The longest delay of one call.
pub const MAX_DELAY: Duration = Duration::from_secs(60);
/// How long the kernel may take to let go.
const LET_GO_WITHIN_NS: u64 = 2_000_000_000;
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// The error that a sync gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncError {
    /// The disk could not be written: what programs fear most.
    Eio,
    /// The filesystem is full.
    Enospc,
    /// The user's quota is used up.
    Edquot,
}

impl SyncError {
    fn errno(self) -> i32 {
        match self {
            Self::Eio => libc::EIO,
            Self::Enospc => libc::ENOSPC,
            Self::Edquot => libc::EDQUOT,
        }
    }
}

/// `EIO`, as an experiment writes it.
impl fmt::Display for SyncError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Eio => "EIO",
            Self::Enospc => "ENOSPC",
            Self::Edquot => "EDQUOT",
        })
    }
}

impl FromStr for SyncError {
    type Err = DiskRefusal;

    fn from_str(text: &str) -> Result<Self, DiskRefusal> {
        [Self::Eio, Self::Enospc, Self::Edquot]
            .into_iter()
            .find(|error| error.to_string() == text)
            .ok_or_else(|| DiskRefusal::NoSyncError { given: text.into() })
    }
}

/// Syncs that are slow, fail, or are slow and then fail; at least one of both is given.
#[derive(Debug, Clone)]
pub struct Fsync {
    /// Whose syncs.
    pub target: Target,
    /// How much longer each takes, above 0 and at most [`MAX_DELAY`].
    pub delay: Option<Duration>,
    /// The error that each gives instead of syncing.
    pub fail: Option<SyncError>,
    /// Which share of the calls, above 0 and at most 1; each is drawn by itself.
    pub share: f64,
}

impl Fsync {
    fn check_dose(&self) -> Result<Dose, DiskRefusal> {
        if self.delay.is_none() && self.fail.is_none() {
            return Err(DiskRefusal::NoSyncDose { service: self.target.service.clone() });
        }
        if let Some(given) = self.delay
            && (given.is_zero() || given > MAX_DELAY)
        {
            return Err(DiskRefusal::BadDelay { given, max: MAX_DELAY });
        }
        if !(self.share > 0.0 && self.share <= 1.0) {
            return Err(DiskRefusal::BadSyncShare { given: self.share });
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it was checked to be in 0 to 1"
        )]
        let share = (self.share * (1_u64 << 32) as f64).ceil() as u64;
        let delay_ns = self.delay.map(|delay| u64::try_from(delay.as_nanos()).unwrap_or(u64::MAX));
        Ok(Dose { delay_ns, errno: self.fail.map(SyncError::errno), share })
    }

    /// Whether the target is there and nobody traces it.
    fn check_target(&self) -> Result<Vec<u32>> {
        if !ptrace::SUPPORTED {
            return Err(Error::Missing {
                what: "an architecture whose system calls can be told apart here".into(),
                how: "disk.fsync works on x86-64 and aarch64".into(),
            });
        }
        if !temblor_host::kernel_at_least(5, 3) {
            return Err(Error::Missing {
                what: "PTRACE_GET_SYSCALL_INFO".into(),
                how: "Linux 5.3 or later has it".into(),
            });
        }
        let service = || self.target.service.clone();
        let pids = Roll::of(&self.target).members();
        if pids.is_empty() {
            return Err(DiskRefusal::NoProcesses { service: service() }.into());
        }
        if pids.contains(&std::process::id()) {
            return Err(DiskRefusal::TracesItself { service: service() }.into());
        }
        for pid in &pids {
            for tid in who::threads(*pid) {
                if let Some(by) = who::tracer_of(tid) {
                    let (pid, by) = (*pid, who::name(by));
                    return Err(DiskRefusal::Traced { service: service(), pid, by }.into());
                }
            }
        }
        Ok(pids)
    }

    fn cannot(&self, why: CannotTrace) -> Error {
        let service = self.target.service.clone();
        match why {
            CannotTrace::Traced { pid, by } => DiskRefusal::Traced { service, pid, by }.into(),
            CannotTrace::Denied { pid } => Error::Missing {
                what: format!("the right to trace process {pid} of {service} (CAP_SYS_PTRACE)"),
                how: "run as root, with kernel.yama.ptrace_scope below 3".into(),
            },
            CannotTrace::Refused { pid, source } => {
                Error::system(format!("trace process {pid} of {service}"), source)
            }
            CannotTrace::Alarm(source) => {
                Error::system("make a timer for the thread that traces", source)
            }
        }
    }

    fn what(&self) -> String {
        let share = match self.share {
            1.0 => "every".to_owned(),
            share => format!("{}% of the", share * 100.0),
        };
        let calls = if self.share < 1.0 { "syncs" } else { "sync" };
        let what = match (self.delay, self.fail) {
            (Some(delay), Some(fail)) => format!("is held for {delay:?} and fails with {fail}"),
            (Some(delay), None) => format!("is held for {delay:?}"),
            (None, Some(fail)) => format!("fails with {fail}"),
            (None, None) => "is left alone".into(),
        };
        format!("{share} {calls} of {} {what}", self.target.service)
    }

    fn dose(&self) -> BTreeMap<String, String> {
        let given = [
            ("delay", self.delay.map(|delay| format!("{delay:?}"))),
            ("fail", self.fail.map(|fail| fail.to_string())),
            ("share", Some(format!("{}%", self.share * 100.0))),
            ("target", Some(self.target.service.clone())),
        ];
        given.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect()
    }
}

impl Fault for Fsync {
    fn name(&self) -> &'static str {
        NAME
    }

    fn check(&self) -> Result<()> {
        self.check_dose()?;
        self.check_target().map(drop)
    }

    fn plan(&self) -> Vec<PlannedChange> {
        vec![PlannedChange {
            what: format!("trace every thread of {}: {}", self.target.service, self.what()),
            undo: UNDONE_BY.into(),
        }]
    }

    /// Nothing is put on record: the kernel ends the trace with its tracer.
    fn inject(&self, _guard: &Guard) -> Result<Box<dyn Injected>> {
        let dose = self.check_dose()?;
        let pids = self.check_target()?;
        let began_ns = now_ns();
        let seen = Arc::new(Seen::default());
        let (ready, is_ready) = channel();
        let (target, shared) = (self.target.clone(), Arc::clone(&seen));
        let thread = std::thread::Builder::new()
            .name("temblor-fsync".into())
            .spawn(move || Tracer::run(target, &pids, dose, shared, ready))
            .map_err(|e| Error::system("start a thread that traces", e))?;
        let tracing = Tracing { seen, thread: Some(thread) };
        is_ready
            .recv()
            .unwrap_or_else(|_| {
                Err(CannotTrace::Alarm(std::io::Error::other("the thread ended at once")))
            })
            .map_err(|why| self.cannot(why))?;
        let described = Described {
            name: NAME.into(),
            dose: self.dose(),
            mechanism:
                "ptrace: every thread of the target is stopped by the kernel when it enters \
                        and when it leaves a system call, which slows down each of them a little; \
                        syncs are held or skipped there"
                    .into(),
            undone_by: UNDONE_BY.into(),
            began_ns,
            ended_ns: now_ns(),
        };
        Ok(Box::new(InPlace { tracing, fault: self.clone(), described }))
    }
}

/// The thread that traces. Dropping it ends the trace.
struct Tracing {
    seen: Arc<Seen>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Tracing {
    fn drop(&mut self) {
        self.seen.end();
        let Some(thread) = self.thread.take() else { return };
        while !thread.is_finished() {
            // Again until it is heard: a signal just before the thread's wait is lost.
            alarm::ring(self.seen.tracer());
            thread.thread().unpark();
            std::thread::park_timeout(LOOK_AGAIN / 4);
        }
        let _ = thread.join();
    }
}

/// Syncs that are traced.
struct InPlace {
    tracing: Tracing,
    fault: Fsync,
    described: Described,
}

impl InPlace {
    #[expect(clippy::cast_precision_loss, reason = "figures for people, far below 2^52")]
    fn doses(&self) -> Vec<DoseSeen> {
        let seen = &self.tracing.seen;
        let source = "system call stops that the kernel's ptrace reported".to_owned();
        let mut doses = Vec::new();
        if let Some(delay) = self.fault.delay {
            let asked = delay.as_secs_f64() * 1e3;
            let median = seen.median_held_ns();
            doses.push(DoseSeen {
                what: "time that a sync was held before it began (median)".into(),
                unit: "ms".into(),
                asked,
                observed: median.map(|(ns, _)| ns as f64 / 1e6),
                within: (asked * 0.05).max(1.0),
                samples: median.map_or(0, |(_, samples)| samples as u64),
                source: format!("CLOCK_MONOTONIC between two {source}"),
            });
        }
        let (calls, drawn) = (seen.all_calls(), seen.all_drawn());
        let asked = self.fault.share * 100.0;
        // Three standard deviations of that many draws, and at least one point.
        let spread =
            300.0 * (self.fault.share * (1.0 - self.fault.share) / calls.max(1) as f64).sqrt();
        doses.push(DoseSeen {
            what: "share of the syncs".into(),
            unit: "%".into(),
            asked,
            observed: (calls > 0).then(|| 100.0 * drawn as f64 / calls as f64),
            within: spread.max(1.0),
            samples: calls,
            source,
        });
        doses
    }
}

impl Injected for InPlace {
    fn describe(&self) -> &Described {
        &self.described
    }

    fn effect(&mut self) -> Result<Effect> {
        let seen = &self.tracing.seen;
        let parts = seen
            .parts()
            .filter(|(_, count)| *count > 0)
            .map(|(name, count)| EffectPart { name: name.into(), count, bytes: 0 })
            .collect();
        let measure = match (self.fault.delay, self.fault.fail) {
            (Some(_), Some(_)) => "syncs held and failed",
            (Some(_), None) => "syncs held",
            (None, _) => "syncs failed",
        };
        Ok(Effect {
            measure: measure.into(),
            count: seen.all_acted(),
            source: format!(
                "system call stops of {}, as the kernel's ptrace reported them",
                self.fault.target.service
            ),
            parts,
            doses: self.doses(),
        })
    }

    fn revert(mut self: Box<Self>) -> Result<Reverted> {
        let effect = self.effect()?;
        let Self { tracing, .. } = *self;
        let seen = Arc::clone(&tracing.seen);
        let began_ns = now_ns();
        drop(tracing);
        // The thread has ended for us a moment before the kernel has let go of what it traced.
        let bound_ns = began_ns.saturating_add(LET_GO_WITHIN_NS);
        let mut verified = !seen.is_still_tracing();
        while !verified && now_ns() < bound_ns {
            std::thread::park_timeout(LOOK_AGAIN);
            verified = !seen.is_still_tracing();
        }
        Ok(Reverted { began_ns, ended_ns: now_ns(), effect, effect_unread: None, verified })
    }
}
