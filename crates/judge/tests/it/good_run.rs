//! A run in which everything went well, second by second, to be spoilt by the tests.
//!
//! Times are in seconds of the run's clock, which reads 100 when it begins:
//!
//! | from | what |
//! | --- | --- |
//! | 101 | baseline, 10 s; ten orders a second from here to the end, each acknowledged in 5 ms |
//! | 111 | fault, 10 s: `trading-api` cut off from `postgres` |
//! | 111.2 | retransmissions, at 111.2, 111.6, 112.4 and 114.0; the socket times out at 116.0 |
//! | 112.3 | the check says no, each second until 122.3 |
//! | 112.5 | the backlog grows by 50 a second, to 450 at 120.5 |
//! | 121 | healed; recovery, 20 s |
//! | 121.8 | the first connection |
//! | 123.3 | the check says yes |
//! | 123.5 | the backlog is at 2 again, as in the baseline |
//! | 142 | the database is read |

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Serializer, V2DeflateSerializer};
use temblor_event::{
    Body, Buckets, CheckResult, Condition, Connection, Cost, CounterRead, CounterWhen, Effect,
    Event, Expectation, FaultInjected, FaultReverted, Figure, Gauge, Hook, HostFacts, LedgerRead,
    LedgerRows, LoadFinished, LoadPlan, LoadSecond, Op, OrderOutcome, Outcome, PhaseMark,
    PhasePlan, PhaseRole, ProbeCost, ProbeStatus, ProgramCost, RetransmitKind, RunEnded,
    RunStarted, StoredRow, TargetSeen, TcpRetransmit, TcpRtt, TcpState, TcpStateChange,
};
use temblor_judge::{Judged, judge};

pub(crate) const BACKLOG: &str = "relay backlog";
pub(crate) const CHECK: &str = "the API is ready";
pub(crate) const FIRST_LOAD_SECOND: u64 = 101;
pub(crate) const END_OF_LOAD: u64 = 141;
pub(crate) const PER_SECOND: u64 = 10;
pub(crate) const ORDERS: u64 = (END_OF_LOAD - FIRST_LOAD_SECOND) * PER_SECOND;

/// Milliseconds of the run's clock in nanoseconds.
pub(crate) fn ms(ms: u64) -> u64 {
    ms * 1_000_000
}

pub(crate) fn good_run() -> Vec<Event> {
    let mut events = vec![Event::at(ms(100_000), started())];
    events.extend(targets_and_probes());
    events.extend(phase("baseline", PhaseRole::Baseline, 101, 111));
    events.extend(phase("fault", PhaseRole::Fault, 111, 121));
    events.extend(phase("recovery", PhaseRole::Recovery, 121, 141));
    events.extend(load());
    events.extend(fault());
    events.extend(watched());
    events.extend(tcp());
    events.extend(database());
    events.push(Event::at(ms(143_000), RunEnded {}));
    events
}

pub(crate) fn judged(events: &[Event]) -> Judged {
    judge(events).expect("a run with a beginning is judged")
}

/// Changes every event's body, and says how many were touched.
pub(crate) fn edit(events: &mut [Event], mut change: impl FnMut(u64, &mut Body) -> bool) -> usize {
    events.iter_mut().filter_map(|event| change(event.t_ns, &mut event.body).then_some(())).count()
}

/// Changes the run's first event.
pub(crate) fn edit_start(events: &mut [Event], change: impl FnOnce(&mut RunStarted)) {
    let start = events.iter_mut().find_map(|event| match &mut event.body {
        Body::RunStarted(started) => Some(started),
        _ => None,
    });
    change(start.expect("a run has a beginning"));
}

pub(crate) fn remove(events: &mut Vec<Event>, unwanted: impl Fn(u64, &Body) -> bool) {
    let before = events.len();
    events.retain(|event| !unwanted(event.t_ns, &event.body));
    assert!(events.len() < before, "nothing was removed");
}

