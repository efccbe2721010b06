//! What holds of every log, sensible or not.

use std::collections::BTreeMap;

use proptest::prelude::*;
use temblor_event::{
    Aborted, Body, Buckets, CheckResult, Connection, Cost, CounterRead, CounterWhen, Effect, Event,
    FaultAdjusted, FaultEffect, FaultInjected, FaultReverted, Gauge, LedgerRead, LedgerRows,
    LoadFinished, LoadSecond, OrderOutcome, Outcome, PhaseMark, PhaseRole, ProbeCost, ProbeLost,
    ProcessEnded, ProcessStarted, ProgramCost, Question, RetransmitKind, RunEnded, ServiceHealth,
    StoredRow, TcpReset, TcpRetransmit, TcpRtt, TcpState, TcpStateChange,
};
use temblor_judge::{RunResult, Verdict, judge};

use crate::good_run::{BACKLOG, good_run, histogram, judged, started};

fn time() -> impl Strategy<Value = u64> {
    prop_oneof![8 => 0..60_000_000_000_u64, 1 => Just(0), 1 => Just(u64::MAX), 1 => any::<u64>()]
}

fn number() -> impl Strategy<Value = u64> {
    prop_oneof![6 => 0..20_u64, 1 => Just(u64::MAX), 1 => any::<u64>()]
}

fn figure() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => (0..20_u8).prop_map(f64::from),
        1 => Just(f64::NAN),
        1 => Just(f64::INFINITY),
        1 => any::<f64>()
    ]
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("a"),
        Just("b"),
        Just("fault"),
        Just(BACKLOG),
        Just("TcpRetransSegs"),
        Just("")
    ]
    .prop_map(str::to_owned)
}

fn role() -> impl Strategy<Value = PhaseRole> {
    prop_oneof![Just(PhaseRole::Baseline), Just(PhaseRole::Fault), Just(PhaseRole::Recovery)]
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        Just(Outcome::Ok),
        Just(Outcome::Fail),
        Just(Outcome::Unsure),
        Just(Outcome::Unsent)
    ]
}

fn tcp_state() -> impl Strategy<Value = TcpState> {
    prop_oneof![
        Just(TcpState::SynSent),
        Just(TcpState::Established),
        Just(TcpState::Close),
        Just(TcpState::FinWait1)
    ]
}

fn connection() -> impl Strategy<Value = Connection> {
    (0..4_u64, prop::option::of(name()), prop::option::of(name()), 0..3_u16).prop_map(
        |(cookie, service, peer, port)| Connection {
            cookie,
            service,
            peer,
            local: ([10, 0, 0, 1], port).into(),
            remote: ([10, 0, 0, 2], 5432).into(),
        },
    )
}

fn effect() -> impl Strategy<Value = Effect> {
    number().prop_map(|count| Effect {
        measure: "packets dropped".to_owned(),
        count,
        source: "nft".to_owned(),
        parts: Vec::new(),
        doses: Vec::new(),
    })
}

fn latency() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => (1..5_u64, 1..9_000_u64).prop_map(|(n, latency_ms)| histogram(n, latency_ms)),
        1 => Just(String::new()),
        1 => "[A-Za-z0-9+/]{0,40}"
    ]
}

