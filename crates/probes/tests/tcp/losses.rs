//! A ring too small for what happens: what is lost is counted.

use std::net::TcpStream;

use temblor_event::{Body, Event};
use temblor_probes::Probe as _;
use temblor_probes::tcp::{Settings, TcpProbe};

use crate::world::{CLIENT, World, possible};

#[test]
fn received_and_lost_are_all_there_was() {
    if !possible() {
        return;
    }
    const CONNECTS: u64 = 400;
    let world = World::new();
    let mut only_client = world.names();
    only_client.watch(CLIENT, &world.client);
    let settings = Settings { ring_bytes: 4096, ..Settings::default() };
    let probe = TcpProbe::attach_with(&only_client, None, &settings).unwrap();
    let closed_port = world.listen("10.77.0.2").local_addr().unwrap();
    world
        .client
        .run(|| (0..CONNECTS).for_each(|_| drop(TcpStream::connect(closed_port).unwrap_err())))
        .unwrap();
    let mut events: Vec<Event> = Vec::new();
    let cost = Box::new(probe).finish(&mut |event| events.push(event)).unwrap();

    let lost: u64 = events
        .iter()
        .filter_map(|event| match &event.body {
            Body::ProbeLost(lost) => Some(lost.events),
            _ => None,
        })
        .sum();
    let told = |event: &&Event| matches!(event.body, Body::TcpState(_) | Body::TcpReset(_));
    let received = events.iter().filter(told).count() as u64;
    // To SYN_SENT, a reset received, to CLOSE.
    assert_eq!(received + lost, 3 * CONNECTS);
    assert!(lost > 0 && received > 0, "{received} received, {lost} lost");
    assert_eq!(cost.events, received);
}
