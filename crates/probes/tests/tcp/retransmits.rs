//! Retransmissions: their causes, their timers, and their sum against the kernel's own counter.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use temblor_event::clock::now_ns;
use temblor_event::{Body, Event, RetransmitKind, TcpRetransmit, TcpState};

use crate::world::{
    CLIENT, SERVER, Watch, World, assert_counters_agree, counters, drop_packets, let_packets,
    possible, segments,
};

fn again<'a>(
    events: &'a [Event],
    service: &'a str,
    kind: RetransmitKind,
) -> Vec<&'a TcpRetransmit> {
    let of_kind = events.iter().filter_map(|event| match &event.body {
        Body::TcpRetransmit(again)
            if again.kind == kind && again.conn.service.as_deref() == Some(service) =>
        {
            Some(again)
        }
        _ => None,
    });
    of_kind.collect()
}

/// Sends by these events. A kernel may run no BPF program while a certain process is current (seen:
/// its first), and a timer may interrupt just that one. What is then not seen is carried by the
/// connection's next event, so that the sum stays right where the count need not.
fn sent(events: &[&TcpRetransmit]) -> u32 {
    events.iter().map(|again| again.segments).sum()
}

#[test]
fn a_connect_into_silence_repeats_its_syn_and_the_peer_its_syn_ack() {
    if !possible() {
        return;
    }
    let world = World::new();
    let watch = Watch::start(&world.attribution());
    let before = counters(&world);
    let listener = world.listen("10.77.0.2");
    let to = listener.local_addr().unwrap();
    // The SYN arrives, its answer does not.
    drop_packets(&world.client, "input", "meta l4proto tcp");
    // Long enough for two: after 1 and 2 s, or before Linux 6.5 after 1 and 3 s.
    let connect = || TcpStream::connect_timeout(&to, Duration::from_millis(3300)).unwrap_err();
    world.client.run(connect).unwrap();
    let events = watch.until("the close", |events| {
        events.iter().any(
            |event| matches!(&event.body, Body::TcpState(change) if change.to == TcpState::Close),
        )
    });

    let syns = again(&events, CLIENT, RetransmitKind::Syn);
    assert!(sent(&syns) >= 2, "{syns:?}");
    for syn in &syns {
        assert_eq!((syn.state, syn.errno), (TcpState::SynSent, 0));
        assert!(syn.rto_ns >= 500_000_000, "{syn:?}");
        assert_eq!(syn.conn.peer.as_deref(), Some(SERVER));
        assert_eq!(syn.conn.remote, to);
    }
    let answers = again(&events, SERVER, RetransmitKind::SynAck);
    assert!(!answers.is_empty());
    let unseen = watch.status().unseen;
    for answer in answers {
        assert_eq!(answer.conn.peer.as_deref(), Some(CLIENT));
        assert_eq!((answer.conn.local, answer.state), (to, TcpState::NewSynRecv));
        if temblor_host::kernel_at_least(5, 17) {
            assert!(answer.rto_ns >= 500_000_000, "{answer:?}");
        } else {
            assert!(unseen.iter().any(|text| text.contains("SYN-ACKs")), "{unseen:?}");
        }
    }
    let gave_up = events.iter().find_map(|event| match &event.body {
        Body::TcpState(change) if change.from == TcpState::SynSent => Some(change),
        _ => None,
    });
    let gave_up = gave_up.unwrap();
    assert_eq!((gave_up.to, gave_up.errno), (TcpState::Close, 0), "the application gave up");
    assert!(gave_up.connect_ns.unwrap() >= 3_300_000_000);
    assert_eq!(gave_up.retransmitted, sent(&syns));
    assert_counters_agree(&world, &watch, before);
}

#[test]
fn silence_on_a_connection_is_a_tail_loss_probe_and_then_doubling_timeouts() {
    if !possible() {
        return;
    }
    let world = World::new();
    let watch = Watch::start(&world.attribution());
    let listener = world.listen("10.77.0.2");
    let (mut near, mut far) = world.connected(&listener);
    near.write_all(b"warm").unwrap();
    far.read_exact(&mut [0; 4]).unwrap();
    let before = counters(&world);
    drop_packets(&world.server, "input", "meta l4proto tcp");
    let lost_ns = now_ns();
    near.write_all(b"lost").unwrap();
    let mut events = watch.until("four time-outs", |events| {
        again(events, CLIENT, RetransmitKind::Timeout).len() >= 4
    });
    // On a busy machine what came before may have been sent again too.
    events.retain(|event| event.t_ns >= lost_ns);
    let_packets(&world.server);
    far.read_exact(&mut [0; 4]).unwrap();

    let probes = again(&events, CLIENT, RetransmitKind::TailLossProbe);
    let timeouts = again(&events, CLIENT, RetransmitKind::Timeout);
    // The kernel doubles without sending where what it sent last still waits on this machine, which a
    // host that takes the processors away can bring about: no doubling comes twice, but one may be
    // missing. One that is missing and was sent is carried, as the probe before it may be.
    let first = timeouts[0];
    assert!(probes.len() <= 1 && first.backoff <= 1, "{events:#?}");
    let carried = sent(&probes) + first.segments - 1;
    assert!((1..=1 + u32::from(first.backoff)).contains(&carried), "{events:#?}");
    for pair in timeouts.windows(2) {
        let doublings = u32::from(pair[1].backoff) - u32::from(pair[0].backoff);
        assert!((1..=2).contains(&doublings), "{timeouts:#?}");
        assert!((1..=doublings).contains(&pair[1].segments), "{timeouts:#?}");
    }
    for timeout in &timeouts {
        let doublings = timeout.backoff - timeouts[0].backoff;
        assert_eq!(timeout.rto_ns, timeouts[0].rto_ns << doublings, "{timeout:?}");
        assert_eq!((timeout.state, timeout.errno), (TcpState::Established, 0));
    }
    assert!((200_000_000..1_000_000_000).contains(&timeouts[0].rto_ns), "{:?}", timeouts[0]);
    // The timer's value is what passed between two time-outs.
    let times: Vec<_> = events
        .iter()
        .filter(|event| {
            matches!(&event.body, Body::TcpRetransmit(a) if a.kind == RetransmitKind::Timeout)
        })
        .map(|event| event.t_ns)
        .collect();
    for (pair, timeout) in times.windows(2).zip(&timeouts[1..]) {
        let passed = pair[1] - pair[0];
        // The kernel may be late, never early by more than its timers are coarse.
        assert!(passed >= timeout.rto_ns / 8 * 7, "{passed} for {timeout:?}");
        assert!(passed < timeout.rto_ns * 2, "{passed} for {timeout:?}");
    }
    assert_counters_agree(&world, &watch, before);
}

