//! `network.dns` on a real resolver of the test's own: what its client is told, and what not.
#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "all of it is tests, helpers too")]

mod emulated;
#[expect(dead_code, reason = "other tests use the rest of it")]
mod support;

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use emulated::emulated;
use support::*;
use temblor_faults::network::{Answer, Dns};
use temblor_faults::{Fault as _, Injected, leftovers};
use temblor_host::netns::Netns;
use temblor_host::target::Target;

const MS: fn(u64) -> Duration = Duration::from_millis;

/// A resolver that knows the address of every name. It ends when it is dropped.
struct Resolver {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

fn answer(query: &[u8]) -> Vec<u8> {
    let mut message = query.to_vec();
    message[2] |= 0x80;
    message[7] = 1;
    message.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 10, 0, 0, 9]);
    message
}

impl Resolver {
    fn new(netns: &Netns, address: &str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (udp, tcp) = netns
            .run(|| {
                (UdpSocket::bind((address, 53)).unwrap(), TcpListener::bind((address, 53)).unwrap())
            })
            .unwrap();
        udp.set_read_timeout(Some(MS(50))).unwrap();
        tcp.set_nonblocking(true).unwrap();
        let ended = Arc::clone(&stop);
        let serve_udp = move || {
            let mut buffer = [0; 512];
            while !ended.load(Ordering::Relaxed) {
                if let Ok((length, from)) = udp.recv_from(&mut buffer) {
                    let _ = udp.send_to(&answer(&buffer[..length]), from);
                }
            }
        };
        let ended = Arc::clone(&stop);
        let serve_tcp = move || {
            while !ended.load(Ordering::Relaxed) {
                let Ok((mut stream, _)) = tcp.accept() else {
                    std::thread::park_timeout(MS(5));
                    continue;
                };
                stream.set_nonblocking(false).unwrap();
                stream.set_read_timeout(Some(MS(1500))).unwrap();
                let mut query = [0; 512];
                if let Ok(length @ 3..) = stream.read(&mut query) {
                    let said = answer(&query[2..length]);
                    let framed = [&(said.len() as u16).to_be_bytes()[..], &said].concat();
                    let _ = stream.write_all(&framed);
                }
            }
        };
        Self { stop, threads: vec![std::thread::spawn(serve_udp), std::thread::spawn(serve_tcp)] }
    }
}

impl Drop for Resolver {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().unwrap();
        }
    }
}

fn query(name: &str) -> Vec<u8> {
    let mut message = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        message.push(label.len() as u8);
        message.extend(label.as_bytes());
    }
    message.extend([0, 0, 1, 0, 1]);
    message
}

/// What a client in a namespace is told: the response code, and how many answers.
fn ask(netns: &Netns, resolver: &str, name: &str, patience: Duration) -> io::Result<(u8, u8)> {
    let any = if resolver.contains(':') { "::" } else { "0.0.0.0" };
    let socket = netns.run(|| UdpSocket::bind((any, 0))).unwrap()?;
    socket.connect((resolver, 53))?;
    socket.set_read_timeout(Some(patience))?;
    socket.send(&query(name))?;
    let mut said = [0; 512];
    let length = socket.recv(&mut said)?;
    // What is said is a message: the question is in it, and what it counts.
    assert_eq!(said[..2], [0x12, 0x34]);
    assert_eq!(length, query(name).len() + 16 * usize::from(said[7]));
    Ok((said[3] & 15, said[7]))
}

fn ask_over_tcp(netns: &Netns, resolver: &str, name: &str) -> io::Result<(u8, u8)> {
    let address = (resolver.parse::<IpAddr>().unwrap(), 53).into();
    let mut stream = netns.run(|| TcpStream::connect_timeout(&address, BOUND)).unwrap()?;
    stream.set_read_timeout(Some(MS(500)))?;
    let message = query(name);
    stream.write_all(&[&(message.len() as u16).to_be_bytes()[..], &message].concat())?;
    let mut said = [0; 512];
    let length = stream.read(&mut said)?;
    assert!(length > 12);
    Ok((said[5] & 15, said[9]))
}

