//! Connects, resets, round trips, and who is watched.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use temblor_event::{Body, Event, TcpReset, TcpRtt, TcpState, TcpStateChange, clock};

use crate::world::{CLIENT, SERVER, Watch, World, possible};

fn changes<'a>(events: &'a [Event], service: &'a str) -> impl Iterator<Item = &'a TcpStateChange> {
    events.iter().filter_map(move |event| match &event.body {
        Body::TcpState(change) if change.conn.service.as_deref() == Some(service) => Some(change),
        _ => None,
    })
}

fn resets(events: &[Event]) -> impl Iterator<Item = &TcpReset> {
    events.iter().filter_map(|event| match &event.body {
        Body::TcpReset(reset) => Some(reset),
        _ => None,
    })
}

fn closed(events: &[Event], service: &str) -> bool {
    changes(events, service).any(|change| change.to == TcpState::Close)
}

fn a_connection_is_followed_from_its_syn_to_its_close(address: &str) {
    if !possible() {
        return;
    }
    let world = World::new();
    let watch = Watch::start(&world.attribution());
    let listener = world.listen(address);
    let before = clock::now_ns();
    let (near, far) = world.connected(&listener);
    let wall_ns = clock::now_ns() - before;
    let (near_address, far_address) = (near.local_addr().unwrap(), far.local_addr().unwrap());
    drop(near);
    drop(far);
    let events = watch.until("the close", |e| closed(e, CLIENT) && closed(e, SERVER));

    let opened = changes(&events, CLIENT).find(|c| c.to == TcpState::SynSent).unwrap();
    assert_eq!(opened.from, TcpState::Close);
    assert_eq!(opened.conn.local, SocketAddr::new(near_address.ip(), 0), "no port chosen yet");
    assert_eq!(opened.conn.remote, far_address);
    let of_client: Vec<_> = changes(&events, CLIENT).collect();
    for change in &of_client {
        assert_eq!(change.conn.cookie, opened.conn.cookie, "one socket, one cookie: {change:?}");
        assert_eq!(change.pid, Some(std::process::id()), "{change:?}");
        assert_eq!(change.conn.peer.as_deref(), Some(SERVER));
        assert_eq!(change.errno, 0);
    }
    let path: Vec<_> = of_client.iter().map(|change| (change.from, change.to)).collect();
    assert_eq!(path[0].1, TcpState::SynSent);
    assert!(path.windows(2).all(|pair| pair[0].1 == pair[1].0), "no gap in {path:?}");
    let established = of_client.iter().find(|c| c.to == TcpState::Established).unwrap();
    let took_ns = established.connect_ns.unwrap();
    assert!(took_ns > 0 && took_ns < wall_ns, "{took_ns} of {wall_ns}");
    assert_eq!(established.conn.local, near_address);

    let accepted =
        changes(&events, SERVER).find(|change| change.to == TcpState::Established).unwrap();
    assert_eq!(accepted.from, TcpState::SynRecv);
    assert_eq!(accepted.conn.peer.as_deref(), Some(CLIENT));
    assert_eq!((accepted.conn.local, accepted.conn.remote), (far_address, near_address));
    assert_eq!((accepted.pid, accepted.connect_ns), (None, None));
    let closed = changes(&events, SERVER)
        .find(|change| change.to == TcpState::Close && change.conn.remote == near_address);
    assert_eq!(closed.unwrap().conn.cookie, accepted.conn.cookie);
    assert_eq!(closed.unwrap().conn.local, far_address, "the port is still told at CLOSE");
    assert!(events.windows(2).all(|pair| pair[0].t_ns <= pair[1].t_ns + 1_000_000));

    let (events, cost) = watch.stop();
    let single = |event: &&Event| !matches!(event.body, Body::TcpRtt(_));
    assert_eq!(cost.events, events.iter().filter(single).count() as u64);
    let program = cost.programs.iter().find(|one| one.program == "tcp_state").unwrap();
    assert!(program.runs > 0 && program.run_ns > 0, "{program:?}");
}

