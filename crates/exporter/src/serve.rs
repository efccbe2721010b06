//! The page over HTTP.

use std::future::ready;
use std::io;
use std::net::TcpListener;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use temblor_http::{Limits, Page, Server};

const LIMITS: Limits = Limits { connections_max: 16, answer_takes: Duration::from_secs(30) };

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

/// Serves the pages on a listener, until the server is dropped.
///
/// # Errors
/// The thread cannot be started, or the listener is none.
pub fn serve(listener: TcpListener, pages: impl Pages) -> io::Result<Server> {
    Server::start(listener, LIMITS, move |request| ready(answer(&request, &pages)))
}

fn answer<B>(request: &Request<B>, pages: &impl Pages) -> Page {
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

fn page(status: StatusCode, content: &'static str, text: String) -> Page {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
