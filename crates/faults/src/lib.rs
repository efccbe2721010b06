//! Faults: applied, proven by a counter, undone.
//!
//! A fault is one reversible change to a target's world. Whether the machine can make it is found
//! out first ([`network::trial`]). Then it is a [`Fault`]: checked, and shown without being made.
//! Once it is in place it is an [`Injected`]: a value that reads the fault's effect and whose end,
//! by [`Injected::revert`] or by being dropped, is the fault's end. What the kernel does not undo
//! by itself when this process is killed is on record with [`undo`] before it is made.
//!
//! What this crate does not know: experiments, phases, load, probes, and when a fault should
//! begin or end.

pub mod clock;
pub mod cpu;
pub mod disk;
mod error;
mod family;
mod fault;
mod injected;
pub mod memory;
mod netlink;
pub mod network;
mod nft;
pub mod process;
pub mod resource;
pub mod stressor;
mod tc;
pub mod undo;

pub use error::{Error, Kind, Refusal};
pub use fault::Fault;
pub use injected::{Described, Injected, PlannedChange, Reverted};
pub use nft::listing::leftovers;

/// What this crate's functions give.
pub type Result<T, E = Error> = std::result::Result<T, E>;
