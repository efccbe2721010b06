//! Asking another service over HTTP, never for long.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::RETRY_AFTER;
use hyper::{Request, StatusCode};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

const TIMEOUT: Duration = Duration::from_secs(5);
/// The longest answer is a list of a thousand orders, each below a kilobyte.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The request could not be sent, or the answer not be read.
    #[error("the call failed")]
    Transport(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It took too long.
    #[error("no answer within {} s", TIMEOUT.as_secs())]
    TimedOut,
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Reply {
    /// Its status.
    pub status: StatusCode,
    /// When to come back, if it says so.
    pub retry_after: Option<Duration>,
    /// Its body.
    pub body: Bytes,
}

/// A client with its own pool of connections; clones share it.
#[derive(Clone, Debug)]
pub struct Client(legacy::Client<HttpConnector, Full<Bytes>>);

impl Default for Client {
    fn default() -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(Duration::from_secs(2)));
        Self(legacy::Client::builder(TokioExecutor::new()).build(connector))
    }
}

impl Client {
    /// Sends a request and reads the whole answer.
    ///
    /// # Errors
    /// When there is none in time.
    pub async fn call(&self, request: Request<Full<Bytes>>) -> Result<Reply, CallError> {
        let call = async {
            let response =
                self.0.request(request).await.map_err(|e| CallError::Transport(e.into()))?;
            let status = response.status();
            let retry_after = response
                .headers()
                .get(RETRY_AFTER)
                .and_then(|value| value.to_str().ok()?.parse().ok())
                .map(Duration::from_secs);
            let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX)
                .collect()
                .await
                .map_err(CallError::Transport)?
                .to_bytes();
            Ok(Reply { status, retry_after, body })
        };
        tokio::time::timeout(TIMEOUT, call).await.unwrap_or(Err(CallError::TimedOut))
    }
}
