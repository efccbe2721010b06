//! What a cgroup's limit holds back: a kernel thread makes the requests then, and the time that
//! each takes is known beforehand.

use std::fs;

use temblor_host::target::{Origin, Target};
use temblor_probes::block::BlockProbe;

use crate::common::{Child, OwnGroup, Watch, possible, target};
use crate::near;
use crate::world::{Disk, is_emulated, level, together, values};

/// A target that is a group in which so many writes a second reach the disk. Says why where there
/// can be none.
fn limited(name: &str, disk: &Disk, writes_per_second: u32) -> Option<(OwnGroup, Child, Target)> {
    let group = OwnGroup::create(name)?;
    let number = disk.number();
    if let Some(file) = group.group.control_file(&["blkio.throttle.write_iops_device"]) {
        fs::write(file, format!("{number} {writes_per_second}")).unwrap();
    } else if let Some(file) = group.group.control_file(&["io.max"]) {
        fs::write(file, format!("{number} wiops={writes_per_second}")).unwrap();
    } else {
        eprintln!("skipped: this machine's cgroups do not limit I/O");
        return None;
    }
    let child = Child::start();
    group.group.attach(child.pid()).unwrap();
    let mut in_group = target("limited", &[child.pid()]);
    (in_group.group, in_group.origin) = (group.group.clone(), Origin::Cgroup);
    Some((group, child, in_group))
}

#[test]
fn what_was_held_back_is_still_its_askers() {
    if !possible() {
        return;
    }
    let Some(disk) = Disk::create("held", 8 << 20) else { return };
    let Some((_group, mut child, in_group)) = limited("held", &disk, 50) else { return };
    let watch = Watch::start(&[in_group], BlockProbe::attach);
    let took = child.took(&format!("write {} 40 4096", disk.path));
    assert!(took > 500_000_000, "nothing was held back: {took} ns");
    let (events, lost) = watch.stop();
    drop(child);
    let told = together(&events);
    let size = values(&told["limited"], "io_size", &[&disk.name, "write"]);
    assert_eq!((size.samples(), size.sum, lost), (40, 40 * 4096, 0));
    assert_eq!(values(&told["the kernel"], "io_size", &[&disk.name, "write"]).samples(), 0);
    // The disk itself was as quick as ever: being held back is not yet I/O.
    let time = values(&told["limited"], "io_latency", &[&disk.name, "write"]);
    assert!(time.sum < took / 2, "{} of {took} ns", time.sum);
}

#[test]
fn a_slow_disk_has_the_time_that_was_planted_and_as_many_under_way() {
    if !possible() {
        return;
    }
    // The upper disk is as slow as the group's limit makes the lower one, on which it lies.
    let Some(lower) = Disk::create("lower", 32 << 20) else { return };
    let Some(upper) = Disk::on(&lower) else { return };
    let Some((_group, mut child, in_group)) = limited("slow", &lower, 20) else { return };
    let watch = Watch::start(&[in_group], BlockProbe::attach);
    let took = child.took(&format!("write {} 40 4096", upper.path));
    if took < 500_000_000 {
        eprintln!("skipped: this kernel does not charge a loop device's I/O to its asker");
        return;
    }
    let slow = watch.until("40 writes", |events| {
        let told = together(events);
        let of = told.get("limited");
        of.is_some_and(|of| {
            values(of, "io_latency", &[&upper.name, "write"]).samples() >= 40
                && values(of, "io_latency", &[&lower.name, "write"]).samples() >= 40
        })
    });
    let told = together(&slow);
    let time = values(&told["limited"], "io_latency", &[&upper.name, "write"]);
    assert_eq!(time.samples(), 40);
    assert!(near(time.sum, took, 0.05), "told {}, the child's clock {took}", time.sum);
    // The limit lets some through at a time, so that only together they have a known time.
    assert!(near(time.sum, 40 * 50_000_000, 0.25), "{}", time.sum);
    let before = values(&told["limited"], "io_size", &[&lower.name, "write"]).samples();
    assert_eq!(before, 40, "the loop device's own threads write for the target");

    child.ask(&format!("together {} 16", upper.path));
    let (events, lost) = watch.stop();
    drop(child);
    let told = together(&events);
    let depth = level(&told["limited"], "io_under_way", &[&upper.name]);
    // One or two may have been let through before the last of them came; more where it takes its
    // time to start threads.
    let least = if is_emulated() { 8 } else { 13 };
    assert!((least..=16).contains(&depth), "{depth}");
    assert_eq!(level(&told["the machine"], "io_under_way", &[&upper.name]), depth);
    let all = values(&told["limited"], "io_latency", &[&upper.name, "write"]).samples();
    assert_eq!((all, lost), (56, 0));
}