#[test]
fn a_connection_is_followed_over_ipv4() {
    a_connection_is_followed_from_its_syn_to_its_close("10.77.0.2");
}

#[test]
fn a_connection_is_followed_over_ipv6() {
    a_connection_is_followed_from_its_syn_to_its_close("fd77::2");
}

#[test]
fn a_refused_connection_has_its_errno_and_its_resets() {
    if !possible() {
        return;
    }
    for address in ["10.77.0.2", "fd77::2"] {
        let world = World::new();
        let watch = Watch::start(&world.attribution());
        // A port that was just free: nobody else is in this namespace.
        let closed_port = world.listen(address).local_addr().unwrap();
        let error = world.client.run(|| TcpStream::connect(closed_port).unwrap_err()).unwrap();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        // The refusal has no socket; the kernel's tracepoint is silent about such a reset at first.
        let told = temblor_host::kernel_at_least(6, 10);
        let silent = watch.status().unseen.iter().any(|text| text.contains("closed port"));
        assert_ne!(told, silent, "{:?}", watch.status());
        let expected = if told { 2 } else { 1 };
        let events =
            watch.until("the resets", |e| closed(e, CLIENT) && resets(e).count() == expected);

        let failed = changes(&events, CLIENT).find(|c| c.to == TcpState::Close).unwrap();
        assert_eq!((failed.from, failed.errno), (TcpState::SynSent, 111));
        assert!(failed.connect_ns.is_some_and(|ns| ns > 0));
        assert_eq!(failed.pid, Some(std::process::id()));
        let sent = resets(&events).find(|reset| reset.sent);
        assert_eq!(sent.is_some(), told);
        if let Some(sent) = sent {
            assert_eq!(sent.conn.service.as_deref(), Some(SERVER));
            assert_eq!(sent.conn.peer.as_deref(), Some(CLIENT));
            assert_eq!((sent.conn.cookie, sent.state), (0, None), "a closed port has no socket");
            assert_eq!((sent.conn.local, sent.conn.remote), (closed_port, failed.conn.local));
        }
        let received = resets(&events).find(|reset| !reset.sent).unwrap();
        assert_eq!(received.conn.service.as_deref(), Some(CLIENT));
        assert_eq!(received.conn.cookie, failed.conn.cookie);
        assert_eq!(received.state, Some(TcpState::SynSent));
    }
}

#[test]
fn resets_are_told_both_ways() {
    if !possible() {
        return;
    }
    let world = World::new();
    let watch = Watch::start(&world.attribution());
    let listener = world.listen("10.77.0.2");
    for server_resets in [true, false] {
        let (near, far) = world.connected(&listener);
        let (mut writer, closer) = if server_resets { (near, far) } else { (far, near) };
        // Closing with unread data is what makes the kernel send a reset.
        writer.write_all(b"never read").unwrap();
        closer.peek(&mut [0]).unwrap();
        drop(closer);
        let error = writer.read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }
    let events = watch.until("four resets", |e| resets(e).count() >= 4);
    for (service, peer) in [(SERVER, CLIENT), (CLIENT, SERVER)] {
        let of_service = |reset: &&TcpReset| reset.conn.service.as_deref() == Some(service);
        let sent = resets(&events).filter(of_service).find(|reset| reset.sent).unwrap();
        assert!(sent.conn.cookie != 0 && sent.state.is_some(), "{sent:?}");
        assert_eq!(sent.conn.peer.as_deref(), Some(peer));
        let received = resets(&events).filter(of_service).find(|reset| !reset.sent).unwrap();
        assert_eq!(received.state, Some(TcpState::Established));
        assert_eq!(received.conn.peer.as_deref(), Some(peer));
        assert!(received.conn.local.port() != 0 && received.conn.remote.port() != 0);
    }
    let errno = changes(&events, CLIENT).find(|change| change.errno != 0);
    assert_eq!(errno.map(|change| (change.to, change.errno)), Some((TcpState::Close, 104)));
}

