//! A load under way: its threads, its state, its end.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use temblor_event::{Event, LoadFinished, LoadSecond, clock};
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;

use crate::http::Client;
use crate::latency::Latencies;
use crate::ledger::{Ledger, SECOND_NS, Second, Tally};
use crate::pacer;
use crate::profiles::Profile;
use crate::schedule::Schedule;
use crate::settings::{Error, Settings};

/// From the call to the first planned time, so that the threads are there for it.
const LEAD_NS: u64 = 10_000_000;
/// Every request ends at its time-out; what has not ended so long after it never will.
const OVERDUE_NS: u64 = 1_000_000_000;
/// How long the threads wait for news before they look for themselves.
const LOOK: Duration = Duration::from_millis(50);
/// Descriptors that the rest of the process may need beside the sockets of the load.
const DESCRIPTORS_BESIDE: u64 = 1_024;

/// Starts loads.
#[derive(Debug)]
pub struct Load;

/// A load under way. Dropping it stops it at once: what is in flight is `unsure`.
#[derive(Debug)]
#[must_use = "a load that is dropped stops at once"]
pub struct Running {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<Result<LoadFinished, Error>>>,
}

/// How a load is doing, for a display.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Live {
    /// Since the first planned time.
    pub elapsed: Duration,
    /// The account so far; it balances once nothing is in flight.
    pub tally: Tally,
    /// Planned, and without an outcome yet.
    pub in_flight: u64,
    /// The newest second of which every outcome is known.
    pub last_second: Option<LastSecond>,
}

/// Figures of one complete second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastSecond {
    /// Its number, from 0 at the load's start. It falls behind while answers are awaited.
    pub number: u64,
    /// Its account.
    pub tally: Tally,
    /// The 99th percentile of the acknowledged requests' latency, if there were any.
    pub p99_ns: Option<u64>,
}

impl Load {
    /// Starts a load. `sink` gets every order, every second in order, and the closing account;
    /// it is called on the load's threads and must not block, or the load falls behind (which
    /// `lag_ns_max` then shows). May resolve a host name, and raises the process's soft limit of
    /// open files as far as `in_flight_max` needs.
    ///
    /// # Errors
    /// A setting is wrong, the host has no address, or no thread could be started.
    pub fn start(
        settings: Settings,
        sink: impl Fn(Event) + Send + Sync + 'static,
    ) -> Result<Running, Error> {
        let checked = settings.check()?;
        make_room_for_sockets(settings.in_flight_max as u64);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("load-http")
            .enable_io()
            .enable_time()
            .build()
            .map_err(Error::Start)?;
        let schedule = Schedule::new(
            settings.arrivals,
            settings.rate_per_second,
            settings.seed,
            checked.duration_ns,
            settings.requests_max,
        );
        let shared = Arc::new(Shared {
            start_ns: clock::now_ns() + LEAD_NS,
            timeout_ns: checked.timeout_ns,
            profile: checked.profile,
            seed: settings.seed,
            key_prefix: settings.key_prefix,
            client: Client::new(checked.target),
            room: Arc::new(Semaphore::new(settings.in_flight_max)),
            changed: Condvar::new(),
            sink: Box::new(sink),
            state: Mutex::default(),
            stop: AtomicBool::new(false),
            abandon: AtomicBool::new(false),
        });
        let work = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("load-ledger".to_owned())
            .spawn(move || supervise(&work, runtime, schedule))
            .map_err(Error::Start)?;
        Ok(Running { shared, thread: Some(thread) })
    }
}

impl Running {
    /// Plans nothing more, waits until everything in flight has its outcome (the time-out at
    /// most), and returns the closing account. Blocks: from asynchronous code, call it where
    /// blocking is allowed.
    ///
    /// # Errors
    /// The account does not balance, or a thread of the load panicked.
    pub fn stop(self) -> Result<LoadFinished, Error> {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.wait()
    }

    /// As [`Running::stop`], but waits until the load has come to its bound by itself.
    ///
    /// # Errors
    /// As [`Running::stop`].
    pub fn wait(mut self) -> Result<LoadFinished, Error> {
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(finished)) => finished,
            Some(Err(_)) | None => Err(Error::Panicked("ledger")),
        }
    }

    /// True once the load has come to its end and everything is written.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// The load's start on the run's clock: the first request is planned for then or later.
    #[must_use]
    pub fn start_ns(&self) -> u64 {
        self.shared.start_ns
    }

    /// How it is doing.
    #[must_use]
    pub fn live(&self) -> Live {
        let elapsed_ns = clock::now_ns().saturating_sub(self.shared.start_ns);
        let state = self.shared.state();
        Live {
            elapsed: Duration::from_nanos(elapsed_ns),
            tally: state.ledger.totals(),
            in_flight: state.ledger.outstanding(),
            last_second: state.last_second,
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.shared.abandon.store(true, Ordering::Relaxed);
        if let Some(Err(error)) = self.thread.take().and_then(|thread| thread.join().ok()) {
            tracing::error!(%error, "a dropped load did not end well");
        }
    }
}

