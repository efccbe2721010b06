//! `network.partition` on real namespaces: what is cut, what is not, and what is left.
#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "all of it is tests, helpers too")]

mod support;

use std::io::{self, BufRead as _, Write as _};
use std::net::{IpAddr, UdpSocket};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use support::*;
use temblor_faults::Fault as _;
use temblor_faults::network::{Action, Direction, Peer, trial};
use temblor_faults::{Error, Injected, Kind, Refusal, leftovers};
use temblor_host::netns::Netns;

/// A figure of `/proc/net/snmp` or `/proc/net/netstat`, in a namespace.
fn kernel_count(netns: &Netns, group: &str, figure: &str) -> u64 {
    let text = netns
        .run(|| {
            ["snmp", "netstat"].map(|file| {
                std::fs::read_to_string(format!("/proc/thread-self/net/{file}")).unwrap()
            })
        })
        .unwrap()
        .concat();
    let lines: Vec<Vec<&str>> = text
        .lines()
        .filter_map(|line| line.strip_prefix(group)?.strip_prefix(": "))
        .map(|line| line.split_ascii_whitespace().collect())
        .collect();
    let column = lines[0].iter().position(|name| *name == figure).unwrap();
    lines[1][column].parse().unwrap()
}

/// Asks again until the answer is yes.
#[expect(clippy::disallowed_methods, reason = "only a bound is wanted")]
fn within(bound: Duration, mut question: impl FnMut() -> bool) -> bool {
    let began = Instant::now();
    loop {
        if question() {
            return true;
        }
        if began.elapsed() > bound {
            return false;
        }
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// Undoes a fault and holds it to having left nothing.
#[track_caller]
fn revert(pair: &Pair, fault: Box<dyn Injected>) -> temblor_event::Effect {
    let reverted = fault.revert().unwrap();
    assert!(reverted.verified);
    assert_eq!(reverted.effect_unread, None);
    assert!(reverted.began_ns <= reverted.ended_ns);
    for netns in [&pair.a, &pair.b] {
        assert_eq!(leftovers(netns).unwrap(), [""; 0]);
        assert_eq!(run_in(netns, "nft list ruleset"), "");
    }
    reverted.effect
}

#[test]
fn a_dropped_connect_times_out_and_is_counted() {
    if !possible() {
        return;
    }
    for address in [B4, B6] {
        let pair = Pair::new();
        let listener = pair.listen(address);
        let to = listener.local_addr().unwrap();
        let (ours, theirs) = pair.connection(&listener);
        let mut fault =
            pair.partition(address, Direction::Both, Action::Drop).inject(&guard()).unwrap();
        assert_eq!(fault.effect().unwrap().count, 0, "nothing was said yet");
        assert!(is_timeout(&pair.connect(to).unwrap_err()));
        // The established connection is cut in both directions, and neither side is told.
        for (from, to) in [(&ours, &theirs), (&theirs, &ours)] {
            (&*from).write_all(b"x").unwrap();
            assert!(is_timeout(&receive(to, SHORT).unwrap_err()));
        }
        let effect = fault.effect().unwrap();
        assert_eq!(effect.measure, "packets dropped");
        assert_eq!(effect.source, "nftables rule counters in the network namespace of client");
        let names: Vec<&str> = effect.parts.iter().map(|part| part.name.as_str()).collect();
        assert_eq!(
            names,
            [format!("out to server ({address})"), format!("in from server ({address})")]
        );
        for part in &effect.parts {
            assert!(part.count > 0 && part.bytes >= 40 * part.count, "{part:?}");
        }
        assert_eq!(effect.count, effect.parts.iter().map(|part| part.count).sum::<u64>());
        assert!(revert(&pair, fault).count >= effect.count);
        // What was in flight arrives, and a new connection works.
        receive(&theirs, BOUND).unwrap();
        receive(&ours, BOUND).unwrap();
        pair.connection(&listener);
    }
}

#[test]
fn tcp_retransmits_into_a_drop_as_into_a_cut_wire() {
    if !possible() {
        return;
    }
    let pair = Pair::new();
    let listener = pair.listen(B4);
    let (ours, _theirs) = pair.connection(&listener);
    let before = kernel_count(&pair.a, "Tcp", "RetransSegs");
    let mut fault = pair.partition(B4, Direction::Out, Action::Drop).inject(&guard()).unwrap();
    (&ours).write_all(b"x").unwrap();
    assert!(
        within(BOUND, || kernel_count(&pair.a, "Tcp", "RetransSegs") >= before + 2),
        "the sender believes that it has sent"
    );
    assert_eq!(
        kernel_count(&pair.a, "TcpExt", "TCPRetransFail"),
        0,
        "no retransmission failed where the sender can see it"
    );
    // A datagram leaves without an error too.
    let sent = pair.a.run(|| UdpSocket::bind((A4, 0))?.send_to(b"x", (B4, 9))).unwrap();
    assert_eq!(sent.unwrap(), 1);
    // All that was turned back met its end: the last rule's counter agrees with the effect's.
    assert!(within(BOUND, || {
        let listing = run_in(&pair.a, "nft list ruleset");
        let end = listing.lines().find(|line| line.contains("iifname \"lo\" meta mark")).unwrap();
        let words: Vec<&str> = end.split_ascii_whitespace().collect();
        let at = words.iter().position(|word| *word == "packets").unwrap();
        words[at + 1].parse::<u64>().unwrap() == fault.effect().unwrap().count
    }));
    assert!(revert(&pair, fault).count >= 3);
}

#[test]
fn one_way_is_cut_and_the_other_is_not() {
    if !possible() {
        return;
    }
    for (direction, part) in [
        (Direction::Out, "out to server (10.77.0.2)"),
        (Direction::In, "in from server (10.77.0.2)"),
    ] {
        let pair = Pair::new();
        let listener = pair.listen(B4);
        let (ours, theirs) = pair.connection(&listener);
        let received = |netns: &Netns| kernel_count(netns, "Tcp", "InSegs");
        let fault = pair.partition(B4, direction, Action::Drop).inject(&guard()).unwrap();
        let (a, b) = (received(&pair.a), received(&pair.b));
        // What the silent way swallows does not arrive, and what the open way carries does:
        // its data arrives at the other program although no acknowledgement comes back.
        let (cut, open) = match direction {
            Direction::Out => ((&ours, &theirs), (&theirs, &ours)),
            _ => ((&theirs, &ours), (&ours, &theirs)),
        };
        (&*open.0).write_all(b"x").unwrap();
        receive(open.1, BOUND).unwrap();
        (&*cut.0).write_all(b"x").unwrap();
        assert!(is_timeout(&receive(cut.1, SHORT).unwrap_err()));
        match direction {
            Direction::Out => assert_eq!(received(&pair.b), b, "b hears nothing"),
            _ => assert_eq!(received(&pair.a), a, "a hears nothing"),
        }
        let effect = revert(&pair, fault);
        assert_eq!(effect.parts.len(), 1);
        assert_eq!(effect.parts[0].name, part);
        assert!(effect.count > 0);
    }
}

#[test]
fn a_rejected_connect_is_refused_at_once_and_a_connection_is_reset() {
    if !possible() {
        return;
    }
    for address in [B4, B6] {
        for direction in [Direction::Both, Direction::Out] {
            let pair = Pair::new();
            let listener = pair.listen(address);
            let (ours, _theirs) = pair.connection(&listener);
            let mut fault =
                pair.partition(address, direction, Action::Reject).inject(&guard()).unwrap();
            let refused = pair.connect(listener.local_addr().unwrap()).unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused, "{refused}");
            (&ours).write_all(b"x").unwrap();
            let reset = receive(&ours, BOUND).unwrap_err();
            assert_eq!(reset.kind(), io::ErrorKind::ConnectionReset, "{reset}");
            // A datagram is answered with port unreachable. Sending may say EPERM as well.
            let unreachable = pair
                .a
                .run(|| {
                    let own: IpAddr = if address == B4 { A4 } else { A6 }.parse().unwrap();
                    let socket = UdpSocket::bind((own, 0)).unwrap();
                    socket.connect((address, 9)).unwrap();
                    socket.set_read_timeout(Some(BOUND)).unwrap();
                    let _ = socket.send(b"x");
                    socket.recv(&mut [0]).unwrap_err()
                })
                .unwrap();
            assert_eq!(unreachable.kind(), io::ErrorKind::ConnectionRefused, "{unreachable}");
            let effect = fault.effect().unwrap();
            assert_eq!(effect.measure, "packets rejected");
            for kind in ["TCP", "all but TCP"] {
                let name = format!("out to server ({address}), {kind}");
                let part = effect.parts.iter().find(|part| part.name == name).unwrap();
                assert!(part.count > 0, "{part:?}");
            }
            revert(&pair, fault);
            pair.connection(&listener);
        }
    }
}

#[test]
fn rejecting_what_comes_in_answers_the_peer() {
    if !possible() {
        return;
    }
    for address in [B4, B6] {
        for direction in [Direction::Both, Direction::In] {
            let pair = Pair::new();
            let listener = pair.listen(address);
            let (_ours, theirs) = pair.connection(&listener);
            let fault =
                pair.partition(address, direction, Action::Reject).inject(&guard()).unwrap();
            (&theirs).write_all(b"x").unwrap();
            let reset = receive(&theirs, BOUND).unwrap_err();
            assert_eq!(reset.kind(), io::ErrorKind::ConnectionReset, "{reset}");
            let effect = revert(&pair, fault);
            let name = format!("in from server ({address}), TCP");
            assert!(effect.parts.iter().any(|part| part.name == name && part.count > 0));
        }
    }
}

#[test]
fn other_ports_and_other_peers_are_spared() {
    if !possible() {
        return;
    }
    for (address, other) in [(B4, OTHER4), (B6, OTHER6)] {
        for action in [Action::Drop, Action::Reject] {
            let pair = Pair::new();
            let (cut, spared, elsewhere) =
                (pair.listen(address), pair.listen(address), pair.listen(other));
            let mut partition = pair.partition(address, Direction::Both, action);
            partition.ports = vec![cut.local_addr().unwrap().port(), 1];
            let fault = partition.inject(&guard()).unwrap();
            pair.connection(&spared);
            pair.connection(&elsewhere);
            // The ports are the peer's: what the peer opens to us comes from another one.
            let (a, own) = (&pair.a, if address == B4 { A4 } else { A6 });
            let ours: IpAddr = own.parse().unwrap();
            let listener = a.run(|| std::net::TcpListener::bind((ours, 0))).unwrap().unwrap();
            let to = listener.local_addr().unwrap();
            let opened = pair.b.run(|| std::net::TcpStream::connect_timeout(&to, BOUND));
            assert_flows(&opened.unwrap().unwrap(), &listener.accept().unwrap().0, BOUND);
            pair.connect(cut.local_addr().unwrap()).unwrap_err();
            assert!(revert(&pair, fault).count > 0);
        }
    }
}

#[test]
fn a_whole_network_is_cut_and_loopback_is_not() {
    if !possible() {
        return;
    }
    for (network, address, own) in [("0.0.0.0/0", B4, A4), ("fd77::/64", B6, A6)] {
        for action in [Action::Drop, Action::Reject] {
            let pair = Pair::new();
            run_in(&pair.a, "ip route add default dev e0");
            let listener = pair.listen(address);
            let fault = pair.partition(network, Direction::Both, action).inject(&guard()).unwrap();
            pair.connect(listener.local_addr().unwrap()).unwrap_err();
            let own: IpAddr = own.parse().unwrap();
            let local = pair.a.run(|| std::net::TcpListener::bind((own, 0))).unwrap().unwrap();
            let ours = pair.connect(local.local_addr().unwrap()).unwrap();
            assert_flows(&ours, &local.accept().unwrap().0, BOUND);
            assert!(revert(&pair, fault).count > 0);
        }
    }
}

#[test]
fn the_peer_stays_a_neighbour() {
    if !possible() {
        return;
    }
    let pair = Pair::new();
    let fault = pair.partition(B6, Direction::Both, Action::Drop).inject(&guard()).unwrap();
    // The peer has forgotten the target, so it first asks who has that address: a packet from the
    // peer, and the answer is one to it.
    run_in(&pair.b, "ip neigh flush dev e0");
    assert!(!run_in(&pair.b, &format!("ip neigh show {A6}")).contains("lladdr"));
    let sent = pair.b.run(|| UdpSocket::bind((B6, 0))?.send_to(b"x", (A6, 9))).unwrap();
    assert_eq!(sent.unwrap(), 1);
    let found =
        within(BOUND, || run_in(&pair.b, &format!("ip neigh show {A6}")).contains("lladdr"));
    assert!(found);
    // What it then sends is caught all the same.
    assert!(revert(&pair, fault).count > 0);
}

#[test]
fn a_fault_that_nobody_talks_into_has_no_effect() {
    if !possible() {
        return;
    }
    let pair = Pair::new();
    let listener = pair.listen(OTHER4);
    let fault = pair.partition(B4, Direction::Both, Action::Drop).inject(&guard()).unwrap();
    pair.connection(&listener);
    let effect = revert(&pair, fault);
    assert_eq!(effect.count, 0);
    assert_eq!(effect.parts.len(), 2);
}

#[test]
fn several_faults_are_undone_one_by_one() {
    if !possible() {
        return;
    }
    let pair = Pair::new();
    let (first, second) = (pair.listen(B4), pair.listen(OTHER4));
    let one = pair.partition(B4, Direction::Both, Action::Reject).inject(&guard()).unwrap();
    let two = pair.partition(OTHER4, Direction::Both, Action::Reject).inject(&guard()).unwrap();
    assert_eq!(leftovers(&pair.a).unwrap(), [""; 0], "they are meant to be there");
    let reverted = one.revert().unwrap();
    assert!(reverted.verified);
    pair.connection(&first);
    pair.connect(second.local_addr().unwrap()).unwrap_err();
    revert(&pair, two);
    pair.connection(&second);
}

#[test]
fn a_fault_that_is_only_dropped_is_gone_although_a_child_lives() {
    if !possible() {
        return;
    }
    let pair = Pair::new();
    let listener = pair.listen(B4);
    let fault = pair.partition(B4, Direction::Both, Action::Reject).inject(&guard()).unwrap();
    // A child that was started while the fault was in place must not have its socket.
    let mut child =
        Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    drop(fault);
    assert_eq!(run_in(&pair.a, "nft list ruleset"), "");
    pair.connection(&listener);
    drop(child.stdin.take());
    child.wait().unwrap();
}

#[test]
fn a_strangers_table_is_the_same_to_the_letter() {
    if !possible() {
        return;
    }
    let pair = Pair::new();
    let listener = pair.listen(B4);
    let foreign = "add table inet filter; add chain inet filter output { type filter hook output \
                   priority 0 ; policy accept ; }; add rule inet filter output ip daddr 192.0.2.1 \
                   counter drop; add table ip temblor; add table inet other { comment \"theirs\" ; }";
    let fed = pair.a.run(|| Command::new("nft").arg(foreign).status()).unwrap().unwrap();
    assert!(fed.success());
    let before = run_in(&pair.a, "nft list ruleset");
    let fault = pair.partition(B4, Direction::Both, Action::Drop).inject(&guard()).unwrap();
    // While the fault is in place the owner's table is beyond everybody else's reach.
    let name = fault.describe().mechanism.split(' ').nth(3).unwrap().to_owned();
    let delete = || Command::new("nft").args(["delete", "table", "inet", &name]).output();
    let deleted = pair.a.run(delete).unwrap().unwrap();
    assert!(!deleted.status.success());
    pair.connect(listener.local_addr().unwrap()).unwrap_err();
    assert!(fault.revert().unwrap().verified);
    assert_eq!(run_in(&pair.a, "nft list ruleset"), before);
}

#[test]
fn leftovers_are_tables_of_ours_without_an_owner() {
    if !possible() {
        return;
    }
    let pair = Pair::new();
    run_in(&pair.a, "nft add table inet temblor_1_1");
    run_in(&pair.a, "nft add table inet temblance");
    assert_eq!(leftovers(&pair.a).unwrap(), ["table inet temblor_1_1"]);
    run_in(&pair.a, "nft delete table inet temblor_1_1");
    assert_eq!(leftovers(&pair.a).unwrap(), [""; 0]);
}

#[test]
fn what_is_in_place_says_what_it_is() {
    if !possible() {
        return;
    }
    let pair = Pair::new();
    let mut partition = pair.partition(B4, Direction::Out, Action::Drop);
    partition.ports = vec![5432, 80];
    partition.to.push(Peer { name: B6.into(), address: B6.parse().unwrap() });
    let fault = partition.inject(&guard()).unwrap();
    let event = fault.describe().event(7);
    assert_eq!((event.id, event.name.as_str()), (7, "network.partition"));
    let dose: Vec<String> = event.dose.iter().map(|(what, how)| format!("{what}: {how}")).collect();
    assert_eq!(
        dose,
        [
            "action: drop",
            "direction: out",
            "from: client",
            "ports: 80, 5432",
            "to: server (10.77.0.2), fd77::2",
        ]
    );
    assert!(event.mechanism.starts_with("nftables table inet temblor_"));
    assert!(event.undone_by.starts_with("the kernel"));
    assert!(event.began_ns > 0 && event.began_ns <= fault.describe().ended_ns);
    revert(&pair, fault);
}

#[test]
fn a_trial_leaves_nothing_where_it_is_made_from() {
    if !rustix::process::geteuid().is_root() {
        let lack = trial().unwrap_err();
        assert_eq!(lack.kind(), Kind::Missing, "{lack}");
        return;
    }
    let here = Netns::of_this_thread().unwrap();
    let before = run_in(&here, "nft list tables");
    match trial() {
        Ok(()) => {}
        // All else that was tried before the owner of a table came with Linux 5.12 is there.
        Err(lack) => assert!(lack.to_string().contains("Linux 5.12 or later"), "{lack}"),
    }
    assert_eq!(Netns::of_this_thread().unwrap(), here, "nobody was moved");
    assert_eq!(run_in(&here, "nft list tables"), before);
}

#[test]
fn what_cannot_be_cut_is_refused_and_nothing_is_made() {
    if !possible() {
        return;
    }
    let pair = Pair::new();
    let refusal = |to: &str, direction| {
        let mut partition = pair.partition(to, direction, Action::Drop);
        // The namespace itself knows its addresses, even where the target's list does not.
        partition.from.addresses.clear();
        let Err(error) = partition.inject(&guard()) else { panic!("{to} was cut") };
        assert_eq!(error.kind(), Kind::Input);
        let Error::Refused(refusal) = error else { panic!("{error}") };
        refusal
    };
    assert!(matches!(refusal("192.0.2.9", Direction::Out), Refusal::NoRoute { .. }));
    assert!(matches!(refusal(A4, Direction::Both), Refusal::Itself { .. }));
    assert!(matches!(refusal(A6, Direction::Both), Refusal::Itself { .. }));
    assert_eq!(run_in(&pair.a, "nft list ruleset"), "");
}

const CHILD_NETNS: &str = "TEMBLOR_TEST_NETNS";

/// Not a test of its own: what [`sigkill_heals`] runs in another process, and kills there.
#[test]
fn child_that_holds_a_fault() {
    let Ok(path) = std::env::var(CHILD_NETNS) else { return };
    let netns = Netns::open(std::fs::File::open(path).unwrap()).unwrap();
    let pair = Pair { a: netns.clone(), b: netns };
    let _fault = pair.partition(B4, Direction::Both, Action::Reject).inject(&guard()).unwrap();
    // It outlives this process, and must not have inherited the fault.
    let survivor = Command::new("cat").stdout(Stdio::null()).spawn().unwrap();
    println!("\nin place, survived by {}", survivor.id());
    io::stdin().read_line(&mut String::new()).unwrap();
    drop(survivor);
}

#[test]
fn sigkill_heals() {
    if !possible() {
        return;
    }
    let pair = Pair::new();
    let listener = pair.listen(B4);
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_that_holds_a_fault", "--nocapture"])
        .env(CHILD_NETNS, path(&pair.a))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = io::BufReader::new(child.stdout.take().unwrap()).lines();
    let survivor = loop {
        let line = lines.next().expect("the child ended early").unwrap();
        if let Some(pid) = line.strip_prefix("in place, survived by ") {
            break pid.to_owned();
        }
    };
    pair.connect(listener.local_addr().unwrap()).unwrap_err();
    assert_eq!(leftovers(&pair.a).unwrap(), [""; 0], "its owner lives");
    // SIGKILL; and waiting for the end of it does not wait for the survivor.
    child.kill().unwrap();
    let healed = within(Duration::from_secs(2), || run_in(&pair.a, "nft list ruleset").is_empty());
    let survived = std::path::Path::new(&format!("/proc/{survivor}")).exists();
    // Closing its standard input ends the survivor.
    drop(child.stdin.take());
    child.wait().unwrap();
    assert!(healed, "{}", run_in(&pair.a, "nft list ruleset"));
    assert!(survived, "the survivor proves that children do not hold the fault");
    pair.connection(&listener);
}
