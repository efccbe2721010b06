//! `disk.throttle` on a disk and in a cgroup of the test's own.
#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "all of it is tests, helpers too")]

mod disk_support;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use disk_support::*;
use temblor_faults::disk::{BlockDevice, DeviceAsked, Throttle};
use temblor_faults::{Fault as _, Kind};
use temblor_host::target::Target;

fn throttle(target: Target) -> Throttle {
    Throttle {
        target,
        read_bytes_per_second: None,
        write_bytes_per_second: None,
        read_iops: None,
        write_iops: None,
        device: None,
    }
}

/// Everything the group's limit files hold.
fn limits(group: &TestGroup) -> Vec<(PathBuf, String)> {
    let mut held = Vec::new();
    for entry in group.0.dirs().iter().flat_map(|dir| fs::read_dir(dir).unwrap()) {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if name == "io.max" || (name.starts_with("blkio.throttle") && name.ends_with("_device")) {
            let text = fs::read_to_string(&path).unwrap();
            held.push((path, text));
        }
    }
    held.sort();
    held
}

fn has_limits(group: &TestGroup) -> bool {
    let has = !limits(group).is_empty();
    if !has {
        eprintln!("skipped: needs a cgroup controller that limits I/O (blkio or io)");
    }
    has
}

/// The device that another line is written for, to see it unchanged: any but ours.
fn another_device(than: BlockDevice) -> Option<BlockDevice> {
    fs::read_dir("/sys/dev/block")
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().to_string_lossy().parse().ok())
        .filter_map(|asked: DeviceAsked| asked.resolve().ok())
        .find(|device| *device != than)
}

fn writes(disk: &Path, flags: &str, block: &str) -> String {
    format!("exec dd if=/dev/zero of={}/f bs={block} count=100000 oflag={flags}", disk.display())
}

#[test]
fn written_bytes_are_held_to_the_limit_and_other_lines_stay() {
    if !possible() {
        return;
    }
    with_disk(96, |disk| {
        let group = TestGroup::new();
        if !has_limits(&group) {
            return;
        }
        let device = BlockDevice::behind(disk).unwrap();
        // Limits of somebody else: for another device, and our own device's reads.
        let other = another_device(device);
        for (path, _) in limits(&group) {
            let two = path.ends_with("io.max");
            for of in other.into_iter().chain([device]) {
                let line = if two { format!("{of} riops=7777") } else { format!("{of} 77777777") };
                fs::write(&path, line).unwrap();
            }
        }
        let before = limits(&group);
        // It overwrites one block again and again: the disk does not fill up.
        let script = format!(
            "while :; do dd if=/dev/zero of={}/f bs=64k count=64 oflag=direct conv=notrunc; done",
            disk.display()
        );
        // What this test says may lie on a disk, too.
        let script = format!("exec 3>{}/log >/dev/null 2>&1; {script}", disk.display());
        let writer = Running::script(&script, Some(&group));
        wait_until("it writes", Duration::from_millis(5), || disk.join("f").exists());
        let fault = Throttle { write_bytes_per_second: Some(1 << 20), ..throttle(writer.target()) };
        fault.check().unwrap();
        let plan = fault.plan();
        assert!(plan[0].what.starts_with(&format!("write {device} ")), "{plan:?}");
        assert_eq!(limits(&group), before, "a plan changes nothing");

        let mut injected = fault.inject(&guard()).unwrap();
        assert_ne!(limits(&group), before);
        let described = injected.describe().clone();
        assert!(described.dose["device"].contains(&format!("({device})")), "{described:?}");
        assert!(described.dose["device"].contains("open for writing"), "{described:?}");
        let mut seen = injected.effect().unwrap();
        wait_until("the limit is used up", Duration::from_millis(1000), || {
            seen = injected.effect().unwrap();
            seen.doses[0].samples >= 5
        });
        let dose = &seen.doses[0];
        eprintln!("asked {} {}, observed {:?}", dose.asked, dose.unit, dose.observed);
        assert_eq!(dose.holds(), Some(true), "{dose:?}");
        assert!(seen.count > 0 && seen.parts[0].bytes >= 2 << 20, "{seen:?}");
        let reverted = injected.revert().unwrap();
        assert!(reverted.verified && reverted.effect_unread.is_none());
        assert_eq!(limits(&group), before, "to the letter");
    });
}

