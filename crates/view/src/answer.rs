//! A request and its answer. Whoever may ask is decided here: the page itself, and nobody else.

use std::net::IpAddr;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HOST, HeaderName, HeaderValue};
use hyper::{HeaderMap, Method, Request, Response, StatusCode};

use crate::ask::{Ask, Wrong, ask};
use crate::page::FILES;
use crate::views::{Refused, Views};

const TEXT: &str = "text/plain; charset=utf-8";

/// The page may load what this server hands out, and nothing else; nobody may frame it; and text
/// cannot become part of it but as text.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
    require-trusted-types-for 'script'; trusted-types 'none'";

/// What every answer says.
const ALWAYS: [(&str, &str); 6] = [
    ("content-security-policy", POLICY),
    ("cross-origin-resource-policy", "same-origin"),
    ("cross-origin-opener-policy", "same-origin"),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("x-frame-options", "DENY"),
];

/// What is to be done for a request.
#[derive(Debug)]
pub(crate) enum Todo {
    /// Nothing more.
    Done(Response<Full<Bytes>>),
    /// An answer is to be made, which takes its time.
    Make(Ask),
}

/// What a request is about.
pub(crate) fn todo<B>(request: &Request<B>) -> Todo {
    if let Err(why) = is_of_the_page(request.headers()) {
        return Todo::Done(text(StatusCode::FORBIDDEN, why));
    }
    if request.method() != Method::GET {
        let mut refused = text(StatusCode::METHOD_NOT_ALLOWED, "only GET");
        refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET"));
        return Todo::Done(refused);
    }
    let (path, query) = (request.uri().path(), request.uri().query().unwrap_or_default());
    if let Some(file) = FILES.iter().find(|file| file.path == path) {
        let bytes = Bytes::from_static(file.bytes);
        return Todo::Done(answer(StatusCode::OK, file.content_type, bytes));
    }
    match ask(path, query) {
        Ok(ask) => Todo::Make(ask),
        Err(Wrong::Path) => {
            Todo::Done(text(StatusCode::NOT_FOUND, "there is nothing at this path"))
        }
        Err(Wrong::Query(why)) => Todo::Done(text(StatusCode::BAD_REQUEST, why)),
    }
}

/// The answer to what is asked of the profiles.
pub(crate) fn made(views: &Views, ask: Ask) -> Response<Full<Bytes>> {
    match views.answer(ask) {
        Ok(bytes) => {
            let content_type = match ask {
                Ask::Profiles | Ask::Heat { .. } => "application/json",
                Ask::Tree { .. } | Ask::Comparison { .. } | Ask::Chart { .. } => {
                    "application/octet-stream"
                }
            };
            answer(StatusCode::OK, content_type, bytes)
        }
        Err(Refused::Asked(why)) => text(StatusCode::NOT_FOUND, &why),
        Err(Refused::Ours(why)) => {
            tracing::error!(why, "an answer could not be written");
            failed()
        }
    }
}

/// The answer where there should be another one.
pub(crate) fn failed() -> Response<Full<Bytes>> {
    text(StatusCode::INTERNAL_SERVER_ERROR, "this went wrong; the server's log says how")
}

/// A page from elsewhere can make a browser ask, under a name of its own that leads here; such a
/// name is not an address. What a browser says of whose page it is must be ours as well.
fn is_of_the_page(headers: &HeaderMap) -> Result<(), &'static str> {
    let mut hosts = headers.get_all(HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else {
        return Err("it must be said once under which address this is asked for");
    };
    if !host.to_str().is_ok_and(is_address) {
        return Err("only under an address of numbers, or as localhost");
    }
    let site = headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
    match site {
        None | Some(b"same-origin" | b"none") => Ok(()),
        Some(_) => Err("only for this server's own page"),
    }
}

/// Whether it is an address of numbers or `localhost`; the port is whatever a tunnel makes of it.
fn is_address(host: &str) -> bool {
    let (name, port) = match host.rsplit_once(':') {
        // Of an address with colons the last one is part of it, unless it stands behind a bracket.
        Some((name, port)) if !port.ends_with(']') => (name, Some(port)),
        _ => (host, None),
    };
    if port.is_some_and(|port| port.parse::<u16>().is_err()) {
        return false;
    }
    let in_brackets = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
    match in_brackets {
        Some(name) => matches!(name.parse(), Ok(IpAddr::V6(_))),
        None => name.eq_ignore_ascii_case("localhost") || matches!(name.parse(), Ok(IpAddr::V4(_))),
    }
}

fn text(status: StatusCode, text: &str) -> Response<Full<Bytes>> {
    answer(status, TEXT, Bytes::from(format!("{text}\n")))
}

fn answer(status: StatusCode, content_type: &'static str, bytes: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(bytes));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    for (name, value) in ALWAYS {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_are_addresses() {
        for (host, expected) in [
            ("127.0.0.1", true),
            ("127.0.0.1:8080", true),
            ("10.1.2.3:80", true),
            ("localhost", true),
            ("LocalHost:9", true),
            ("[::1]", true),
            ("[::1]:8080", true),
            ("", false),
            (":80", false),
            ("evil.example", false),
            ("evil.example:8080", false),
            ("localhost.evil.example", false),
            ("127.0.0.1.evil.example", false),
            ("127.0.0.1:evil", false),
            ("127.0.0.1:99999", false),
            ("127.1", false),
            ("0x7f.0.0.1", false),
            ("[127.0.0.1]", false),
            ("::1", false),
            ("user@127.0.0.1", false),
        ] {
            assert_eq!(is_address(host), expected, "{host}");
        }
    }
}
