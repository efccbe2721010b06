//! Faults of memory, on real processes in cgroups of their own.
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test says where it failed, and why it is skipped"
)]

#[expect(dead_code, reason = "other tests use more of it")]
mod kept;

use std::fs;
use std::path::PathBuf;

use kept::{BOUND, Kept, guard, possible, set_stressor, within};
use temblor_event::Effect;
use temblor_faults::memory::{Amount, Limit, Pressure, Victim};
use temblor_faults::{Fault, Injected};

const MIB: u64 = 1 << 20;
const SLEEP: &str = "exec sleep 600";
/// Takes ever more memory, when it is told to: the shell keeps what it reads in a variable.
const GREEDY: &str = "while [ ! -e GO ]; do sleep 0.01; done; x=x; while :; do x=$x$x; done";

fn limits(kept: &Kept) -> Vec<(PathBuf, String)> {
    let names = [
        "memory.max",
        "memory.swap.max",
        "memory.high",
        "memory.limit_in_bytes",
        "memory.memsw.limit_in_bytes",
    ];
    let files = names.iter().filter_map(|name| kept.group.control_file(&[name]));
    files.map(|file| (file.clone(), fs::read_to_string(file).unwrap())).collect()
}

fn possible_in(kept: &Kept) -> bool {
    let some = kept.group.control_file(&["memory.max", "memory.limit_in_bytes"]).is_some();
    if !some {
        eprintln!("skipped: the memory controller is not handed down to cgroups here");
    }
    some
}

fn set_limit(kept: &Kept, bytes: u64) {
    let file = kept.group.control_file(&["memory.max", "memory.limit_in_bytes"]).unwrap();
    fs::write(file, bytes.to_string()).unwrap();
}

#[track_caller]
fn revert(fault: Box<dyn Injected>) -> Effect {
    let reverted = fault.revert().unwrap();
    assert!(reverted.verified);
    assert_eq!(reverted.effect_unread, None);
    reverted.effect
}

fn part(effect: &Effect, name: &str) -> (u64, u64) {
    let part = effect.parts.iter().find(|part| part.name == name);
    let part = part.unwrap_or_else(|| panic!("{name} in {effect:?}"));
    (part.count, part.bytes)
}

#[test]
fn a_limit_below_need_ends_in_an_oom_kill_and_is_undone_exactly() {
    if !possible() {
        return;
    }
    let mut kept = Kept::empty("limit");
    if !possible_in(&kept) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let go = dir.path().join("go");
    kept.start(SLEEP);
    let greedy = kept.start(&GREEDY.replace("GO", &go.display().to_string()));
    set_limit(&kept, 512 * MIB);
    let before = limits(&kept);
    let fault = Limit { target: kept.target(), to: 64 * MIB + 5 };
    let planned = fault.plan();
    assert!(planned[0].what.starts_with("write 67108864 to "), "{planned:?}");
    assert!(planned[0].undo.starts_with("write 536870912 back"), "{planned:?}");
    assert_eq!(limits(&kept), before, "a plan changes nothing");
    let mut fault = fault.inject(&guard()).unwrap();
    assert_eq!(fault.effect().unwrap().count, 0, "nobody has asked for more yet");
    fs::write(&go, "").unwrap();
    assert!(within(BOUND, || part(&fault.effect().unwrap(), "processes killed for it").0 > 0));
    assert!(within(BOUND, || !kept.group.processes().contains(&greedy)));
    let effect = fault.effect().unwrap();
    assert!(effect.count > 0);
    for dose in &effect.doses {
        eprintln!("{}: asked {}, seen {:?}", dose.what, dose.asked, dose.observed);
        assert_ne!(dose.holds(), Some(false), "{dose:?}");
    }
    assert_eq!(effect.doses[0].holds(), Some(true));
    fault.set_level(0.0).unwrap();
    fault.set_level(0.5).unwrap();
    fault.set_level(1.0).unwrap();
    assert_eq!(fault.effect().unwrap().doses[0].holds(), Some(true));
    assert!(fault.set_level(-0.1).is_err());
    revert(fault);
    assert_eq!(limits(&kept), before);
    drop(Limit { target: kept.target(), to: 32 * MIB }.inject(&guard()).unwrap());
    assert_eq!(limits(&kept), before, "dropped");
}

#[test]
fn what_version_1_refuses_is_refused_with_the_figure_and_changes_nothing() {
    if !possible() {
        return;
    }
    set_stressor();
    let mut kept = Kept::empty("below");
    if !possible_in(&kept) {
        return;
    }
    kept.start(SLEEP);
    let size = Amount::Bytes(48 * MIB);
    let pressure = Pressure { target: kept.target(), size, victim: Victim::Stressor };
    let mut pressure = pressure.inject(&guard()).unwrap();
    assert!(within(BOUND, || pressure.effect().unwrap().doses[0].holds() == Some(true)));
    let before = limits(&kept);
    let limit = Limit { target: kept.target(), to: 16 * MIB };
    let by_version_1 = kept.group.control_file(&["memory.limit_in_bytes"]).is_some();
    if by_version_1 {
        let error = limit.inject(&guard()).err().unwrap();
        assert_eq!(error.kind(), temblor_faults::Kind::Input);
        assert!(error.to_string().contains("bytes that the kernel cannot take away"), "{error}");
    } else {
        // Version 2 kills at once.
        let mut limit = limit.inject(&guard()).unwrap();
        assert!(within(BOUND, || limit.effect().unwrap().count > 0));
        revert(limit);
    }
    assert_eq!(limits(&kept), before);
    drop(pressure);
    // Whom version 2 kills is the kernel's choice.
    let processes = kept.group.processes().len();
    assert!(processes == 1 || !by_version_1 && processes == 0, "the stressor has ended");
}