/// Orders of one second change their outcome, in the ledger, the second and the account alike.
pub(crate) fn spoil_orders(events: &mut [Event], second: u64, how_many: u64, outcome: Outcome) {
    let from = (second - FIRST_LOAD_SECOND) * PER_SECOND;
    let keys: Vec<String> = (from..from + how_many).map(key).collect();
    for event in events {
        match &mut event.body {
            Body::Order(order) if keys.contains(&order.key) => order.outcome = outcome,
            Body::LoadSecond(s) if event.t_ns == ms(second * 1_000) => {
                s.ok -= how_many;
                *count_of(outcome, [&mut s.failed, &mut s.unsure, &mut s.unsent]) += how_many;
                s.latency = histogram(s.ok, 5);
            }
            Body::LoadFinished(end) => {
                end.ok -= how_many;
                *count_of(outcome, [&mut end.failed, &mut end.unsure, &mut end.unsent]) += how_many;
            }
            _ => {}
        }
    }
}

fn count_of(outcome: Outcome, [failed, unsure, unsent]: [&mut u64; 3]) -> &mut u64 {
    match outcome {
        Outcome::Fail => failed,
        Outcome::Unsure => unsure,
        Outcome::Unsent => unsent,
        Outcome::Ok => panic!("an order that went well is not spoilt"),
    }
}

/// So many latencies of so many milliseconds, encoded as the load encodes them.
pub(crate) fn histogram(how_many: u64, latency_ms: u64) -> String {
    let mut histogram =
        Histogram::<u64>::new_with_bounds(1_000, 10_000_000_000, 2).expect("good bounds");
    histogram.record_n(ms(latency_ms), how_many).expect("within bounds");
    let mut bytes = Vec::new();
    V2DeflateSerializer::new().serialize(&histogram, &mut bytes).expect("written to memory");
    STANDARD.encode(bytes)
}

pub(crate) fn key(n: u64) -> String {
    format!("k-{n:04}")
}

pub(crate) fn expectation(figure: Figure, op: Op, bound: f64, text: &str) -> Expectation {
    let condition = Condition { figure, op, bound, text: text.to_owned() };
    Expectation { name: format!("{figure} {text}"), during: None, condition }
}

pub(crate) fn started() -> RunStarted {
    let plan = |name: &str, role, seconds: u64| PhasePlan {
        name: name.to_owned(),
        role,
        for_ns: ms(seconds * 1_000),
        until_steady: false,
    };
    RunStarted {
        schema: temblor_event::SCHEMA,
        temblor: "0.1.0".to_owned(),
        name: "network-partition".to_owned(),
        title: "The order service loses its database".to_owned(),
        wall_unix_ns: 1_786_097_702_000_000_000,
        seed: 7,
        host: HostFacts { cpus: 2, ..HostFacts::default() },
        phases: vec![
            plan("baseline", PhaseRole::Baseline, 10),
            plan("fault", PhaseRole::Fault, 10),
            plan("recovery", PhaseRole::Recovery, 20),
        ],
        load: Some(LoadPlan {
            profile: "orders".to_owned(),
            rate_per_second: 10.0,
            arrivals: "constant".to_owned(),
            timeout_ns: ms(5_000),
            url: "http://10.0.0.4:8080".to_owned(),
        }),
        steady_state: vec![
            expectation(Figure::LoadSuccess, Op::Ge, 0.999, ">= 99.9%"),
            expectation(Figure::LoadP99, Op::Le, 0.05, "<= 50ms"),
        ],
        steady_hold_ns: ms(5_000),
        expect: vec![
            expectation(Figure::RecoveryFull, Op::Le, 10.0, "<= 10s"),
            expectation(Figure::LedgerLost, Op::Eq, 0.0, "0"),
            expectation(Figure::LedgerDuplicated, Op::Eq, 0.0, "0"),
            expectation(Figure::LedgerUnexpected, Op::Eq, 0.0, "0"),
        ],
        backlogs: vec![BACKLOG.to_owned()],
        hypothesis: None,
        learn: Vec::new(),
    }
}