/// What the threads of one load share.
pub(crate) struct Shared {
    pub(crate) start_ns: u64,
    pub(crate) timeout_ns: u64,
    pub(crate) profile: &'static dyn Profile,
    pub(crate) seed: u64,
    pub(crate) key_prefix: String,
    pub(crate) client: Client,
    pub(crate) room: Arc<Semaphore>,
    /// A second is complete, or planning is over.
    pub(crate) changed: Condvar,
    sink: Box<dyn Fn(Event) + Send + Sync>,
    state: Mutex<State>,
    stop: AtomicBool,
    abandon: AtomicBool,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) ledger: Ledger,
    planning_over: bool,
    last_second: Option<LastSecond>,
}

impl Shared {
    pub(crate) fn emit(&self, event: Event) {
        (self.sink)(event);
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn stopping(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    pub(crate) fn second_of(&self, planned_ns: u64) -> u64 {
        planned_ns.saturating_sub(self.start_ns) / SECOND_NS
    }

    pub(crate) fn close_before(&self, second: u64) {
        self.state().ledger.close_before(second);
    }

    fn planning_is_over(&self, end_ns: u64) {
        let mut state = self.state();
        state.ledger.close(end_ns);
        state.planning_over = true;
        self.changed.notify_all();
    }

    /// Writes the seconds that are complete. Only the ledger's thread calls this, so they come
    /// out in order; serialising a histogram takes too long for the other two.
    fn write_complete_seconds(&self) -> Result<(), Error> {
        let mut result = Ok(());
        loop {
            let Some((number, second)) = self.state().ledger.take_complete() else {
                return result;
            };
            if let Err(source) = second.check() {
                result = Err(Error::Unbalanced { whose: format!("second {number}"), source });
            }
            let p99_ns = second.latencies.as_ref().map(Latencies::p99_ns);
            self.state().last_second = Some(LastSecond { number, tally: second.tally, p99_ns });
            self.emit(Event::at(self.start_ns + number * SECOND_NS, written(second)));
        }
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("key_prefix", &self.key_prefix).finish_non_exhaustive()
    }
}

fn written(second: Second) -> LoadSecond {
    let Tally { planned, ok, failed, unsure, timed_out: _, unsent } = second.tally;
    let latency = second.latencies.unwrap_or_else(Latencies::new).encode();
    LoadSecond { planned, ok, failed, unsure, unsent, latency, lag_ns_max: second.lag_ns_max }
}

/// The ledger's thread: it owns the other two and outlives them, so that nothing is emitted
/// after the closing account.
fn supervise(
    shared: &Arc<Shared>,
    runtime: Runtime,
    schedule: Schedule,
) -> Result<LoadFinished, Error> {
    let http = runtime.handle().clone();
    let work = Arc::clone(shared);
    let pacer = std::thread::Builder::new()
        .name("load-pacer".to_owned())
        .spawn(move || {
            let end_ns = pacer::pace(&work, &http, schedule);
            work.planning_is_over(end_ns);
        })
        .map_err(Error::Start)?;
    let mut result = Ok(());
    let mut give_up_ns = u64::MAX;
    loop {
        let (planning_over, outstanding) = {
            let state = shared.state();
            let (state, _) =
                shared.changed.wait_timeout(state, LOOK).unwrap_or_else(PoisonError::into_inner);
            (state.planning_over || pacer.is_finished(), state.ledger.outstanding())
        };
        result = result.and(shared.write_complete_seconds());
        if !planning_over {
            continue;
        }
        let now_ns = clock::now_ns();
        give_up_ns = give_up_ns.min(now_ns + shared.timeout_ns + OVERDUE_NS);
        let abandoned = shared.abandon.load(Ordering::Relaxed);
        if outstanding == 0 || abandoned || now_ns >= give_up_ns {
            break;
        }
    }
    if pacer.join().is_err() {
        result = result.and(Err(Error::Panicked("pacer")));
        shared.planning_is_over(clock::now_ns().saturating_sub(shared.start_ns));
    }
    // Drops the tasks that are left, and each of them settles its request.
    runtime.shutdown_timeout(Duration::from_nanos(OVERDUE_NS));
    result = result.and(shared.write_complete_seconds());
    let (tally, whole) = {
        let state = shared.state();
        (state.ledger.totals(), state.ledger.check())
    };
    let Tally { planned, ok, failed, unsure, timed_out, unsent } = tally;
    let finished = LoadFinished { planned, ok, failed, unsure, timed_out, unsent };
    shared.emit(Event::now(finished.clone()));
    let whole = whole.map_err(|source| Error::Unbalanced { whose: "the whole".into(), source });
    result.and(whole).map(|()| finished)
}

/// A server that stalls fills the bound in flight with sockets, and the common soft limit of
/// 1024 would then break whatever else the process has to open. Best effort: if the hard limit
/// is lower, requests that find no descriptor are `unsent`, with that reason.
fn make_room_for_sockets(in_flight_max: u64) {
    let limit = getrlimit(Resource::Nofile);
    let wanted = in_flight_max + DESCRIPTORS_BESIDE;
    let Some(current) = limit.current.filter(|&current| current < wanted) else { return };
    let raised = limit.maximum.map_or(wanted, |maximum| maximum.min(wanted));
    if let Err(error) =
        setrlimit(Resource::Nofile, Rlimit { current: Some(raised), maximum: limit.maximum })
    {
        tracing::warn!(%error, current, wanted, "the limit of open files could not be raised");
    } else if raised < wanted {
        tracing::warn!(raised, wanted, "the hard limit of open files is low for this load");
    }
}