#[test]
fn sends_that_fail_on_this_machine_are_counted_with_their_error() {
    if !possible() {
        return;
    }
    let world = World::new();
    let watch = Watch::start(&world.attribution());
    let listener = world.listen("fd77::2");
    let (mut near, mut far) = world.connected(&listener);
    let before = counters(&world);
    // The first send must succeed: a segment that never left waits for the window-probe timer,
    // and its later sends are not retransmissions.
    drop_packets(&world.server, "input", "meta l4proto tcp");
    near.write_all(b"held").unwrap();
    drop_packets(&world.client, "output", "meta l4proto tcp");
    let all_errors_told = watch.status().unseen.is_empty();
    if all_errors_told {
        let events = watch.until("three time-outs", |events| {
            again(events, CLIENT, RetransmitKind::Timeout).len() >= 3
        });
        for timeout in again(&events, CLIENT, RetransmitKind::Timeout) {
            assert_eq!(timeout.errno, 1, "EPERM is what a dropping rule gives: {timeout:?}");
        }
    }
    let_packets(&world.client);
    let_packets(&world.server);
    far.read_exact(&mut [0; 4]).unwrap();
    drop((near, far));
    watch.until("the close", |events| {
        events.iter().any(
            |event| matches!(&event.body, Body::TcpState(change) if change.to == TcpState::Close),
        )
    });
    assert_counters_agree(&world, &watch, before);
}

#[test]
fn a_burst_with_losses_adds_up() {
    if !possible() {
        return;
    }
    let world = World::new();
    let watch = Watch::start(&world.attribution());
    let listener = world.listen("10.77.0.2");
    let (mut near, mut far) = world.connected(&listener);
    let before = counters(&world);
    // Every seventh packet goes, both ways: gaps, lost acknowledgements, probes, segments of
    // many packets that are sent again in parts.
    drop_packets(&world.server, "input", "numgen inc mod 7 == 3");
    const BYTES: usize = 3 << 20;
    // Whether a gap is seen by acknowledgements or only by the timer is also a matter of who is
    // scheduled when: as many bursts as it takes.
    let mut fast = false;
    for _ in 0..10 {
        std::thread::scope(|scope| {
            scope.spawn(|| near.write_all(&vec![7; BYTES]).unwrap());
            let mut left = BYTES;
            let mut buffer = vec![0; 1 << 16];
            while left > 0 {
                left -= far.read(&mut buffer).unwrap();
            }
        });
        assert_counters_agree(&world, &watch, before);
        fast = !again(&watch.events(), CLIENT, RetransmitKind::Fast).is_empty();
        if fast {
            break;
        }
    }
    let_packets(&world.server);
    assert!(fast, "no gap was seen by acknowledgements");
    assert_counters_agree(&world, &watch, before);
    drop((near, far));
    let (events, _) = watch.stop();
    assert!(segments(&events, CLIENT) > 20, "{}", segments(&events, CLIENT));
}

#[test]
fn a_connection_older_than_the_probe_counts_only_what_is_new() {
    if !possible() {
        return;
    }
    let world = World::new();
    let listener = world.listen("10.77.0.2");
    let (mut near, mut far) = world.connected(&listener);
    {
        let earlier = Watch::start(&world.attribution());
        drop_packets(&world.server, "input", "meta l4proto tcp");
        near.write_all(b"then").unwrap();
        earlier.until("two", |events| segments(events, CLIENT) >= 2);
        let_packets(&world.server);
        far.read_exact(&mut [0; 4]).unwrap();
    }
    let before = counters(&world);
    assert!(before.0 >= 2);
    let watch = Watch::start(&world.attribution());
    drop_packets(&world.server, "input", "meta l4proto tcp");
    near.write_all(b"now!").unwrap();
    watch.until("two more", |events| segments(events, CLIENT) >= 2);
    let_packets(&world.server);
    far.read_exact(&mut [0; 4]).unwrap();
    assert_counters_agree(&world, &watch, before);
}
