//! The edges probe against a real kernel: programs of our own talk to each other, and what they
//! themselves know of it is held against what the probe tells.

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
#[path = "../common/link.rs"]
mod link;
mod requests;
mod server;
mod tls;
mod told;

use std::time::Duration;

use temblor_event::clock;
use temblor_host::target::Origin;
use temblor_probes::edges::{EdgesProbe, Settings};

use crate::common::{Child, OwnGroup, Watch, possible, target};
use crate::link::World;
use crate::told::{Told, attach};

const WAIT: Duration = Duration::from_millis(50);

/// Between what the server knows that it held back and what the client knows that it waited; where
/// those two are near each other, so is the figure.
fn assert_between(told: u64, held: u64, waited: u64) {
    assert!((held..=waited).contains(&told), "{told} ns, held {held}, waited {waited}");
}

#[test]
fn a_turn_takes_as_long_as_whoever_asked_had_to_wait() {
    if !possible() {
        return;
    }
    for address in ["127.0.0.1", "[::1]"] {
        let (mut server, mut client) = (Child::start(), Child::start());
        let port = server.serve(address, WAIT);
        let targets = [target("server", &[server.pid()]), target("client", &[client.pid()])];
        let watch = Watch::start(&targets, attach);
        client.ask(&format!("connect {address}:{port}"));
        let took = client.talk(20);
        let held = server.held();
        client.ask("close");
        let (events, lost) = watch.stop();
        let told = Told::of(&events);
        for (service, edge) in [("client", ("calls", "server")), ("server", ("serves", "client"))] {
            let turns = told.turns(service, edge);
            assert_eq!(turns.samples(), 20, "{service}");
            assert_between(turns.sum, held, took);
            assert!(Duration::from_nanos(turns.percentile(50)) >= WAIT);
            assert_eq!(told.number(service, "connections_opened", edge), 1, "{service}");
            assert_eq!(told.edges(service), [(edge.0.to_owned(), edge.1.to_owned())]);
        }
        let (asked, answered) = (20 * "hello\n".len(), 20 * "hello yourself\n".len());
        let bytes = |service, name, edge| told.number(service, name, edge);
        assert_eq!(bytes("client", "bytes_sent", ("calls", "server")), asked as u64);
        assert_eq!(bytes("client", "bytes_received", ("calls", "server")), answered as u64);
        assert_eq!(bytes("server", "bytes_sent", ("serves", "client")), answered as u64);
        assert_eq!(bytes("server", "bytes_received", ("serves", "client")), asked as u64);
        assert_eq!(lost, 0);
    }
}

#[test]
fn a_connection_that_was_there_before_is_found_within_five_seconds() {
    if !possible() {
        return;
    }
    let (mut server, mut client) = (Child::start(), Child::start());
    let port = server.serve("127.0.0.1", WAIT);
    client.ask(&format!("connect 127.0.0.1:{port}"));
    // The server has it once it has answered.
    client.talk(1);
    let targets = [target("server", &[server.pid()]), target("client", &[client.pid()])];
    let watch = Watch::start(&targets, attach);
    let began = clock::now_ns();
    // Nothing goes over it.
    let both = |told: &Told| {
        told.number("server", "connections_open", ("serves", "client")) == 1
            && told.number("client", "connections_open", ("calls", "server")) == 1
    };
    let events =
        watch.until("the connection, from both its ends", |events| both(&Told::of(events)));
    let found = events.last().unwrap().t_ns.saturating_sub(began);
    assert!(found < 5_000_000_000, "found after {found} ns");
    let held_before = server.held();
    let took = client.talk(5);
    let held = server.held() - held_before;
    let (events, lost) = watch.stop();
    let told = Told::of(&events);
    for (service, edge) in [("client", ("calls", "server")), ("server", ("serves", "client"))] {
        let turns = told.turns(service, edge);
        assert_eq!(turns.samples(), 5, "{service}");
        assert_between(turns.sum, held, took);
        assert_eq!(told.number(service, "connections_opened", edge), 0, "it was open before");
    }
    assert_eq!(lost, 0);
}