#[test]
fn pressure_takes_what_was_asked_in_the_targets_group_and_gives_it_back() {
    if !possible() {
        return;
    }
    set_stressor();
    let mut kept = Kept::empty("pressure");
    if !possible_in(&kept) {
        return;
    }
    let main = kept.start(SLEEP);
    let size = Amount::Bytes(100 * MIB);
    let fault = Pressure { target: kept.target(), size, victim: Victim::Stressor };
    assert!(fault.plan()[0].what.contains("104857600 bytes"), "{:?}", fault.plan());
    let mut fault = fault.inject(&guard()).unwrap();
    assert!(within(BOUND, || fault.effect().unwrap().doses[0].holds() == Some(true)));
    let effect = fault.effect().unwrap();
    let dose = &effect.doses[0];
    eprintln!("asked {}, seen {:?}", dose.asked, dose.observed);
    assert!(effect.count >= 98, "{effect:?}");
    assert!(part(&effect, "in use in the whole group now").1 >= 98 * MIB, "{effect:?}");
    fault.set_level(0.25).unwrap();
    let held = |fault: &mut Box<dyn Injected>| {
        part(&fault.effect().unwrap(), "held by the stressor now").1
    };
    assert!(within(BOUND, || held(&mut fault) < 30 * MIB));
    revert(fault);
    assert_eq!(kept.group.processes(), [main]);
    // Half way: the guard's record ends it, and so does the drop.
    let fault = Pressure { target: kept.target(), size, victim: Victim::Stressor };
    drop(fault.inject(&guard()).unwrap());
    assert_eq!(kept.group.processes(), [main]);
}

#[test]
fn pressure_until_somebody_is_killed_kills_the_one_that_was_meant() {
    if !possible() {
        return;
    }
    set_stressor();
    for victim in [Victim::Stressor, Victim::Service] {
        let mut kept = Kept::empty(victim.word());
        if !possible_in(&kept) {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let full = dir.path().join("full");
        // Holds 32 MiB, and as much again for a moment.
        let script = "x=x; i=0; while [ $i -lt 25 ]; do x=$x$x; i=$((i+1)); done; : > FULL; \
                      while :; do sleep 600; done";
        let main = kept.start(&script.replace("FULL", &full.display().to_string()));
        assert!(within(BOUND, || full.exists()));
        set_limit(&kept, 192 * MIB);
        let fault = Pressure { target: kept.target(), size: Amount::UntilKilled, victim };
        let mut fault = fault.inject(&guard()).unwrap();
        assert!(within(BOUND, || fault.effect().unwrap().count > 0));
        let main = temblor_host::process::Identity::of(main);
        let service_lives = || main.as_ref().is_ok_and(temblor_host::process::Identity::is_alive);
        let killed = |fault: &mut Box<dyn Injected>| {
            part(&fault.effect().unwrap(), "processes of the stressor that were killed").0 > 0
        };
        // Whoever was chosen is a moment on the way out.
        assert!(within(BOUND, || killed(&mut fault) || !service_lives()));
        assert_eq!(service_lives(), victim == Victim::Stressor);
        assert_eq!(killed(&mut fault), victim == Victim::Stressor);
        revert(fault);
    }
}

#[test]
fn doses_that_cannot_be_are_refused_with_a_sentence() {
    if !possible() {
        return;
    }
    let mut kept = Kept::empty("refused");
    if !possible_in(&kept) {
        return;
    }
    kept.start(SLEEP);
    let target = kept.target();
    let limit = |to| Limit { target: target.clone(), to }.check();
    let pressure =
        |size| Pressure { target: target.clone(), size, victim: Victim::Stressor }.check();
    let refused = |checked: temblor_faults::Result<()>, expected: &str| {
        let error = checked.unwrap_err();
        assert_eq!(error.kind(), temblor_faults::Kind::Input);
        assert!(error.to_string().contains(expected), "{error}");
    };
    refused(limit(0), "0 bytes are less than the 4194304 bytes (4 MiB)");
    refused(limit(4 * MIB - 1), "4194303 bytes are less than");
    refused(pressure(Amount::Bytes(1)), "1 bytes are less than");
    refused(pressure(Amount::Bytes(1 << 60)), "would leave less than a tenth of the memory");
    refused(pressure(Amount::UntilKilled), "has no memory limit of its own");
    set_limit(&kept, 64 * MIB);
    refused(limit(64 * MIB), "it is limited to 67108864 bytes already");
    limit(64 * MIB - 4096).unwrap();
    pressure(Amount::UntilKilled).unwrap();
}
