//! Profiles of running processes, with no change to them.
//!
//! The kernel half, in `temblor-probes`, gives addresses. Here it is told how to walk the processes'
//! stacks, from the files that they have mapped; each address becomes a place in a file while its
//! process is there; and when all is collected the places get their names and become a
//! [`temblor_profile::Profile`]. Processes may come, go and end meanwhile.
//!
//! What this crate does not know: how targets are found, and how a profile is shown.

#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "estimates, which are rounded"
)]

mod collect;
mod collecting;
mod error;
mod heap;
mod naming;
mod parts;
mod settings;
mod spaces;
mod stacks;
mod taking;
mod threads;
mod waits;

pub use collect::{Account, Collected, Parted, collect, collect_parts};
pub use error::Error;
pub use parts::{Part, Parts, Stretch};
pub use settings::{Settings, Wanted};
pub use temblor_probes::stacks::{End, Waits};
