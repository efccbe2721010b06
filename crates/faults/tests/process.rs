//! Faults on processes, on real ones in cgroups of their own.
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test says where it failed, and why it is skipped"
)]

#[expect(dead_code, reason = "other tests use more of it")]
mod kept;

use std::fs;
use std::time::Duration;

use kept::{BOUND, Kept, guard, possible, within};
use temblor_event::Effect;
use temblor_faults::process::{CrashLoop, Kill, Pause, Restart, Signo};
use temblor_faults::{Fault, Injected};
use temblor_host::process::Identity;

const SLEEP: &str = "exec sleep 600";
/// A shell with two children, one of which has one of its own.
const FAMILY: &str = "sleep 600 & sh -c 'sleep 600 & wait' & wait";

fn state(pid: u32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

#[track_caller]
fn revert(fault: Box<dyn Injected>) -> Effect {
    let reverted = fault.revert().unwrap();
    assert!(reverted.verified);
    assert_eq!(reverted.effect_unread, None);
    assert!(reverted.began_ns <= reverted.ended_ns);
    reverted.effect
}

fn parts(effect: &Effect) -> Vec<(&str, u64)> {
    effect.parts.iter().map(|part| (part.name.as_str(), part.count)).collect()
}

/// Whether these are said to have ended by a signal. What a parent has collected before anybody
/// else could ask is known since Linux 6.15 only.
fn ended_by(said: &str, signal: &str) -> bool {
    let unseen = !temblor_host::kernel_at_least(6, 15);
    said.ends_with(&format!("ended by {signal}")) || unseen && said.contains("what is not known")
}

fn signal(name: &str) -> Signo {
    name.parse().unwrap()
}

#[test]
fn a_kill_is_seen_by_the_kernel_with_the_signal_that_ended_it() {
    if !possible() {
        return;
    }
    let mut kept = Kept::empty("kill");
    let main = kept.start(FAMILY);
    assert!(within(BOUND, || kept.group.processes().len() == 4));
    let target = temblor_host::target::Target { pids: vec![main], ..kept.target() };
    let fault = Kill { target: target.clone(), signal: Signo::KILL, all: false };
    let planned = fault.plan();
    assert_eq!(planned.len(), 1);
    assert!(planned[0].what.contains(&format!("(now: {main})")), "{planned:?}");
    let identity = Identity::of(main).unwrap();
    assert!(identity.is_alive(), "a plan changes nothing");
    let fault = fault.inject(&guard()).unwrap();
    assert!(fault.is_over());
    let effect = revert(fault);
    assert_eq!(effect.count, 1);
    assert!(ended_by(parts(&effect)[0].0, "SIGKILL"), "{effect:?}");
    assert!(!identity.is_alive());
    assert_eq!(kept.group.processes().len(), 3, "the others live on");
    let all = Kill { target, signal: Signo::TERM, all: true }.inject(&guard()).unwrap();
    let effect = revert(all);
    assert!(effect.count == 3 && ended_by(parts(&effect)[0].0, "SIGTERM"), "{effect:?}");
    assert!(kept.group.processes().is_empty());
}

#[test]
fn a_signal_that_ends_nobody_shows_what_it_did() {
    if !possible() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let ready = dir.path().join("ready");
    let mut kept = Kept::empty("signal");
    let script = format!(
        "trap 'echo' USR1; trap '' USR2; : > {}; while :; do sleep 0.01; done",
        ready.display()
    );
    let main = kept.start(&script);
    assert!(within(BOUND, || ready.exists()));
    for (name, count, said) in [
        ("SIGUSR1", 1, "took SIGUSR1 with a handler of theirs and live on"),
        ("SIGUSR2", 0, "ignore SIGUSR2: no effect"),
        ("SIGWINCH", 0, "ignore SIGWINCH: no effect"),
        ("SIGCONT", 0, "ignore SIGCONT: no effect"),
    ] {
        let target = temblor_host::target::Target { pids: vec![main], ..kept.target() };
        let fault = Kill { target, signal: signal(name), all: false };
        let effect = revert(fault.inject(&guard()).unwrap());
        assert_eq!((effect.count, parts(&effect)), (count, vec![(said, 1)]), "{name}");
    }
    let target = kept.processes(vec![main]);
    let fault = Kill { target, signal: signal("SIGRTMIN+1"), all: false };
    let effect = revert(fault.inject(&guard()).unwrap());
    assert!(ended_by(parts(&effect)[0].0, "SIGRTMIN+1"), "{effect:?}");
}

#[test]
fn what_must_not_be_hit_is_refused() {
    if !possible() {
        return;
    }
    let mut kept = Kept::empty("refused");
    let main = kept.start(SLEEP);
    let me = std::process::id();
    let kill = |pids: Vec<u32>, name: &str| {
        let fault = Kill { target: kept.processes(pids), signal: signal(name), all: true };
        let error = fault.check().unwrap_err();
        assert_eq!(error.kind(), temblor_faults::Kind::Input);
        assert!(fault.inject(&guard()).is_err());
        error.to_string()
    };
    assert!(kill(vec![me, main], "SIGTERM").contains("contains this program"));
    assert!(kill(vec![u32::MAX], "9").contains("has no process now"));
    for name in ["SIGSTOP", "SIGTSTP", "SIGTTIN", "SIGTTOU"] {
        assert!(kill(vec![main], name).contains("use process.pause"), "{name}");
    }
    let pause = Pause { target: kept.processes(vec![me]) }.check().unwrap_err();
    assert!(pause.to_string().contains("contains this program"), "{pause}");
    let by_pid = kept.processes(vec![main]);
    let said = "nobody is known to start";
    let restart = Restart::of(by_pid.clone()).check().unwrap_err();
    assert!(restart.to_string().starts_with(said), "{restart}");
    let crash_loop = CrashLoop { target: by_pid, alive: Duration::ZERO }.check().unwrap_err();
    assert!(crash_loop.to_string().starts_with(said), "{crash_loop}");
    let alive = Duration::from_secs(601);
    let crash_loop = CrashLoop { target: kept.target(), alive }.check().unwrap_err();
    assert!(crash_loop.to_string().contains("is not between 0ns and 600s"), "{crash_loop}");
    let within = Duration::from_secs(601);
    let restart = Restart { within, ..Restart::of(kept.target()) }.check().unwrap_err();
    assert!(restart.to_string().contains("(within) of 601s is not between"), "{restart}");
    let restart = Restart { signal: signal("SIGCONT"), ..Restart::of(kept.target()) }.check();
    assert!(restart.unwrap_err().to_string().contains("is not a signal"));
    assert!(Identity::of(main).unwrap().is_alive() && state(main) != Some('T'));
}

/// Forks all the time, and says so.
const FORKING: &str = "sleep 600 & while :; do /bin/true; done";

#[test]
fn a_paused_group_stands_still_and_goes_on() {
    if !possible() {
        return;
    }
    let mut kept = Kept::empty("pause");
    kept.start(FORKING);
    assert!(within(BOUND, || kept.group.processes().len() >= 2));
    let Some(freezer) = kept.group.control_file(&["cgroup.freeze", "freezer.state"]) else {
        eprintln!("skipped: no freezer here");
        return;
    };
    let before = fs::read_to_string(&freezer).unwrap();
    let fault = Pause { target: kept.target() };
    assert!(fault.plan()[0].what.ends_with(&freezer.display().to_string()));
    let mut fault = fault.inject(&guard()).unwrap();
    assert!(within(BOUND, || fault.effect().unwrap().count >= 2));
    // Somebody else's pause, as far as a second fault can tell.
    let again = Pause { target: kept.target() }.check().unwrap_err();
    assert!(again.to_string().contains("is frozen already"), "{again}");
    let mut observed = None;
    assert!(
        within(BOUND, || {
            observed = fault.effect().unwrap().doses[0].observed;
            observed.is_some_and(|percent| percent <= 1.0)
        }),
        "{observed:?}"
    );
    let cpu = || {
        let file = kept.group.control_file(&["cpuacct.usage", "cpu.stat"]).unwrap();
        fs::read_to_string(file).unwrap()
    };
    let stood = cpu();
    std::thread::park_timeout(Duration::from_millis(50));
    assert_eq!(cpu(), stood);
    let effect = revert(fault);
    assert_eq!(effect.measure, "processes standing still");
    assert_eq!(fs::read_to_string(&freezer).unwrap(), before);
    assert!(within(BOUND, || cpu() != stood), "it goes on");
}

#[test]
fn processes_without_a_group_of_their_own_are_stopped_one_by_one() {
    if !possible() {
        return;
    }
    let mut kept = Kept::empty("stop");
    let other = kept.start(SLEEP);
    let main = kept.start(FORKING);
    let stopped = kept.start(SLEEP);
    let pid = rustix::process::Pid::from_raw(stopped.cast_signed()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
    assert!(within(BOUND, || state(stopped) == Some('T') && kept.group.processes().len() >= 4));
    let target = kept.processes(vec![main, stopped]);
    let mut fault = Pause { target: target.clone() }.inject(&guard()).unwrap();
    assert!(fault.describe().mechanism.starts_with("SIGSTOP to "), "{:?}", fault.describe());
    assert!(within(BOUND, || {
        let effect = fault.effect().unwrap();
        effect.parts.len() == 1 && effect.count >= 2
    }));
    assert_ne!(state(other), Some('T'), "it shares the group, and is not the target's");
    assert_eq!(state(main), Some('T'));
    let all = kept.group.processes();
    let still = all.iter().filter(|pid| state(**pid) == Some('T')).count();
    assert_eq!(still, all.len() - 1, "what was forked meanwhile was caught as well");
    revert(fault);
    assert!(within(BOUND, || state(main) != Some('T')));
    assert_eq!(state(stopped), Some('T'), "somebody else had stopped it");
    drop(Pause { target }.inject(&guard()).unwrap());
    assert!(within(BOUND, || state(main) != Some('T')), "dropped");
}

#[test]
fn a_restart_ends_the_old_main_process_and_sees_the_new_one() {
    if !possible() {
        return;
    }
    for (name, script, killed) in [
        ("restart", "sleep 600 & exec sleep 600", false),
        ("stubborn", "trap '' TERM; while :; do sleep 0.01; done", true),
    ] {
        let kept = Kept::forever(name, script);
        let target = kept.target();
        let old = Identity::of(target.pids[0]).unwrap();
        let fault = Restart {
            grace: if killed { Duration::from_millis(50) } else { BOUND },
            ..Restart::of(target)
        };
        if killed {
            // Before its trap is set it would end by the first signal.
            let ignores = || {
                let status = fs::read_to_string(format!("/proc/{}/status", old.pid)).unwrap();
                status.lines().any(|l| l.starts_with("SigIgn:") && l.ends_with("4000"))
            };
            assert!(within(BOUND, ignores));
        }
        let mut fault = fault.inject(&guard()).unwrap();
        assert!(within(BOUND, || fault.is_over()));
        let effect = fault.effect().unwrap();
        assert_eq!(effect.count, 1);
        let ended = if killed { "SIGKILL" } else { "SIGTERM" };
        assert!(ended_by(&effect.parts[0].name, ended), "{effect:?}");
        let last = effect.parts.last().unwrap();
        assert!(last.count == 1 && last.name.ends_with("ms after the end"), "{last:?}");
        assert!(!old.is_alive());
        assert_eq!(revert(fault), effect);
        assert!(within(BOUND, || !kept.group.processes().is_empty()));
    }
}

#[test]
fn a_restart_that_nobody_makes_is_not_waited_for_for_ever() {
    if !possible() {
        return;
    }
    let mut kept = Kept::empty("down");
    kept.start(SLEEP);
    let within_ms = Duration::from_millis(300);
    let fault = Restart { within: within_ms, ..Restart::of(kept.target()) };
    let fault = fault.inject(&guard()).unwrap();
    assert!(within(BOUND, || fault.is_over()));
    let effect = revert(fault);
    assert_eq!(effect.count, 1);
    assert_eq!(parts(&effect).last().unwrap(), &("new main processes", 0));
}

#[test]
fn a_crash_loop_ends_one_life_after_another_until_it_is_over() {
    if !possible() {
        return;
    }
    for (name, alive) in [("crash", Duration::ZERO), ("crash-later", Duration::from_millis(100))] {
        let kept = Kept::forever(name, "sleep 600 & exec sleep 600");
        let fault = CrashLoop { target: kept.target(), alive };
        let mut fault = fault.inject(&guard()).unwrap();
        assert!(within(BOUND, || fault.effect().unwrap().count >= 4));
        let effect = revert(fault);
        if alive.is_zero() {
            assert!(effect.doses.is_empty());
        } else {
            let lasted = &effect.doses[0];
            assert!(lasted.samples >= 3 && lasted.observed.unwrap() >= 100.0, "{lasted:?}");
        }
        assert!(within(BOUND, || kept.group.processes().len() == 2));
        let survivor = Identity::of(kept.group.processes()[0]).unwrap();
        std::thread::park_timeout(Duration::from_millis(50));
        assert!(survivor.is_alive(), "nobody kills it any more");
    }
}

#[test]
fn a_container_is_restarted_by_its_engine_and_an_engine_that_is_not_there_is_said() {
    if !possible() {
        return;
    }
    let mut kept = Kept::empty("engine");
    let main = kept.start(SLEEP);
    let socket = std::env::temp_dir().join("no-engine-is-here.sock");
    let origin = temblor_host::target::Origin::Container { socket, id: "abc".into() };
    let target = temblor_host::target::Target { origin, ..kept.target() };
    let other = Restart { signal: signal("SIGINT"), ..Restart::of(target.clone()) };
    let error = other.check().unwrap_err().to_string();
    assert!(error.contains("with its own stop signal or with SIGKILL, not with SIGINT"), "{error}");
    let fault = Restart::of(target);
    assert!(fault.plan()[0].what.starts_with("ask the container engine"), "{:?}", fault.plan());
    let fault = fault.inject(&guard()).unwrap();
    assert!(within(BOUND, || fault.is_over()));
    let effect = revert(fault);
    assert_eq!(effect.count, 0, "nothing has ended");
    let problem = &effect.parts.last().unwrap().name;
    assert!(problem.contains("no container engine"), "{problem}");
    assert!(Identity::of(main).unwrap().is_alive());
}
