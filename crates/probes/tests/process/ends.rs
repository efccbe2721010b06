//! What runs, and how it ends.

use std::process::Command;

use temblor_event::ExitCause;
use temblor_event::clock::now_ns;
use temblor_host::cgroup::Limits;
use temblor_host::target::Origin;
use temblor_probes::Probe as _;
use temblor_probes::process::{ProcessProbe, Settings};
use temblor_probes::roster::Roster;

use crate::common::{Child, OwnGroup, Watch, lost, possible, target};
use crate::told::{ended, execs, exits, status, watch};

#[test]
fn every_exit_is_told_with_its_code() {
    if !possible() {
        return;
    }
    let mut child = Child::start();
    let watch = watch(&[target("family", &[child.pid()])]);
    let truth = ended(&child.ask("exits 0 255"));
    let (events, lost) = watch.stop();
    let mut told: Vec<_> = exits(&events).iter().map(status).collect();
    told.sort_by_key(|(pid, _)| truth.iter().position(|(of, _)| of == pid));
    assert_eq!(truth.len(), 256);
    assert_eq!(told, truth);
    assert!(exits(&events).iter().all(|exit| exit.service == "family"));
    assert_eq!(lost, 0);
}

#[test]
fn a_brief_process_has_its_label_and_its_age() {
    if !possible() {
        return;
    }
    let (mut child, mut other) = (Child::start(), Child::start());
    let watch = watch(&[target("one", &[child.pid()]), target("two", &[other.pid()])]);
    let began_ns = now_ns();
    let (mut one, mut two) = (Vec::new(), Vec::new());
    for _ in 0..5 {
        child.begin("brief 20 20");
        other.begin("brief 10 1");
        one.extend(ended(&child.end()));
        two.extend(ended(&other.end()));
    }
    let took_ns = now_ns() - began_ns;
    let (events, lost) = watch.stop();
    for (service, mut truth, living) in [("one", one, 20), ("two", two, 1)] {
        let exits = exits(&events);
        let of: Vec<_> = exits.iter().filter(|exit| exit.service == service).collect();
        let mut told: Vec<_> = of.iter().map(|exit| status(exit)).collect();
        truth.sort_unstable();
        told.sort_unstable();
        assert_eq!(told, truth, "{service}");
        for exit in of {
            assert!((living * 1_000_000..=took_ns).contains(&exit.lived_ns), "{exit:?}");
        }
    }
    assert_eq!(lost, 0);
}

#[test]
fn a_process_ends_once_with_its_last_thread() {
    if !possible() {
        return;
    }
    let mut child = Child::start();
    let watch = watch(&[target("threads", &[child.pid()])]);
    let mut truth = Vec::new();
    for _ in 0..20 {
        truth.extend(ended(&child.ask("threads all")));
        truth.extend(ended(&child.ask("threads each")));
    }
    let (events, lost) = watch.stop();
    let told: Vec<_> = exits(&events).iter().map(status).collect();
    assert_eq!(told, truth);
    assert!(exits(&events).iter().all(|exit| exit.lived_ns >= 20_000_000));
    assert_eq!(lost, 0);
}

#[test]
fn a_program_that_is_run_is_told_with_its_parent() {
    if !possible() {
        return;
    }
    let mut child = Child::start();
    let watch = watch(&[target("runner", &[child.pid()])]);
    let truth = ended(&child.ask("run"));
    let (events, _) = watch.stop();
    let told: Vec<_> = exits(&events).iter().map(status).collect();
    assert_eq!(told, truth);
    assert_eq!(exits(&events)[0].cause, ExitCause::Code { code: 5 });
    let execs = execs(&events);
    let [exec] = &execs[..] else { panic!("{execs:?}") };
    assert_eq!((exec.pid, exec.parent), (truth[0].0, Some(child.pid())));
    assert_eq!((exec.service.as_str(), exec.file.as_str()), ("runner", "/bin/sh"));
}

#[test]
fn strangers_are_not_told_of() {
    if !possible() {
        return;
    }
    let (mut child, mut stranger) = (Child::start(), Child::start());
    let watch = watch(&[target("known", &[child.pid()])]);
    for _ in 0..20 {
        assert!(Command::new("/bin/true").status().unwrap().success());
    }
    stranger.ask("exits 1 50");
    stranger.ask("fault");
    let truth = ended(&child.ask("exits 3 3"));
    let (events, _) = watch.stop();
    let told: Vec<_> = exits(&events).iter().map(status).collect();
    assert_eq!(told, truth);
    assert_eq!(events.len(), 1, "{events:#?}");
}

#[test]
fn what_does_not_fit_is_counted() {
    if !possible() {
        return;
    }
    let mut child = Child::start();
    let roster = Roster::of(&[target("many", &[child.pid()])]).unwrap();
    let probe = ProcessProbe::attach_with(&roster, &Settings { ring_bytes: 1 }).unwrap();
    // Nobody reads meanwhile.
    let truth = ended(&child.ask("exits 0 255"));
    let mut events = Vec::new();
    let cost = Box::new(probe).finish(&mut |event| events.push(event)).unwrap();
    let told: Vec<_> = exits(&events).iter().map(status).collect();
    assert!(!told.is_empty() && told.len() < truth.len(), "{}", told.len());
    assert_eq!(told, truth[..told.len()]);
    assert_eq!(told.len() as u64 + lost(&events), truth.len() as u64);
    assert_eq!(cost.events, told.len() as u64);
}

#[test]
fn a_process_without_memory_is_told_of_as_such() {
    if !possible() {
        return;
    }
    let Some(group) = OwnGroup::create("memory") else { return };
    let limits = Limits { memory_bytes: Some(64 << 20), pids: None };
    match group.group.limit(limits) {
        Ok(missing) if missing.is_empty() => {}
        other => {
            eprintln!("skipped: no memory limit can be set here: {other:?}");
            return;
        }
    }
    let mut child = Child::start();
    group.group.attach(child.pid()).unwrap();
    let mut eater = target("eater", &[]);
    (eater.group, eater.origin) = (group.group.clone(), Origin::Cgroup);
    // Some kernels do not say whose limit it was; the probe says so then.
    let mut unseen = Vec::new();
    let watch = Watch::start(&[eater], |roster| {
        let probe = ProcessProbe::attach(roster)?;
        unseen = probe.status().unseen;
        Ok(probe)
    });
    let truth = ended(&child.ask("fill 256"));
    let events = watch.until("its end", |told| !exits(told).is_empty());
    drop(watch);
    let exits = exits(&events);
    let [exit] = &exits[..] else { panic!("{exits:?}") };
    assert_eq!([status(exit)], truth[..]);
    assert_eq!(truth[0].1, 9);
    let cgroup_limit = unseen.is_empty().then_some(true);
    assert_eq!(exit.cause, ExitCause::OutOfMemory { cgroup_limit }, "unseen: {unseen:?}");
}
