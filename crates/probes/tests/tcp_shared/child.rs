//! What the child does: it listens and connects.

use std::net::{TcpListener, TcpStream};

use rustix::net::sockopt::{set_socket_reuseaddr, set_socket_reuseport};
use rustix::net::{AddressFamily, SocketType, bind, listen, socket};

use crate::common::{Child, obey};

/// Not a test of its own: what the child does.
#[test]
fn obeys() {
    let mut listeners: Vec<TcpListener> = Vec::new();
    let mut connections: Vec<TcpStream> = Vec::new();
    obey(|words| {
        let number = |at: usize| words[at].parse::<u16>().unwrap();
        match words {
            ["nothing"] => {}
            // The kernel makes the connections by itself; to accept them is another matter.
            ["listen", _] => {
                let listener = listening(number(1));
                println!("\nport {}", listener.local_addr().unwrap().port());
                listeners.push(listener);
            }
            ["accept"] => connections.push(listeners.last().unwrap().accept().unwrap().0),
            ["connect", ..] => {
                let connect = |_| TcpStream::connect(("127.0.0.1", number(1))).unwrap();
                connections.extend((0..number(2)).map(connect));
            }
            ["refused", ..] => {
                for _ in 0..number(2) {
                    assert!(TcpStream::connect(("127.0.0.1", number(1))).is_err());
                }
            }
            ["close", "one"] => drop(listeners.remove(0)),
            ["close"] => {
                connections.clear();
                listeners.clear();
            }
            other => panic!("{other:?}?"),
        }
    });
}

/// With others at the same port, if they want to.
fn listening(port: u16) -> TcpListener {
    let listener = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    set_socket_reuseaddr(&listener, true).unwrap();
    set_socket_reuseport(&listener, true).unwrap();
    bind(&listener, &std::net::SocketAddr::from(([127, 0, 0, 1], port))).unwrap();
    listen(&listener, 64).unwrap();
    listener.into()
}

impl Child {
    /// At which port does it listen now?
    pub(crate) fn listen(&mut self) -> u16 {
        self.listen_too(0)
    }

    pub(crate) fn listen_too(&mut self, port: u16) -> u16 {
        let said = self.ask(&format!("listen {port}"));
        said.iter().find_map(|line| line.strip_prefix("port ")).unwrap().parse().unwrap()
    }

    pub(crate) fn connect(&mut self, port: u16, times: u16) {
        self.ask(&format!("connect {port} {times}"));
    }

    pub(crate) fn refused(&mut self, port: u16, times: u16) {
        self.ask(&format!("refused {port} {times}"));
    }
}
