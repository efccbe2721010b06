//! Many stacks on one page: what the server takes to read them, to answer, and to hold them.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark measures, prints, and stops where something is wrong"
)]

use std::fs::File;
use std::io::{BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::Instant;

use temblor_profile::CallTree;
use temblor_view::{Views, serve};

/// Files of folded stacks are its arguments. It serves until its standard input ends.
fn main() {
    let mut views = Views::new();
    let paths: Vec<String> = std::env::args().skip(1).collect();
    for path in &paths {
        let began = Instant::now();
        let file = BufReader::with_capacity(1 << 20, File::open(path).unwrap());
        let tree = CallTree::read_folded(file).unwrap();
        println!(
            "{path}: {} stacks read in {:.2} s",
            tree.samples(),
            began.elapsed().as_secs_f64()
        );
        views.add(path.clone(), tree, 0);
    }
    println!("memory after reading: {}", memory());
    let server = serve(TcpListener::bind("127.0.0.1:0").unwrap(), views).unwrap();
    println!("http://{}/", server.address());
    let ask = |path: &str| {
        let began = Instant::now();
        let mut stream = TcpStream::connect(server.address()).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        assert!(bytes.starts_with(b"HTTP/1.1 200"), "{path}");
        let took = began.elapsed().as_secs_f64();
        println!("{path}: {:.1} MB in {took:.2} s; {}", bytes.len() as f64 / 1e6, memory());
    };
    for again in ["/data/tree?profile=0&type=0"; 2] {
        ask(again);
    }
    if paths.len() > 1 {
        for again in ["/data/tree?profile=0&type=0&base=1"; 2] {
            ask(again);
        }
    }
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
}

fn memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let mib = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap();
        line.split_whitespace().next().unwrap().parse::<f64>().unwrap() / 1024.0
    };
    format!("{:.0} MiB now, {:.0} MiB at most", mib("VmRSS:"), mib("VmHWM:"))
}
