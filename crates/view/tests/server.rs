//! The server: who may ask, what is answered, and what is not.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail where they stand, as tests do")]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};

use temblor_http::Server;
use temblor_profile::{CallTree, ValueType, folded};
use temblor_view::{Views, serve};

fn tree(stacks: &str, of: ValueType) -> CallTree {
    CallTree::of(&folded::read(stacks.as_bytes(), of).unwrap())
}

fn started() -> Server {
    let samples = || ValueType::new("samples", "count");
    let mut views = Views::new();
    views.add("one".into(), tree("main;work 3\nmain 1\n", samples()), 0);
    views.add("two".into(), tree("main;work 5\n", samples()), 0);
    views.add("space".into(), tree("main 7\n", ValueType::new("space", "bytes")), 0);
    serve(TcpListener::bind("127.0.0.1:0").unwrap(), views).unwrap()
}

struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.into_iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

fn raw(address: SocketAddr, request: &str) -> Answer {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("an answer has a head");
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head, body: bytes[end + 4..].to_vec() }
}

fn get(address: SocketAddr, path: &str) -> Answer {
    raw(address, &format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n"))
}

#[test]
fn whoever_asks_under_another_name_is_refused() {
    let server = started();
    let address = server.address();
    for (headers, expected) in [
        (format!("Host: {address}\r\n"), 200),
        ("Host: localhost:4711\r\n".to_owned(), 200),
        ("Host: [::1]\r\n".to_owned(), 200),
        (format!("Host: {address}\r\nSec-Fetch-Site: same-origin\r\n"), 200),
        (format!("Host: {address}\r\nSec-Fetch-Site: none\r\n"), 200),
        (format!("Host: {address}\r\nSec-Fetch-Site: cross-site\r\n"), 403),
        (format!("Host: {address}\r\nSec-Fetch-Site: same-site\r\n"), 403),
        (format!("Host: {address}\r\nHost: {address}\r\n"), 403),
        ("Host: evil.example\r\n".to_owned(), 403),
        (format!("Host: evil.example:{}\r\n", address.port()), 403),
        ("Host: 127.0.0.1.evil.example\r\n".to_owned(), 403),
        ("Host: \r\n".to_owned(), 403),
        (String::new(), 403),
    ] {
        for path in ["/", "/data/profiles", "/data/tree?profile=0&type=0"] {
            let told = raw(address, &format!("GET {path} HTTP/1.1\r\n{headers}\r\n"));
            assert_eq!(told.status, expected, "{path} with {headers:?}");
            assert!(expected == 200 || !told.text().contains("main"), "{}", told.text());
        }
    }
}

#[test]
fn nothing_but_get() {
    let server = started();
    let address = server.address();
    for method in ["POST", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE", "BREW"] {
        let request =
            format!("{method} / HTTP/1.1\r\nHost: {address}\r\nContent-Length: 0\r\n\r\n");
        let told = raw(address, &request);
        assert_eq!((told.status, told.header("allow")), (405, Some("GET")), "{method}");
    }
}

#[test]
fn every_answer_forbids_what_is_not_the_pages() {
    let server = started();
    for path in ["/", "/page/main.js", "/data/profiles", "/data/heat?profile=0&type=0", "/no"] {
        let told = get(server.address(), path);
        let policy = told.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none';"), "{path}: {policy}");
        assert!(!policy.contains("unsafe") && !policy.contains("http"), "{path}: {policy}");
        assert_eq!(told.header("x-content-type-options"), Some("nosniff"), "{path}");
        assert_eq!(told.header("access-control-allow-origin"), None, "{path}");
    }
}

#[test]
fn the_page_loads_nothing_from_elsewhere() {
    let server = started();
    let page = get(server.address(), "/");
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    let named = page.text().split(['"', '\'']).filter(|word| word.starts_with("/page/"));
    let mut todo: Vec<String> = named.map(str::to_owned).collect();
    assert!(todo.len() >= 3, "{todo:?}");
    let mut seen = Vec::new();
    while let Some(path) = todo.pop() {
        if seen.contains(&path) {
            continue;
        }
        let file = get(server.address(), &path);
        assert_eq!(file.status, 200, "{path}");
        // The icon says which language it is written in.
        let text = file.text().replace("http://www.w3.org/2000/svg", "");
        assert!(!text.contains("http:") && !text.contains("https:"), "{path}");
        assert!(!text.contains("innerHTML") && !text.contains("insertAdjacentHTML"), "{path}");
        let imported = text.split('"').filter_map(|word| word.strip_prefix("./"));
        todo.extend(
            imported.filter(|word| word.ends_with(".js")).map(|word| format!("/page/{word}")),
        );
        seen.push(path);
    }
    assert!(seen.len() >= 12, "{seen:?}");
}

#[test]
fn what_is_not_there_is_said_to_be_so() {
    let server = started();
    for (path, expected) in [
        ("/favicon.ico", 404),
        ("/page/", 404),
        ("/page/../Cargo.toml", 404),
        ("/page/%2e%2e/Cargo.toml", 404),
        ("//etc/passwd", 404),
        ("/data/tree?profile=3&type=0", 404),
        ("/data/tree?profile=0&type=1", 404),
        ("/data/tree?profile=18446744073709551615&type=18446744073709551615", 404),
        ("/data/heat?profile=0&type=18446744073709551615", 404),
        ("/data/heat?profile=0&type=0", 404),
        ("/data/chart?profile=0&type=0", 404),
        ("/data/tree?profile=0&type=0&base=3", 404),
        ("/data/tree?profile=0&type=0&base=2", 404),
        ("/data/tree?profile=18446744073709551616&type=0", 400),
        ("/data/tree?profile=0&type=0&base=1&from=0&to=1", 400),
        ("/data/tree?profile=0&type=0&from=0&to=9223372036854775808", 400),
        ("/data/tree", 400),
        ("/data/tree?profile=0&type=0&from=9223372036854775807&to=-9223372036854775808", 200),
    ] {
        assert_eq!(get(server.address(), path).status, expected, "{path}");
    }
    let unlike = get(server.address(), "/data/tree?profile=0&type=0&base=2");
    assert!(unlike.text().starts_with("the profiles count different things"), "{}", unlike.text());
    let untimed = get(server.address(), "/data/heat?profile=0&type=0");
    assert!(untimed.text().contains("--timeline"), "{}", untimed.text());
}

#[test]
fn a_request_that_is_too_long_is_not_read() {
    let server = started();
    let address = server.address();
    let request = format!("GET /{} HTTP/1.1\r\nHost: {address}\r\n\r\n", "x".repeat(1 << 20));
    let mut stream = TcpStream::connect(address).unwrap();
    // It may be refused before all of it is written.
    let _ = stream.write_all(request.as_bytes());
    let mut told = Vec::new();
    let _ = stream.read_to_end(&mut told);
    assert!(!told.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&told));
    assert_eq!(get(address, "/").status, 200, "the next one is served");
}

