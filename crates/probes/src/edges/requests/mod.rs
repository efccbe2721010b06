//! From the beginnings of requests and answers to figures by protocol and kind: pure, so that any
//! bytes at all can be tried on it.

mod http;
mod postgres;
mod redis;

use std::collections::{BTreeMap, HashMap};

use temblor_event::Distribution;

use self::postgres::Statements;
use super::skeleton::{edge_key, edges_exchange};
use crate::plain::as_bytes;

/// What is beyond a bound goes by.
const OTHERS: &str = "others";
/// Kinds of requests that are told apart on an edge, and errors of a kind.
const KINDS_MAX: usize = 64;
const ERRORS_MAX: usize = 32;

/// What a request was and whether it failed.
#[derive(Debug, PartialEq, Eq)]
struct Request {
    protocol: &'static str,
    kind: String,
    error: Option<String>,
}

/// What there is of a request and of its answer.
#[derive(Debug, Clone, Copy)]
struct Heads<'a> {
    request: &'a [u8],
    /// How long the whole request is.
    request_bytes: usize,
    answer: &'a [u8],
}

/// Requests of one kind in a window.
#[derive(Debug, Default)]
pub(super) struct OfKind {
    pub(super) took: Distribution,
    pub(super) errors: BTreeMap<String, u64>,
}

