//! Faults of the network between a target and others.

mod partition;
mod prefix;

pub use partition::{Action, Direction, MAX_PEERS, MAX_PORTS, Partition, Peer, trial};
pub use prefix::Prefix;
