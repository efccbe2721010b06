//! One question to a service that speaks HTTP, and its answer.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE};
use hyper::{Request, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use crate::error::RunnerError;
use crate::http::chain;

/// Models think for a while.
const ANSWERS_WITHIN: Duration = Duration::from_secs(120);
const ANSWER_BYTES_MAX: usize = 4 << 20;
/// How much of what a server says of a failure is told.
const SAID_MAX: usize = 200;

/// What is asked, and whom.
pub struct Question {
    /// Where, such as `http://127.0.0.1:11434/v1/chat/completions`.
    pub url: String,
    /// What shows who asks, where that is wanted.
    pub key: Option<String>,
    /// JSON.
    pub body: String,
}

/// The answer's body.
///
/// # Errors
/// There is no such address, it is not spoken to in plain HTTP, or it does not answer with success.
pub fn ask(question: Question) -> Result<Vec<u8>, RunnerError> {
    let Question { url, key, body } = question;
    let wrong = |why: &str| RunnerError::Input(format!("{url}: {why}"));
    let uri: Uri = url.parse().map_err(|_| wrong("not a URL"))?;
    match uri.scheme_str() {
        Some("http") => {}
        Some("https") => {
            return Err(wrong(
                "https is not spoken here, but http: give a model on this machine, or a proxy that \
                 speaks https for it",
            ));
        }
        _ => return Err(wrong("begin it with http://")),
    }
    let failed = |why: String| RunnerError::Failed {
        what: format!("no answer came from {url}"),
        source: why.into(),
    };
    let mut request = Request::post(uri).header(CONTENT_TYPE, "application/json");
    if let Some(key) = key {
        request = request.header(AUTHORIZATION, format!("Bearer {key}"));
    }
    let request = request
        .body(Full::new(Bytes::from(body)))
        // Its text could have the key in it.
        .map_err(|_| wrong("the key cannot be sent in a header"))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| failed(error.to_string()))?;
    let answer = runtime.block_on(async {
        let client: Client<HttpConnector, Full<Bytes>> =
            Client::builder(TokioExecutor::new()).build_http();
        let ask = async {
            let answer = client.request(request).await.map_err(|error| chain(&error))?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
            Ok((status, body.map_err(|error| format!("the answer broke off: {error}"))?.to_bytes()))
        };
        let late = |_| Err(format!("nothing within {} s", ANSWERS_WITHIN.as_secs()));
        tokio::time::timeout(ANSWERS_WITHIN, ask).await.unwrap_or_else(late)
    });
    let (status, body) = answer.map_err(failed)?;
    if !status.is_success() {
        let said = String::from_utf8_lossy(&body);
        let said: String =
            said.trim().replace(char::is_control, " ").chars().take(SAID_MAX).collect();
        return Err(failed(format!("it answers {}: {said}", status.as_u16())));
    }
    Ok(body.to_vec())
}
