//! Whether the targets' processes are still those that the run began with, and whether the lab's
//! services are well: watched on a thread of its own, so that exits have their time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use temblor_event::{Event, ProcessEnded, ProcessStarted, ServiceHealth};
use temblor_host::process::Process;
use temblor_host::target::{Origin, Target};
use temblor_lab::{Options as LabOptions, ServiceStatus};

use crate::recorder::Recorder;

/// How often somebody is looked for who has been started again; exits wake the thread at once.
const LOOK_EVERY_MS: i64 = 25;

/// A thread that watches; it ends with this.
pub(crate) struct Services {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Services {
    /// Takes hold of the targets' main processes and watches. One for which the kernel has no
    /// handle is not watched.
    pub(crate) fn watch(targets: &[Target], lab: Option<LabOptions>, to: &Recorder) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut watch = Watch {
            watched: targets.iter().map(Watched::new).collect(),
            lab,
            healthy: BTreeMap::new(),
            to: to.clone(),
        };
        let thread = thread::Builder::new().name("services".into()).spawn({
            let stop = Arc::clone(&stop);
            move || {
                while !stop.load(Ordering::Relaxed) {
                    watch.wait();
                    watch.look();
                }
            }
        });
        if let Err(error) = &thread {
            tracing::warn!(%error, "the services' processes are not watched");
        }
        Self { stop, thread: thread.ok() }
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// One target's main process, as far as it is known.
struct Watched {
    target: Target,
    now: Option<(u32, Process)>,
    /// The last main process, which is not to be taken for its successor.
    last: Option<u32>,
}

impl Watched {
    fn new(target: &Target) -> Self {
        let now = target.pids.first().and_then(|pid| Some((*pid, Process::open(*pid).ok()??)));
        Self { target: target.clone(), last: now.as_ref().map(|(pid, _)| *pid), now }
    }
}

struct Watch {
    watched: Vec<Watched>,
    lab: Option<LabOptions>,
    /// What was last said of each of the lab's services.
    healthy: BTreeMap<String, bool>,
    to: Recorder,
}

impl Watch {
    /// Returns when a process has ended, or after a while.
    fn wait(&self) {
        let mut fds: Vec<PollFd<'_>> = self
            .watched
            .iter()
            .filter_map(|w| w.now.as_ref())
            .map(|(_, process)| PollFd::new(process, PollFlags::IN))
            .collect();
        let timeout = Timespec { tv_sec: 0, tv_nsec: LOOK_EVERY_MS * 1_000_000 };
        // Interrupted is as good as elapsed: everything is looked at either way.
        let _ = poll(&mut fds, Some(&timeout));
    }

    fn look(&mut self) {
        let lab = self.lab.as_ref().and_then(|options| temblor_lab::status(options).ok()?);
        for watched in &mut self.watched {
            let service = &watched.target.service;
            if let Some((pid, process)) = &watched.now
                && process.wait_ended(0).unwrap_or(false)
            {
                self.to.record(Event::now(ProcessEnded {
                    service: service.clone(),
                    pid: *pid,
                    how: process.how_ended(),
                }));
                watched.now = None;
            }
            if watched.now.is_some() {
                continue;
            }
            let state =
                lab.as_ref().and_then(|lab| lab.services.iter().find(|s| s.name == *service));
            let pid = match watched.target.origin {
                Origin::Lab => state.and_then(|state| state.pid),
                Origin::Processes => None,
                _ => watched.target.processes_now().first().copied(),
            };
            let Some(pid) = pid.filter(|pid| Some(*pid) != watched.last) else { continue };
            if let Ok(Some(process)) = Process::open(pid) {
                watched.last = Some(pid);
                watched.now = Some((pid, process));
                self.to.record(Event::now(ProcessStarted {
                    service: service.clone(),
                    pid,
                    restarts: state.map(|state| state.restarts),
                }));
            }
        }
        for state in lab.map(|lab| lab.services).unwrap_or_default() {
            let healthy = state.state == ServiceStatus::Healthy;
            if self.healthy.insert(state.name.clone(), healthy) != Some(healthy) {
                self.to.record(Event::now(ServiceHealth {
                    service: state.name,
                    healthy,
                    source: "the lab's health check".into(),
                }));
            }
        }
    }
}
