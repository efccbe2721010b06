//! Who could run and did not.

use std::process::{Command, Stdio};

use temblor_event::{Body, Cause, Event, clock};
use temblor_host::target::Origin;
use temblor_probes::sched::SchedProbe;

use crate::Case;
use crate::common::{OwnGroup, Watch, target};

const WINDOWS: usize = 4;

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = vec![starved()];
    cases.extend(throttled());
    cases
}

/// A program that never waits, on one processor. Dropping it ends it.
struct Busy(std::process::Child);

impl Busy {
    fn start() -> Self {
        let mut command = Command::new("taskset");
        command.args(["-c", "0", "sh", "-c", "while :; do :; done"]).stdin(Stdio::null());
        Self(command.spawn().unwrap())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The windows that lie in a time, whole.
fn within(events: &[Event], from_ns: u64, to_ns: u64) -> Vec<Event> {
    let is_within = |event: &&Event| match &event.body {
        Body::SchedWindow(window) => {
            event.t_ns <= to_ns && event.t_ns.saturating_sub(window.window_ns) >= from_ns
        }
        _ => false,
    };
    events.iter().filter(is_within).cloned().collect()
}

fn watch_for(watch: &Watch, from_ns: u64) -> Vec<Event> {
    let events =
        watch.until("windows", |told| within(told, from_ns, clock::now_ns()).len() >= WINDOWS);
    within(&events, from_ns, clock::now_ns())
}

fn starved() -> Case {
    let busy = [Busy::start(), Busy::start(), Busy::start()];
    let targets = [target("hungry", &[busy[0].0.id()])];
    let watch = Watch::start(&targets, SchedProbe::attach);
    let events = watch_for(&watch, clock::now_ns());
    let planted = vec![(Cause::Starved, events.len() as u64)];
    Case::new("starved", planted, "hungry", &events, &[])
}

/// The quota is so small that it runs out however busy the machine is. None: none can be set here.
fn throttled() -> Option<Case> {
    let group = OwnGroup::create("causes-quota")?;
    let quota = group.group.control_file(&["cpu.max"]).map(|file| (file, "2000 100000"));
    let old = || group.group.control_file(&["cpu.cfs_quota_us"]).map(|file| (file, "2000"));
    let Some((file, quota)) = quota.or_else(old) else {
        eprintln!("skipped: this machine's cgroups have no quota");
        return None;
    };
    std::fs::write(file, quota).unwrap();
    let busy = Busy::start();
    group.group.attach(busy.0.id()).unwrap();
    let mut slow = target("slow", &[busy.0.id()]);
    (slow.group, slow.origin) = (group.group.clone(), Origin::Cgroup);
    let watch = Watch::start(&[slow], SchedProbe::attach);
    let events = watch_for(&watch, clock::now_ns());
    drop(busy);
    let planted = vec![(Cause::Throttled, events.len() as u64)];
    Some(Case::new("throttled", planted, "slow", &events, &[]))
}