fn run_body() -> impl Strategy<Value = Body> {
    prop_oneof![
        (name(), role(), any::<bool>()).prop_map(|(phase, role, starts)| PhaseMark {
            phase,
            role,
            starts
        }
        .into()),
        Just(Aborted { why: "enough".to_owned() }.into()),
        Just(RunEnded {}.into()),
        (name(), any::<u32>())
            .prop_map(|(service, pid)| { ProcessEnded { service, pid, how: None }.into() }),
        (name(), prop::option::of(any::<u32>())).prop_map(|(service, restarts)| {
            ProcessStarted { service, pid: 1, restarts }.into()
        }),
        (name(), any::<bool>()).prop_map(|(service, healthy)| {
            ServiceHealth { service, healthy, source: "lab".to_owned() }.into()
        }),
        (0..3_u32, figure()).prop_map(|(id, level)| FaultAdjusted { id, level }.into()),
        (0..3_u32, name(), name(), time()).prop_map(|(id, from, to, began_ns)| {
            let dose = BTreeMap::from([("from".to_owned(), from), ("to".to_owned(), to)]);
            let (mechanism, undone_by) = (String::new(), String::new());
            FaultInjected { id, name: "f".to_owned(), dose, mechanism, undone_by, began_ns }.into()
        }),
        (0..3_u32, effect()).prop_map(|(id, effect)| FaultEffect { id, effect }.into()),
        (0..3_u32, time(), effect(), any::<bool>()).prop_map(|(id, began_ns, effect, verified)| {
            FaultReverted { id, began_ns, effect, verified }.into()
        }),
        (name(), any::<bool>()).prop_map(|(check, ok)| CheckResult {
            check,
            ok,
            took_ns: 1,
            seen: String::new()
        }
        .into()),
        (name(), figure()).prop_map(|(gauge, value)| Gauge { gauge, value }.into()),
        (name(), name(), figure(), any::<bool>()).prop_map(|(counter, service, value, before)| {
            let when = if before { CounterWhen::Before } else { CounterWhen::After };
            CounterRead { counter, service, source: String::new(), when, value }.into()
        }),
        (name(), number()).prop_map(|(probe, events)| ProbeLost { probe, events }.into()),
        (name(), number()).prop_map(|(probe, run_ns)| {
            let program = ProgramCost { program: "p".to_owned(), runs: 1, run_ns };
            ProbeCost {
                probe,
                programs: vec![program.clone(), program],
                events: 1,
                floor_ns: Some(31),
                map_bytes: 1,
            }
            .into()
        }),
        [number(), number(), number(), number()].prop_map(
            |[user_ns, system_ns, memory, wall_ns]| {
                Cost { user_ns, system_ns, memory_bytes_max: memory, wall_ns }.into()
            }
        ),
    ]
}

fn load_body() -> impl Strategy<Value = Body> {
    prop_oneof![
        ([number(), number(), number(), number(), number()], latency()).prop_map(|(n, latency)| {
            let [planned, ok, failed, unsure, unsent] = n;
            LoadSecond { planned, ok, failed, unsure, unsent, latency, lag_ns_max: 0 }.into()
        }),
        [number(), number(), number(), number(), number()].prop_map(
            |[planned, ok, failed, unsure, unsent]| {
                LoadFinished { planned, ok, failed, unsure, timed_out: unsure, unsent }.into()
            }
        ),
        (name(), time(), outcome()).prop_map(|(key, planned_ns, outcome)| {
            OrderOutcome {
                key,
                planned_ns,
                sent_ns: None,
                outcome,
                status: None,
                order_id: None,
                error: None,
            }
            .into()
        }),
        prop::collection::vec(name(), 0..4).prop_map(|keys| {
            let row = |key| StoredRow { key, order_id: String::new() };
            LedgerRows { rows: keys.into_iter().map(row).collect() }.into()
        }),
        (number(), time()).prop_map(|(rows, began_ns)| {
            LedgerRead { source: String::new(), rows, began_ns, error: None }.into()
        }),
    ]
}

fn tcp_body() -> impl Strategy<Value = Body> {
    prop_oneof![
        (connection(), tcp_state(), tcp_state(), 0..120_i32, prop::option::of(number())).prop_map(
            |(conn, from, to, errno, connect_ns)| {
                let (srtt_us, retransmitted, pid) = (0, 0, None);
                TcpStateChange { conn, from, to, errno, connect_ns, srtt_us, retransmitted, pid }
                    .into()
            }
        ),
        (connection(), any::<u32>(), number(), any::<u8>()).prop_map(
            |(conn, segments, rto_ns, backoff)| {
                let (kind, state) = (RetransmitKind::Fast, TcpState::Established);
                TcpRetransmit { conn, kind, segments, rto_ns, backoff, state, errno: 0 }.into()
            }
        ),
        (connection(), any::<bool>())
            .prop_map(|(conn, sent)| TcpReset { conn, sent, state: None }.into()),
        (name(), number(), number()).prop_map(|(service, window_ns, samples)| {
            let (p50_us, p99_us, max_us) = (samples, samples, samples);
            let (peer, buckets) = (service.clone(), Buckets::default());
            TcpRtt { service, peer, window_ns, samples, p50_us, p99_us, max_us, sum_us: 0, buckets }
                .into()
        }),
    ]
}

