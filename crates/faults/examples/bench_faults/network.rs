//! Faults of the network, between two namespaces, and of a server's connections.

use std::io::{Read as _, Write as _};
use std::net::UdpSocket;
use std::time::Duration;

use temblor_faults::network::{Action, Answer, Direction, Dns, Dose, Peer, Reset, Shape};
use temblor_faults::resource::{Connections, Speak};
use temblor_host::target::Target;

use crate::support::{A4, B4, OTHER4, Pair};
use crate::table::Table;

const CONNECTIONS: usize = 20;

fn client(pair: &Pair) -> Target {
    Target::of_namespace("client", pair.a.clone(), vec![A4.parse().unwrap()])
}

fn server() -> Vec<Peer> {
    vec![Peer { name: "server".into(), address: B4.parse().unwrap() }]
}

pub(crate) fn measure(table: &mut Table) {
    let pair = Pair::new();
    table.measure("both ways", || pair.partition(B4, Direction::Both, Action::Drop));
    let delay = Duration::from_millis(20);
    for (words, dose) in [
        ("20 ms", Dose::Latency { delay, jitter: Duration::ZERO }),
        ("10 %", Dose::Loss { share: 0.1 }),
        ("10 %", Dose::Duplicate { share: 0.1 }),
        ("10 % by 20 ms", Dose::Reorder { share: 0.1, delay }),
        ("10 %", Dose::Corrupt { share: 0.1 }),
        ("1 MB/s", Dose::Bandwidth { bytes_per_second: 1_000_000 }),
    ] {
        table.measure(words, || Shape {
            from: client(&pair),
            to: server(),
            ports: vec![],
            direction: Direction::Out,
            dose,
            seed: None,
        });
    }
    resets(table, &pair);
    names(table, &pair);
    connections(table, &pair);
}

fn resets(table: &mut Table, pair: &Pair) {
    let listener = pair.listen(B4);
    let mut established = Vec::new();
    table.measure(&format!("{CONNECTIONS} connections"), || {
        established.clear();
        established.extend((0..CONNECTIONS).map(|_| pair.connection(&listener)));
        Reset { target: client(pair), peers: server(), ports: vec![], every: None }
    });
}

fn names(table: &mut Table, pair: &Pair) {
    let resolver = pair.b.run(|| UdpSocket::bind((OTHER4, 53))).unwrap().unwrap();
    // It answers every query and knows no address, until this program ends.
    std::thread::spawn(move || {
        let mut message = [0; 512];
        while let Ok((length, from)) = resolver.recv_from(&mut message) {
            message[2] |= 0x80;
            let _ = resolver.send_to(&message[..length], from);
        }
    });
    table.measure("no such name", || Dns {
        target: client(pair),
        names: vec!["example.com".into()],
        answer: Answer::NoSuchName,
        resolver: Some(OTHER4.parse().unwrap()),
    });
}

/// A server that says something at once: one that does not is given 200 ms to close again, which
/// is a wait of the fault's own.
fn connections(table: &mut Table, pair: &Pair) {
    let listener = pair.listen(B4);
    let address = listener.local_addr().unwrap();
    // It takes everybody, until this program ends.
    std::thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            std::thread::spawn(move || {
                while let Ok(1..) = stream.read(&mut [0; 64]) {
                    let _ = stream.write_all(b"+OK\r\n");
                }
            });
        }
    });
    table.measure(&format!("{CONNECTIONS} held"), || Connections {
        target: Target::of_namespace("server", pair.b.clone(), vec![address.ip()]),
        port: address.port(),
        hold: Some(u32::try_from(CONNECTIONS).unwrap()),
        speak: Speak::Redis,
        from: Some(client(pair)),
    });
}
