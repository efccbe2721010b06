//! Timeline, TCP evidence, cross-checks, cost and series.

use temblor_event::{Body, CounterWhen, Event, Outcome, ProbeLost, ProbeShed, TcpState};
use temblor_judge::{TimelineEntry, TimelineKind};

use crate::good_run::{
    CHECK, check, connection, edit, good_run, judged, ms, remove, retransmit, spoil_orders, state,
};

#[test]
fn the_timeline_tells_the_run_in_order_with_its_sources() {
    let timeline = judged(&good_run()).result.timeline;
    let told: Vec<String> = timeline
        .iter()
        .map(|e| format!("{:7.3} {:?} [{}] {}", e.t_seconds, e.kind, e.source, e.what))
        .collect();
    let conn = "trading-api → postgres (10.0.0.4:40112 → 10.0.0.2:5432)";
    let retransmits = "Kernel [tp_btf/tcp_retransmit_skb]";
    let states = "[tp_btf/inet_sock_set_state]";
    let expected = [
        "-10.000 Run [run] phase baseline begins".to_owned(),
        "  0.000 Run [run] phase fault begins".to_owned(),
        "  0.000 Fault [nftables table] network.partition is in place: action drop, from \
         trading-api, to postgres (10.0.0.2) (it took 3 ms)"
            .to_owned(),
        format!(
            "  0.200 {retransmits} first sign in the kernel, 200 ms after injection: {conn} sends a \
             segment again (timeout)"
        ),
        format!("  0.200 {retransmits} {conn}: retransmission 1 (timeout, timer 200 ms, doubled 0 times)"),
        format!("  0.600 {retransmits} {conn}: retransmission 2 (timeout, timer 400 ms, doubled 1 times)"),
        "  1.300 Application [check \"the API is ready\"] first sign in the application, 1.3 s after \
         injection: says no: 200, status is degraded"
            .to_owned(),
        format!("  1.400 {retransmits} {conn}: retransmission 3 (timeout, timer 800 ms, doubled 2 times)"),
        format!("  3.000 {retransmits} {conn}: retransmission 4 (timeout, timer 1.6 s, doubled 3 times)"),
        format!("  5.000 Kernel {states} {conn}: timed out (ETIMEDOUT)"),
        format!("  8.100 Kernel {states} trading-api → postgres: connect given up after 700 ms"),
        "  9.500 Application [gauge \"relay backlog\"] the backlog is at its greatest: 450 (in the \
         baseline at most 2)"
            .to_owned(),
        "  9.998 Fault [nftables rule counters] network.partition: 3,482 packets dropped".to_owned(),
        " 10.000 Run [run] phase recovery begins".to_owned(),
        " 10.000 Fault [nftables table] network.partition is undone (it took 2 ms; verified: \
         nothing of it is left)"
            .to_owned(),
        format!(
            " 10.800 Recovery {states} first connection that works: trading-api → postgres, 800 ms \
             after healing"
        ),
        " 12.300 Recovery [check \"the API is ready\"] says yes: 200".to_owned(),
        " 12.500 Recovery [gauge \"relay backlog\"] the backlog is drained, 2.5 s after healing".to_owned(),
        " 12.500 Recovery [load, checks and backlogs] steady again, 2.5 s after healing, and so for \
         5.0 s"
            .to_owned(),
        " 30.000 Run [run] phase recovery ends, the last one".to_owned(),
        " 31.200 Run [postgres: SELECT] the database was read: 400 rows".to_owned(),
    ];
    for (told, expected) in told.iter().zip(&expected) {
        assert_eq!(told, expected);
    }
    assert_eq!(told.len(), expected.len());
}

#[test]
fn the_timeline_is_bounded_whatever_happens() {
    let mut events = good_run();
    for i in 0..3_000_u64 {
        let t_ms = 111_000 + 3 * i;
        events.push(check(t_ms, CHECK, i % 2 == 0, ""));
        events.push(check(t_ms, &format!("check {i}"), false, ""));
        events.push(retransmit(t_ms, connection(1_000 + i), 0));
        let (from, to) = (TcpState::SynSent, TcpState::Close);
        events.push(state(t_ms, connection(9_000 + i), from, to, 111));
    }
    let result = judged(&events).result;
    let timeline = &result.timeline;
    assert!(timeline.len() <= 300, "{}", timeline.len());
    assert!(timeline.is_sorted_by_key(|entry| (entry.t_seconds * 1e9) as i64));
    let about = |text: &str| -> Vec<&TimelineEntry> {
        timeline.iter().filter(|entry| entry.what.contains(text)).collect()
    };
    assert_eq!(about("2,996 further connections sent 2,996 segments again").len(), 1);
    assert_eq!(about("2,997 further attempts to connect refused").len(), 1);
    assert_eq!(about("further changes of checks' answers from here on are left out").len(), 1);
    // What matters most is still there.
    for text in ["is in place", "is undone", "the backlog is drained", "the database was read"] {
        assert_eq!(about(text).len(), 1, "{text}");
    }
    assert_eq!(result.evidence.connections.len(), 50);
}