/// Any events at any times after a beginning.
fn events() -> impl Strategy<Value = Vec<Event>> {
    let body = prop_oneof![3 => run_body(), 2 => load_body(), 2 => tcp_body()];
    let event = (time(), body).prop_map(|(t_ns, body)| Event { t_ns, body });
    (time(), prop::collection::vec(event, 0..40)).prop_map(|(t_ns, mut events)| {
        let mut run = started();
        let figures = temblor_event::Figure::ALL.iter().map(|figure| figure.name());
        let words = ["services", "connections", "resets", "effect", "gauge a", "check a", "", "x"];
        let answers = figures.chain(words).map(str::to_owned).collect();
        run.learn = vec![Question { question: "all of it?".to_owned(), answers }];
        events.insert(0, Event::at(t_ns, run));
        events
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn every_log_is_judged(events in events()) {
        let result = judge(&events).expect("there is a beginning").result;
        prop_assert!(!result.reasons.is_empty());
        prop_assert!(result.reasons.iter().all(|reason| !reason.trim().is_empty()));
        prop_assert!(result.timeline.len() <= 300);
        prop_assert!(result.evidence.connections.len() <= 50);
        let in_order = result.timeline.windows(2).all(|e| e[0].t_seconds <= e[1].t_seconds);
        prop_assert!(in_order);
        // What is not finite cannot be written as JSON, and so could not be read again.
        let json = serde_json::to_string(&result).expect("a result is JSON");
        let again: RunResult = serde_json::from_str(&json).expect("and is read again");
        prop_assert_eq!(again.reasons, result.reasons);
    }

    #[test]
    fn a_figure_not_observed_does_not_hold_and_a_failed_one_fails(events in events()) {
        let result = judge(&events).expect("there is a beginning").result;
        for expectation in result.expectations.iter().chain(&result.steady_state) {
            prop_assert!(!expectation.held || expectation.observed.is_some());
        }
        if result.verdict == Verdict::Pass {
            prop_assert!(result.expectations.iter().all(|expectation| expectation.held));
            prop_assert!(result.steady_state.iter().all(|condition| condition.held));
            prop_assert!(result.faults.iter().all(|f| f.effect.count > 0 && f.verified_gone));
            prop_assert!(result.load_account.is_some_and(|account| account.balanced));
        }
    }

    #[test]
    fn an_account_balances_if_and_only_if_all_adds_up(
        seconds in prop::collection::vec([0..5_u64, 0..5, 0..5, 0..5], 1..6),
        planned_off in 0..2_u64,
        second_off in 0..2_u64,
        total_off in 0..2_u64,
    ) {
        let mut events = vec![Event::at(0, started())];
        let mut total = [0; 4];
        for (i, parts) in (0..).zip(&seconds) {
            for (sum, part) in total.iter_mut().zip(parts) {
                *sum += part;
            }
            let [ok, failed, unsure, unsent] = *parts;
            let planned = parts.iter().sum::<u64>() + if i == 0 { second_off } else { 0 };
            let latency = histogram(ok.max(1), 5);
            let second =
                LoadSecond { planned, ok, failed, unsure, unsent, latency, lag_ns_max: 0 };
            events.push(Event::at(i * 1_000_000_000, second));
        }
        let [ok, failed, unsure, unsent] = total;
        let planned = total.iter().sum::<u64>() + planned_off;
        let end =
            LoadFinished { planned, ok: ok + total_off, failed, unsure, timed_out: 0, unsent };
        events.push(Event::at(9_000_000_000, end));
        let result = judged(&events).result;
        let account = result.load_account.expect("there is an account");
        prop_assert_eq!(account.balanced, planned_off + second_off + total_off == 0);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn the_order_in_the_file_is_of_no_matter(shuffled in Just(good_run()).prop_shuffle()) {
        prop_assert_eq!(judged(&shuffled), judged(&good_run()));
    }

    #[test]
    fn a_run_cut_off_anywhere_never_passes(length in 1..10_000_usize) {
        let mut events = good_run();
        events.sort_by_key(|event| event.t_ns);
        let length = 1 + length % (events.len() - 1);
        events.truncate(length);
        prop_assert!(judged(&events).result.verdict != Verdict::Pass);
    }
}
