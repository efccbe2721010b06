//! What this kernel and machine can do, and the targets on it.
//!
//! This crate looks, enters namespaces, and has the two tools that whoever starts or ends
//! processes needs: [`cgroup`]s and [`process`] handles that cannot hit the wrong process.
//! Nothing here changes the machine unless it is called to. What it does not know: experiments,
//! faults, probes, the lab.

mod capabilities;
pub mod cgroup;
pub mod engine;
mod facts;
pub mod netns;
pub mod process;
pub mod processes;
pub mod programs;
pub mod protected;
pub mod target;

pub use capabilities::{Capability, State, capabilities};
pub use facts::{boot_id, facts, kernel_at_least};