#[test]
fn only_watched_namespaces_are_seen() {
    if !possible() {
        return;
    }
    let (world, elsewhere) = (World::new(), World::new());
    let mut only_client = world.names();
    only_client.watch(CLIENT, &world.client);
    let watch = Watch::start(&only_client);
    let quiet = Watch::start(&elsewhere.attribution());
    let listener = world.listen("10.77.0.2");
    drop(world.connected(&listener));
    watch.until("the close", |events| closed(events, CLIENT));
    let (events, _) = watch.stop();
    for event in &events {
        let service = match &event.body {
            Body::TcpState(change) => change.conn.service.clone(),
            Body::TcpRtt(rtt) => Some(rtt.service.clone()),
            other => panic!("{other:?}"),
        };
        assert_eq!(service.as_deref(), Some(CLIENT));
    }
    let (events, cost) = quiet.stop();
    assert_eq!(events, []);
    assert_eq!(cost.events, 0);
}

#[test]
fn round_trips_are_told_per_service_and_peer() {
    if !possible() {
        return;
    }
    const TURNS: u64 = 300;
    let world = World::new();
    let watch = Watch::start(&world.attribution());
    let listener = world.listen("10.77.0.2");
    let began = clock::now_ns();
    let (mut near, mut far) = world.connected(&listener);
    let answering = std::thread::spawn(move || {
        let mut byte = [0];
        while far.read(&mut byte).unwrap() == 1 {
            far.write_all(&byte).unwrap();
        }
    });
    for _ in 0..TURNS {
        near.write_all(b"?").unwrap();
        near.read_exact(&mut [0]).unwrap();
    }
    let wall_us = (clock::now_ns() - began) / 1_000;
    drop(near);
    answering.join().unwrap();
    let (events, cost) = watch.stop();

    let told: Vec<&TcpRtt> = events
        .iter()
        .filter_map(|event| match &event.body {
            Body::TcpRtt(rtt) if rtt.service == CLIENT => Some(rtt),
            _ => None,
        })
        .collect();
    let samples: u64 = told.iter().map(|rtt| rtt.samples).sum();
    assert!(samples > TURNS / 2 && samples <= TURNS + 3, "{samples} samples of {TURNS} turns");
    for rtt in told {
        assert_eq!(rtt.peer, SERVER);
        assert!(rtt.p50_us > 0 && rtt.p50_us <= rtt.p99_us && rtt.p99_us <= rtt.max_us, "{rtt:?}");
        assert!(rtt.max_us <= wall_us && rtt.window_ns > 0, "{rtt:?} in {wall_us} µs");
    }
    let rtt = cost.programs.iter().find(|program| program.program == "tcp_rtt").unwrap();
    assert!(rtt.runs >= TURNS && rtt.run_ns > 0, "{rtt:?}");
    for program in &cost.programs {
        let each_ns = program.run_ns / program.runs.max(1);
        eprintln!("{}: {} runs of {each_ns} ns", program.program, program.runs);
    }
}

#[test]
fn the_probe_says_what_it_uses() {
    if !possible() {
        return;
    }
    let world = World::new();
    let status = Watch::start(&world.attribution()).status();
    assert_eq!(status.probe, "tcp");
    let hooks: Vec<_> = status.hooks.iter().map(|hook| hook.hook.as_str()).collect();
    assert!(hooks.contains(&"tp_btf/inet_sock_set_state"), "{hooks:?}");
    assert!(hooks.contains(&"tp_btf/tcp_retransmit_skb"), "{hooks:?}");
    let table = temblor_probes::capabilities();
    let loading = table.iter().find(|capability| capability.name == "loading").unwrap();
    assert!(matches!(loading.state, temblor_host::State::Available { .. }), "{loading:?}");
}
