//! What was to be learnt, and what is found.

use temblor_event::{
    AnsweredBy, Body, CounterUnread, CounterWhen, DoseSeen, Event, FaultAdjusted, Figure, Question,
    TcpReset, TcpState,
};
use temblor_judge::RunResult;

use crate::good_run::{
    BACKLOG, CHECK, connection, edit, edit_start, good_run, judged, ms, remove, state,
};
use crate::killed_run::killed_run;

fn ask(mut events: Vec<Event>, names: &[&str]) -> Vec<String> {
    edit_start(&mut events, |run| {
        run.hypothesis = Some("It survives.".to_owned());
        run.learn = vec![Question {
            question: "What then?".to_owned(),
            answers: names.iter().map(|name| (*name).to_owned()).collect(),
        }];
    });
    let result: RunResult = judged(&events).result;
    assert_eq!(result.hypothesis.as_deref(), Some("It survives."));
    assert_eq!(result.answers[0].question, "What then?");
    result.answers[0].found.clone()
}

#[test]
fn figures_by_phase_and_by_run() {
    let mut events = good_run();
    edit(&mut events, |t, body| match body {
        Body::LoadSecond(second) if (ms(111_000)..ms(121_000)).contains(&t) => {
            second.latency = crate::good_run::histogram(10, 50);
            true
        }
        _ => false,
    });
    assert_eq!(
        ask(events, &["load.p99", "load.errors", "load.throughput", "detection", "recovery.full"]),
        [
            "p99: 5 ms in baseline → 50 ms in fault (×10) → 5 ms in recovery (×1)",
            "errors: 0% in baseline → 0% in fault → 0% in recovery",
            "throughput: 10/s in baseline → 10/s in fault (×1) → 10/s in recovery (×1)",
            "noticed by the application 1.0 s after injection: a second of load is not steady: \
             load.p99 50.1 ms (expected <= 50ms) (load)",
            "first sign in the kernel 200 ms after injection: trading-api → postgres \
             (10.0.0.4:40112 → 10.0.0.2:5432) sends a segment again (timeout) \
             (tp_btf/tcp_retransmit_skb)",
            "steady again, and so for 5.0 s: 2.5 s after healing",
        ]
    );
    assert_eq!(
        ask(good_run(), &["ledger.lost", "recovery.first", "service.outage"]),
        [
            "0 of 400 acknowledged orders lost",
            "first connection that works, trading-api → postgres: 800 ms after healing",
            "longest outage of a service: 0 s",
        ]
    );
}

#[test]
fn gauges_and_checks() {
    assert_eq!(
        ask(good_run(), &[&format!("gauge {BACKLOG}"), &format!("check {CHECK}")]),
        [
            "relay backlog: 2 in baseline → 2 to 450 in fault → 2 to 300 in recovery",
            "relay backlog: above its baseline's greatest (2) from +1.5 s on, at most 450 at \
             +9.5 s; back 2.5 s after healing",
            "the API is ready: yes 10 of 10 in baseline → 1 of 10 in fault → 18 of 20 in recovery",
            "the API is ready: first no at +1.3 s (200, status is degraded); yes for good from \
             +12.3 s on, 2.3 s after healing",
        ]
    );
    assert_eq!(
        ask(good_run(), &["gauge other", "check other"]),
        ["gauge other: not observed", "check other: not observed"]
    );
}

#[test]
fn services_connections_and_resets() {
    let mut events = killed_run();
    for (i, t_ms) in [111_400, 111_600, 112_000].into_iter().enumerate() {
        let conn = connection(50 + i as u64);
        events.push(state(t_ms, conn.clone(), TcpState::Close, TcpState::SynSent, 0));
        events.push(state(t_ms, conn, TcpState::SynSent, TcpState::Close, 111));
    }
    let reset = TcpReset { conn: connection(11), sent: true, state: None };
    events.push(Event::at(ms(111_500), reset));
    assert_eq!(
        ask(events, &["services", "connections", "resets", "effect"]),
        [
            "postgres: exited, signal 9 (SIGKILL) at +5 ms; started again at +1.0 s; well at +2.2 s: \
             away for 2.2 s",
            "all services well again: 2.2 s after the first injection",
            "steady again: 12.5 s after the first injection",
            "trading-api → postgres: 5 attempts to connect, 1 succeeded, 3 ECONNREFUSED, 1 given \
             up; between two attempts 200 ms to 5.0 s, median 4.1 s",
            "trading-api → postgres: first success after a failure at +10.8 s, 10.8 s after healing",
            "trading-api → postgres: established connections that broke: 1 ETIMEDOUT",
            "trading-api → postgres, port 5432: resets: 1 sent, 1 received; attempts refused: 3",
            "process.kill: 1 process killed, counted by their exit status",
        ]
    );
}

