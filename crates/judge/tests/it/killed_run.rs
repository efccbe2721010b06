//! The good run with another fault: `postgres` is killed at 111, over as soon as it is done, and
//! is well again at 113.2. The phase of fault goes on to 121 all the same, and the application
//! suffers as it does in the good run: its check says no from 112.3 to 122.3.

use std::collections::BTreeMap;

use temblor_event::{Body, Effect, Event, ProcessEnded, ProcessStarted, ServiceHealth, TcpReset};

use crate::good_run::{check, connection, edit, gauge, good_run, ms, remove};

pub(crate) fn killed_run() -> Vec<Event> {
    let mut events = good_run();
    edit(&mut events, |_, body| match body {
        Body::FaultInjected(fault) => {
            fault.name = "process.kill".to_owned();
            fault.dose = BTreeMap::from([("target".to_owned(), "postgres".to_owned())]);
            fault.began_ns = ms(110_995);
            true
        }
        Body::FaultReverted(fault) => {
            fault.began_ns = ms(111_010);
            fault.effect = Effect {
                measure: "processes killed".to_owned(),
                count: 1,
                source: "their exit status".to_owned(),
                ..Effect::default()
            };
            true
        }
        _ => false,
    });
    for event in &mut events {
        if matches!(event.body, Body::FaultReverted(_)) {
            event.t_ns = ms(111_020);
        }
    }
    // Nothing is sent into the void: the kernel resets what the process held.
    remove(&mut events, |_, body| matches!(body, Body::TcpRetransmit(_)));
    let reset = TcpReset { conn: connection(11), sent: false, state: None };
    events.push(Event::at(ms(110_998), reset));
    events.push(ended(111_005, "postgres", 1));
    events.push(health(111_100, "postgres", false));
    events.push(started(112_000, "postgres", Some(1)));
    events.push(health(113_200, "postgres", true));
    events
}

/// The same, but nothing shows before 117: longer than the hold after the kill.
pub(crate) fn late_trouble() -> Vec<Event> {
    let mut events = killed_run();
    remove(&mut events, |t, body| {
        matches!(body, Body::Check(_) | Body::Gauge(_)) && (ms(111_000)..ms(117_000)).contains(&t)
    });
    for second in 111..117 {
        events.push(check(second * 1_000 + 300, crate::good_run::CHECK, true, "200"));
        events.push(gauge(second * 1_000 + 500, 2.0));
    }
    events
}

pub(crate) fn ended(t_ms: u64, service: &str, pid: u32) -> Event {
    let how = Some("signal 9 (SIGKILL)".to_owned());
    Event::at(ms(t_ms), ProcessEnded { service: service.to_owned(), pid, how })
}

pub(crate) fn started(t_ms: u64, service: &str, restarts: Option<u32>) -> Event {
    Event::at(ms(t_ms), ProcessStarted { service: service.to_owned(), pid: 77, restarts })
}

pub(crate) fn health(t_ms: u64, service: &str, healthy: bool) -> Event {
    let source = "the lab's health check".to_owned();
    Event::at(ms(t_ms), ServiceHealth { service: service.to_owned(), healthy, source })
}

/// The same run, recorded so much later on the same clock.
pub(crate) fn later(events: &[Event], by_ns: u64) -> Vec<Event> {
    let mut events = events.to_vec();
    for event in &mut events {
        event.t_ns += by_ns;
        match &mut event.body {
            Body::FaultInjected(fault) => fault.began_ns += by_ns,
            Body::FaultReverted(fault) => fault.began_ns += by_ns,
            Body::LedgerRead(read) => read.began_ns += by_ns,
            Body::Order(order) => {
                order.planned_ns += by_ns;
                order.sent_ns = order.sent_ns.map(|sent_ns| sent_ns + by_ns);
            }
            _ => {}
        }
    }
    events
}
