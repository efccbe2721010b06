//! What goes wrong on connections.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use temblor_event::{Body, Cause, Event, RetransmitKind, TcpState};

use crate::Case;
use crate::world::{CLIENT, Watch, World, drop_packets, let_packets, retransmitted, segments};

pub(crate) fn cases() -> Vec<Case> {
    vec![refused(), syn_timed_out(), given_up(), resets(true), resets(false), silence(), gaps()]
}

fn count(events: &[Event], is_one: impl Fn(&Body) -> bool) -> usize {
    events.iter().filter(|event| is_one(&event.body)).count()
}

fn closes(events: &[Event]) -> usize {
    count(events, |body| {
        matches!(body, Body::TcpState(c) if c.conn.service.as_deref() == Some(CLIENT)
            && c.to == TcpState::Close)
    })
}

fn refused() -> Case {
    const TIMES: usize = 40;
    let world = World::new();
    let watch = Watch::start(&world.attribution());
    let closed: SocketAddr = world.listen("10.77.0.2").local_addr().unwrap();
    for _ in 0..TIMES {
        let error = world.client.run(|| TcpStream::connect(closed).unwrap_err()).unwrap();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    }
    watch.until("the refusals", |events| closes(events) >= TIMES);
    let (events, _) = watch.stop();
    Case::new("refused", vec![(Cause::Refused, TIMES as u64)], CLIENT, &events, &[])
}

/// The kernel's patience is shortened in the namespace: it asks only once or a few times more.
fn syn_timed_out() -> Case {
    const TIMES: usize = 20;
    let world = World::new();
    world
        .client
        .run(|| std::fs::write("/proc/sys/net/ipv4/tcp_syn_retries", "1"))
        .unwrap()
        .unwrap();
    let watch = Watch::start(&world.attribution());
    let to = world.listen("10.77.0.2").local_addr().unwrap();
    drop_packets(&world.server, "input", "meta l4proto tcp");
    std::thread::scope(|scope| {
        for _ in 0..TIMES {
            scope.spawn(|| {
                let error = world.client.run(|| TcpStream::connect(to).unwrap_err()).unwrap();
                assert_eq!(error.kind(), ErrorKind::TimedOut);
            });
        }
    });
    watch.until("the ends", |events| closes(events) >= TIMES);
    let (events, _) = watch.stop();
    // Before it gives up the kernel asks again; that is told as well, and is right.
    let planted = vec![(Cause::SynTimedOut, TIMES as u64)];
    Case::new("SYN time-out", planted, CLIENT, &events, &[Cause::SynAgain])
}

fn given_up() -> Case {
    const TIMES: usize = 20;
    let world = World::new();
    let watch = Watch::start(&world.attribution());
    let to = world.listen("10.77.0.2").local_addr().unwrap();
    drop_packets(&world.server, "input", "meta l4proto tcp");
    for _ in 0..TIMES {
        let patience = Duration::from_millis(100);
        world.client.run(|| TcpStream::connect_timeout(&to, patience).unwrap_err()).unwrap();
    }
    watch.until("the ends", |events| closes(events) >= TIMES);
    let (events, _) = watch.stop();
    let planted = vec![(Cause::GaveUp, TIMES as u64)];
    Case::new("application gave up", planted, CLIENT, &events, &[])
}