#[test]
fn a_flapping_check_is_told_a_few_times() {
    let mut events = good_run();
    for i in 0..100_u64 {
        events.push(check(111_400 + 3 * i, CHECK, i % 2 == 0, "flapping"));
    }
    let timeline = judged(&events).result.timeline;
    let changes: Vec<_> = timeline.iter().filter(|e| e.source.starts_with("check")).collect();
    assert_eq!(changes.len(), 12);
    assert!(changes[11].what.ends_with("(further changes are left out)"));
}

#[test]
fn connections_tell_their_story() {
    let evidence = judged(&good_run()).result.evidence;
    let [timed_out, given_up] = &evidence.connections[..] else {
        panic!("{:?}", evidence.connections);
    };
    assert_eq!((timed_out.cookie, timed_out.segments), (11, 4));
    assert_eq!(timed_out.end, "timed out (ETIMEDOUT), 4.8 s after its first retransmission");
    let gaps: Vec<_> = timed_out.retransmissions.iter().map(|r| r.gap_seconds).collect();
    assert_eq!(gaps, [None, Some(0.4), Some(0.8), Some(1.6)]);
    let backoff: Vec<_> = timed_out.retransmissions.iter().map(|r| r.backoff).collect();
    assert_eq!(backoff, [0, 1, 2, 3]);
    assert_eq!((given_up.cookie, given_up.segments), (12, 0));
    assert_eq!(given_up.end, "connect given up after 700 ms");
}

#[test]
fn tcp_is_counted_by_service_and_peer() {
    let mut events = good_run();
    let refused = (TcpState::SynSent, TcpState::Close);
    events.push(state(112_000, connection(30), refused.0, refused.1, 111));
    events.push(state(112_100, connection(31), refused.0, refused.1, 110));
    let tcp = judged(&events).result.evidence.tcp;
    assert_eq!(tcp.len(), 1);
    let row = &tcp[0];
    assert_eq!((row.service.as_str(), row.peer.as_str()), ("trading-api", "postgres"));
    assert_eq!((row.connects, row.connected, row.timed_out), (2, 1, 1));
    let failures: Vec<_> = row.connect_failures.iter().map(|(k, n)| (k.as_str(), *n)).collect();
    assert_eq!(failures, [("ECONNREFUSED", 1), ("ETIMEDOUT", 1), ("given up", 1)]);
    assert_eq!(row.retransmitted["timeout"], 4);
    let baseline = &row.rtt["baseline"];
    assert_eq!((baseline.samples, baseline.p50_us_max, baseline.p99_us_max), (40, 61, 90));
    assert_eq!(row.rtt["recovery"].samples, 20);
    assert!(!row.rtt.contains_key("fault"));
}

#[test]
fn two_sources_agree_or_are_said_not_to() {
    let cross = |spoil: &dyn Fn(&mut Vec<Event>)| {
        let mut events = good_run();
        spoil(&mut events);
        let checks = judged(&events).result.cross_checks;
        let told = checks.iter().map(|c| (c.what.clone(), c.ours, c.theirs, c.agrees));
        told.collect::<Vec<_>>()
    };
    let set = |counter: &'static str, when: CounterWhen, value: f64| {
        move |events: &mut Vec<Event>| {
            edit(events, |_, body| match body {
                Body::Counter(read) if read.counter == counter && read.when == when => {
                    read.value = value;
                    true
                }
                _ => false,
            });
        }
    };
    let segments = "segments sent again by trading-api".to_owned();
    let orders = "orders accepted (trading-api)".to_owned();
    let good = [(segments.clone(), 4.0, 4.0, true), (orders.clone(), 400.0, 400.0, true)];
    assert_eq!(cross(&|_| ()), good);
    assert_eq!(
        cross(&|events| {
            // Before the first reading, after the last one, of another service: none counts.
            events.push(retransmit(100_299, connection(1), 0));
            events.push(retransmit(141_301, connection(1), 0));
            let mut other = connection(2);
            other.service = Some("redis".to_owned());
            events.push(retransmit(120_000, other, 0));
        }),
        good
    );
    assert_eq!(
        cross(&|events| events.push(retransmit(141_300, connection(1), 0)))[0],
        (segments, 5.0, 4.0, false)
    );
    // 399 acknowledged, one unsure: 399 and 400 are right, 398 and 401 are not.
    for (after, agrees) in [(1_398.0, false), (1_399.0, true), (1_400.0, true), (1_401.0, false)] {
        let seen = cross(&|events| {
            spoil_orders(events, 130, 1, Outcome::Unsure);
            set("orders accepted", CounterWhen::After, after)(events);
        });
        assert_eq!(seen[1], (orders.clone(), 399.0, after - 1_000.0, agrees));
    }
    let back = cross(&set("orders accepted", CounterWhen::After, 3.0));
    let (what, _, theirs, agrees) = &back[1];
    assert!(what.contains("went back from 1,000 to 3") && !agrees, "{what}");
    assert_eq!(*theirs, -997.0);
    let unread = cross(&set("orders accepted", CounterWhen::Before, f64::NAN));
    assert_eq!(unread.len(), 1);
}

