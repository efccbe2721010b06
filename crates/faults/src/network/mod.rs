//! Faults of the network between a target and others.

mod partition;
mod prefix;
mod shape;

pub use partition::{Action, Direction, MAX_PEERS, MAX_PORTS, Partition, Peer, trial};
pub use prefix::Prefix;
pub use shape::{DELAY_MAX, Dose, Shape};