fn targets_and_probes() -> Vec<Event> {
    let target = |alias: &str, service: &str, address: &str| TargetSeen {
        aliases: vec![alias.to_owned()],
        service: service.to_owned(),
        pids: vec![1],
        addresses: vec![address.parse().expect("an address")],
        netns: 1,
    };
    let hook = |sees: &str, hook: &str| Hook { sees: sees.to_owned(), hook: hook.to_owned() };
    let status = ProbeStatus {
        probe: "tcp".to_owned(),
        hooks: vec![
            hook("retransmissions", "tp_btf/tcp_retransmit_skb"),
            hook("state changes", "tp_btf/inet_sock_set_state"),
        ],
        unseen: Vec::new(),
    };
    let counter = |t_ms, counter: &str, when, value| {
        let read = CounterRead {
            counter: counter.to_owned(),
            service: "trading-api".to_owned(),
            source: "somebody else".to_owned(),
            when,
            value,
        };
        Event::at(ms(t_ms), read)
    };
    vec![
        Event::at(ms(100_100), target("api", "trading-api", "10.0.0.4")),
        Event::at(ms(100_101), target("db", "postgres", "10.0.0.2")),
        Event::at(ms(100_200), status),
        counter(100_300, "TcpRetransSegs", CounterWhen::Before, 10.0),
        counter(100_301, "orders accepted", CounterWhen::Before, 1_000.0),
        counter(141_300, "TcpRetransSegs", CounterWhen::After, 14.0),
        counter(141_301, "orders accepted", CounterWhen::After, 1_400.0),
        Event::at(
            ms(142_900),
            ProbeCost {
                probe: "tcp".to_owned(),
                programs: vec![ProgramCost { program: "state".to_owned(), runs: 6, run_ns: ms(2) }],
                events: 9,
                floor_ns: None,
                map_bytes: 4096,
            },
        ),
        Event::at(
            ms(142_950),
            Cost {
                user_ns: ms(3_000),
                system_ns: ms(1_000),
                memory_bytes_max: 64 << 20,
                wall_ns: ms(40_000),
            },
        ),
    ]
}

fn phase(name: &str, role: PhaseRole, from: u64, to: u64) -> [Event; 2] {
    let mark = |starts| PhaseMark { phase: name.to_owned(), role, starts };
    [Event::at(ms(from * 1_000), mark(true)), Event::at(ms(to * 1_000), mark(false))]
}

fn load() -> Vec<Event> {
    let latency = histogram(PER_SECOND, 5);
    let mut events = Vec::new();
    for n in 0..ORDERS {
        let planned_ns = ms(FIRST_LOAD_SECOND * 1_000 + n * 1_000 / PER_SECOND);
        let order = OrderOutcome {
            key: key(n),
            planned_ns,
            sent_ns: Some(planned_ns),
            outcome: Outcome::Ok,
            status: Some(201),
            order_id: Some(n.to_string()),
            error: None,
        };
        events.push(Event::at(planned_ns + ms(5), order));
    }
    for second in FIRST_LOAD_SECOND..END_OF_LOAD {
        let complete = LoadSecond {
            planned: PER_SECOND,
            ok: PER_SECOND,
            failed: 0,
            unsure: 0,
            unsent: 0,
            latency: latency.clone(),
            lag_ns_max: 100,
        };
        events.push(Event::at(ms(second * 1_000), complete));
    }
    let end =
        LoadFinished { planned: ORDERS, ok: ORDERS, failed: 0, unsure: 0, timed_out: 0, unsent: 0 };
    events.push(Event::at(ms(END_OF_LOAD * 1_000 + 50), end));
    events
}

fn fault() -> [Event; 2] {
    let dose = [("from", "trading-api"), ("to", "postgres (10.0.0.2)"), ("action", "drop")];
    let injected = FaultInjected {
        id: 1,
        name: "network.partition".to_owned(),
        dose: dose.map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
        mechanism: "nftables table".to_owned(),
        undone_by: "the kernel".to_owned(),
        began_ns: ms(111_000) - ms(3),
    };
    let effect = Effect {
        measure: "packets dropped".to_owned(),
        count: 3_482,
        source: "nftables rule counters".to_owned(),
        doses: Vec::new(),
        parts: Vec::new(),
    };
    let reverted = FaultReverted { id: 1, began_ns: ms(121_000) - ms(2), effect, verified: true };
    [Event::at(ms(111_000), injected), Event::at(ms(121_000), reverted)]
}

