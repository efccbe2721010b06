//! What the child says to others and answers to them.

#![expect(clippy::disallowed_methods, reason = "an answer that takes its time is what is measured")]

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use temblor_host::netns::Netns;

use crate::common::{Child, obey};

/// How long it has kept others waiting, all answers together.
static HELD_NS: AtomicU64 = AtomicU64::new(0);

/// Not a test of its own: what the child does.
#[test]
fn obeys() {
    let mut connections: Vec<BufReader<TcpStream>> = Vec::new();
    obey(|words| {
        let number = |at: usize| words[at].parse::<u64>().unwrap();
        match words[0] {
            "nothing" => {}
            "serve" => {
                let listener = TcpListener::bind(words[1]).unwrap();
                println!("\nport {}", listener.local_addr().unwrap().port());
                let time = Duration::from_millis(number(2));
                std::thread::spawn(move || serve(&listener, time));
            }
            "connect" => {
                let stream = TcpStream::connect(words[1]).unwrap();
                stream.set_nodelay(true).unwrap();
                connections.push(BufReader::new(stream));
            }
            "ask" => {
                let took = (0..number(1)).map(|_| ask(connections.last_mut().unwrap()));
                let took: Duration = took.sum();
                println!("\ntook {}", took.as_nanos());
            }
            // Whose descriptor it is stands in the path.
            "enter" => {
                let netns = std::fs::File::open(words[1]).unwrap();
                let kind = rustix::thread::LinkNameSpaceType::Network;
                rustix::thread::move_into_link_name_space(netns.as_fd(), Some(kind)).unwrap();
            }
            "held" => println!("\nheld {}", HELD_NS.load(Ordering::SeqCst)),
            "close" => connections.clear(),
            other => panic!("{other}?"),
        }
    });
}

/// Answers each line after a while, with a line of its own.
fn serve(listener: &TcpListener, time: Duration) {
    for stream in listener.incoming() {
        let mut stream = stream.unwrap();
        stream.set_nodelay(true).unwrap();
        std::thread::spawn(move || {
            for line in BufReader::new(stream.try_clone().unwrap()).lines() {
                let Ok(line) = line else { return };
                let began = Instant::now();
                std::thread::sleep(time);
                let held = u64::try_from(began.elapsed().as_nanos()).unwrap();
                HELD_NS.fetch_add(held, Ordering::SeqCst);
                if writeln!(stream, "{line} yourself").is_err() {
                    return;
                }
            }
        });
    }
}

/// How long the answer took.
fn ask(of: &mut BufReader<TcpStream>) -> Duration {
    let began = Instant::now();
    of.get_mut().write_all(b"hello\n").unwrap();
    let mut answer = String::new();
    of.read_line(&mut answer).unwrap();
    assert_eq!(answer, "hello yourself\n");
    began.elapsed()
}

impl Child {
    /// All that it opens from now on is in this namespace.
    pub(crate) fn enter(&mut self, netns: &Netns) {
        let fd = netns.as_fd().as_raw_fd();
        self.ask(&format!("enter /proc/{}/fd/{fd}", std::process::id()));
    }

    /// It listens at this address from now on, and takes so long for each answer. At which port?
    pub(crate) fn serve(&mut self, address: &str, time: Duration) -> u16 {
        let port = self.number(&format!("serve {address}:0 {}", time.as_millis()), "port ");
        port.try_into().unwrap()
    }

    /// So often, over the connection that was made last. How many nanoseconds did
    /// all the answers take?
    pub(crate) fn talk(&mut self, times: u32) -> u64 {
        self.number(&format!("ask {times}"), "took ")
    }

    /// How long it has kept others waiting before its answers, all of them together.
    pub(crate) fn held(&mut self) -> u64 {
        self.number("held", "held ")
    }

    fn number(&mut self, what: &str, answer: &str) -> u64 {
        let said = self.ask(what);
        said.iter().find_map(|line| line.strip_prefix(answer)).unwrap().parse().unwrap()
    }
}
