//! How long it takes to put the faults of a cgroup in place and to undo them: pause, quota, busy
//! processors, limit and pressure of memory.
//!
//! Prints median, 99th percentile and greatest of 100 rounds for each, and fails where a 99th
//! percentile is past its target.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program to be read by the person who runs it"
)]

#[path = "../tests/kept/mod.rs"]
#[expect(dead_code, reason = "the tests use more of it")]
mod kept;

use std::process::ExitCode;

use temblor_event::clock::now_ns;
use temblor_faults::cpu::{Quota, Stress};
use temblor_faults::memory::{Limit, Pressure, Victim};
use temblor_faults::process::Pause;
use temblor_faults::{Fault, cpu, memory, stressor};

const ROUNDS: usize = 100;
const TARGET_MS: f64 = 50.0;

fn main() -> ExitCode {
    // The stressor is this program, run again.
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.first().is_some_and(|word| word == "stressor") {
        return stressor::main(args.into_iter().skip(1));
    }
    if !kept::possible() {
        return ExitCode::FAILURE;
    }
    let mut kept = kept::Kept::empty("bench");
    kept.start("sleep 600 & sleep 600 & wait");
    let target = || kept.target();
    let bytes = 16 << 20;
    let (size, victim) = (memory::Amount::Bytes(bytes), Victim::Stressor);
    let faults: [Box<dyn Fault>; 5] = [
        Box::new(Pause { target: target() }),
        Box::new(Quota { target: target(), to: cpu::Amount::Share(0.1) }),
        Box::new(Stress { target: target(), workers: Some(1), load: 0.1 }),
        Box::new(Limit { target: target(), to: bytes }),
        Box::new(Pressure { target: target(), size, victim }),
    ];
    let guard = kept::guard();
    let mut met = true;
    for fault in faults {
        let [mut inject_ns, mut revert_ns] = [const { Vec::new() }; 2];
        for _ in 0..ROUNDS {
            let t0 = now_ns();
            let injected = fault.inject(&guard).unwrap();
            let t1 = now_ns();
            assert!(injected.revert().unwrap().verified);
            inject_ns.push(t1 - t0);
            revert_ns.push(now_ns() - t1);
        }
        println!("{}, {ROUNDS} rounds    median      p99      max", fault.name());
        for (what, mut took_ns) in [("put in place", inject_ns), ("undo and verify", revert_ns)] {
            took_ns.sort_unstable();
            #[expect(clippy::cast_precision_loss, reason = "milliseconds to two digits")]
            let ms = |at: usize| took_ns[at] as f64 / 1e6;
            let p99 = ms(ROUNDS * 99 / 100 - 1);
            let (median, max) = (ms(ROUNDS / 2), ms(ROUNDS - 1));
            println!("  {what:<26} {median:>6.2} ms {p99:>6.2} ms {max:>6.2} ms");
            met &= p99 <= TARGET_MS;
        }
    }
    drop(guard);
    if met {
        return ExitCode::SUCCESS;
    }
    eprintln!("past the target: the 99th percentile is to be at most {TARGET_MS} ms");
    ExitCode::FAILURE
}
