//! How long it takes to put a partition in place, to read its effect, and to undo it.
//!
//! Prints median, 99th percentile and greatest of 100 rounds, and fails where the 99th percentile
//! of putting in place or undoing is past its target.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program to be read by the person who runs it"
)]

#[path = "../tests/support/mod.rs"]
#[expect(dead_code, reason = "the tests use more of it")]
mod support;

use std::process::ExitCode;

use temblor_event::clock::now_ns;
use temblor_faults::Fault as _;
use temblor_faults::network::{Action, Direction};

const ROUNDS: usize = 100;
const TARGET_MS: f64 = 50.0;

fn main() -> ExitCode {
    if !support::possible() {
        return ExitCode::FAILURE;
    }
    let pair = support::Pair::new();
    let partition = pair.partition(support::B4, Direction::Both, Action::Drop);
    let [mut inject_ns, mut effect_ns, mut revert_ns] = [const { Vec::new() }; 3];
    for _ in 0..ROUNDS {
        let t0 = now_ns();
        let mut fault = partition.inject(&support::guard()).unwrap();
        let t1 = now_ns();
        fault.effect().unwrap();
        let t2 = now_ns();
        assert!(fault.revert().unwrap().verified);
        let t3 = now_ns();
        inject_ns.push(t1 - t0);
        effect_ns.push(t2 - t1);
        revert_ns.push(t3 - t2);
    }
    let mut met = true;
    println!("network.partition, {ROUNDS} rounds    median      p99      max");
    for (what, mut took_ns, target) in [
        ("put in place", inject_ns, true),
        ("read its effect", effect_ns, false),
        ("undo and verify", revert_ns, true),
    ] {
        took_ns.sort_unstable();
        #[expect(clippy::cast_precision_loss, reason = "milliseconds to two digits")]
        let ms = |at: usize| took_ns[at] as f64 / 1e6;
        let p99 = ms(ROUNDS * 99 / 100 - 1);
        println!(
            "  {what:<32} {:>6.2} ms {p99:>6.2} ms {:>6.2} ms",
            ms(ROUNDS / 2),
            ms(ROUNDS - 1)
        );
        met &= !target || p99 <= TARGET_MS;
    }
    if met {
        return ExitCode::SUCCESS;
    }
    eprintln!("past the target: the 99th percentile is to be at most {TARGET_MS} ms");
    ExitCode::FAILURE
}
