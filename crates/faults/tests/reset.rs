//! `network.reset` on real connections: which end, which do not, and what both programs see.
#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "all of it is tests, helpers too")]

#[expect(dead_code, reason = "other tests use the rest of it")]
mod support;

use std::io::{self, ErrorKind, Read as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use support::*;
use temblor_faults::network::{Peer, Reset};
use temblor_faults::{Fault as _, Injected, Kind};
use temblor_host::netns::Netns;
use temblor_host::target::Target;

/// A figure of TCP's in `/proc/net/snmp`, in a namespace.
fn tcp_count(netns: &Netns, figure: &str) -> u64 {
    let text =
        netns.run(|| std::fs::read_to_string("/proc/thread-self/net/snmp")).unwrap().unwrap();
    let mut lines = text
        .lines()
        .filter_map(|line| line.strip_prefix("Tcp: "))
        .map(|line| line.split_ascii_whitespace());
    let column = lines.next().unwrap().position(|name| name == figure).unwrap();
    lines.next().unwrap().nth(column).unwrap().parse().unwrap()
}

/// Asks again until the answer is yes.
#[expect(clippy::disallowed_methods, reason = "only a bound is wanted")]
fn within(bound: Duration, mut question: impl FnMut() -> bool) -> bool {
    let began = Instant::now();
    while !question() {
        if began.elapsed() > bound {
            return false;
        }
        std::thread::park_timeout(Duration::from_millis(5));
    }
    true
}

fn reset(pair: &Pair, to: &[&str], ports: &[u16]) -> Reset {
    Reset {
        target: Target::of_namespace("client", pair.a.clone(), vec![A4.parse().unwrap()]),
        peers: to
            .iter()
            .map(|a| Peer { name: "server".into(), address: a.parse().unwrap() })
            .collect(),
        ports: ports.into(),
        every: None,
    }
}

fn end_of(mut stream: &TcpStream) -> io::Error {
    stream.set_read_timeout(Some(BOUND)).unwrap();
    stream.read(&mut [0]).unwrap_err()
}

#[test]
fn both_ends_are_reset_and_nobody_elses() {
    if !possible() {
        return;
    }
    for (address, other) in [(B4, OTHER4), (B6, OTHER6)] {
        let pair = Pair::new();
        let (listener, bystander) = (pair.listen(address), pair.listen(other));
        let second = pair.listen(address);
        let hit: Vec<_> = (0..5).map(|_| pair.connection(&listener)).collect();
        let spared = [pair.connection(&bystander), pair.connection(&second)];
        // One program waits in a read while it happens.
        let waiting = hit[0].0.try_clone().unwrap();
        let waiter = std::thread::spawn(move || end_of(&waiting));
        let before =
            [&pair.a, &pair.b].map(|netns| ["EstabResets", "OutRsts"].map(|f| tcp_count(netns, f)));

        let port = listener.local_addr().unwrap().port();
        let mut fault = reset(&pair, &[address], &[port]).inject(&guard()).unwrap();

        assert!(fault.is_over());
        assert_eq!(waiter.join().unwrap().kind(), ErrorKind::ConnectionAborted);
        for (number, (ours, theirs)) in hit.iter().enumerate() {
            // The waiter has read the first one's error.
            if number > 0 {
                assert_eq!(end_of(ours).kind(), ErrorKind::ConnectionAborted);
            }
            assert_eq!(end_of(theirs).kind(), ErrorKind::ConnectionReset);
        }
        for (ours, theirs) in &spared {
            assert_flows(ours, theirs, BOUND);
            assert_flows(theirs, ours, BOUND);
        }
        pair.connection(&listener);

        // The kernel counted the same, on both sides: one side sent the resets, both lost.
        let after =
            [&pair.a, &pair.b].map(|netns| ["EstabResets", "OutRsts"].map(|f| tcp_count(netns, f)));
        assert_eq!(after[0][0] - before[0][0], 5);
        assert_eq!(after[0][1] - before[0][1], 5);
        assert_eq!(after[1][0] - before[1][0], 5);
        let effect = fault.effect().unwrap();
        assert_eq!((effect.count, effect.measure.as_str()), (5, "connections reset"));
        assert_eq!(effect.parts[0].name, format!("with server ({address})"));
        assert_eq!((effect.doses[0].asked, effect.doses[0].observed), (5.0, Some(5.0)));
        let reverted = fault.revert().unwrap();
        assert!(reverted.verified && reverted.effect_unread.is_none());
        assert_eq!(reverted.effect, effect);
    }
}

#[test]
fn connections_that_the_peer_opened_are_reset_too() {
    if !possible() {
        return;
    }
    let pair = Pair::new();
    // A socket that speaks both families: the kernel lists its IPv4 connections as IPv6.
    let listener = pair.a.run(|| TcpListener::bind("[::]:0")).unwrap().unwrap();
    let port = listener.local_addr().unwrap().port();
    let connected = |address: &str| {
        let client = pair.b.run(|| TcpStream::connect((address, port))).unwrap().unwrap();
        (listener.accept().unwrap().0, client)
    };
    let ends = [connected(A4), connected(A6)];
    // With ports nothing matches: they are the peer's, and the peer's are others.
    assert_eq!(inject(&reset(&pair, &["0.0.0.0/0", "::/0"], &[port])).effect().unwrap().count, 0);
    // The kernel chooses from which of its addresses the peer connects: networks, therefore.
    let networks = ["10.77.0.0/24", "fd77::/64"];
    let effect = inject(&reset(&pair, &networks, &[])).effect().unwrap();
    assert_eq!(effect.count, 2);
    assert_eq!(effect.parts.iter().map(|part| part.count).collect::<Vec<_>>(), [1, 1]);
    for (server, client) in &ends {
        assert_eq!(end_of(server).kind(), ErrorKind::ConnectionAborted);
        assert_eq!(end_of(client).kind(), ErrorKind::ConnectionReset);
    }
}

fn inject(reset: &Reset) -> Box<dyn Injected> {
    reset.inject(&guard()).unwrap()
}

#[test]
fn nothing_to_reset_is_no_effect() {
    if !possible() {
        return;
    }
    let pair = Pair::new();
    let listener = pair.listen(B4);
    let (ours, theirs) = pair.connection(&listener);
    let effect = inject(&reset(&pair, &[OTHER4], &[])).effect().unwrap();
    assert_eq!(effect.count, 0);
    assert_flows(&ours, &theirs, BOUND);
}

#[test]
fn it_is_done_again_and_again_until_it_is_reverted() {
    if !possible() {
        return;
    }
    let pair = Pair::new();
    let listener = pair.listen(B4);
    let every = Some(Duration::from_millis(50));
    let mut fault = inject(&Reset { every, ..reset(&pair, &[B4], &[]) });
    assert!(!fault.is_over());
    assert_eq!(fault.effect().unwrap().count, 0);
    for round in 1..=3 {
        let (ours, theirs) = {
            let ours = pair.connect(listener.local_addr().unwrap()).unwrap();
            (ours, listener.accept().unwrap().0)
        };
        assert_eq!(end_of(&theirs).kind(), ErrorKind::ConnectionReset);
        assert_eq!(end_of(&ours).kind(), ErrorKind::ConnectionAborted);
        assert!(within(BOUND, || fault.effect().unwrap().count == round));
    }
    let reverted = fault.revert().unwrap();
    assert!(reverted.verified);
    assert_eq!(reverted.effect.count, 3);
    assert_eq!(reverted.effect.doses[0].observed, Some(3.0));
    assert!(reverted.effect.doses[0].samples >= 3);
    let (ours, theirs) = pair.connection(&listener);
    assert!(is_timeout(&receive(&ours, SHORT).unwrap_err()), "no round follows the last");
    assert_flows(&ours, &theirs, BOUND);
}

#[test]
fn in_a_shared_namespace_only_the_targets_own_sockets_are_hit() {
    if !possible() {
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let ours = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let (ours_far, _) = listener.accept().unwrap();
    let mut child = Command::new("bash")
        .args(["-c", &format!("exec 3<>/dev/tcp/127.0.0.1/{port}; read -u 3 line")])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let (childs_far, _) = listener.accept().unwrap();
    let mut target = Target::of_namespace("client", Netns::of_this_thread().unwrap(), Vec::new());
    let loopback = Peer { name: String::new(), address: "127.0.0.1".parse().unwrap() };
    let mut fault =
        Reset { target: target.clone(), peers: vec![loopback], ports: vec![port], every: None };
    assert_eq!(fault.check().unwrap_err().kind(), Kind::Input, "no process is named");
    target.pids = vec![child.id()];
    fault.target = target;
    // The child holds its socket before it is accepted here.
    assert_eq!(inject(&fault).effect().unwrap().count, 1);
    assert_eq!(end_of(&childs_far).kind(), ErrorKind::ConnectionReset);
    child.wait().unwrap();
    assert_flows(&ours, &ours_far, BOUND);
    assert_flows(&ours_far, &ours, BOUND);
}
