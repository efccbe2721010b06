//! Containers are restarted by their engine.

use std::io;
use std::time::Duration;

use temblor_faults::process::{Engine as Keeper, Signo};
use temblor_host::engine::{self, Engine};
use temblor_host::target::{Origin, Target};

/// Asks the engine that runs the target.
#[derive(Debug)]
pub(super) struct ByEngine;

impl Keeper for ByEngine {
    /// The engine ends a container with the signal that its image asks for, SIGTERM unless it
    /// asks; any other is sent first.
    fn restart(&self, target: &Target, signal: Signo, grace: Duration) -> io::Result<()> {
        if let Origin::Container { socket, id } = &target.origin
            && signal != Signo::TERM
        {
            Engine::at(socket).kill(id, &signal.number().to_string()).map_err(io::Error::other)?;
        }
        engine::restart(&target.origin, grace).map(drop).map_err(io::Error::other)
    }
}