#[test]
fn what_was_not_observed_says_so() {
    let mut events = good_run();
    remove(&mut events, |_, body| {
        matches!(
            body,
            Body::ProbeStatus(_)
                | Body::TcpState(_)
                | Body::TcpRetransmit(_)
                | Body::TargetSeen(_)
                | Body::LoadSecond(_)
                | Body::Check(_)
                | Body::LedgerRead(_)
                | Body::FaultReverted(_)
        )
    });
    let mut names: Vec<&str> = AnsweredBy::WORDS.to_vec();
    names.extend(Figure::ALL.iter().map(|figure| figure.name()));
    for name in names {
        let found = ask(events.clone(), &[name]);
        assert!(found[0].contains("not observed"), "{name}: {found:?}");
    }
    assert_eq!(
        ask(good_run(), &["load.p98"]),
        ["load.p98: nothing answers to this name"],
        "an unknown name ends nothing"
    );
    assert_eq!(ask(good_run(), &[]), ["nothing was named that could answer it"]);
}

#[test]
fn a_dose_that_is_off_is_a_reason_and_changes_no_verdict() {
    let mut events = good_run();
    edit(&mut events, |_, body| match body {
        Body::FaultReverted(fault) => {
            let dose = |what: &str, observed| DoseSeen {
                what: what.to_owned(),
                unit: "ms".to_owned(),
                asked: 50.0,
                observed,
                within: 2.5,
                samples: 1_200,
                source: "handshakes".to_owned(),
            };
            fault.effect.doses =
                vec![dose("delay", Some(61.0)), dose("jitter", Some(51.0)), dose("rest", None)];
            true
        }
        _ => false,
    });
    events.push(Event::at(ms(115_000), FaultAdjusted { id: 1, level: 0.5 }));
    let result = judged(&events).result;
    assert_eq!(result.verdict, temblor_judge::Verdict::Pass);
    assert_eq!(
        result.reasons[0],
        "network.partition: delay: asked 50 ms, observed 61 ms (1,200 samples, may differ by 2.5 \
         ms), off; measured by handshakes"
    );
    assert!(!result.reasons.iter().any(|reason| reason.contains("jitter")));
    let levels: Vec<_> = result.faults[0].levels.iter().map(|l| (l.t_seconds, l.level)).collect();
    assert_eq!(levels, [(4.0, 0.5)]);
    let found = ask(events, &["effect"]);
    assert_eq!(found.len(), 5, "{found:?}");
    assert!(found[3].contains("rest: asked 50 ms, not observed"), "{found:?}");
    assert!(found[4].ends_with("share of the dose: 50% from +4.0 s"), "{found:?}");
}

#[test]
fn a_counter_that_could_not_be_read_is_named() {
    let mut events = good_run();
    remove(&mut events, |t, body| {
        matches!(body, Body::Counter(c) if c.counter == "orders accepted") && t > ms(141_000)
    });
    let unread = |counter: &str, when| CounterUnread {
        counter: counter.to_owned(),
        service: "trading-api".to_owned(),
        source: "http://10.0.0.4/metrics".to_owned(),
        when,
        why: "connection refused".to_owned(),
    };
    events.push(Event::at(ms(141_301), unread("orders accepted", CounterWhen::After)));
    events.push(Event::at(ms(100_302), unread("never", CounterWhen::Before)));
    events.push(Event::at(ms(141_302), unread("never", CounterWhen::After)));
    let result = judged(&events).result;
    assert_eq!(result.cross_checks.len(), 1);
    let told: Vec<_> =
        result.uncompared.iter().map(|u| (u.what.as_str(), u.why.as_str())).collect();
    assert_eq!(
        told,
        [
            (
                "never (trading-api)",
                "not read, neither before the run nor after it: connection refused"
            ),
            ("orders accepted (trading-api)", "not read after the run: connection refused"),
        ]
    );
}
