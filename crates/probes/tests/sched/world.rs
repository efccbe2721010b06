//! A group with a quota, and what the probe told put together.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use temblor_event::clock::now_ns;
use temblor_event::{Body, Event, SchedWindow, Throttled};

use crate::common::OwnGroup;

impl OwnGroup {
    /// With a quota in microseconds of each period; 0 is none. Says why where there can be none.
    pub(crate) fn with_quota(name: &str, period_us: u64, quota_us: u64) -> Option<Self> {
        let group = Self::create(name)?;
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

    /// Until the quota was used up for the first time.
    pub(crate) fn await_throttled(&self) {
        let until_ns = now_ns() + 20_000_000_000;
        while self.throttled().periods_throttled == 0 {
            assert!(now_ns() < until_ns, "the quota is never used up");
            std::thread::park_timeout(Duration::from_millis(5));
        }
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

/// Each target's windows put together.
pub(crate) fn together(events: &[Event]) -> BTreeMap<String, SchedWindow> {
    let mut told: BTreeMap<String, SchedWindow> = BTreeMap::new();
    for window in windows(events) {
        match told.get_mut(&window.service) {
            None => drop(told.insert(window.service.clone(), window)),
            Some(sum) => add(sum, &window),
        }
    }
    told
}

pub(crate) fn windows(events: &[Event]) -> Vec<SchedWindow> {
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
    sum.waited_ns = sum.waited_ns.zip(more.waited_ns).map(|(sum, more)| sum + more);
    sum.wait.max_ns = sum.wait.max_ns.max(more.wait.max_ns);
    if let (Some(sum), Some(more)) = (&mut sum.throttled, more.throttled) {
        sum.periods += more.periods;
        sum.periods_throttled += more.periods_throttled;
        sum.ns += more.ns;
    }
}
