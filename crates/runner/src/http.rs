//! A GET with a bound on time and size.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

/// The greatest answer that is read: a page of metrics is well below.
const ANSWER_BYTES_MAX: usize = 4 << 20;

/// Asks over kept connections, so that asking adds little to what the probes see.
#[derive(Clone)]
pub(crate) struct Http(Client<HttpConnector, Empty<Bytes>>);

impl Http {
    pub(crate) fn new() -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        Self(Client::builder(TokioExecutor::new()).pool_max_idle_per_host(4).build(connector))
    }

    /// The status and the body, or in words why there is none.
    pub(crate) async fn get(&self, url: &str, bound: Duration) -> Result<(u16, Bytes), String> {
        self.get_at_most(url, bound, ANSWER_BYTES_MAX).await
    }

    /// The same for an answer of another size.
    pub(crate) async fn get_at_most(
        &self,
        url: &str,
        bound: Duration,
        bytes_max: usize,
    ) -> Result<(u16, Bytes), String> {
        let uri = url.parse::<hyper::Uri>().map_err(|e| format!("{url} is not a URL: {e}"))?;
        let ask = async {
            let answer = self.0.get(uri).await.map_err(|e| chain(&e))?;
            let status = answer.status().as_u16();
            let body = Limited::new(answer.into_body(), bytes_max)
                .collect()
                .await
                .map_err(|e| format!("the answer broke off: {e}"))?;
            Ok((status, body.to_bytes()))
        };
        tokio::time::timeout(bound, ask)
            .await
            .unwrap_or_else(|_| Err(format!("no answer within {} ms", bound.as_millis())))
    }
}

/// An error with its causes, once each.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    text
}
