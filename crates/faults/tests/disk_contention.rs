//! `disk.contention` on a disk of the test's own.
#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "all of it is tests, helpers too")]

mod disk_support;

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use disk_support::*;
use temblor_faults::disk::{Contention, Place};
use temblor_faults::{Fault as _, Kind};

const OFTEN: Duration = Duration::from_millis(20);

/// Says where the stressor is: cargo builds it beside the tests.
fn set_stressor() {
    let me = std::env::current_exe().unwrap();
    let stressor = me.parent().unwrap().parent().unwrap().join("examples/stressor");
    assert!(stressor.exists(), "build it: cargo build -p temblor-faults --example stressor");
    temblor_faults::stressor::set_program(stressor, Vec::new());
}

fn contention(dir: &Path) -> Contention {
    set_stressor();
    Contention { place: Place::Path(dir.into()), workers: 2, block_bytes: 64 << 10, sync: true }
}

fn free(dir: &Path) -> u64 {
    let stat = rustix::fs::statvfs(dir).unwrap();
    stat.f_bavail * stat.f_frsize
}

/// Processes of ours that work, children of this one or of nobody.
fn workers(parent: u32) -> Vec<u32> {
    let of = |pid: u32| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let command = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let parent = format!("PPid:\t{parent}\n");
        (status.contains(&parent) && String::from_utf8_lossy(&command).contains("stressor\0disk\0"))
            .then_some(pid)
    };
    std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| of(entry.unwrap().file_name().to_str()?.parse().ok()?))
        .collect()
}

#[test]
fn a_disk_is_kept_busy_and_left_as_it_was() {
    if !possible() {
        return;
    }
    with_disk(64, |disk| {
        for sync in [true, false] {
            let before = free(disk);
            let fault = Contention { sync, ..contention(disk) };
            fault.check().unwrap();
            assert!(fault.plan()[0].what.starts_with("start 2 processes"), "{:?}", fault.plan());
            let mut injected = fault.inject(&guard()).unwrap();
            let mut seen = injected.effect().unwrap();
            wait_until("they write, and an own sync is timed", OFTEN, || {
                seen = injected.effect().unwrap();
                seen.count >= 8 << 20
                    && seen.parts[1].bytes >= 8 << 20
                    && !seen.source.contains("not known yet")
            });
            eprintln!("sync {sync}: {} bytes, {}", seen.count, seen.source);
            assert_eq!(seen.parts[0].bytes, seen.count);
            assert!(free(disk) >= before * 7 / 10, "their files take a quarter at most");
            let described = injected.describe().clone();
            assert!(described.dose["device"].contains("loop"), "{described:?}");
            let pids = workers(std::process::id());
            assert_eq!(pids.len(), 2);
            let reverted = injected.revert().unwrap();
            assert!(reverted.verified && reverted.effect_unread.is_none(), "{reverted:?}");
            assert!(pids.iter().all(|pid| !Path::new(&format!("/proc/{pid}")).exists()));
            wait_until("the space is free again", OFTEN, || free(disk) == before);
            assert_eq!(std::fs::read_dir(disk).unwrap().count(), 1, "lost+found alone");
        }
    });
}

/// A program that puts the fault in place and waits.
#[test]
fn breaker() {
    let Some(dir) = std::env::var_os("TEMBLOR_TEST_BREAKER") else { return };
    let injected = contention(Path::new(&dir)).inject(&guard()).unwrap();
    loop {
        // Until it is killed.
        std::thread::park();
        let _ = injected.describe();
    }
}

#[test]
fn workers_end_with_the_program_that_started_them() {
    if !possible() {
        return;
    }
    with_disk(32, |disk| {
        let before = free(disk);
        let journal = tempfile::tempdir().unwrap();
        let mut breaker = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "breaker", "--nocapture"])
            .env("TEMBLOR_TEST_BREAKER", disk)
            .env(JOURNAL, journal.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        wait_until("they work", OFTEN, || workers(breaker.id()).len() == 2 && free(disk) < before);
        let pids = workers(breaker.id());
        breaker.kill().unwrap();
        breaker.wait().unwrap();
        wait_until("they end", OFTEN, || {
            pids.iter().all(|pid| {
                std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default().is_empty()
            })
        });
        wait_until("the space is free again", OFTEN, || free(disk) == before);
    });
}

#[test]
fn what_keeps_no_disk_busy_or_fills_it_is_refused() {
    if !possible() {
        return;
    }
    with_disk(16, |disk| {
        let refused = |fault: Contention| {
            let error = fault.check().unwrap_err();
            assert_eq!(error.kind(), Kind::Input);
            assert_eq!(
                error.to_string(),
                fault.inject(&guard()).map(drop).unwrap_err().to_string()
            );
            error.to_string()
        };
        for workers in [0, 65] {
            assert!(
                refused(Contention { workers, ..contention(disk) }).contains("must be 1 to 64")
            );
        }
        for block_bytes in [0, 511, (64 << 20) + 1] {
            let fault = Contention { block_bytes, ..contention(disk) };
            assert!(refused(fault).contains("`block` is"));
        }
        let large = Contention { block_bytes: 8 << 20, ..contention(disk) };
        assert!(refused(large).contains("too few for the workers' files"));
        let memory = contention(disk.parent().unwrap());
        assert!(refused(memory).contains("is on tmpfs, which has no block device"));
        assert!(workers(std::process::id()).is_empty());
    });
}
