//! Faults of a cgroup and the processes in it.

use std::process::Child;
use std::time::Duration;

use temblor_faults::cpu::{self, Quota, Stress};
use temblor_faults::memory::{self, Limit, Pressure, Victim};
use temblor_faults::process::{CrashLoop, Kill, Pause, Signo};
use temblor_host::target::{Origin, Target};

use crate::kept::{self, BOUND, Kept, within};
use crate::table::Table;

const BYTES: u64 = 16 << 20;

pub(crate) fn measure(table: &mut Table) {
    let mut kept = Kept::empty("bench");
    kept.start("sleep 600 & sleep 600 & wait");
    assert!(within(BOUND, || kept.group.processes().len() == 3));
    let target = || kept.target();
    table.measure("3 processes", || Pause { target: target() });
    kills(table, &kept);
    table
        .measure("10 % of a processor", || Quota { target: target(), to: cpu::Amount::Share(0.1) });
    table.measure("1 worker", || Stress { target: target(), workers: Some(1), load: 0.1 });
    table.measure("16 MiB", || Limit { target: target(), to: BYTES });
    table.measure("16 MiB", || Pressure {
        target: target(),
        size: memory::Amount::Bytes(BYTES),
        victim: Victim::Stressor,
    });
    let forever = Kept::forever("bench-loop", "exec sleep 600");
    table.measure("1 process", || {
        assert!(within(BOUND, || !forever.group.processes().is_empty()));
        CrashLoop { target: forever.target(), alive: Duration::from_secs(60) }
    });
}

/// Each round ends a process of its own.
fn kills(table: &mut Table, kept: &Kept) {
    struct Victims(Option<Child>);
    impl Drop for Victims {
        fn drop(&mut self) {
            if let Some(mut child) = self.0.take() {
                let _ = child.kill();
                let _ = child.wait();
            }
        }
    }
    let mut victims = Victims(None);
    table.measure("SIGKILL, 1 process", || {
        if let Some(mut child) = victims.0.take() {
            child.wait().unwrap();
        }
        let child = kept::start(&kept.group, "exec sleep 600");
        let pids = vec![child.id()];
        victims.0 = Some(child);
        let target = Target { pids, origin: Origin::Processes, ..kept.target() };
        Kill { target, signal: Signo::KILL, all: false }
    });
}
