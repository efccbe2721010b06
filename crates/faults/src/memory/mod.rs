//! Faults of memory: a target may have less of it, or something beside it takes it away.

mod group;
mod limit;
mod pressure;
mod refusal;

pub use limit::Limit;
pub use pressure::{Amount, Pressure, Victim};
pub use refusal::MemoryRefusal;

use crate::process::place::Wanted;

const WANTED: Wanted =
    Wanted { controller: "memory", counted_by: None, v2: group::V2_LIMIT, v1: group::V1_LIMIT };

/// The least that a limit or a pressure may be: less would be lost among what a process is
/// charged for its own page tables and the kernel's batches.
pub const BYTES_MIN: u64 = 4 << 20;