fn dns(pair: &Pair, resolver: &str, names: &[&str], answer: Answer) -> Dns {
    Dns {
        target: Target::of_namespace("client", pair.a.clone(), vec![A4.parse().unwrap()]),
        names: names.iter().map(|name| (*name).to_owned()).collect(),
        answer,
        resolver: Some(resolver.parse().unwrap()),
    }
}

#[track_caller]
fn revert(pair: &Pair, fault: Box<dyn Injected>) -> temblor_event::Effect {
    let reverted = fault.revert().unwrap();
    assert!(reverted.verified);
    assert_eq!(reverted.effect_unread, None);
    assert_eq!(leftovers(&pair.a).unwrap(), [""; 0]);
    assert_eq!(run_in(&pair.a, "nft list ruleset"), "");
    assert_eq!(run_in(&pair.a, "cat /proc/thread-self/net/netfilter/nfnetlink_queue"), "");
    reverted.effect
}

/// Asks again until the answer is yes.
#[expect(clippy::disallowed_methods, reason = "only a bound is wanted")]
fn within(bound: Duration, mut question: impl FnMut() -> bool) -> bool {
    let began = Instant::now();
    while !question() {
        if began.elapsed() > bound {
            return false;
        }
        std::thread::park_timeout(MS(5));
    }
    true
}

#[test]
fn a_name_is_answered_otherwise_and_others_are_not() {
    if !possible() {
        return;
    }
    for (resolver, kind, code) in
        [(B4, Answer::NoSuchName, 3), (B4, Answer::ServerFailed, 2), (B6, Answer::Refused, 5)]
    {
        let pair = Pair::new();
        let _serving = Resolver::new(&pair.b, resolver);
        assert_eq!(ask(&pair.a, resolver, "db.example.com", BOUND).unwrap(), (0, 1));
        let mut fault = dns(&pair, resolver, &["Example.com."], kind).inject(&guard()).unwrap();
        for name in ["db.example.com", "example.com", "DB.EXAMPLE.COM"] {
            assert_eq!(ask(&pair.a, resolver, name, BOUND).unwrap(), (code, 0), "{name}");
        }
        for name in ["badexample.com", "example.org"] {
            assert_eq!(ask(&pair.a, resolver, name, BOUND).unwrap(), (0, 1), "{name}");
            assert_eq!(ask_over_tcp(&pair.a, resolver, name).unwrap(), (0, 1), "{name}");
        }
        let reset = ask_over_tcp(&pair.a, resolver, "db.example.com").unwrap_err();
        assert_eq!(reset.kind(), ErrorKind::ConnectionReset, "{reset}");
        // The peer's own queries are nobody's affair here.
        assert_eq!(ask(&pair.b, resolver, "example.com", BOUND).unwrap(), (0, 1));
        // Our own queries meet the same, and are not counted.
        assert!(within(BOUND, || fault.effect().unwrap().doses[0].samples > 0));
        let effect = fault.effect().unwrap();
        assert_eq!(effect.doses[0].observed, Some(100.0));
        let counts: Vec<u64> = effect.parts.iter().map(|part| part.count).collect();
        assert_eq!((counts, effect.count), (vec![1, 3], 4));
        assert!(fault.set_level(0.5).is_err());
        revert(&pair, fault);
        assert_eq!(ask(&pair.a, resolver, "example.com", BOUND).unwrap(), (0, 1));
    }
}

#[test]
fn queries_vanish() {
    if !possible() {
        return;
    }
    let pair = Pair::new();
    let _serving = Resolver::new(&pair.b, B4);
    let mut fault = dns(&pair, B4, &[], Answer::Drop).inject(&guard()).unwrap();
    // The sender is not told: it waits for nothing.
    assert!(is_timeout(&ask(&pair.a, B4, "example.com", SHORT).unwrap_err()));
    assert!(is_timeout(&ask_over_tcp(&pair.a, B4, "example.com").unwrap_err()));
    let effect = fault.effect().unwrap();
    assert_eq!(effect.measure, "queries dropped");
    assert!(effect.count >= 2, "{effect:?}");
    revert(&pair, fault);
    assert_eq!(ask(&pair.a, B4, "example.com", BOUND).unwrap(), (0, 1));
}