fn watched() -> Vec<Event> {
    let mut events = Vec::new();
    for second in FIRST_LOAD_SECOND..END_OF_LOAD {
        let ok = !(112..=122).contains(&second);
        let seen = if ok { "200" } else { "200, status is degraded" };
        events.push(check(second * 1_000 + 300, CHECK, ok, seen));
        let backlog = match second {
            112..121 => 50 * (second - 111),
            121 => 300,
            122 => 100,
            _ => 2,
        };
        events.push(gauge(second * 1_000 + 500, backlog as f64));
    }
    events
}

pub(crate) fn check(t_ms: u64, name: &str, ok: bool, seen: &str) -> Event {
    let answer = CheckResult { check: name.to_owned(), ok, took_ns: ms(1), seen: seen.to_owned() };
    Event::at(ms(t_ms), answer)
}

pub(crate) fn gauge(t_ms: u64, value: f64) -> Event {
    Event::at(ms(t_ms), Gauge { gauge: BACKLOG.to_owned(), value })
}

pub(crate) fn connection(cookie: u64) -> Connection {
    Connection {
        cookie,
        service: Some("trading-api".to_owned()),
        peer: Some("postgres".to_owned()),
        local: "10.0.0.4:40112".parse().expect("an address"),
        remote: "10.0.0.2:5432".parse().expect("an address"),
    }
}

pub(crate) fn state(
    t_ms: u64,
    conn: Connection,
    from: TcpState,
    to: TcpState,
    errno: i32,
) -> Event {
    let connect_ns = (from == TcpState::SynSent).then(|| ms(700));
    let change = TcpStateChange {
        conn,
        from,
        to,
        errno,
        connect_ns,
        srtt_us: 50,
        retransmitted: 0,
        pid: None,
    };
    Event::at(ms(t_ms), change)
}

pub(crate) fn retransmit(t_ms: u64, conn: Connection, backoff: u8) -> Event {
    let segment = TcpRetransmit {
        conn,
        kind: RetransmitKind::Timeout,
        segments: 1,
        rto_ns: ms(200) << backoff,
        backoff,
        state: TcpState::Established,
        errno: 0,
    };
    Event::at(ms(t_ms), segment)
}

fn tcp() -> Vec<Event> {
    let mut events: Vec<Event> = [111_200, 111_600, 112_400, 114_000]
        .into_iter()
        .zip(0_u8..)
        .map(|(t_ms, backoff)| retransmit(t_ms, connection(11), backoff))
        .collect();
    events.push(state(116_000, connection(11), TcpState::Established, TcpState::Close, 110));
    events.push(state(116_100, connection(12), TcpState::Close, TcpState::SynSent, 0));
    events.push(state(119_100, connection(12), TcpState::SynSent, TcpState::Close, 0));
    events.push(state(121_100, connection(13), TcpState::Close, TcpState::SynSent, 0));
    events.push(state(121_800, connection(13), TcpState::SynSent, TcpState::Established, 0));
    for t_ms in [105_000, 106_000, 125_000] {
        let rtt = TcpRtt {
            service: "trading-api".to_owned(),
            peer: "postgres".to_owned(),
            window_ns: ms(1_000),
            samples: 20,
            p50_us: 40 + t_ms / 5_000,
            p99_us: 90,
            max_us: 120,
            sum_us: 0,
            buckets: Buckets::default(),
        };
        events.push(Event::at(ms(t_ms), rtt));
    }
    events
}

fn database() -> [Event; 2] {
    let rows: Vec<StoredRow> =
        (0..ORDERS).map(|n| StoredRow { key: key(n), order_id: n.to_string() }).collect();
    let read = LedgerRead {
        source: "postgres: SELECT".to_owned(),
        rows: ORDERS,
        began_ns: ms(142_000),
        error: None,
    };
    [Event::at(ms(142_100), LedgerRows { rows }), Event::at(ms(142_200), read)]
}

/// The dose with other sides.
pub(crate) fn sides(events: &mut [Event], from: &str, to: &str) {
    edit(events, |_, body| match body {
        Body::FaultInjected(fault) => {
            fault.dose = BTreeMap::from([
                ("from".to_owned(), from.to_owned()),
                ("to".to_owned(), to.to_owned()),
            ]);
            true
        }
        _ => false,
    });
}
