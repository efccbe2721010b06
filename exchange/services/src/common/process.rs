//! How a service's process begins and ends.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// How long threads that are in the middle of something may take at the end.
const LINGER: Duration = Duration::from_secs(1);

/// A listener and where it ended up, which matters for port 0.
#[derive(Debug)]
pub struct Bound {
    /// Accepts connections.
    pub listener: TcpListener,
    /// The address with its real port.
    pub address: SocketAddr,
}

/// Takes the address to listen on.
///
/// # Errors
/// When the address is taken or not this machine's.
pub async fn bind(address: SocketAddr) -> anyhow::Result<Bound> {
    let listener = TcpListener::bind(address).await.with_context(|| {
        format!("could not listen on {address}: choose another address with --listen")
    })?;
    let address = listener.local_addr().context("could not read the listener's address")?;
    Ok(Bound { listener, address })
}

/// Sends the log to stderr, one line per event; `RUST_LOG` filters it, `info` unless set.
pub fn init_log() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    // A second call, from a test in the same process, finds a log already there: fine.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false)
        .with_writer(io::stderr)
        .try_init();
}

/// Resolves at SIGTERM or SIGINT.
///
/// # Errors
/// When the handlers cannot be installed.
pub fn terminated() -> io::Result<impl Future<Output = ()> + Send + 'static> {
    let mut term = signal(SignalKind::terminate())?;
    let mut int = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = term.recv() => tracing::info!("SIGTERM: stopping"),
            _ = int.recv() => tracing::info!("SIGINT: stopping"),
        }
    })
}

/// Runs a service's main future on a runtime of its own and turns its end into an exit
/// code: 0 for a clean end, 1 for an error, which is logged once with its whole chain.
pub fn run_to_exit(
    name: &'static str,
    service: impl Future<Output = anyhow::Result<()>>,
) -> ExitCode {
    init_log();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!("{name}: could not start the runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    let ended = runtime.block_on(service);
    // What still runs has nothing to say any more: whatever matters is in the journal.
    runtime.shutdown_timeout(LINGER);
    match ended {
        Ok(()) => {
            tracing::info!("{name}: ended");
            ExitCode::SUCCESS
        }
        Err(error) => {
            tracing::error!("{name}: {error:#}");
            ExitCode::FAILURE
        }
    }
}
