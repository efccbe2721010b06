//! How long it takes to put each fault in place, to read its effect, and to undo it.
//!
//! Prints median, 99th percentile and greatest of 100 rounds for each fault (of fewer where the
//! first argument says so), and fails where a 99th percentile of putting in place or undoing is
//! past its target. What is timed is the whole call: with the checks before, with a measurement
//! of the world that the fault begins with, and with the proof that nothing is left.
//!
//! Not here is `process.restart`, which waits for a program to end and start again, and that takes
//! what it takes.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program to be read by the person who runs it"
)]

#[path = "../../tests/disk_support/mod.rs"]
mod disk_support;
#[path = "../../tests/kept/mod.rs"]
#[expect(dead_code, reason = "the tests use more of it")]
mod kept;
#[path = "../../tests/support/mod.rs"]
#[expect(dead_code, reason = "the tests use more of it")]
mod support;

mod disk;
mod group;
mod network;
mod program;
mod table;

use std::process::ExitCode;

const ROUNDS: usize = 100;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let rounds = match args.first().map(String::as_str) {
        // The stressors and the target are this program, run again.
        Some("stressor") => return temblor_faults::stressor::main(args.into_iter().skip(1)),
        Some(program::WORD) => return program::main(),
        Some(rounds) => rounds.parse().unwrap_or(0),
        None => ROUNDS,
    };
    if args.len() > 1 || rounds == 0 {
        eprintln!("give a number of rounds, or nothing for {ROUNDS}");
        return ExitCode::FAILURE;
    }
    if !support::possible() || !disk_support::possible() {
        return ExitCode::FAILURE;
    }
    let mut table = table::Table::new(rounds);
    network::measure(&mut table);
    group::measure(&mut table);
    program::measure(&mut table);
    disk::measure(&mut table);
    table.end()
}
