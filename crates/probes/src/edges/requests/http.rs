//! HTTP/1.0 and 1.1: a method, and the class of the answer's status. Paths would have no bound.

use super::{Heads, Request};

const METHODS: &[&str] =
    &["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT"];

pub(super) fn read(heads: Heads<'_>) -> Option<Request> {
    let method = METHODS.iter().find(|method| {
        let rest = heads.request.strip_prefix(method.as_bytes());
        rest.is_some_and(|rest| rest.first() == Some(&b' '))
    })?;
    // `HTTP/1.1 200 OK`
    let status = heads.answer.strip_prefix(b"HTTP/1.")?.get(2..5)?;
    let class = status[0].is_ascii_digit().then(|| char::from(status[0]))?;
    let error = (class == '5').then(|| "5xx".to_owned());
    Some(Request { protocol: "HTTP", kind: format!("{method} {class}xx"), error })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_and_a_status_are_read() {
        let check = |request: &str, answer: &str, expected: Option<(&str, Option<&str>)>| {
            let heads = Heads {
                request: request.as_bytes(),
                request_bytes: request.len(),
                answer: answer.as_bytes(),
            };
            let read = read(heads).map(|request| (request.kind, request.error));
            let expected = expected.map(|(kind, e)| (kind.to_owned(), e.map(str::to_owned)));
            assert_eq!(read, expected, "{request} {answer}");
        };
        check("GET /a HTTP/1.1\r\n", "HTTP/1.1 200 OK", Some(("GET 2xx", None)));
        check("POST /orders HTTP/1.1", "HTTP/1.1 404 Not", Some(("POST 4xx", None)));
        check("POST / HTTP/1.0", "HTTP/1.0 503 Service", Some(("POST 5xx", Some("5xx"))));
        check("GETS /a HTTP/1.1", "HTTP/1.1 200 OK", None);
        check("get /a HTTP/1.1", "HTTP/1.1 200 OK", None);
        check("GET /a HTTP/1.1", "HTTP/1.1 ", None);
        check("GET /a HTTP/1.1", "hello", None);
        check("PRI * HTTP/2.0", "\0\0\x12\x04", None);
        check("", "", None);
    }
}
