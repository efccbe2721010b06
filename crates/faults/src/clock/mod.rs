//! Faults of a target's clock.

mod copy;
mod offset;
mod readings;
mod refused;
mod routine;
pub(crate) mod stopped;
pub(crate) mod vdso;

pub use offset::{MAX_OFFSET_NS, Offset};
pub use refused::Refused;
