//! The tcp probe where targets and strangers share a network namespace: whose connection is whose.
//! What is told is held against what the children and we have done.

#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "helpers of tests are tests: a panic is how they fail, stderr is how they explain, \
              stdout is how a child answers"
)]

mod child;
#[path = "../common/mod.rs"]
mod common;

use std::net::{TcpListener, TcpStream};

use temblor_event::{Body, Event, TcpState, TcpStateChange};
use temblor_host::target::Origin;
use temblor_probes::tcp::{Attribution, TcpProbe};

use crate::common::{Child, OwnGroup, Watch, possible, target};

fn watch(pids: &[(&str, u32)]) -> Watch {
    let targets: Vec<_> = pids.iter().map(|(name, pid)| target(name, &[*pid])).collect();
    let attribution = Attribution::of(&targets);
    assert!(attribution.shares());
    Watch::start(&targets, |roster| TcpProbe::attach(&attribution, Some(roster)))
}

fn changes<'a>(events: &'a [Event], service: &'a str) -> Vec<&'a TcpStateChange> {
    let of = |event: &'a Event| match &event.body {
        Body::TcpState(change) => Some(change),
        _ => None,
    };
    events
        .iter()
        .filter_map(of)
        .filter(|change| change.conn.service.as_deref() == Some(service))
        .collect()
}

/// How many of a service's connections went this way.
fn count(events: &[Event], service: &str, from: TcpState, to: TcpState) -> usize {
    changes(events, service).iter().filter(|one| (one.from, one.to) == (from, to)).count()
}

#[test]
fn a_connection_is_whose_process_connects_or_listens() {
    if !possible() {
        return;
    }
    let (mut caller, mut server) = (Child::start(), Child::start());
    // Older than the probe: a listener, and a connection.
    let old = server.listen();
    caller.connect(old, 1);
    server.ask("accept");
    let watch = watch(&[("caller", caller.pid()), ("server", server.pid())]);
    let new = server.listen();
    caller.connect(old, 3);
    caller.connect(new, 4);
    // Nobody listens there any more.
    let refused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    caller.refused(refused.port(), 5);
    // A stranger with the server, with another stranger, and with nobody.
    let stranger = TcpListener::bind("127.0.0.1:0").unwrap();
    let ours: Vec<_> = (0..6)
        .flat_map(|_| {
            let to_server = TcpStream::connect(("127.0.0.1", new)).unwrap();
            let to_us = TcpStream::connect(stranger.local_addr().unwrap()).unwrap();
            drop(stranger.accept().unwrap());
            assert!(TcpStream::connect(refused).is_err());
            [to_server, to_us]
        })
        .collect();
    drop((ours, stranger));
    caller.ask("close");
    server.ask("close");
    let closed = |told: &[Event], service: &str, connections: usize| {
        changes(told, service).iter().filter(|one| one.to == TcpState::Close).count() >= connections
    };
    // Of the server also its listeners.
    watch.until("the ends of all connections", |told| {
        closed(told, "caller", 1 + 3 + 4 + 5) && closed(told, "server", 1 + 3 + 4 + 6 + 2)
    });
    let (events, lost) = watch.stop();
    assert_eq!(lost, 0);
    let (syn, open) = (TcpState::SynSent, TcpState::Established);
    assert_eq!(count(&events, "caller", TcpState::Close, syn), 3 + 4 + 5);
    assert_eq!(count(&events, "caller", syn, open), 3 + 4);
    assert_eq!(count(&events, "caller", syn, TcpState::Close), 5);
    assert_eq!(count(&events, "server", TcpState::SynRecv, open), 3 + 4 + 6);
    assert_eq!(count(&events, "server", TcpState::Close, TcpState::Listen), 1);
    assert_eq!(count(&events, "server", TcpState::Listen, TcpState::Close), 2);
    assert!(closed(&events, "caller", 13) && !closed(&events, "caller", 14));
    assert!(closed(&events, "server", 16) && !closed(&events, "server", 17));
    for event in &events {
        let conn = match &event.body {
            Body::TcpState(change) => &change.conn,
            Body::TcpReset(reset) => &reset.conn,
            Body::TcpRetransmit(again) => &again.conn,
            _ => continue,
        };
        assert!(conn.service.is_some() && conn.peer.is_none(), "{event:?}");
    }
}

#[test]
fn a_port_is_its_targets_as_long_as_one_of_its_sockets_listens() {
    if !possible() {
        return;
    }
    let mut server = Child::start();
    let watch = watch(&[("server", server.pid())]);
    let port = server.listen();
    assert_eq!(server.listen_too(port), port);
    server.ask("close one");
    drop(TcpStream::connect(("127.0.0.1", port)).unwrap());
    watch.until("the accepted connection", |told| {
        count(told, "server", TcpState::SynRecv, TcpState::Established) == 1
    });
    server.ask("close");
    // Somebody else's now.
    let ours = TcpListener::bind(("127.0.0.1", port)).unwrap();
    drop(TcpStream::connect(ours.local_addr().unwrap()).unwrap());
    drop(ours.accept().unwrap());
    let (events, lost) = watch.stop();
    let accepted = count(&events, "server", TcpState::SynRecv, TcpState::Established);
    assert_eq!((accepted, lost), (1, 0));
}

#[test]
fn who_comes_to_a_target_has_its_connections_from_then_on() {
    if !possible() {
        return;
    }
    let Some(group) = OwnGroup::create("tcp") else { return };
    let (mut server, mut newcomer) = (Child::start(), Child::start());
    let port = server.listen();
    let mut group_target = target("group", &[]);
    (group_target.group, group_target.origin) = (group.group.clone(), Origin::Cgroup);
    let attribution = Attribution::of(&[group_target.clone()]);
    let watch =
        Watch::start(&[group_target], |roster| TcpProbe::attach(&attribution, Some(roster)));
    newcomer.connect(port, 2);
    group.group.attach(newcomer.pid()).unwrap();
    newcomer.connect(port, 3);
    watch.until("the newcomer's connections", |told| {
        count(told, "group", TcpState::SynSent, TcpState::Established) == 3
    });
    let (events, lost) = watch.stop();
    assert_eq!(lost, 0);
    assert_eq!(count(&events, "group", TcpState::Close, TcpState::SynSent), 3);
}
