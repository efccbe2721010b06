//! Why a container engine did not do what it was asked.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Why a container engine did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// No engine's socket is there.
    #[error(
        "no container engine was found: there is no socket at {}; start the engine, or name its \
         socket in DOCKER_HOST", list(.tried)
    )]
    NoEngine {
        /// Where it was looked for.
        tried: Vec<PathBuf>,
    },
    /// `DOCKER_HOST` names something that cannot be used.
    #[error(
        "DOCKER_HOST is `{value}`, and only an engine of this machine will do: \
         unix:///path/to/socket"
    )]
    NotLocal {
        /// What it says.
        value: String,
    },
    /// The socket is there, and not for us.
    #[error(
        "may not use the container engine's socket {socket}: run as root, or join the group that \
         owns it"
    )]
    Permission {
        /// The socket.
        socket: PathBuf,
    },
    /// The socket is there, and nobody answers.
    #[error("no container engine answers at {socket}: is it running?")]
    NoAnswer {
        /// The socket.
        socket: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It took too long.
    #[error("the container engine at {socket} did not {doing} within {} s", .bound.as_secs())]
    TooLong {
        /// The socket.
        socket: PathBuf,
        /// What was asked.
        doing: String,
        /// The bound.
        bound: Duration,
    },
    /// The conversation broke off.
    #[error("the container engine at {socket} broke off when asked to {doing}")]
    BrokeOff {
        /// The socket.
        socket: PathBuf,
        /// What was asked.
        doing: String,
        /// What happened.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It refused.
    #[error("the container engine would not {doing}: {said} (HTTP {status})")]
    Said {
        /// What was asked.
        doing: String,
        /// The status.
        status: u16,
        /// Its message.
        said: String,
    },
    /// It has no process.
    #[error("the container {name} is {state}, not running: start it first")]
    NotRunning {
        /// The container.
        name: String,
        /// What it is instead.
        state: String,
    },
    /// The target is no container.
    #[error("it is no container, so no engine can restart it")]
    NotAContainer,
}

fn list(paths: &[PathBuf]) -> String {
    let names: Vec<_> = paths.iter().map(|path| path.display().to_string()).collect();
    names.join(" or ")
}
