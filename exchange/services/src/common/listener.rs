//! Connections are bounded, and leave file descriptors for the journal.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::serve::Listener;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Connections served at the same time; further ones wait to be accepted.
const CONNECTIONS_MAX: u64 = 4096;
/// File descriptors for everything that is not a client's connection.
const DESCRIPTORS_KEPT: u64 = 128;

/// A listener that stops accepting when as many connections are open as there may be.
pub(super) struct BoundedListener {
    inner: TcpListener,
    places: Arc<Semaphore>,
}

impl BoundedListener {
    /// Raises the process's own limit on descriptors as far as it may, and stays below it.
    pub(super) fn new(inner: TcpListener) -> Self {
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        // Where the limit cannot be raised, the lower one counts.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
        let descriptors = getrlimit(Resource::Nofile).current.or(current).unwrap_or(u64::MAX);
        let connections = CONNECTIONS_MAX.min(descriptors.saturating_sub(DESCRIPTORS_KEPT)).max(1);
        let places = usize::try_from(connections).unwrap_or(1);
        Self { inner, places: Arc::new(Semaphore::new(places)) }
    }
}

impl Listener for BoundedListener {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        let place = match Arc::clone(&self.places).acquire_owned().await {
            Ok(place) => place,
            // Nobody closes the semaphore.
            Err(_) => std::future::pending().await,
        };
        // Retries by itself when a connection breaks before it is accepted.
        let (stream, address) = Listener::accept(&mut self.inner).await;
        // Answers are small; one that waits for more to come is only late.
        let _ = stream.set_nodelay(true);
        (Connection { stream, _place: place }, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }
}

/// A connection and the place it takes up.
pub(super) struct Connection {
    stream: TcpStream,
    _place: OwnedSemaphorePermit,
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
