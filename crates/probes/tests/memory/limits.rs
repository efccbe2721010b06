//! What happens to programs that have a limit.

use std::path::PathBuf;

use temblor_event::Event;
use temblor_event::clock::now_ns;
use temblor_host::cgroup::Limits;
use temblor_host::target::{Origin, Target};
use temblor_probes::memory::MemoryProbe;

use crate::common::{Child, OwnGroup, Watch, possible, target};
use crate::near::near;
use crate::{file, together, told, values};

impl OwnGroup {
    /// With a limit. Says why where there can be none.
    fn limited(name: &str, memory_bytes: u64) -> Option<Self> {
        let group = Self::create(name)?;
        let limits = Limits { memory_bytes: Some(memory_bytes), pids: None };
        match group.group.limit(limits) {
            Ok(missing) if missing.is_empty() => Some(group),
            other => {
                eprintln!("skipped: no memory limit can be set here: {other:?}");
                None
            }
        }
    }

    fn target(&self, service: &str) -> Target {
        let mut target = target(service, &[]);
        (target.group, target.origin) = (self.group.clone(), Origin::Cgroup);
        target
    }

    /// How often the group was at its limit, read as plainly as can be.
    fn times_at_limit(&self) -> u64 {
        let read = |file: PathBuf| std::fs::read_to_string(file).unwrap();
        if let Some(file) = self.group.control_file(&["memory.failcnt"]) {
            return read(file).trim().parse().unwrap();
        }
        let events = read(self.group.control_file(&["memory.events"]).unwrap());
        let line = events.lines().find_map(|line| line.strip_prefix("max ")).unwrap();
        line.parse().unwrap()
    }
}

#[test]
fn reclaim_at_a_cgroups_limit_is_told_with_its_time() {
    if !possible() {
        return;
    }
    let Some(group) = OwnGroup::limited("reclaim", 32 << 20) else { return };
    // Its pages are to be charged to whom reads them: whoever wrote them must let them go first.
    let file = file(128 << 20);
    let mut child = Child::start();
    rustix::fs::fadvise(file.as_file(), 0, None, rustix::fs::Advice::DontNeed).unwrap();
    group.group.attach(child.pid()).unwrap();
    let mut stranger = Child::start();
    let targets = [group.target("limited"), target("stranger", &[stranger.pid()])];
    let watch = Watch::start(&targets, MemoryProbe::attach);
    let before = group.times_at_limit();
    let began_ns = now_ns();
    child.ask(&format!("read {}", file.path().display()));
    let took_ns = now_ns() - began_ns;
    stranger.ask("touch 1000");
    let truth = group.times_at_limit() - before;
    let (events, lost) = watch.stop();
    let sum = together(&events, "limited");
    // The file went through the group, and what is not there any more was freed.
    let freed = told(&sum, "reclaimed", "cgroup");
    let (at_least, at_most) = ((128 - 32) << 20, (128 + 16) << 20);
    assert!((at_least..=at_most).contains(&freed), "{freed}");
    let stalls = values(&sum, "reclaim_stall", "cgroup");
    assert!(stalls.samples() > 10, "{stalls:?}");
    assert!(stalls.sum < took_ns, "{stalls:?} in {took_ns}");
    assert!(stalls.max > 0 && stalls.max <= stalls.sum, "{stalls:?}");
    let at_limit = told(&sum, "cgroup_memory_events", "max");
    assert!(truth > 10 && near(at_limit, truth, 0.001, 0), "told {at_limit}, kernel {truth}");
    let usage = told(&sum, "cgroup_memory", "");
    assert!(usage > 16 << 20 && usage <= 32 << 20, "{usage}");
    assert_eq!(told(&sum, "oom_kills", "cgroup limit"), 0);
    let stranger = together(&events, "stranger");
    let of_limited = |name: &str| name.starts_with("recl") || name.starts_with("cgroup");
    assert!(!stranger.measures.iter().any(|one| of_limited(&one.name)), "{stranger:?}");
    assert_eq!(lost, 0);
}

#[test]
fn a_kill_for_want_of_memory_has_its_cause() {
    if !possible() {
        return;
    }
    let Some(group) = OwnGroup::limited("killed", 48 << 20) else { return };
    let (mut child, mut stranger) = (Child::start(), Child::start());
    group.group.attach(child.pid()).unwrap();
    let targets = [group.target("eater"), target("stranger", &[stranger.pid()])];
    let watch = Watch::start(&targets, MemoryProbe::attach);
    let pages = (256 << 20) / rustix::param::page_size();
    // Its child gets the most memory, and is killed; a kill by hand is none for want of memory.
    child.ask(&format!("brief 1 {pages} 20"));
    stranger.ask("killed");
    let killed = |events: &[Event]| told(&together(events, "eater"), "oom_kills", "cgroup limit");
    watch.until("the kill", |events| killed(events) > 0);
    let (events, _) = watch.stop();
    let sum = together(&events, "eater");
    assert_eq!(killed(&events), 1);
    assert_eq!(told(&sum, "oom_kills", "machine"), 0);
    assert_eq!(told(&sum, "cgroup_memory_events", "oom_kill"), 1);
    let stranger = together(&events, "stranger");
    assert!(!stranger.measures.iter().any(|one| one.name == "oom_kills"), "{stranger:?}");
}
