//! Faults of what a server has only so many of.

mod connections;
mod files;
mod listed;
mod refused;

pub use connections::{Connections, MAX_CONNECTIONS, Speak};
pub use files::{FileLimit, Files};
pub use refused::Refused;
