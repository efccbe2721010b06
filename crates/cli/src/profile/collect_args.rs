//! The command line of what is collected of running processes.

use clap::value_parser;

use super::args::Written;
use crate::args::Targets;

/// Of whom.
#[derive(Debug, clap::Args)]
pub(crate) struct Whom {
    #[command(flatten)]
    pub(crate) targets: Targets,
    /// All processes
    #[arg(long, group = "whom")]
    pub(crate) all: bool,
}

/// For how long.
#[derive(Debug, clap::Args)]
pub(crate) struct Lasting {
    /// How long, at most 24h; Ctrl-C ends it early
    #[arg(long = "for", value_name = "DURATION", default_value = "30s")]
    pub(crate) lasting: String,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Targets can be given several times and in several ways together. Without \
    -o the heaviest functions are printed. docs/profiling.md says how stacks are walked, and what \
    is done where one ends too early.\n\nExample: temblor profile cpu --process postgres --for 10s \
    -o postgres.svg")]
pub(crate) struct Cpu {
    #[command(flatten)]
    pub(crate) whom: Whom,
    #[command(flatten)]
    pub(crate) lasting: Lasting,
    /// How often a second each processor is looked at
    #[arg(long, value_name = "HZ", default_value = "99", value_parser = value_parser!(u32).range(1..=10_000))]
    pub(crate) rate: u32,
    /// Keep when each sample was taken, for what is shown over time
    #[arg(long)]
    pub(crate) timeline: bool,
    #[command(flatten)]
    pub(crate) written: Written,
}

/// Of waits.
#[derive(Debug, clap::Args)]
pub(crate) struct Waits {
    #[command(flatten)]
    pub(crate) whom: Whom,
    #[command(flatten)]
    pub(crate) lasting: Lasting,
    /// Tell apart who ended the waits, with the stack of whoever did, on top of the waiter's
    #[arg(long)]
    pub(crate) wakers: bool,
    #[command(flatten)]
    pub(crate) written: Written,
}

#[derive(Debug, clap::Args)]
#[command(
    after_help = "A thread waits from when it leaves its processor, because it cannot go on, \
    until it has one again. Without -o the functions that waited longest are printed. \
    docs/profiling.md says what is done where waits are very many.\n\nExample: temblor profile \
    off-cpu --process postgres --for 10s -o waits.svg"
)]
pub(crate) struct OffCpu {
    #[command(flatten)]
    pub(crate) waits: Waits,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Locks are futexes: the mutexes, condition variables and semaphores of C, \
    C++, Rust, Java and Go. The label \"lock\" has the lock's address.\n\nExample: temblor profile \
    lock --process java --wakers --for 10s -o locks.pb.gz")]
pub(crate) struct Lock {
    #[command(flatten)]
    pub(crate) waits: Waits,
}

#[derive(Debug, clap::Args)]
#[command(
    after_help = "The label \"state\" has what the thread is at. One that is on a processor \
    cannot be looked at: `temblor profile cpu` has its stack.\n\nExample: temblor profile threads \
    --process java -o threads.svg"
)]
pub(crate) struct Threads {
    #[command(flatten)]
    pub(crate) whom: Whom,
    #[command(flatten)]
    pub(crate) written: Written,
}
