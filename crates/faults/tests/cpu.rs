//! Faults of the processor, on real processes in cgroups of their own.
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test says where it failed, and why it is skipped"
)]

mod emulated;
#[expect(dead_code, reason = "other tests use more of it")]
mod kept;

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use emulated::emulated;
use kept::{BOUND, Kept, guard, possible, within};
use temblor_event::Effect;
use temblor_faults::cpu::{Amount, Quota, Stress};
use temblor_faults::{Fault, Injected};
use temblor_host::target::Target;

const BUSY: &str = "while :; do :; done";
const SLEEP: &str = "exec sleep 600";

/// The files of a group that a quota may change, with what they hold.
fn limits(kept: &Kept) -> Vec<(PathBuf, String)> {
    let names =
        ["cpu.max", "cpu.max.burst", "cpu.cfs_period_us", "cpu.cfs_quota_us", "cpu.cfs_burst_us"];
    let files = names.iter().filter_map(|name| kept.group.control_file(&[name]));
    files.map(|file| (file.clone(), fs::read_to_string(file).unwrap())).collect()
}

fn possible_in(kept: &Kept) -> bool {
    let some = kept.group.control_file(&["cpu.max", "cpu.cfs_quota_us"]).is_some();
    if !some {
        eprintln!("skipped: the cpu controller is not handed down to cgroups here");
    }
    some
}

#[track_caller]
fn revert(fault: Box<dyn Injected>) -> Effect {
    let reverted = fault.revert().unwrap();
    assert!(reverted.verified);
    assert_eq!(reverted.effect_unread, None);
    reverted.effect
}

#[test]
fn a_busy_target_is_held_to_its_quota_and_gets_its_old_one_back() {
    if !possible() {
        return;
    }
    let mut kept = Kept::empty("quota");
    if !possible_in(&kept) {
        return;
    }
    kept.start(BUSY);
    // Somebody has limited it before, with a period of his own.
    if let Some(file) = kept.group.control_file(&["cpu.max"]) {
        fs::write(file, "90000 50000").unwrap();
    } else {
        let file = |name| kept.group.control_file(&[name]).unwrap();
        fs::write(file("cpu.cfs_period_us"), "50000").unwrap();
        fs::write(file("cpu.cfs_quota_us"), "90000").unwrap();
        if let Some(burst) = kept.group.control_file(&["cpu.cfs_burst_us"]) {
            fs::write(burst, "40000").unwrap();
        }
    }
    let before = limits(&kept);
    let fault = Quota { target: kept.target(), to: Amount::Cpus(0.2) };
    let planned = fault.plan();
    assert!(planned.iter().any(|p| p.what.contains("10000")), "{planned:?}");
    assert!(planned.iter().any(|p| p.undo.contains("90000")), "{planned:?}");
    assert_eq!(limits(&kept), before, "a plan changes nothing");

    let mut fault = fault.inject(&guard()).unwrap();
    assert_ne!(limits(&kept), before);
    let observed = |fault: &mut Box<dyn Injected>| {
        std::thread::park_timeout(Duration::from_millis(300));
        fault.effect().unwrap().doses[0].observed
    };
    assert!(within(BOUND, || observed(&mut fault).is_some()));
    let effect = fault.effect().unwrap();
    assert_eq!(effect.measure, "periods in which it was throttled");
    assert!(effect.count >= 10, "{effect:?}");
    let dose = &effect.doses[0];
    eprintln!(
        "asked {} processors, used {:?} in {} windows",
        dose.asked, dose.observed, dose.samples
    );
    assert!((dose.asked - 0.2).abs() < 1e-9 && (dose.within - 0.01).abs() < 1e-9);
    // A machine that has other things to do gives it less, and looks at it late; how near it comes
    // on a quiet one is what a run's report says.
    let used = dose.observed.unwrap();
    assert!(used <= 0.25 && (used >= 0.15 || emulated()), "{used}");

    fault.set_level(0.5).unwrap();
    let half = fault.effect().unwrap().doses[0].clone();
    assert!(half.asked > 0.2 && half.observed.is_none(), "{half:?}");
    assert!(fault.set_level(1.1).is_err());
    fault.set_level(0.0).unwrap();
    fault.set_level(1.0).unwrap();
    assert!((fault.effect().unwrap().doses[0].asked - 0.2).abs() < 1e-9);
    assert!(revert(fault).count >= effect.count);
    assert_eq!(limits(&kept), before);

    // A share of what it had, and the undoing of a fault that is dropped half way.
    let share = Quota { target: kept.target(), to: Amount::Share(0.001) };
    let fault = share.inject(&guard()).unwrap();
    assert!(fault.describe().mechanism.contains("1000000"), "{:?}", fault.describe());
    drop(fault);
    assert_eq!(limits(&kept), before);
}

#[test]
fn a_target_that_needs_less_is_never_throttled_and_that_is_said() {
    if !possible() {
        return;
    }
    let mut kept = Kept::empty("idle");
    if !possible_in(&kept) {
        return;
    }
    kept.start(SLEEP);
    let before = limits(&kept);
    let mut fault =
        Quota { target: kept.target(), to: Amount::Share(0.5) }.inject(&guard()).unwrap();
    let effect = fault.effect().unwrap();
    assert_eq!((effect.count, effect.doses[0].observed), (0, None));
    assert_eq!(revert(fault).count, 0);
    assert_eq!(limits(&kept), before);
}