#[test]
fn columns_are_written_as_the_page_reads_them() {
    let server = started();
    let told = get(server.address(), "/data/tree?profile=1&type=0&base=0");
    assert_eq!(told.header("content-type"), Some("application/octet-stream"));
    let bytes = told.body;
    let length = u32::from_le_bytes(bytes[..4].try_into().unwrap()) as usize;
    assert_eq!((4 + length) % 8, 0, "what follows may be read as figures of eight bytes");
    let header: serde_json::Value = serde_json::from_slice(&bytes[4..4 + length]).unwrap();
    assert_eq!(header["names"], serde_json::json!(["", "main", "work"]));
    assert_eq!((&header["calls"], &header["is_comparison"]), (&3.into(), &true.into()));
    let columns = &bytes[4 + length..];
    let figures: Vec<f64> = columns[..48]
        .chunks(8)
        .map(|figure| f64::from_le_bytes(figure.try_into().unwrap()))
        .collect();
    assert_eq!(figures, [0.0, 0.0, 5.0, 0.0, 1.0, 3.0], "own, then what it was before");
    let name: Vec<u8> = [0_u32, 1, 2].into_iter().flat_map(u32::to_le_bytes).collect();
    let depth: Vec<u8> = [0_u16, 1, 2].into_iter().flat_map(u16::to_le_bytes).collect();
    assert_eq!(columns[48..], [name, depth].concat());
}

#[test]
fn the_server_ends_when_it_is_dropped() {
    let server = started();
    let address = server.address();
    drop(server);
    assert!(TcpStream::connect(address).is_err());
}
