//! How processes end.

use temblor_event::Cause;
use temblor_host::cgroup::Limits;
use temblor_host::target::Origin;
use temblor_probes::Probe as _;
use temblor_probes::process::ProcessProbe;

use crate::Case;
use crate::common::{Child, OwnGroup, Watch, target};

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = vec![codes(), killed()];
    cases.extend(without_memory());
    cases
}

fn codes() -> Case {
    let mut child = Child::start();
    let targets = [target("family", &[child.pid()])];
    let watch = Watch::start(&targets, ProcessProbe::attach);
    child.ask("exits 0 100");
    let (events, _) = watch.stop();
    // Nothing is wrong with code 0.
    let planted = (1..=100).map(|code| (Cause::ExitCode(code), 1)).collect();
    Case::new("exit code", planted, "family", &events, &[])
}

/// By somebody else, whose name is known.
fn killed() -> Case {
    const TIMES: u64 = 40;
    let (mut victim, mut killer) = (Child::start(), Child::start());
    let targets = [target("victims", &[victim.pid()])];
    let watch = Watch::start(&targets, ProcessProbe::attach);
    for _ in 0..TIMES {
        let said = victim.ask("pause");
        let pid = said.iter().find_map(|line| line.strip_prefix("forked ")).unwrap().to_owned();
        killer.ask(&format!("kill {pid} 9"));
        victim.ask(&format!("wait {pid}"));
    }
    let (events, _) = watch.stop();
    let name = std::fs::read_to_string(format!("/proc/{}/comm", killer.pid())).unwrap();
    let by = Cause::Killed(9, Some(name.trim_end().to_owned()));
    Case::new("SIGKILL, by whom", vec![(by, TIMES)], "victims", &events, &[])
}

/// None: no limit can be set here.
fn without_memory() -> Option<Case> {
    const TIMES: u64 = 5;
    let group = OwnGroup::create("causes-memory")?;
    let limits = Limits { memory_bytes: Some(64 << 20), pids: None };
    if !group.group.limit(limits).is_ok_and(|missing| missing.is_empty()) {
        eprintln!("skipped: no memory limit can be set here");
        return None;
    }
    let mut child = Child::start();
    group.group.attach(child.pid()).unwrap();
    let mut eater = target("eater", &[]);
    (eater.group, eater.origin) = (group.group.clone(), Origin::Cgroup);
    // Some kernels do not say whose limit it was; the probe says so then.
    let mut says_whose = true;
    let watch = Watch::start(&[eater], |roster| {
        let probe = ProcessProbe::attach(roster)?;
        says_whose = probe.status().unseen.is_empty();
        Ok(probe)
    });
    for _ in 0..TIMES {
        child.ask("fill 256");
    }
    let (events, _) = watch.stop();
    let planted = vec![(Cause::OutOfMemory(says_whose.then_some(true)), TIMES)];
    Some(Case::new("OOM kill", planted, "eater", &events, &[]))
}
