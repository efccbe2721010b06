//! What is acted on or watched.

use std::net::IpAddr;

use crate::netns::Netns;

/// A set of processes with their network namespace and addresses.
#[derive(Debug, Clone)]
pub struct Target {
    /// The service, container or process name: unique among the targets of a run.
    pub service: String,
    /// Its processes, the main one first. They may be replaced by a restart during a run; the
    /// namespace stays.
    pub pids: Vec<u32>,
    /// Its network namespace.
    pub netns: Netns,
    /// The addresses at which others reach it.
    pub addresses: Vec<IpAddr>,
}