#[test]
fn operations_are_held_to_the_limit() {
    if !possible() {
        return;
    }
    with_disk(64, |disk| {
        let group = TestGroup::new();
        if !has_limits(&group) {
            return;
        }
        let writer = Running::script(&writes(disk, "direct", "4k"), Some(&group));
        wait_until("it writes", Duration::from_millis(5), || disk.join("f").exists());
        let fault = Throttle {
            write_iops: Some(100),
            device: Some(DeviceAsked::Path(disk.into())),
            ..throttle(writer.target())
        };
        let mut injected = fault.inject(&guard()).unwrap();
        let mut seen = injected.effect().unwrap();
        wait_until("the limit is used up", Duration::from_millis(1000), || {
            seen = injected.effect().unwrap();
            seen.doses[0].samples >= 5
        });
        eprintln!("asked 100 operations/s, observed {:?}", seen.doses[0].observed);
        assert_eq!(seen.doses[0].holds(), Some(true), "{seen:?}");
        assert_eq!(seen.doses[0].unit, "operations/s");
        // Dropped without being reverted: the limit is gone all the same.
        drop(injected);
        assert!(limits(&group).iter().all(|(_, text)| text.is_empty()), "{:?}", limits(&group));
    });
}

#[test]
fn a_target_without_io_shows_no_effect_and_its_group_may_go_meanwhile() {
    if !possible() {
        return;
    }
    with_disk(16, |disk| {
        let group = TestGroup::new();
        if !has_limits(&group) {
            return;
        }
        let idle = Running::script(
            &format!("exec 3>{}/held; echo > {0}/ready; exec sleep 60", disk.display()),
            Some(&group),
        );
        wait_until("it is there", Duration::from_millis(5), || disk.join("ready").exists());
        let fault = Throttle { read_iops: Some(2), write_iops: Some(2), ..throttle(idle.target()) };
        let mut injected = fault.inject(&guard()).unwrap();
        let seen = injected.effect().unwrap();
        assert_eq!((seen.count, seen.doses[0].observed), (0, None));
        drop(idle);
        drop(group);
        let reverted = injected.revert().unwrap();
        assert!(reverted.verified, "the limits went with the group");
        assert!(reverted.effect_unread.unwrap().contains("could not read"));
    });
}

#[test]
fn what_would_hit_others_or_nobody_is_refused() {
    if !possible() {
        return;
    }
    let group = TestGroup::new();
    if !has_limits(&group) {
        return;
    }
    let one = Running::script("sleep 60", Some(&group));
    let refused = |fault: Throttle| {
        let error = fault.check().unwrap_err();
        assert_eq!(error.kind(), Kind::Input);
        assert_eq!(error.to_string(), fault.inject(&guard()).map(drop).unwrap_err().to_string());
        error.to_string()
    };
    assert!(refused(throttle(one.target())).contains("limits nothing"));
    for (bad, why) in [(0, "no limit"), (1000, "single page")] {
        let fault = Throttle { write_bytes_per_second: Some(bad), ..throttle(one.target()) };
        assert!(refused(fault).contains(why));
    }
    let fault = Throttle { read_iops: Some(1), ..throttle(one.target()) };
    assert!(refused(fault).contains("no limit below 2"));
    let fault = Throttle { read_iops: Some(1 << 32), ..throttle(one.target()) };
    assert!(refused(fault).contains("32 bits"));

    assert!(limits(&group).iter().all(|(_, text)| text.is_empty()));
}

#[test]
fn a_target_that_shares_its_group_is_moved_out_of_it_and_back() {
    if !possible() {
        return;
    }
    with_disk(32, |disk| {
        let group = TestGroup::new();
        if !has_limits(&group) {
            return;
        }
        let held = format!("exec 3>{0}/held; echo > {0}/ready; exec sleep 60", disk.display());
        let one = Running::script(&held, Some(&group));
        let other = Running::script("exec sleep 60", Some(&group));
        wait_until("it is there", Duration::from_millis(5), || disk.join("ready").exists());
        let cgroup =
            |of: &Running| fs::read_to_string(format!("/proc/{}/cgroup", of.pid())).unwrap();
        let before = (cgroup(&one), cgroup(&other), limits(&group));
        let fault = Throttle { write_iops: Some(10), ..throttle(one.target()) };
        fault.check().unwrap();
        assert!(fault.plan()[0].what.contains("since it shares its own"), "{:?}", fault.plan());
        assert_eq!(cgroup(&one), before.0, "a check and a plan move nobody");
        for reverted in [true, false] {
            let mut injected = fault.inject(&guard()).unwrap();
            assert!(cgroup(&one).contains("/temblor-"), "{}", cgroup(&one));
            assert_eq!((cgroup(&other), limits(&group)), (before.1.clone(), before.2.clone()));
            assert_eq!(injected.effect().unwrap().count, 0);
            if reverted {
                assert!(injected.revert().unwrap().verified);
            } else {
                drop(injected);
            }
            assert_eq!(cgroup(&one), before.0);
        }
    });
}
