//! An HTTP server that does as it is told and remembers what it did.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use temblor_event::clock;

/// How often a waiting thread looks whether the server is to stop.
const LOOK: Duration = Duration::from_millis(20);

/// What the server does with one order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reply {
    /// Stores it and says so.
    Acknowledge,
    /// Stores it at this time, and says so.
    AcknowledgeAt(u64),
    /// Stores it, says so, and closes the connection without having announced it.
    AcknowledgeThenClose,
    /// Refuses it.
    Refuse(u16),
    /// Stores it, but the proxy in front answers with its own page.
    ProxyError(u16),
    /// Stores it, and its answer has no id.
    NoId,
    /// Stores it, and never answers.
    Hang,
    /// Does not store it, and never answers.
    Swallow,
    /// Stores it and closes the connection before the answer.
    Close,
    /// Stores it and closes the connection within the answer.
    CloseMidBody,
    /// Stores it and resets the connection.
    Reset,
    /// Stores it and answers what is not HTTP.
    Garbage,
    /// Stores it and answers at greater length than anybody reads.
    Huge,
}

/// What the server remembers of one request.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) key: String,
    pub(crate) order: serde_json::Value,
    pub(crate) stored: bool,
}

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    stop: Arc<AtomicBool>,
    seen: Arc<Mutex<Vec<Seen>>>,
    accepting: Option<JoinHandle<()>>,
}

type Script = dyn Fn(u64) -> Reply + Send + Sync;

impl Server {
    /// A server that asks `script` what to do with the order of each number.
    pub(crate) fn start(script: impl Fn(u64) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::new(Mutex::default());
        let script: Arc<Script> = Arc::new(script);
        let (stopped, record) = (Arc::clone(&stop), Arc::clone(&seen));
        let accepting = std::thread::spawn(move || {
            let mut threads = Vec::new();
            for stream in listener.incoming() {
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
                let (Ok(stream), stop) = (stream, Arc::clone(&stopped)) else { continue };
                let (script, seen) = (Arc::clone(&script), Arc::clone(&record));
                threads.push(std::thread::spawn(move || {
                    Connection { stream, stop, script, seen }.serve();
                }));
            }
            for thread in threads {
                thread.join().unwrap();
            }
        });
        Self { address, stop, seen, accepting: Some(accepting) }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // Wakes the accepting thread.
        drop(TcpStream::connect(self.address));
        if let Some(Err(panic)) = self.accepting.take().map(JoinHandle::join)
            && !std::thread::panicking()
        {
            std::panic::resume_unwind(panic);
        }
    }
}

struct Connection {
    stream: TcpStream,
    stop: Arc<AtomicBool>,
    script: Arc<Script>,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Connection {
    fn serve(self) {
        self.stream.set_nodelay(true).unwrap();
        self.stream.set_read_timeout(Some(LOOK)).unwrap();
        let mut reader = BufReader::new(&self.stream);
        while let Some((key, body)) = self.request(&mut reader) {
            let number: u64 = key.rsplit('-').next().unwrap().parse().unwrap();
            let reply = (self.script)(number);
            if let Reply::AcknowledgeAt(at_ns) = reply {
                while clock::now_ns() < at_ns && !self.stopped() {
                    let left_ns = at_ns.saturating_sub(clock::now_ns());
                    std::thread::park_timeout(LOOK.min(Duration::from_nanos(left_ns)));
                }
            }
            let stored = !matches!(reply, Reply::Refuse(_) | Reply::Swallow);
            let order = serde_json::from_slice(&body).unwrap();
            self.seen.lock().unwrap().push(Seen { key: key.clone(), order, stored });
            if !self.answer(reply, &key) {
                return;
            }
        }
    }

    /// Reads a whole request; none if the client or the test is done.
    fn request(&self, reader: &mut BufReader<&TcpStream>) -> Option<(String, Vec<u8>)> {
        let (mut key, mut length) = (None, 0);
        loop {
            let line = self.line(reader)?;
            let line = line.trim_end();
            if line.is_empty() {
                break;
            }
            let Some((name, value)) = line.split_once(": ") else {
                assert_eq!(line, "POST /api/orders HTTP/1.1");
                continue;
            };
            match name.to_ascii_lowercase().as_str() {
                "idempotency-key" => key = Some(value.to_owned()),
                "content-length" => length = value.parse().unwrap(),
                _ => {}
            }
        }
        let mut body = vec![0; length];
        let mut got = 0;
        while got < length {
            match reader.read(&mut body[got..]) {
                Ok(0) => return None,
                Ok(more) => got += more,
                Err(error) => self.may_go_on(&error)?,
            }
        }
        Some((key.expect("every order has an Idempotency-Key"), body))
    }

    fn line(&self, reader: &mut BufReader<&TcpStream>) -> Option<String> {
        let mut line = Vec::new();
        loop {
            match reader.read_until(b'\n', &mut line) {
                Ok(0) => return None,
                Ok(_) if line.ends_with(b"\n") => return Some(String::from_utf8(line).unwrap()),
                Ok(_) => {}
                Err(error) => self.may_go_on(&error)?,
            }
        }
    }

    fn may_go_on(&self, error: &std::io::Error) -> Option<()> {
        let waiting = matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
        (waiting && !self.stopped()).then_some(())
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// True if the connection goes on. The client may be gone; that is its right.
    fn answer(&self, reply: Reply, key: &str) -> bool {
        let acknowledgement =
            format!(r#"{{"order_id":"id-of-{key}","client_order_id":"{key}","status":"open"}}"#);
        let page = "<html>the proxy's own page</html>";
        match reply {
            Reply::Acknowledge | Reply::AcknowledgeAt(_) => self.write(201, &acknowledgement),
            Reply::AcknowledgeThenClose => {
                self.write(201, &acknowledgement);
                false
            }
            Reply::Refuse(status) => {
                self.write(status, r#"{"error":{"code":"refused","message":"no"}}"#)
            }
            Reply::ProxyError(status) => self.write(status, page),
            Reply::NoId => self.write(201, "{}"),
            Reply::Hang | Reply::Swallow => {
                while !self.stopped() {
                    match (&self.stream).read(&mut [0]) {
                        Err(error) if self.may_go_on(&error).is_some() => {}
                        _ => break,
                    }
                }
                false
            }
            Reply::Close => false,
            Reply::CloseMidBody => {
                let head = format!("HTTP/1.1 201 Created\r\ncontent-length: 500\r\n\r\n{page}");
                let _ = (&self.stream).write_all(head.as_bytes());
                false
            }
            Reply::Reset => {
                // Without lingering, closing sends RST.
                rustix::net::sockopt::set_socket_linger(&self.stream, Some(Duration::ZERO))
                    .unwrap();
                false
            }
            Reply::Garbage => {
                let _ = (&self.stream).write_all(b"what?\r\n\r\n");
                false
            }
            Reply::Huge => self.write(201, &" ".repeat(100_000)),
        }
    }

    fn write(&self, status: u16, body: &str) -> bool {
        let length = body.len();
        let answer = format!("HTTP/1.1 {status} Said\r\ncontent-length: {length}\r\n\r\n{body}");
        (&self.stream).write_all(answer.as_bytes()).is_ok()
    }
}
