//! Faults of what a server has only so many of.

mod connections;
mod refused;

pub use connections::{Connections, MAX_CONNECTIONS, Speak};
pub use refused::Refused;