/// By protocol and kind.
pub(super) type Kinds = BTreeMap<(&'static str, String), OfKind>;

/// The requests of the window that is open, by edge.
#[derive(Debug, Default)]
pub(super) struct Requests {
    statements: Statements,
    by_edge: HashMap<Vec<u8>, Kinds>,
}

impl Requests {
    pub(super) fn add(&mut self, exchange: &edges_exchange) {
        let Some(request) = read(exchange, &mut self.statements) else { return };
        let kinds = self.by_edge.entry(as_bytes(&exchange.edge).to_vec()).or_default();
        let mut kind = (request.protocol, request.kind);
        if kinds.len() >= KINDS_MAX && !kinds.contains_key(&kind) {
            OTHERS.clone_into(&mut kind.1);
        }
        let of = kinds.entry(kind).or_default();
        of.took.buckets.add(u16::try_from(exchange.bucket).unwrap_or(u16::MAX), 1);
        of.took.sum = of.took.sum.saturating_add(exchange.turn_ns);
        of.took.max = of.took.max.max(exchange.turn_ns);
        if let Some(mut error) = request.error {
            if of.errors.len() >= ERRORS_MAX && !of.errors.contains_key(&error) {
                OTHERS.clone_into(&mut error);
            }
            *of.errors.entry(error).or_default() += 1;
        }
    }

    /// What came over an edge since it was last asked for.
    pub(super) fn take(&mut self, edge: &edge_key) -> Kinds {
        self.by_edge.remove(as_bytes(edge)).unwrap_or_default()
    }

    /// The window is over: what is left is of edges that are gone.
    pub(super) fn clear(&mut self) {
        self.by_edge.clear();
    }
}

/// None: it is none of the protocols that are known here.
fn read(exchange: &edges_exchange, statements: &mut Statements) -> Option<Request> {
    fn upto(bytes: &[u8], length: u32) -> &[u8] {
        &bytes[..usize::try_from(length).map_or(bytes.len(), |length| length.min(bytes.len()))]
    }
    let heads = Heads {
        request: upto(&exchange.request, exchange.request_length),
        request_bytes: usize::try_from(exchange.request_bytes).unwrap_or(usize::MAX),
        answer: upto(&exchange.answer, exchange.answer_length),
    };
    http::read(heads).or_else(|| redis::read(heads)).or_else(|| {
        let messages = postgres::Messages {
            request: &exchange.request_types,
            answer: &exchange.answer_types,
            failure: upto(&exchange.failure, exchange.failure_length),
        };
        statements.read((exchange.socket, exchange.since_ns), heads, messages)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn exchange(request: &[u8], answer: &[u8]) -> edges_exchange {
        let mut exchange = edges_exchange { turn_ns: 20, bucket: 20, ..Default::default() };
        let length = request.len().min(exchange.request.len());
        exchange.request[..length].copy_from_slice(&request[..length]);
        exchange.request_length = u32::try_from(length).unwrap();
        exchange.request_bytes = u32::try_from(request.len()).unwrap();
        let length = answer.len().min(exchange.answer.len());
        exchange.answer[..length].copy_from_slice(&answer[..length]);
        exchange.answer_length = u32::try_from(length).unwrap();
        exchange
    }

    #[test]
    fn requests_are_added_up_by_kind_and_error() {
        let mut requests = Requests::default();
        let get = b"GET / HTTP/1.1\r\n\r\n";
        for answer in [b"HTTP/1.1 200 OK", b"HTTP/1.1 200 OK", b"HTTP/1.1 503 No"] {
            requests.add(&exchange(get, answer));
        }
        requests.add(&exchange(b"*1\r\n$4\r\nPING\r\n", b"+PONG\r\n"));
        requests.add(&exchange(b"HELO me", b"250 you"));
        let kinds = requests.take(&edge_key::default());
        let told: Vec<_> = kinds
            .iter()
            .map(|((protocol, kind), of)| (*protocol, kind.as_str(), of.took.samples()))
            .collect();
        assert_eq!(told, [("HTTP", "GET 2xx", 2), ("HTTP", "GET 5xx", 1), ("Redis", "PING", 1)]);
        let failed = &kinds[&("HTTP", "GET 5xx".to_owned())];
        assert_eq!(failed.errors, BTreeMap::from([("5xx".to_owned(), 1)]));
        assert_eq!((failed.took.sum, failed.took.max), (20, 20));
        assert!(requests.take(&edge_key::default()).is_empty(), "they have been told");
    }

    #[test]
    fn kinds_have_a_bound() {
        let mut requests = Requests::default();
        for n in 0..2 * KINDS_MAX {
            let name = format!("C{n:03}");
            let command = format!("*1\r\n$4\r\n{name}\r\n");
            requests.add(&exchange(command.as_bytes(), b"-ERR unknown command\r\n"));
        }
        let kinds = requests.take(&edge_key::default());
        assert_eq!(kinds.len(), KINDS_MAX + 1);
        let others = &kinds[&("Redis", OTHERS.to_owned())];
        assert_eq!(others.took.samples(), KINDS_MAX as u64);
        assert_eq!(others.errors["-ERR"], KINDS_MAX as u64);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_not(bytes in prop::collection::vec(any::<u8>(), size_of::<edges_exchange>())) {
            let exchange: edges_exchange = crate::plain::from_bytes(&bytes).unwrap();
            Requests::default().add(&exchange);
        }

        #[test]
        fn whatever_follows_a_beginning_is_read_or_not(
            start in prop::sample::select(vec![
                &b"GET "[..], b"*2\r\n$3\r\nGET\r\n$", b"*", b"*1\r\n$", b"Q\0\0\0", b"P\0\0\0\x20a\0",
                b"B\0\0\0\x10\0",
            ]),
            rest in prop::collection::vec(any::<u8>(), 0..96),
            answer in prop::collection::vec(any::<u8>(), 0..32),
            types: ([u8; 16], [u8; 16]),
        ) {
            let mut exchange = exchange(&[start, &rest].concat(), &answer);
            (exchange.request_types, exchange.answer_types) = types;
            let mut statements = Statements::default();
            if let Some(request) = read(&exchange, &mut statements) {
                let is_plain = |c: char| c.is_ascii_graphic() || c == ' ';
                prop_assert!(request.kind.chars().all(is_plain) && request.kind.len() <= 24);
                prop_assert!(request.error.is_none_or(|error| error.chars().all(is_plain)));
            }
        }

        #[test]
        fn a_shorter_head_is_read_like_a_longer_one_or_not_at_all(length in 0_usize..64) {
            let whole = b"*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$5\r\nvalue\r\n";
            let mut cut = exchange(whole, b"+OK\r\n");
            cut.request_length = cut.request_length.min(u32::try_from(length).unwrap());
            let read = read(&cut, &mut Statements::default());
            prop_assert!(read.is_none_or(|request| request.kind == "SET"));
        }
    }
}