#[test]
fn processes_that_share_an_address_are_told_apart() {
    if !possible() {
        return;
    }
    let mut server = Child::start();
    let mut clients = [Child::start(), Child::start(), Child::start()];
    let port = server.serve("127.0.0.1", Duration::ZERO);
    let [a, b, stranger] = &clients;
    let name = std::fs::read_to_string(format!("/proc/{}/comm", stranger.pid())).unwrap();
    let targets =
        [target("server", &[server.pid()]), target("a", &[a.pid()]), target("b", &[b.pid()])];
    let watch = Watch::start(&targets, attach);
    for (client, times) in clients.iter_mut().zip([30, 20, 10]) {
        client.ask(&format!("connect 127.0.0.1:{port}"));
        client.talk(times);
    }
    let (events, lost) = watch.stop();
    let told = Told::of(&events);
    for (peer, times) in [("a", 30), ("b", 20), (name.trim_end(), 10)] {
        assert_eq!(told.turns("server", ("serves", peer)).samples(), times, "{peer}");
        assert_eq!(told.number("server", "connections_open", ("serves", peer)), 1, "{peer}");
    }
    assert_eq!(told.edges("server").len(), 3);
    assert_eq!(told.turns("a", ("calls", "server")).samples(), 30);
    assert_eq!(told.turns("b", ("calls", "server")).samples(), 20);
    assert_eq!(lost, 0);
}

#[test]
fn a_peer_in_another_namespace_is_known_by_its_process() {
    if !possible() {
        return;
    }
    let world = World::new();
    for server_address in ["10.77.0.2", "[fd77::2]"] {
        let (mut server, mut client) = (Child::start(), Child::start());
        server.enter(&world.server);
        client.enter(&world.client);
        let port = server.serve(server_address, Duration::ZERO);
        // Nobody has said what the addresses are called.
        let targets = [target("server", &[server.pid()]), target("client", &[client.pid()])];
        let watch = Watch::start(&targets, attach);
        client.ask(&format!("connect {server_address}:{port}"));
        client.talk(10);
        let (events, lost) = watch.stop();
        let told = Told::of(&events);
        assert_eq!(told.turns("client", ("calls", "server")).samples(), 10);
        assert_eq!(told.turns("server", ("serves", "client")).samples(), 10);
        assert_eq!(told.edges("client").len(), 1);
        assert_eq!(lost, 0);
    }
}

#[test]
fn connections_that_come_to_a_target_with_their_process_are_its() {
    if !possible() {
        return;
    }
    let Some(group) = OwnGroup::create("edges") else { return };
    let (mut server, mut client) = (Child::start(), Child::start());
    let port = server.serve("127.0.0.1", Duration::ZERO);
    let mut newcomers = target("newcomers", &[]);
    (newcomers.group, newcomers.origin) = (group.group.clone(), Origin::Cgroup);
    let watch = Watch::start(&[newcomers, target("server", &[server.pid()])], attach);
    client.ask(&format!("connect 127.0.0.1:{port}"));
    client.talk(1);
    group.group.attach(client.pid()).unwrap();
    watch.until("the newcomer's connection", |events| {
        Told::of(events).number("newcomers", "connections_open", ("calls", "server")) == 1
    });
    client.talk(7);
    let (events, _) = watch.stop();
    assert_eq!(Told::of(&events).turns("newcomers", ("calls", "server")).samples(), 7);
}

#[test]
fn edges_beyond_the_bound_are_told_together() {
    if !possible() {
        return;
    }
    let mut server = Child::start();
    let port = server.serve("127.0.0.1", Duration::ZERO);
    let mut clients = [Child::start(), Child::start(), Child::start()];
    let pids = [server.pid(), clients[0].pid(), clients[1].pid(), clients[2].pid()];
    let targets = ["server", "a", "b", "c"].into_iter().zip(pids);
    let targets: Vec<_> = targets.map(|(name, pid)| target(name, &[pid])).collect();
    let settings = Settings { edges_max: 1, ..Settings::default() };
    let watch = Watch::start(&targets, |roster| EdgesProbe::attach_with(roster, &[], &settings));
    for client in &mut clients {
        client.ask(&format!("connect 127.0.0.1:{port}"));
        client.talk(10);
    }
    let (events, lost) = watch.stop();
    let told = Told::of(&events);
    let served: u64 = told
        .edges("server")
        .iter()
        .map(|(role, peer)| told.turns("server", (role, peer)).samples())
        .sum();
    assert_eq!(served, 30, "none is lost");
    assert!(told.turns("server", ("serves", "others")).samples() >= 20);
    assert_eq!(told.turns("c", ("calls", "others")).samples(), 10);
    assert_eq!(lost, 0);
}
