//! What this kernel and machine can do, and the targets on it.
//!
//! This crate changes nothing on the machine; it looks, and it enters namespaces. What it does
//! not know: experiments, faults, probes, the lab.

pub mod netns;
pub mod target;
