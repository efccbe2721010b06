//! Targets made of our own children, a group of our own, and a probe that watches.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use temblor_event::{Body, Event, SchedWindow, Throttled};
use temblor_host::cgroup::{Cgroups, Group};
use temblor_host::netns::Netns;
use temblor_host::target::Target;
use temblor_probes::Running;
use temblor_probes::roster::Roster;
use temblor_probes::sched::SchedProbe;

/// Longer than any single thing that is waited for here; a test that gets there has failed.
const BOUND: Duration = Duration::from_secs(20);

/// Whether this can run at all; says why not.
pub(crate) fn possible() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("skipped: needs root (BPF programs)");
    }
    root
}

pub(crate) fn target(service: &str, pids: &[u32]) -> Target {
    let netns = Netns::of_this_thread().unwrap();
    Target { pids: pids.into(), ..Target::of_namespace(service, netns, Vec::new()) }
}

/// A cgroup that is gone when this is.
pub(crate) struct OwnGroup {
    pub(crate) group: Group,
}

impl OwnGroup {
    /// With a quota in microseconds of each period; 0 is none. Says why where there can be none.
    pub(crate) fn with_quota(name: &str, period_us: u64, quota_us: u64) -> Option<Self> {
        let cgroups = Cgroups::detect().unwrap();
        let name = format!("temblor-test-{name}-{}", std::process::id());
        let group = match Group::create(&cgroups, &name) {
            Ok(group) => Self { group },
            Err(error) => {
                eprintln!("skipped: no cgroup can be made here: {error}");
                return None;
            }
        };
        if quota_us > 0 {
            let write = |file: PathBuf, value: String| fs::write(file, value).unwrap();
            if let Some(max) = group.group.control_file(&["cpu.max"]) {
                write(max, format!("{quota_us} {period_us}"));
            } else if let Some(quota) = group.group.control_file(&["cpu.cfs_quota_us"]) {
                write(quota.with_file_name("cpu.cfs_period_us"), period_us.to_string());
                write(quota, quota_us.to_string());
            } else {
                eprintln!("skipped: this machine's cgroups have no quota");
                return None;
            }
        }
        Some(group)
    }

    /// The kernel's own count, read as plainly as can be.
    pub(crate) fn throttled(&self) -> Throttled {
        let text = fs::read_to_string(self.group.control_file(&["cpu.stat"]).unwrap()).unwrap();
        let figure = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim().parse::<u64>().ok()
        };
        Throttled {
            periods: figure("nr_periods ").unwrap(),
            periods_throttled: figure("nr_throttled ").unwrap(),
            ns: figure("throttled_time ")
                .or_else(|| figure("throttled_usec ").map(|us| us * 1000))
                .unwrap(),
        }
    }
}

impl Drop for OwnGroup {
    fn drop(&mut self) {
        let left = self.group.kill_all(5_000);
        if let Err(error) = self.group.remove() {
            eprintln!("a group is left behind: {error} (processes: {left:?})");
        }
    }
}

#[derive(Default)]
struct Seen {
    events: Mutex<Vec<Event>>,
    more: Condvar,
}

/// A running probe and what it has said.
pub(crate) struct Watch {
    running: Running,
    seen: Arc<Seen>,
    /// Follows the processes for as long as the probe runs.
    _roster: Roster,
}

impl Watch {
    pub(crate) fn start(targets: &[Target]) -> Self {
        let roster = Roster::of(targets).unwrap();
        let probe = SchedProbe::attach(&roster).unwrap();
        let seen = Arc::<Seen>::default();
        let sink = Arc::clone(&seen);
        let running = Running::start(Box::new(probe), move |event| {
            sink.events.lock().unwrap().push(event);
            sink.more.notify_all();
        })
        .unwrap();
        Self { running, seen, _roster: roster }
    }

    /// The windows told so far, as soon as they are enough.
    pub(crate) fn until(
        &self,
        what: &str,
        enough: impl Fn(&[SchedWindow]) -> bool,
    ) -> Vec<SchedWindow> {
        let guard = self.seen.events.lock().unwrap();
        let waited =
            self.seen.more.wait_timeout_while(guard, BOUND, |seen| !enough(&windows(seen)));
        let (events, timeout) = waited.unwrap();
        assert!(!timeout.timed_out(), "never saw {what}; saw {events:#?}");
        windows(&events)
    }

    /// Each target's windows put together, and how many events were lost.
    pub(crate) fn stop(self) -> (BTreeMap<String, SchedWindow>, u64) {
        let cost = self.running.stop().unwrap();
        assert!(cost.programs.iter().any(|program| program.runs > 0), "{cost:?}");
        let events = std::mem::take(&mut *self.seen.events.lock().unwrap());
        let mut told: BTreeMap<String, SchedWindow> = BTreeMap::new();
        for window in windows(&events) {
            match told.get_mut(&window.service) {
                None => drop(told.insert(window.service.clone(), window)),
                Some(sum) => add(sum, &window),
            }
        }
        let lost = events.iter().map(|event| match &event.body {
            Body::ProbeLost(lost) => lost.events,
            _ => 0,
        });
        (told, lost.sum())
    }
}

fn windows(events: &[Event]) -> Vec<SchedWindow> {
    let of = |event: &Event| match &event.body {
        Body::SchedWindow(window) => Some(window.clone()),
        _ => None,
    };
    events.iter().filter_map(of).collect()
}

fn add(sum: &mut SchedWindow, more: &SchedWindow) {
    sum.window_ns += more.window_ns;
    sum.on_cpu_ns += more.on_cpu_ns;
    sum.voluntary += more.voluntary;
    sum.involuntary += more.involuntary;
    sum.wait.samples += more.wait.samples;
    sum.wait.sum_ns += more.wait.sum_ns;
    sum.wait.max_ns = sum.wait.max_ns.max(more.wait.max_ns);
    if let (Some(sum), Some(more)) = (&mut sum.throttled, more.throttled) {
        sum.periods += more.periods;
        sum.periods_throttled += more.periods_throttled;
        sum.ns += more.ns;
    }
}