/// Closing with unread data is what makes the kernel send a reset.
fn resets(sent: bool) -> Case {
    const TIMES: usize = 40;
    let world = World::new();
    let watch = Watch::start(&world.attribution());
    let listener = world.listen("10.77.0.2");
    for _ in 0..TIMES {
        let (near, far) = world.connected(&listener);
        let (mut writer, closer) = if sent { (far, near) } else { (near, far) };
        writer.write_all(b"never read").unwrap();
        closer.peek(&mut [0]).unwrap();
        drop(closer);
        assert_eq!(writer.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    }
    watch.until("the resets", |events| {
        count(events, |body| matches!(body, Body::TcpReset(_))) >= 2 * TIMES
    });
    let (events, _) = watch.stop();
    let (what, cause) =
        if sent { ("reset out", Cause::ResetOut) } else { ("reset in", Cause::ResetIn) };
    Case::new(what, vec![(cause, TIMES as u64)], CLIENT, &events, &[])
}

/// Silence on connections: each sends a tail-loss probe, and then its timer runs out over and over.
fn silence() -> Case {
    const CONNECTIONS: usize = 10;
    let world = World::new();
    let listener = world.listen("10.77.0.2");
    let mut connections: Vec<_> = (0..CONNECTIONS).map(|_| world.connected(&listener)).collect();
    for (near, far) in &mut connections {
        near.write_all(b"warm").unwrap();
        far.read_exact(&mut [0; 4]).unwrap();
    }
    let watch = Watch::start(&world.attribution());
    let before = retransmitted(&world.client);
    drop_packets(&world.server, "input", "meta l4proto tcp");
    for (near, _) in &mut connections {
        near.write_all(b"lost").unwrap();
    }
    let timeouts = |events: &[Event]| {
        count(
            events,
            |body| matches!(body, Body::TcpRetransmit(a) if a.kind == RetransmitKind::Timeout),
        )
    };
    watch.until("time-outs", |events| timeouts(events) >= 3 * CONNECTIONS);
    // Taken off while nothing gets through: what the kernel has counted is all that was told.
    let (events, _) = watch.stop();
    let told = segments(&events, CLIENT);
    let grown = retransmitted(&world.client) - before;
    let_packets(&world.server);
    for (_, far) in &mut connections {
        far.read_exact(&mut [0; 4]).unwrap();
    }
    assert!(grown >= told, "told {told}, the kernel counted {grown}");
    let probes = CONNECTIONS as u64;
    let planted = vec![(Cause::TailLossProbe, probes), (Cause::RetransmitTimeout, told - probes)];
    Case::new("tail-loss probe, time-outs", planted, CLIENT, &events, &[])
}

/// The client's tail-loss probes and time-outs, as the kernel counts them itself.
fn not_fast(world: &World) -> [u64; 2] {
    let read = || std::fs::read_to_string("/proc/thread-self/net/netstat").unwrap();
    let text = world.client.run(read).unwrap();
    let mut lines = text.lines().filter(|line| line.starts_with("TcpExt:"));
    let (names, values) = (lines.next().unwrap(), lines.next().unwrap());
    ["TCPLossProbes", "TCPTimeouts"].map(|name| {
        let column = names.split_whitespace().position(|one| one == name).unwrap();
        values.split_whitespace().nth(column).unwrap().parse().unwrap()
    })
}

/// One packet of a burst is lost, and those behind it arrive: the acknowledgements show a gap.
fn gaps() -> Case {
    const ROUNDS: usize = 20;
    let world = World::new();
    let listener = world.listen("10.77.0.2");
    let (mut near, mut far) = world.connected(&listener);
    near.set_nodelay(true).unwrap();
    // One segment a packet, so that one packet can be lost.
    let single = || Command::new("ip").args("link set c gso_max_segs 1".split(' ')).status();
    assert!(world.client.run(single).unwrap().unwrap().success());
    let turn = |near: &mut TcpStream, far: &mut TcpStream, bytes: usize| {
        std::thread::scope(|scope| {
            scope.spawn(|| near.write_all(&vec![7; bytes]).unwrap());
            far.read_exact(&mut vec![0; bytes]).unwrap();
        });
        far.write_all(b".").unwrap();
        near.read_exact(&mut [0]).unwrap();
    };
    // The window opens: a burst is one flight from here on.
    turn(&mut near, &mut far, 1 << 20);
    let watch = Watch::start(&world.attribution());
    let (before, others_before) = (retransmitted(&world.client), not_fast(&world));
    for _ in 0..ROUNDS {
        drop_packets(&world.server, "input", "meta length > 1000 numgen inc mod 100000 == 20");
        turn(&mut near, &mut far, 1 << 17);
        let_packets(&world.server);
    }
    let grown = retransmitted(&world.client) - before;
    watch.until("all of it", |events| segments(events, CLIENT) >= grown);
    let (events, _) = watch.stop();
    assert!(grown >= ROUNDS as u64, "the kernel counted {grown}");
    // Where nobody was scheduled in time the kernel did not wait for the acknowledgements.
    let [probes, timeouts] = not_fast(&world);
    let (probes, timeouts) = (probes - others_before[0], timeouts - others_before[1]);
    let mut planted = vec![
        (Cause::FastRetransmit, grown - probes - timeouts),
        (Cause::TailLossProbe, probes),
        (Cause::RetransmitTimeout, timeouts),
    ];
    planted.retain(|(_, times)| *times > 0);
    Case::new("fast retransmission", planted, CLIENT, &events, &[])
}
