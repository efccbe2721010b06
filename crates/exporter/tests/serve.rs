//! The server, asked over real connections.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail where they stand, as tests do")]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use temblor_exporter::{Pages, serve};
use temblor_http::Server;

/// Longer than anything that is waited for here.
const BOUND: Duration = Duration::from_secs(60);

struct Answers {
    well: Arc<AtomicBool>,
}

impl Pages for Answers {
    fn metrics(&self) -> Result<String, String> {
        Ok("# TYPE up gauge\nup 1\n".into())
    }

    fn healthy(&self) -> Result<(), String> {
        if self.well.load(Ordering::Acquire) { Ok(()) } else { Err("the tcp probe ended".into()) }
    }
}

fn server() -> (Server, Arc<AtomicBool>) {
    let well = Arc::new(AtomicBool::new(true));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    (serve(listener, Answers { well: Arc::clone(&well) }).unwrap(), well)
}

fn connect(to: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(BOUND)).unwrap();
    stream
}

/// Everything that comes until the server closes.
fn rest(mut stream: TcpStream) -> String {
    let mut text = Vec::new();
    // A server that closes over what it has not read resets the connection.
    let _ = stream.read_to_end(&mut text);
    String::from_utf8(text).unwrap()
}

fn ask(to: SocketAddr, request: &str) -> String {
    let mut stream = connect(to);
    stream.write_all(request.as_bytes()).unwrap();
    rest(stream)
}

fn get(to: SocketAddr, path: &str) -> String {
    ask(to, &format!("GET {path} HTTP/1.1\r\nHost: here\r\n\r\n"))
}

#[test]
fn each_path_has_its_answer_and_the_connection_ends_with_it() {
    let (server, well) = server();
    let to = server.address();
    let page = get(to, "/metrics?name[]=x");
    assert!(page.starts_with("HTTP/1.1 200"), "{page}");
    assert!(page.contains("content-type: text/plain; version=0.0.4"), "{page}");
    assert!(page.ends_with("\r\n\r\n# TYPE up gauge\nup 1\n"), "{page}");
    assert!(get(to, "/").contains("href=\"/metrics\""));
    assert!(get(to, "/nothing").starts_with("HTTP/1.1 404"));
    let posted = ask(to, "POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
    assert!(posted.starts_with("HTTP/1.1 405"), "{posted}");
    let head = ask(to, "HEAD /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 200") && !head.contains("up 1"), "{head}");
    assert!(get(to, "/-/healthy").ends_with("healthy\n"));
    well.store(false, Ordering::Release);
    let unwell = get(to, "/-/healthy");
    assert!(unwell.starts_with("HTTP/1.1 503") && unwell.contains("tcp probe"), "{unwell}");
}

#[test]
fn a_request_that_is_too_long_is_refused() {
    let (server, _) = server();
    let request = format!("GET /metrics HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "x".repeat(20_000));
    let mut stream = connect(server.address());
    // The server may close before all of it is written.
    let _ = stream.write_all(request.as_bytes());
    let answer = rest(stream);
    assert!(!answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(get(server.address(), "/metrics").contains("up 1"));
}

#[test]
fn those_who_say_nothing_are_put_out_and_others_have_their_turn() {
    let (server, _) = server();
    let silent: Vec<TcpStream> = (0..40).map(|_| connect(server.address())).collect();
    // Waits for its place, and has it when the silent ones have been put out.
    assert!(get(server.address(), "/metrics").contains("up 1"));
    for stream in silent.into_iter().take(16) {
        assert!(!rest(stream).contains("200"));
    }
}

#[test]
fn it_ends_when_it_is_dropped_and_its_port_is_free() {
    let (server, _) = server();
    let to = server.address();
    let idle = connect(to);
    drop(server);
    assert_eq!(rest(idle), "");
    assert!(TcpStream::connect(to).is_err());
    TcpListener::bind(to).unwrap();
}