#[test]
fn answers_come_late_by_what_was_asked() {
    if !possible() {
        return;
    }
    // A resolver on the loopback of the target's own namespace, as 127.0.0.53 is.
    for (place, resolver) in [("the peer's", B4), ("its own", "127.0.0.53")] {
        let pair = Pair::new();
        let _serving = Resolver::new(if resolver == B4 { &pair.b } else { &pair.a }, resolver);
        let delay = Answer::Late(MS(100));
        let mut fault = dns(&pair, resolver, &["example.com"], delay).inject(&guard()).unwrap();
        assert!(is_timeout(&ask(&pair.a, resolver, "example.com", MS(60)).unwrap_err()));
        assert_eq!(ask(&pair.a, resolver, "example.com", BOUND).unwrap(), (0, 1));
        assert_eq!(ask_over_tcp(&pair.a, resolver, "example.com").unwrap(), (0, 1));
        assert!(within(BOUND * 4, || fault.effect().unwrap().doses[0].samples >= 5));
        let effect = fault.effect().unwrap();
        let seen = &effect.doses[0];
        eprintln!("{place}: asked {} ms, observed {:?}", seen.asked, seen.observed);
        // The times before the fault are taken off, and theirs differ more there.
        assert!(seen.observed.unwrap() >= if emulated() { 50.0 } else { 95.0 }, "{seen:?}");
        assert!(effect.count >= 3, "{effect:?}");
        fault.set_level(0.0).unwrap();
        assert_eq!(ask(&pair.a, resolver, "example.com", BOUND).unwrap(), (0, 1));
        revert(&pair, fault);
    }
}

#[test]
fn a_held_query_goes_on_when_the_fault_ends() {
    if !possible() {
        return;
    }
    let pair = Pair::new();
    let _serving = Resolver::new(&pair.b, B4);
    let long = Answer::Late(Duration::from_secs(60));
    // Nobody to ask for a measurement: the one query is the test's.
    let mut fault = Dns { resolver: None, ..dns(&pair, B4, &[], long) }.inject(&guard()).unwrap();
    let netns = pair.a.clone();
    let asking = std::thread::spawn(move || ask(&netns, B4, "example.com", BOUND * 4));
    let held = || run_in(&pair.a, "cat /proc/thread-self/net/netfilter/nfnetlink_queue");
    // The third figure is how many are held.
    assert!(within(BOUND, || {
        held().split_ascii_whitespace().nth(2).is_some_and(|count| count == "1")
    }));
    assert_eq!(fault.effect().unwrap().count, 0);
    revert(&pair, fault);
    assert_eq!(asking.join().unwrap().unwrap(), (0, 1));
}

#[test]
fn a_resolver_that_is_silent_leaves_the_dose_unmeasured() {
    if !possible() {
        return;
    }
    let pair = Pair::new();
    let mut fault = dns(&pair, OTHER4, &[], Answer::NoSuchName).inject(&guard()).unwrap();
    let effect = fault.effect().unwrap();
    assert_eq!((effect.count, effect.doses[0].observed), (0, None));
    assert!(effect.doses[0].source.contains("did not answer"), "{effect:?}");
    assert_eq!(fault.describe().dose["names"], "all names");
    revert(&pair, fault);
}

#[test]
fn foreign_rules_stay_and_see_what_passes() {
    if !possible() {
        return;
    }
    let pair = Pair::new();
    let _serving = Resolver::new(&pair.b, B4);
    run_in(&pair.a, "nft add table inet theirs");
    run_in(&pair.a, "nft add chain inet theirs out { type filter hook output priority 0 ; }");
    run_in(&pair.a, "nft add rule inet theirs out udp dport 53 counter");
    let before = run_in(&pair.a, "nft -s list ruleset");
    let fault = dns(&pair, B4, &[], Answer::NoSuchName).inject(&guard()).unwrap();
    assert_eq!(ask(&pair.a, B4, "example.com", BOUND).unwrap(), (3, 0));
    drop(fault);
    assert_eq!(run_in(&pair.a, "nft -s list ruleset"), before);
    assert_eq!(ask(&pair.a, B4, "example.com", BOUND).unwrap(), (0, 1));
}
