//! What every probe does, and a thread that does it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use temblor_event::{Event, ProbeCost, ProbeStatus, clock};

use crate::Error;
use crate::budget::{Budget, Keeper};

/// The longest that [`Running::stop`] waits for the thread to look up.
const LOOK_UP_EVERY: Duration = Duration::from_millis(50);

/// An attached probe. Dropping it takes everything off.
pub trait Probe: Send {
    /// The hooks in use, and what this kernel does not let the probe see.
    fn status(&self) -> ProbeStatus;

    /// Waits for events up to `timeout` and hands on what there is; once a second also what was
    /// aggregated in the kernel and the number of events lost.
    ///
    /// # Errors
    /// The kernel's buffers can no longer be read.
    fn poll(&mut self, timeout: Duration, sink: &mut dyn FnMut(Event)) -> Result<(), Error>;

    /// What its programs have cost so far, without what counting that costs, nanoseconds.
    ///
    /// # Errors
    /// The kernel's counts cannot be read.
    fn spent_ns(&self) -> Result<u64, Error>;

    /// What it has cost so far.
    ///
    /// # Errors
    /// The kernel's counts cannot be read.
    fn cost(&self) -> Result<ProbeCost, Error>;

    /// Does less from now on, because it costs too much, and says what: a sample instead of
    /// everything. None: there is nothing left to do without.
    ///
    /// # Errors
    /// The kernel half could not be told.
    fn shed(&mut self) -> Result<Option<String>, Error> {
        Ok(None)
    }

    /// Takes its programs off. What they have counted can still be handed on.
    fn take_off(&mut self);

    /// Takes the probe off, hands on everything that is still in the kernel, and says what it
    /// cost.
    ///
    /// # Errors
    /// The kernel's buffers or counts can no longer be read.
    fn finish(self: Box<Self>, sink: &mut dyn FnMut(Event)) -> Result<ProbeCost, Error>;
}

/// A probe that hands its events to a sink from a thread of its own. Dropping it stops the
/// thread too; what was still in the kernel goes to the sink first either way.
#[derive(Debug)]
pub struct Running {
    status: ProbeStatus,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<ProbeCost, Error>>>,
}

impl Running {
    /// Goes on polling on a new thread, and holds the probe to its budget.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn start(
        probe: Box<dyn Probe>,
        budget: Budget,
        sink: impl FnMut(Event) + Send + 'static,
    ) -> Result<Self, Error> {
        Self::start_with_account(probe, budget, None, sink)
    }

    /// As [`Running::start`], and says so often what the probe has cost so far.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn start_with_account(
        probe: Box<dyn Probe>,
        budget: Budget,
        account_every: Option<Duration>,
        sink: impl FnMut(Event) + Send + 'static,
    ) -> Result<Self, Error> {
        let status = probe.status();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::Builder::new()
            .name(format!("probe-{}", status.probe))
            .spawn(move || run(probe, budget, account_every, sink, &stopped))
            .map_err(|source| Error::System {
                doing: format!("start the thread of the {} probe", status.probe),
                source,
            })?;
        Ok(Self { status, stop, thread: Some(thread) })
    }

    /// The hooks in use, and what this kernel does not let the probe see.
    #[must_use]
    pub fn status(&self) -> ProbeStatus {
        self.status.clone()
    }

    /// Whether its thread has ended, because the kernel could not be read any more;
    /// [`Running::stop`] says why.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Takes the probe off, hands what is still in the kernel to the sink, and says what it cost.
    ///
    /// # Errors
    /// What ended the thread early, if something did.
    pub fn stop(mut self) -> Result<ProbeCost, Error> {
        let probe = self.status.probe.clone();
        self.join().unwrap_or(Err(Error::Panicked { probe }))
    }

    fn join(&mut self) -> Option<Result<ProbeCost, Error>> {
        self.stop.store(true, Ordering::Release);
        self.thread.take()?.join().ok()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(Err(error)) = self.join() {
            tracing::warn!(%error, "the {} probe ended with an error", self.status.probe);
        }
    }
}

fn run(
    mut probe: Box<dyn Probe>,
    budget: Budget,
    account_every: Option<Duration>,
    mut sink: impl FnMut(Event),
    stop: &AtomicBool,
) -> Result<ProbeCost, Error> {
    let mut keeper = Keeper::new(budget);
    let mut accounted_ns = clock::now_ns();
    while !stop.load(Ordering::Acquire) {
        probe.poll(LOOK_UP_EVERY, &mut sink)?;
        keeper.look(&mut *probe, &mut sink)?;
        let since = Duration::from_nanos(clock::now_ns().saturating_sub(accounted_ns));
        if account_every.is_some_and(|every| since >= every) {
            accounted_ns = clock::now_ns();
            sink(Event::now(probe.cost()?));
        }
    }
    probe.finish(&mut sink)
}