#[test]
fn a_target_that_shares_its_group_is_moved_and_comes_back() {
    if !possible() {
        return;
    }
    let mut kept = Kept::empty("shared");
    if !possible_in(&kept) {
        return;
    }
    let other = kept.start(SLEEP);
    let busy = kept.start("sh -c 'while :; do :; done' & sleep 600 & wait");
    assert!(within(BOUND, || kept.group.processes().len() == 4));
    let before = limits(&kept);
    let cgroup = |pid: u32| fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let home = cgroup(busy);
    let fault = Quota { target: kept.processes(vec![busy]), to: Amount::Cpus(0.1) };
    assert!(fault.plan()[0].what.contains("since it shares its own"), "{:?}", fault.plan());
    let mut fault = fault.inject(&guard()).unwrap();
    assert_ne!(cgroup(busy), home);
    assert_eq!(cgroup(other), home, "the other one stays");
    assert_eq!(limits(&kept), before, "and so do the limits that they share");
    assert!(within(BOUND, || fault.effect().unwrap().count > 0), "its child is throttled");
    revert(fault);
    assert_eq!(cgroup(busy), home);
    assert_eq!(kept.group.processes().len(), 4, "its children are back, too");
    assert_eq!(limits(&kept), before);
}

#[test]
fn doses_that_cannot_be_are_refused_with_a_sentence() {
    if !possible() {
        return;
    }
    let mut kept = Kept::empty("dose");
    if !possible_in(&kept) {
        return;
    }
    kept.start(SLEEP);
    for (to, expected) in [
        (Amount::Share(0.0), "a share of 0 of the processor time"),
        (Amount::Share(-0.1), "a share of -0.1 of the"),
        (Amount::Share(1.5), "a share of 1.5 of the"),
        (Amount::Share(f64::NAN), "a share of NaN of the"),
        (Amount::Share(0.000_001), "of a processor for"),
        (Amount::Cpus(0.0), "0 processors are not what"),
        (Amount::Cpus(-1.0), "-1 processors are not what"),
        (Amount::Cpus(100_000.0), "100000 processors are not what"),
        (Amount::Cpus(f64::INFINITY), "inf processors are not what"),
    ] {
        let error = Quota { target: kept.target(), to }.check().unwrap_err();
        assert_eq!(error.kind(), temblor_faults::Kind::Input);
        assert!(error.to_string().contains(expected), "{error}");
    }
    let nobody = Target { pids: vec![u32::MAX], ..kept.processes(vec![]) };
    let error = Quota { target: nobody, to: Amount::Share(0.5) }.check().unwrap_err();
    assert!(error.to_string().contains("has no process now"), "{error}");
}

fn stress(target: Target, workers: Option<u32>, load: f64) -> Stress {
    kept::set_stressor();
    Stress { target, workers, load }
}

#[test]
fn a_stressor_takes_processor_time_in_the_targets_group_and_ends() {
    if !possible() {
        return;
    }
    let mut kept = Kept::empty("stress");
    if !possible_in(&kept) {
        return;
    }
    let main = kept.start(SLEEP);
    let fault = stress(kept.target(), Some(2), 0.5);
    assert!(fault.plan()[0].what.contains("2 busy threads"), "{:?}", fault.plan());
    let mut fault = fault.inject(&guard()).unwrap();
    let cpu = |pid: &u32| {
        let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
        let of = |name: &str| groups.lines().find(|line| line.contains(name));
        of(":cpu:").or_else(|| of(":cpu,")).or_else(|| of("0::")).unwrap().to_owned()
    };
    let stressor = kept.group.processes().into_iter().find(|pid| *pid != main).unwrap();
    assert_eq!(cpu(&stressor), cpu(&main));
    // Another fault does not take it for one of the target's.
    let kill = temblor_faults::process::Kill {
        target: kept.target(),
        signal: temblor_faults::process::Signo::KILL,
        all: true,
    };
    assert!(!kill.plan()[0].what.contains(&stressor.to_string()), "{:?}", kill.plan());
    assert!(within(BOUND, || fault.effect().unwrap().count >= 100));
    fault.set_level(0.0).unwrap();
    let took = || {
        std::thread::park_timeout(Duration::from_millis(20));
        fs::read_to_string(format!("/proc/{stressor}/stat")).unwrap()
    };
    assert!(within(BOUND, || took() == took()), "it rests");
    fault.set_level(1.0).unwrap();
    assert!(revert(fault).count >= 100);
    assert_eq!(kept.group.processes(), [main]);
    // Dropped half way it ends as well.
    drop(stress(kept.target(), None, 1.0).inject(&guard()).unwrap());
    assert_eq!(kept.group.processes(), [main]);
    // By its processes, which share their group with others.
    let other = kept.start(SLEEP);
    let home = cpu(&main);
    let mut fault = stress(kept.processes(vec![main]), None, 1.0).inject(&guard()).unwrap();
    assert!(cpu(&main) != home && cpu(&other) == home);
    assert!(within(BOUND, || fault.effect().unwrap().count > 0));
    revert(fault);
    assert_eq!(cpu(&main), home);
}

#[test]
fn workers_and_loads_that_cannot_be_are_refused_with_a_sentence() {
    if !possible() {
        return;
    }
    let mut kept = Kept::empty("load");
    if !possible_in(&kept) {
        return;
    }
    kept.start(SLEEP);
    for (workers, load, expected) in [
        (Some(0), 1.0, "0 workers are not between 1 and 1024"),
        (Some(1025), 1.0, "1025 workers are not between 1 and 1024"),
        (None, 0.0, "a load of 0 for each worker is not between 0"),
        (None, 1.01, "a load of 1.01 for each worker"),
        (None, f64::NAN, "a load of NaN for each worker"),
    ] {
        let error = stress(kept.target(), workers, load).check().unwrap_err();
        assert_eq!(error.kind(), temblor_faults::Kind::Input);
        assert!(error.to_string().starts_with(expected), "{error}");
    }
}
