//! One HTTP/1.1 exchange over a kept-alive connection.
//!
//! The pool is ours rather than hyper-util's because the ledger must know whether a request can
//! have left: its client sends again by itself on a connection that turned out to be stale.
//! Here a request is sent a second time only if hyper hands it back untouched, which it does
//! only if it never began to write it.

use std::collections::VecDeque;
use std::error::Error as StdError;
use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{CONTENT_TYPE, HOST, HeaderValue, USER_AGENT};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use rustix::io::Errno;
use temblor_event::clock;
use tokio::net::TcpStream;

use crate::settings::Target;
use crate::verdict::Ended;

const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// After a burst, more idle connections than this are not worth keeping.
const IDLE_MAX: usize = 256;
/// Well below the time after which servers commonly close an idle connection (nginx: 75 s), for
/// a request that meets the closing one is `unsure` although nothing is wrong with the server.
const IDLE_NS_MAX: u64 = 15_000_000_000;
/// How many kept connections may turn out to be closed before a request gives up.
const CONNECTIONS_TRIED_MAX: usize = 4;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const AGENT: HeaderValue =
    HeaderValue::from_static(concat!("temblor-load/", env!("CARGO_PKG_VERSION")));

type Sender = SendRequest<Full<Bytes>>;

/// How far a request has come; readable also after its exchange was cancelled.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// When it was given to a connection.
    pub(crate) sent_ns: Option<u64>,
    /// When the answer's head came.
    pub(crate) status: Option<u16>,
}

/// The connections to one target.
#[derive(Debug)]
pub(crate) struct Client {
    target: Target,
    /// The most recently used last, so that the rest can age.
    idle: Mutex<VecDeque<Idle>>,
}

#[derive(Debug)]
struct Idle {
    sender: Sender,
    since_ns: u64,
}

impl Client {
    pub(crate) fn new(target: Target) -> Self {
        Self { target, idle: Mutex::default() }
    }

    /// Sends the body and reads the whole answer.
    pub(crate) async fn exchange(
        &self,
        key: &str,
        body: Vec<u8>,
        left_ns: u64,
        progress: &mut Progress,
    ) -> Ended {
        let request = match self.request(key, body) {
            Ok(request) => request,
            Err(error) => return Ended::NoConnection(format!("no valid request: {error}")),
        };
        let left = Duration::from_nanos(left_ns);
        match tokio::time::timeout(left, self.converse(request, progress)).await {
            Ok(ended) => ended,
            Err(_) if progress.sent_ns.is_none() => {
                Ended::NoConnection("no connection within the time-out".to_owned())
            }
            Err(_) => Ended::TimedOut { status: progress.status },
        }
    }

    fn request(
        &self,
        key: &str,
        body: Vec<u8>,
    ) -> Result<Request<Full<Bytes>>, hyper::http::Error> {
        Request::builder()
            .method(Method::POST)
            .uri(self.target.path.clone())
            .header(HOST, self.target.host.clone())
            .header(USER_AGENT, AGENT)
            .header(CONTENT_TYPE, JSON)
            .header("idempotency-key", key)
            .body(Full::new(Bytes::from(body)))
    }

    async fn converse(&self, mut request: Request<Full<Bytes>>, progress: &mut Progress) -> Ended {
        for _ in 0..CONNECTIONS_TRIED_MAX {
            let mut sender = match self.connection().await {
                Ok(sender) => sender,
                Err(ended) => return ended,
            };
            progress.sent_ns = Some(clock::now_ns());
            match sender.try_send_request(request).await {
                Ok(response) => return self.read(response, sender, progress).await,
                Err(mut error) => match error.take_message() {
                    Some(untouched) => {
                        progress.sent_ns = None;
                        request = untouched;
                    }
                    None => return Ended::Broken { status: None, why: chain(error.error()) },
                },
            }
        }
        Ended::NoConnection(format!(
            "{CONNECTIONS_TRIED_MAX} connections in a row were closed before anything was sent"
        ))
    }

    async fn read(
        &self,
        response: Response<Incoming>,
        sender: Sender,
        progress: &mut Progress,
    ) -> Ended {
        let status = response.status().as_u16();
        progress.status = Some(status);
        match Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await {
            Ok(body) => {
                self.keep(sender);
                Ended::Answered { status, body: body.to_bytes() }
            }
            Err(error) if error.is::<LengthLimitError>() => Ended::Broken {
                status: Some(status),
                why: format!("the answer is longer than {ANSWER_BYTES_MAX} bytes"),
            },
            Err(error) => Ended::Broken { status: Some(status), why: chain(error.as_ref()) },
        }
    }

    async fn connection(&self) -> Result<Sender, Ended> {
        while let Some(mut sender) = self.take_idle() {
            // A kept connection becomes ready as soon as its task has seen the answer's end; an
            // error says that the server has closed it.
            if sender.ready().await.is_ok() {
                return Ok(sender);
            }
        }
        let stream = self.connect().await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| Ended::NoConnection(chain(&error)))?;
        tokio::spawn(async move {
            // Whoever waits for an answer on it is told; there is nobody else to tell.
            if let Err(error) = connection.await {
                tracing::trace!(%error, "a connection of the load ended");
            }
        });
        sender.ready().await.map_err(|error| Ended::NoConnection(chain(&error)))?;
        Ok(sender)
    }

    async fn connect(&self) -> Result<TcpStream, Ended> {
        let mut ended = Ended::NoConnection("the target has no address".to_owned());
        for address in &self.target.addresses {
            let connected = TcpStream::connect(address).await.and_then(|stream| {
                stream.set_nodelay(true)?;
                Ok(stream)
            });
            match connected {
                Ok(stream) => return Ok(stream),
                Err(error) => ended = no_connection(&format!("{address}"), &error),
            }
        }
        Err(ended)
    }

    fn take_idle(&self) -> Option<Sender> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let oldest_ns = clock::now_ns().saturating_sub(IDLE_NS_MAX);
        while idle.front().is_some_and(|oldest| oldest.since_ns < oldest_ns) {
            idle.pop_front();
        }
        idle.pop_back().map(|idle| idle.sender)
    }

    fn keep(&self, sender: Sender) {
        if sender.is_closed() {
            return;
        }
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() == IDLE_MAX {
            idle.pop_front();
        }
        idle.push_back(Idle { sender, since_ns: clock::now_ns() });
    }
}

fn no_connection(address: &str, error: &io::Error) -> Ended {
    let why = format!("no connection to {address}: {error}");
    let ours = [Errno::MFILE, Errno::NFILE, Errno::ADDRNOTAVAIL, Errno::NOBUFS, Errno::NOMEM];
    match Errno::from_io_error(error) {
        Some(errno) if ours.contains(&errno) => Ended::Exhausted(why),
        _ => Ended::NoConnection(why),
    }
}

/// An error with its causes on one line; hyper's own text leaves the cause out.
fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_exhaustion_is_not_the_servers_refusal() {
        let check = |errno: Errno, ours: bool| {
            let ended = no_connection("127.0.0.1:1", &errno.into());
            assert_eq!(matches!(ended, Ended::Exhausted(_)), ours, "{ended:?}");
        };
        check(Errno::MFILE, true);
        check(Errno::ADDRNOTAVAIL, true);
        check(Errno::CONNREFUSED, false);
        check(Errno::HOSTUNREACH, false);
        check(Errno::PERM, false);
    }
}
