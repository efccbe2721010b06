//! Looks at the target's descriptors while its limit is lowered: does it ever have none left?

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use temblor_event::clock::now_ns;
use temblor_host::process::Identity;
use temblor_host::target::Target;

use super::open::{descriptors, left};
use crate::resource::listed;
use crate::undo::file_limit;

/// How long lies between two looks, unless they take long.
const EVERY: Duration = Duration::from_millis(20);
/// At most this share of a processor goes into looking: one part in so many.
const SHARE: u32 = 20;
/// Every how many looks the queues of the listening sockets are looked at.
const QUEUES_EVERY: u64 = 10;

/// What was seen of one process.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    /// Looks at which it had none left.
    pub(super) none_left: u64,
    pub(super) looks: u64,
    pub(super) fewest_left: Option<u64>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Report {
    pub(super) by_process: BTreeMap<u32, Seen>,
    /// The most connections that have waited to be accepted at the target's listening sockets.
    pub(super) waiting_most: u64,
    stop: bool,
}

#[derive(Debug, Default)]
struct Shared {
    report: Mutex<Report>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Report> {
        self.report.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Looks until it is dropped.
#[derive(Debug)]
pub(super) struct Watch {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// `limits` are the processes with the limits that were set.
    pub(super) fn start(target: &Target, limits: Vec<(Identity, u64)>) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let (of_thread, target) = (Arc::clone(&shared), target.clone());
        let thread = std::thread::Builder::new()
            .name("descriptors".into())
            .spawn(move || look_on(&of_thread, &target, &limits))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    pub(super) fn report(&self) -> Report {
        self.shared.lock().clone()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.shared.lock().stop = true;
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn look_on(shared: &Shared, target: &Target, limits: &[(Identity, u64)]) {
    let ours: BTreeSet<u64> = limits.iter().map(|(_, limit)| *limit).collect();
    for look in 0_u64.. {
        let began_ns = now_ns();
        // Those that have come since have inherited a limit of ours, and count as well.
        let mut pids: BTreeSet<u32> = target.processes_now().into_iter().collect();
        pids.extend(limits.iter().map(|(process, _)| process.pid));
        let limited = |pid: &u32| {
            let (soft, _) = file_limit(*pid).ok()?;
            if !ours.contains(&soft) {
                return None;
            }
            Some((*pid, left(&descriptors(*pid).ok()?, soft)))
        };
        let lefts: Vec<(u32, u64)> = pids.iter().filter_map(limited).collect();
        let waiting = (look % QUEUES_EVERY == 0).then(|| waiting(target, &pids));
        let mut report = shared.lock();
        for (pid, left) in lefts {
            let seen = report.by_process.entry(pid).or_default();
            seen.looks += 1;
            seen.none_left += u64::from(left == 0);
            seen.fewest_left = Some(seen.fewest_left.map_or(left, |fewest| fewest.min(left)));
        }
        report.waiting_most = report.waiting_most.max(waiting.unwrap_or(0));
        let took = Duration::from_nanos(now_ns().saturating_sub(began_ns));
        let pause = EVERY.max(took * SHARE);
        let wait = shared.changed.wait_timeout_while(report, pause, |report| !report.stop);
        if wait.unwrap_or_else(PoisonError::into_inner).0.stop {
            return;
        }
    }
}

/// Connections that wait to be accepted at the sockets of these processes.
pub(super) fn waiting(target: &Target, pids: &BTreeSet<u32>) -> u64 {
    let sockets = pids.iter().filter_map(|pid| listed::sockets_of(*pid).ok());
    let sockets: std::collections::HashSet<u64> = sockets.flatten().collect();
    let rows = listed::listening(&target.netns).unwrap_or_default();
    rows.iter().filter(|row| sockets.contains(&row.inode)).map(|row| row.waiting).sum()
}
