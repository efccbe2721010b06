//! Kernel evidence: eBPF probes, one folder each, C beside Rust.
//!
//! A probe attaches to BTF tracepoints, keeps what happens often in the kernel's own memory as
//! histograms, and hands what happens seldom over one event at a time. Each says which hooks it
//! uses and what it does not see on this kernel ([`temblor_event::ProbeStatus`]), how many events
//! it lost ([`temblor_event::ProbeLost`]) and what it cost ([`temblor_event::ProbeCost`]).
//!
//! What this crate does not know: experiments, faults, the lab. It is told which network
//! namespaces to watch and what to call the addresses it meets.

mod error;
mod kernel;
pub mod tcp;

pub use error::Error;

use temblor_host::Capability;

/// What this kernel offers each probe: looked up and tried, nothing left attached.
#[must_use]
pub fn capabilities() -> Vec<Capability> {
    tcp::capabilities()
}
