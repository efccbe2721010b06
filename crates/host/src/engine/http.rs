//! One request to a server behind a unix socket, and its whole answer.

use std::error::Error;
use std::io;
use std::path::Path;
use std::time::Duration;

use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Bytes;
use hyper::{Method, Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

use super::EngineError;

/// No answer that is read here is near this size: a list of a thousand containers is 2 MB.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// What is asked.
pub(super) struct Question<'a> {
    pub(super) method: Method,
    /// Path and query, escaped.
    pub(super) path: String,
    /// In words, to go on from "would not": `restart the container api`.
    pub(super) doing: &'a str,
    pub(super) bound: Duration,
}

/// Asks and waits for the answer, on a thread of its own: whoever calls may be anywhere, in an
/// asynchronous program too.
pub(super) fn ask(
    socket: &Path,
    question: &Question<'_>,
) -> Result<(StatusCode, Bytes), EngineError> {
    let thread = std::thread::Builder::new().name("engine".into());
    std::thread::scope(|scope| {
        let asking = || -> Result<_, EngineError> {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.map_err(|source| broke_off(socket, question, source))?.block_on(async {
                let answer = tokio::time::timeout(question.bound, exchange(socket, question));
                answer.await.unwrap_or_else(|_| {
                    Err(EngineError::TooLong {
                        socket: socket.to_path_buf(),
                        doing: question.doing.to_owned(),
                        bound: question.bound,
                    })
                })
            })
        };
        let asked = thread.spawn_scoped(scope, asking);
        let asked = asked.map_err(|source| broke_off(socket, question, source))?;
        asked.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

async fn exchange(
    socket: &Path,
    question: &Question<'_>,
) -> Result<(StatusCode, Bytes), EngineError> {
    let stream = UnixStream::connect(socket).await.map_err(|source| unreachable(socket, source))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|source| broke_off(socket, question, source))?;
    // It ends with the runtime, when the answer has been read.
    tokio::spawn(connection);
    let request = Request::builder()
        .method(&question.method)
        .uri(&question.path)
        .header(header::HOST, "localhost")
        .body(Empty::<Bytes>::new())
        .map_err(|source| broke_off(socket, question, source))?;
    let answer =
        sender.send_request(request).await.map_err(|source| broke_off(socket, question, source))?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
    let body = body.map_err(|source| broke_off(socket, question, source))?;
    Ok((status, body.to_bytes()))
}

fn unreachable(socket: &Path, source: io::Error) -> EngineError {
    let socket = socket.to_path_buf();
    match source.kind() {
        io::ErrorKind::NotFound => EngineError::NoEngine { tried: vec![socket] },
        io::ErrorKind::PermissionDenied => EngineError::Permission { socket },
        _ => EngineError::NoAnswer { socket, source },
    }
}

pub(super) fn broke_off(
    socket: &Path,
    question: &Question<'_>,
    source: impl Into<Box<dyn Error + Send + Sync>>,
) -> EngineError {
    EngineError::BrokeOff {
        socket: socket.to_path_buf(),
        doing: question.doing.to_owned(),
        source: source.into(),
    }
}
