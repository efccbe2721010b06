//! A small server for pages: bounded in connections, in time and in what it reads.
//!
//! What this crate does not know: what the pages say.

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::{Semaphore, oneshot};

/// A request has no business to be longer.
const REQUEST_BYTES_MAX: usize = 16 * 1024;
const HEADERS_MAX: usize = 64;
/// From the connection to the end of the request.
const REQUEST_TAKES: Duration = Duration::from_secs(5);
/// After an accept that failed, for want of files perhaps.
const ACCEPT_AGAIN: Duration = Duration::from_millis(200);
/// What is under way may take so long at the end.
const GRACE: Duration = Duration::from_secs(1);

/// What is answered.
pub type Page = Response<Full<Bytes>>;

/// What one server bears.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Whoever comes beyond these waits until one of them is done.
    pub connections_max: usize,
    /// From the connection to the end of the answer.
    pub answer_takes: Duration,
}

/// The server, on a thread of its own. Dropping it ends it.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Serves on a listener. Answers are made on the server's only thread.
    ///
    /// # Errors
    /// The thread cannot be started, or the listener is none.
    pub fn start<Answer, Made>(
        listener: TcpListener,
        limits: Limits,
        answer: Answer,
    ) -> io::Result<Self>
    where
        Answer: Fn(Request<Incoming>) -> Made + Send + Sync + 'static,
        Made: Future<Output = Page> + Send + 'static,
    {
        let address = listener.local_addr()?;
        listener.set_nonblocking(true)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let listener = {
            let _inside = runtime.enter();
            tokio::net::TcpListener::from_std(listener)?
        };
        let (stop, stopped) = oneshot::channel();
        let answer = Arc::new(answer);
        let thread = std::thread::Builder::new().name("http".into()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = accept(listener, limits, answer) => {}
                    _ = stopped => {}
                }
            });
            runtime.shutdown_timeout(GRACE);
        })?;
        Ok(Self { address, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // It has ended already where nobody listens.
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the server's thread panicked");
        }
    }
}

async fn accept<Answer, Made>(
    listener: tokio::net::TcpListener,
    limits: Limits,
    answer: Arc<Answer>,
) where
    Answer: Fn(Request<Incoming>) -> Made + Send + Sync + 'static,
    Made: Future<Output = Page> + Send + 'static,
{
    let room = Arc::new(Semaphore::new(limits.connections_max));
    loop {
        // The semaphore is never closed.
        let Ok(place) = Arc::clone(&room).acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_AGAIN).await;
                continue;
            }
        };
        let answer = Arc::clone(&answer);
        tokio::spawn(async move {
            let answer = service_fn(move |request| {
                let made = answer(request);
                async move { Ok::<_, Infallible>(made.await) }
            });
            let served = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(REQUEST_TAKES)
                .max_buf_size(REQUEST_BYTES_MAX)
                .max_headers(HEADERS_MAX)
                // One answer a connection: whoever idles would hold a place.
                .keep_alive(false)
                .serve_connection(TokioIo::new(stream), answer);
            match tokio::time::timeout(limits.answer_takes, served).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::debug!(%error, "a request was not served"),
                Err(_) => tracing::debug!("an answer took too long to be read"),
            }
            drop(place);
        });
    }
}