#[test]
fn a_disagreement_is_a_reason_and_no_verdict() {
    let mut events = good_run();
    events.push(retransmit(120_500, connection(11), 4));
    let result = judged(&events).result;
    assert_eq!(result.verdict, temblor_judge::Verdict::Pass);
    assert_eq!(
        result.reasons[0],
        "two sources disagree on segments sent again by trading-api: 5 \
         (tp_btf/tcp_retransmit_skb), 4 (TcpRetransSegs in somebody else)"
    );
}

#[test]
fn the_cost_is_the_last_account() {
    let mut events = good_run();
    for n in [2, 3] {
        events.push(Event::at(ms(120_000 + n), ProbeLost { probe: "tcp".to_owned(), events: n }));
    }
    let result = judged(&events).result;
    assert_eq!(result.cost.bpf_seconds, Some(0.002));
    assert_eq!(result.cost.cpu_seconds, Some(4.0));
    assert_eq!(result.cost.cpu_share, Some(0.05));
    assert_eq!(result.cost.events_lost, 5);
    assert_eq!((result.evidence.probes[0].events, result.evidence.probes[0].events_lost), (9, 5));
    remove(&mut events, |_, b| matches!(b, Body::Cost(_) | Body::ProbeCost(_)));
    let cost = judged(&events).result.cost;
    assert_eq!((cost.bpf_seconds, cost.cpu_seconds, cost.cpu_share), (None, None, None));
}

#[test]
fn nobody_watching_is_not_nothing_seen() {
    let mut events = good_run();
    remove(&mut events, |_, b| matches!(b, Body::ProbeStatus(_) | Body::TcpRetransmit(_)));
    let result = judged(&events).result;
    assert!(result.phases.iter().all(|phase| phase.retransmitted_segments.is_none()));
}

#[test]
fn series_follow_the_run() {
    let mut events = good_run();
    edit(&mut events, |t, body| match body {
        Body::Gauge(gauge) if t == ms(130_500) => {
            gauge.value = f64::INFINITY;
            true
        }
        _ => false,
    });
    let series = judged(&events).series;
    assert_eq!(series.load.len(), 40);
    assert_eq!((series.load[0].t_seconds, series.load[39].t_seconds), (-10.0, 29.0));
    assert!(series.load.iter().all(|point| point.planned == 10 && point.p99_seconds.is_some()));
    assert_eq!(series.retransmitted, [(0.0, 2), (1.0, 1), (3.0, 1)]);
    assert_eq!(series.gauges["relay backlog"].len(), 39);
    assert_eq!(series.checks[CHECK][0], (-9.7, true));
    let kinds: Vec<_> = judged(&events).result.timeline.iter().map(|e| e.kind).collect();
    assert!(kinds.contains(&TimelineKind::Recovery));
}

#[test]
fn a_socket_that_only_listens_has_no_row() {
    let rows = |events: &[Event]| judged(events).result.evidence.tcp;
    let before = rows(&good_run());
    let mut events = good_run();
    let mut listening = connection(77);
    listening.peer = None;
    listening.remote = "0.0.0.0:0".parse().unwrap();
    events.push(state(5_000, listening, TcpState::Close, TcpState::Listen, 0));
    assert_eq!(rows(&events), before);
}

#[test]
fn what_the_counting_takes_is_not_the_programs_cost() {
    let mut events = good_run();
    for event in &mut events {
        if let Body::ProbeCost(cost) = &mut event.body {
            // Six runs of which each is a tenth of a millisecond of counting.
            cost.floor_ns = Some(100_000);
        }
    }
    let cost = judged(&events).result.cost;
    assert_eq!((cost.bpf_seconds, cost.bpf_floor_ns), (Some(0.001_4), Some(100_000)));
    assert_eq!(cost.map_bytes, Some(4096));
}

#[test]
fn a_probe_that_was_too_dear_says_so_in_the_timeline_and_beside_what_it_did_not_see() {
    let mut events = good_run();
    let shed = ProbeShed {
        probe: "tcp".to_owned(),
        cost_share: 0.021,
        budget_share: 0.01,
        now: "nothing: it is off".to_owned(),
        off: true,
    };
    events.push(Event::at(ms(120_000), shed));
    let result = judged(&events).result;
    let line = "the tcp probe took 2.1% of the processors, more than the 1% it may: from now on it \
                sees nothing: it is off";
    assert!(result.timeline.iter().any(|entry| entry.what == line), "{:#?}", result.timeline);
    let unseen = &result.evidence.probes[0].unseen;
    assert!(unseen.iter().any(|one| one.starts_with("everything from ") && one.ends_with(line)));
}
