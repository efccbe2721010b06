//! Faults of the network between a target and others.

mod dns;
pub mod netem;
mod partition;
mod prefix;
mod queue;
mod reset;
mod shape;

pub use dns::{Answer, Dns};
#[cfg(test)]
pub(crate) use partition::empty_netns;
pub use partition::{Action, Direction, MAX_PEERS, MAX_PORTS, Partition, Peer, trial};
pub use prefix::Prefix;
pub use reset::{EVERY_MAX, EVERY_MIN, Reset};
pub use shape::{DELAY_MAX, Dose, Shape};
