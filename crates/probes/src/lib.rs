//! Kernel evidence: eBPF probes, one folder each, C beside Rust.
//!
//! A probe attaches to BTF tracepoints, keeps what happens often in the kernel's own memory as
//! histograms, and hands what happens seldom over one event at a time. Each says which hooks it
//! uses and what it does not see on this kernel ([`temblor_event::ProbeStatus`]), how many events
//! it lost ([`temblor_event::ProbeLost`]) and what it cost ([`temblor_event::ProbeCost`]).
//!
//! What this crate does not know: experiments, faults, the lab. It is told which network
//! namespaces to watch and what to call the addresses it meets.

pub mod block;
mod budget;
pub mod edges;
mod error;
mod floor;
mod group;
mod histogram;
mod kernel;
pub mod memory;
mod object;
mod plain;
mod probe;
pub mod process;
mod reader;
mod ring;
pub mod roster;
pub mod sched;
pub mod stacks;
pub mod syscall;
pub mod tcp;
mod tracepoints;
mod window;

pub use budget::Budget;
pub use error::Error;
pub use kernel::count_run_time;
pub use probe::{Probe, Running};

use temblor_host::Capability;

/// What this kernel offers each probe: looked up and tried, nothing left attached.
#[must_use]
pub fn capabilities() -> Vec<Capability> {
    let mut all = tcp::capabilities();
    all.extend(sched::capabilities());
    all.extend(process::capabilities());
    all.extend(edges::capabilities());
    all.extend(memory::capabilities());
    all.extend(block::capabilities());
    all.extend(syscall::capabilities());
    all.extend(stacks::capabilities());
    all
}

/// Whether this kernel takes a probe, by its name in the experiment file. Nothing is left attached.
///
/// # Errors
/// What the machine lacks, or what the kernel refused.
pub fn trial(probe: &str) -> Result<(), Error> {
    match probe {
        "tcp" => tcp::trial(),
        "sched" => sched::trial(),
        "process" => process::trial(),
        "edges" => edges::trial(),
        "memory" => memory::trial(),
        "block" => block::trial(),
        "syscall" => syscall::trial(),
        other => Err(Error::Missing {
            what: format!("there is no probe {other}"),
            how: "leave it out".into(),
        }),
    }
}
