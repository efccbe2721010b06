//! A small server for the page: bounded in connections, in time and in what it reads.

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::{Semaphore, oneshot};

/// Whoever comes beyond these waits until one of them is done.
const CONNECTIONS_MAX: usize = 16;
/// A request has no business to be longer.
const REQUEST_BYTES_MAX: usize = 16 * 1024;
const HEADERS_MAX: usize = 64;
/// From the connection to the end of the request.
const REQUEST_TAKES: Duration = Duration::from_secs(5);
/// From the connection to the end of the answer.
const ANSWER_TAKES: Duration = Duration::from_secs(30);
/// After an accept that failed, for want of files perhaps.
const ACCEPT_AGAIN: Duration = Duration::from_millis(200);
/// What is under way may take so long at the end.
const GRACE: Duration = Duration::from_secs(1);

const INDEX: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">\
    <title>temblor agent</title><h1>temblor agent</h1><ul>\
    <li><a href=\"/metrics\">/metrics</a>: the figures, for Prometheus\
    <li><a href=\"/-/healthy\">/-/healthy</a>: whether the probes are read</ul></html>\n";

/// What is served. The calls are short: they are made on the server's only thread.
pub trait Pages: Send + Sync + 'static {
    /// The figures.
    ///
    /// # Errors
    /// Why there are none.
    fn metrics(&self) -> Result<String, String>;

    /// Whether the figures are being counted.
    ///
    /// # Errors
    /// Why not.
    fn healthy(&self) -> Result<(), String>;
}

/// The server, on a thread of its own. Dropping it ends it.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Serves on a listener.
    ///
    /// # Errors
    /// The thread cannot be started, or the listener is none.
    pub fn start(listener: TcpListener, pages: impl Pages) -> io::Result<Self> {
        let address = listener.local_addr()?;
        listener.set_nonblocking(true)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let listener = {
            let _inside = runtime.enter();
            tokio::net::TcpListener::from_std(listener)?
        };
        let (stop, stopped) = oneshot::channel();
        let pages = Arc::new(pages);
        let thread = std::thread::Builder::new().name("http".into()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = accept(listener, pages) => {}
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

async fn accept(listener: tokio::net::TcpListener, pages: Arc<impl Pages>) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
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
        let pages = Arc::clone(&pages);
        tokio::spawn(async move {
            let answer = service_fn(move |request| {
                let answer = answer(&request, &*pages);
                async move { Ok::<_, Infallible>(answer) }
            });
            let served = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(REQUEST_TAKES)
                .max_buf_size(REQUEST_BYTES_MAX)
                .max_headers(HEADERS_MAX)
                // One answer a connection: whoever idles would hold a place.
                .keep_alive(false)
                .serve_connection(TokioIo::new(stream), answer);
            match tokio::time::timeout(ANSWER_TAKES, served).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::debug!(%error, "a request was not served"),
                Err(_) => tracing::debug!("an answer took too long to be read"),
            }
            drop(place);
        });
    }
}

fn answer<B>(request: &Request<B>, pages: &impl Pages) -> Response<Full<Bytes>> {
    const TEXT: &str = "text/plain; charset=utf-8";
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let mut refused = page(StatusCode::METHOD_NOT_ALLOWED, TEXT, "only GET\n".into());
        refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refused;
    }
    match request.uri().path() {
        "/metrics" => match pages.metrics() {
            Ok(text) => page(StatusCode::OK, crate::CONTENT_TYPE, text),
            Err(why) => page(StatusCode::INTERNAL_SERVER_ERROR, TEXT, format!("{why}\n")),
        },
        "/-/healthy" => match pages.healthy() {
            Ok(()) => page(StatusCode::OK, TEXT, "healthy\n".into()),
            Err(why) => page(StatusCode::SERVICE_UNAVAILABLE, TEXT, format!("{why}\n")),
        },
        "/" => page(StatusCode::OK, "text/html; charset=utf-8", INDEX.into()),
        _ => page(StatusCode::NOT_FOUND, TEXT, "there is nothing at this path\n".into()),
    }
}

fn page(status: StatusCode, content: &'static str, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
