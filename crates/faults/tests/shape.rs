//! `network.latency` and its kin on real namespaces: what is asked, against what is measured.
#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "all of it is tests, helpers too")]

#[expect(dead_code, reason = "the partition's tests use more of it")]
mod support;

use std::net::{TcpListener, UdpSocket};
use std::time::Duration;

use support::*;
use temblor_event::clock::now_ns;
use temblor_faults::network::{Action, Direction, Dose, Peer, Shape};
use temblor_faults::{Fault as _, Injected, leftovers};

const QUEUES: &str = "cat /proc/thread-self/net/netfilter/nfnetlink_queue";

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn latency(delay: Duration) -> Dose {
    Dose::Latency { delay, jitter: Duration::ZERO }
}

/// A worse wire between `a` and the given addresses of `b`.
fn shape(pair: &Pair, to: &[&str], dose: Dose) -> Shape {
    Shape {
        from: pair.partition(B4, Direction::Out, Action::Drop).from,
        to: to
            .iter()
            .map(|a| Peer { name: "server".into(), address: a.parse().unwrap() })
            .collect(),
        ports: vec![],
        direction: Shape::DIRECTION,
        dose,
        seed: Some(7),
    }
}

/// Undoes a fault and holds it to having left nothing.
#[track_caller]
fn revert(pair: &Pair, fault: Box<dyn Injected>) -> temblor_event::Effect {
    let reverted = fault.revert().unwrap();
    assert!(reverted.verified);
    assert_eq!(reverted.effect_unread, None);
    for netns in [&pair.a, &pair.b] {
        assert_eq!(leftovers(netns).unwrap(), [""; 0]);
        assert_eq!(run_in(netns, "nft list ruleset"), "");
        assert_eq!(run_in(netns, QUEUES), "");
    }
    reverted.effect
}

/// The median time of a TCP handshake, in milliseconds.
fn handshake_ms(pair: &Pair, listener: &TcpListener, rounds: usize) -> f64 {
    let to = listener.local_addr().unwrap();
    let mut took_ns: Vec<u64> = pair
        .a
        .run(|| {
            (0..rounds)
                .map(|_| {
                    let began_ns = now_ns();
                    let stream = std::net::TcpStream::connect_timeout(&to, BOUND).unwrap();
                    let took_ns = now_ns() - began_ns;
                    drop(listener.accept().unwrap());
                    drop(stream);
                    took_ns
                })
                .collect()
        })
        .unwrap();
    took_ns.sort_unstable();
    took_ns[rounds / 2] as f64 / 1e6
}

#[test]
fn a_delay_is_added_to_the_round_trip() {
    if !possible() {
        return;
    }
    for address in [B4, B6] {
        for (direction, delay_ms, trips) in [
            (Direction::Out, 20, 1.0),
            (Direction::In, 20, 1.0),
            (Direction::Both, 20, 2.0),
            (Direction::Out, 2, 1.0),
            (Direction::Out, 100, 1.0),
        ] {
            let pair = Pair::new();
            let listener = pair.listen(address);
            let before = handshake_ms(&pair, &listener, 31);
            let mut shape = shape(&pair, &[address], latency(ms(delay_ms)));
            shape.direction = direction;
            let fault = shape.inject(&guard()).unwrap();
            let during = handshake_ms(&pair, &listener, 21);
            let added = during - before;
            let asked = delay_ms as f64 * trips;
            eprintln!(
                "latency {address} {} asked {asked} ms, added {added:.3} ms",
                direction.word()
            );
            assert!((added - asked).abs() <= f64::max(asked * 0.05, 1.0), "{added} of {asked}");
            let effect = revert(&pair, fault);
            assert_eq!(effect.measure, "packets delayed");
            assert!(effect.count >= 21, "{effect:?}");
            let after = handshake_ms(&pair, &listener, 31);
            assert!(after < delay_ms as f64 / 2.0 + before, "{after}");
        }
    }
}

/// Sends datagrams from `a` to `b` and says how many arrived there.
fn arrived(pair: &Pair, address: &str, datagrams: usize) -> Vec<u32> {
    let to = pair.b.run(|| UdpSocket::bind((address, 0))).unwrap().unwrap();
    rustix::net::sockopt::set_socket_recv_buffer_size_force(&to, 64 << 20).unwrap();
    to.set_read_timeout(Some(SHORT)).unwrap();
    let from = if address == B4 { A4 } else { A6 };
    let from = pair.a.run(|| UdpSocket::bind((from, 0))).unwrap().unwrap();
    from.connect(to.local_addr().unwrap()).unwrap();
    let mut numbers = Vec::new();
    let mut buffer = [0; 64];
    for number in 0..datagrams as u32 {
        from.send(&number.to_ne_bytes()).unwrap();
    }
    while let Ok(length) = to.recv(&mut buffer) {
        numbers.push(u32::from_ne_bytes(buffer[..length].try_into().unwrap()));
    }
    numbers
}

#[test]
fn a_share_is_lost_and_nobody_is_told() {
    if !possible() {
        return;
    }
    for address in [B4, B6] {
        let pair = Pair::new();
        let fault = shape(&pair, &[address], Dose::Loss { share: 0.1 }).inject(&guard()).unwrap();
        let lost = 20_000 - arrived(&pair, address, 20_000).len();
        let share = lost as f64 / 200.0;
        let effect = revert(&pair, fault);
        let seen = &effect.doses[0];
        eprintln!(
            "loss {address} asked 10 %, lost {share:.2} %; the kernel says {:.2?} % of {}",
            seen.observed, seen.samples
        );
        assert!((9.0..=11.0).contains(&share), "{share}");
        assert_eq!((effect.measure.as_str(), effect.count), ("packets lost", lost as u64));
        assert_eq!(seen.holds(), Some(true), "{seen:?}");
        assert_eq!(arrived(&pair, address, 1000).len(), 1000);
    }
}

#[test]
fn a_share_arrives_twice() {
    if !possible() {
        return;
    }
    for address in [B4, B6] {
        let pair = Pair::new();
        let fault =
            shape(&pair, &[address], Dose::Duplicate { share: 0.1 }).inject(&guard()).unwrap();
        let numbers = arrived(&pair, address, 20_000);
        let twice = numbers.len() - 20_000;
        let share = twice as f64 / 200.0;
        let effect = revert(&pair, fault);
        let seen = &effect.doses[0];
        eprintln!(
            "duplicate {address} asked 10 %, doubled {share:.2} %; the kernel says {:.2?} % of {}",
            seen.observed, seen.samples
        );
        assert!((9.0..=11.0).contains(&share), "{share}");
        assert_eq!(effect.count, twice as u64);
        assert_eq!(seen.holds(), Some(true), "{seen:?}");
    }
}
