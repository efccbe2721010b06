//! The probe on a thread of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use temblor_event::{Event, ProbeCost, ProbeStatus};

use super::NAME;
use super::probe::TcpProbe;
use crate::Error;

/// The longest that [`Running::stop`] waits for the thread to look up.
const LOOK_UP_EVERY: Duration = Duration::from_millis(50);

/// A probe that hands its events to a sink from a thread of its own. Dropping it stops the
/// thread too; what was still in the kernel goes to the sink first either way.
#[derive(Debug)]
pub struct Running {
    status: ProbeStatus,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<ProbeCost, Error>>>,
}

impl TcpProbe {
    /// Goes on polling on a new thread.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn start(self, sink: impl FnMut(Event) + Send + 'static) -> Result<Running, Error> {
        let status = self.status();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::Builder::new()
            .name("probe-tcp".into())
            .spawn(move || run(self, sink, &stopped))
            .map_err(|source| Error::System {
                doing: "start the thread of the tcp probe".into(),
                source,
            })?;
        Ok(Running { status, stop, thread: Some(thread) })
    }
}

fn run(
    mut probe: TcpProbe,
    mut sink: impl FnMut(Event),
    stop: &AtomicBool,
) -> Result<ProbeCost, Error> {
    while !stop.load(Ordering::Acquire) {
        probe.poll(LOOK_UP_EVERY, &mut sink)?;
    }
    probe.finish(&mut sink)
}

impl Running {
    /// The hooks in use, and what this kernel does not let the probe see.
    #[must_use]
    pub fn status(&self) -> ProbeStatus {
        self.status.clone()
    }

    /// Takes the probe off, hands what is still in the kernel to the sink, and says what it cost.
    ///
    /// # Errors
    /// What ended the thread early, if something did.
    pub fn stop(mut self) -> Result<ProbeCost, Error> {
        self.join().unwrap_or(Err(Error::Panicked { probe: NAME }))
    }

    fn join(&mut self) -> Option<Result<ProbeCost, Error>> {
        self.stop.store(true, Ordering::Release);
        self.thread.take()?.join().ok()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(Err(error)) = self.join() {
            tracing::warn!(%error, "the tcp probe ended with an error");
        }
    }
}
