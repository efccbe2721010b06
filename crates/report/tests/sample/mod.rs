//! A run made by hand: the order service of a trading exchange loses its database for 30 s at
//! 200 orders a second. The figures fit together as those of a real run do.

mod cascade;
mod profiles;

use std::collections::BTreeMap;

use temblor_event::{
    Condition, Effect, EffectPart, Figure, Hook, HostFacts, LoadPlan, Op, PhaseRole, ProgramCost,
    ScriptCost, ScriptEnd,
};
use temblor_judge::{
    Answer, CheckFigures, ConnectionStory, CostResult, CrossCheck, Evidence, ExpectationResult,
    ExperimentName, FaultResult, GaugeFigures, Judged, LedgerResult, LoadAccount, LoadFigures,
    LoadPoint, PhaseResult, ProbeResult, RESULT_VERSION, RecoveryResult, Retransmission,
    RttFigures, RunResult, Series, ServicesResult, TcpPeerFigures, TimelineEntry, TimelineKind,
    Uncompared, Verdict,
};
use temblor_judge::{
    CauseCount, EdgeEnd, EdgePhase, EdgeResult, FigureUnit, KernelFigure, ScriptEndResult,
    ScriptResult,
};
use temblor_report::ScriptOutput;

pub(crate) use cascade::cascade;
pub(crate) use profiles::files;

/// The experiment, as resolved.
pub(crate) const EXPERIMENT: &str = "\
apiVersion: temblor.dev/v1
kind: Experiment
metadata:
  name: network-partition
  title: The order service loses its database
lab: exchange
targets:
  api: {service: trading-api}
  db: {service: postgres}
load: {profile: orders, rate: 200/s, arrivals: poisson}
steadyState:
  - {name: orders are accepted, load: {success: \">= 99.9%\", p99: \"<= 50ms\"}}
phases:
  - {name: baseline, for: 20s}
  - {name: fault, for: 30s, inject: [{network.partition: {from: api, to: db, action: drop}}]}
  - {name: recovery, for: 30s, until: steady}
observe: [tcp]
abort: [{load: {errors: \"> 50%\"}, for: 10s}]
expect:
  - {ledger.lost: 0}
  - {ledger.duplicated: 0}
  - {recovery.full: \"<= 10s\"}
";

/// The whole of it.
pub(crate) fn judged() -> Judged {
    Judged { result: result(), series: series() }
}

/// A script that printed more than is kept, for which `zero_ns` is 1,000 s.
fn script() -> ScriptResult {
    ScriptResult {
        name: "forks".to_owned(),
        path: "probes/forks.bt".to_owned(),
        program: "bpftrace v0.17.0".to_owned(),
        source: "forks.bt".to_owned(),
        output: "bpftrace-forks.txt".to_owned(),
        attach_seconds: 0.412,
        zero_ns: 1_000_000_000_000,
        ended: Some(ScriptEndResult {
            end: ScriptEnd::Asked,
            status: "exit code 0".to_owned(),
            t_seconds: 54.6,
            lines: 1_134,
            bytes: 31_200,
            lines_cut: 1_000,
            bytes_cut: 30_000,
            unwritten: Some("No space left on device".to_owned()),
            events_lost: 3,
            cpu_seconds: 0.311,
            memory_bytes_max: 157_286_400,
            programs: Some(ScriptCost { programs: 2, runs: 431, run_ns: 120_345 }),
        }),
    }
}

/// What it printed: its warm-up, the baseline, a flood in the fault, its maps at the end.
pub(crate) fn outputs() -> Vec<ScriptOutput> {
    let mut text = "979.600000000 Attaching 2 probes...\n980.000000000 tick 1\n".to_owned();
    for n in 1..=130 {
        text.push_str(&format!("1000.{n:03}000000 fork {n}\n"));
    }
    text.push_str("1054.500000000 \n1054.500000000 @forks[<b>|sh]: 7\n1054.5000");
    vec![ScriptOutput { script: "forks".to_owned(), printed: Ok(text.into_bytes()) }]
}

fn map<T>(entries: impl IntoIterator<Item = (&'static str, T)>) -> BTreeMap<String, T> {
    entries.into_iter().map(|(k, v)| (k.to_owned(), v)).collect()
}

pub(crate) fn result() -> RunResult {
    RunResult {
        version: RESULT_VERSION,
        temblor: "0.1.0".to_owned(),
        verdict: Verdict::Pass,
        reasons: vec![
            "all 6 expectations held".to_owned(),
            "of 13,571 acknowledged orders 0 were lost and 0 duplicated".to_owned(),
            "the fault had an effect: 311 packets dropped".to_owned(),
        ],
        experiment: ExperimentName {
            name: "network-partition".to_owned(),
            title: "The order service loses its database".to_owned(),
        },
        started: "2026-11-22T10:15:02.481Z".to_owned(),
        duration_seconds: 74.82,
        seed: 4_711,
        host: HostFacts {
            kernel: "6.12.48+deb13-amd64".to_owned(),
            arch: "x86_64".to_owned(),
            distribution: "Debian GNU/Linux 13 (trixie)".to_owned(),
            cpus: 8,
            memory_bytes: 16_668_893_184,
            boot_id: "5f1d1c0a-52d5-4c56-9a3a-0f9c1b1f2d77".to_owned(),
            cgroups: "v2".to_owned(),
        },
        load: Some(LoadPlan {
            profile: "orders".to_owned(),
            rate_per_second: 200.0,
            arrivals: "poisson".to_owned(),
            timeout_ns: 5_000_000_000,
            url: "http://10.83.0.13:8080/api/orders".to_owned(),
        }),
        load_account: Some(LoadAccount {
            planned: 13_572,
            ok: 13_571,
            failed: 0,
            unsure: 1,
            timed_out: 1,
            unsent: 0,
            balanced: true,
        }),
        phases: phases(),
        timeline: timeline(),
        ledger: Some(LedgerResult {
            attempted: 13_572,
            acknowledged: 13_571,
            stored: Some(13_572),
            lost: Some(0),
            duplicated: Some(0),
            unexpected: Some(0),
            unsure: 1,
            recovered: Some(1),
            refused: 0,
            unsent: 0,
            source: "postgres at 10.83.0.11:5432: SELECT client_order_id, order_id::text FROM \
                     orders WHERE client_order_id LIKE 't4711-%'"
                .to_owned(),
            error: None,
            examples: BTreeMap::new(),
        }),
        detection_seconds: Some(1.244),
        kernel_detection_seconds: Some(0.226),
        recovery_seconds: RecoveryResult {
            first: Some(0.871),
            backlog_drained: Some(4.117),
            full: Some(4.5),
            services: Some(0.0),
        },
        faults: vec![fault()],
        expectations: expectations(),
        steady_state: vec![
            expectation("orders are accepted", None, Figure::LoadSuccess, Op::Ge, 0.999, ">= 99.9%", Some(1.0)),
            expectation("orders are accepted", None, Figure::LoadP99, Op::Le, 0.05, "<= 50ms", Some(0.006_91)),
        ],
        evidence: evidence(),
        cross_checks: vec![
            CrossCheck {
                what: "segments sent again by trading-api".to_owned(),
                ours: 37.0,
                our_source: "tp_btf/tcp_retransmit_skb".to_owned(),
                theirs: 37.0,
                their_source: "/proc/1873/net/snmp TcpRetransSegs".to_owned(),
                agrees: true,
            },
            CrossCheck {
                what: "segments sent again by postgres".to_owned(),
                ours: 14.0,
                our_source: "tp_btf/tcp_retransmit_skb".to_owned(),
                theirs: 14.0,
                their_source: "/proc/1741/net/snmp TcpRetransSegs".to_owned(),
                agrees: true,
            },
            CrossCheck {
                what: "orders accepted".to_owned(),
                ours: 13_571.0,
                our_source: "load generator".to_owned(),
                theirs: 13_572.0,
                their_source: "http://10.83.0.13:8080/metrics orders_total{status=\"accepted\",channel=\"direct\"}".to_owned(),
                agrees: true,
            },
        ],
        cost: CostResult {
            bpf_seconds: Some(0.001_84),
            bpf_floor_ns: Some(31),
            map_bytes: Some(4_726_784),
            cpu_seconds: Some(9.71),
            cpu_share: Some(0.016_22),
            memory_bytes_max: Some(48_234_496),
            events_lost: 0,
        },
        hypothesis: Some(
            "Orders are accepted while the database is away, and reach it afterwards.".to_owned(),
        ),
        answers: answers(),
        services: ServicesResult {
            watched: true,
            stories: Vec::new(),
            order: Vec::new(),
            restarts: Some(0),
            outage_seconds: Some(0.0),
            well_after_injection_seconds: Some(0.0),
            steady_after_injection_seconds: Some(34.504),
        },
        scripts: vec![script()],
        profiles: profiles::results(),
        uncompared: vec![Uncompared {
            what: "orders stored (market-simulator)".to_owned(),
            source: "http://10.83.0.14:8080/metrics".to_owned(),
            why: "not read after the run: connection refused".to_owned(),
        }],
    }
}

fn answers() -> Vec<Answer> {
    vec![
        Answer {
            question: "How soon is the loss noticed?".to_owned(),
            found: vec![
                "noticed by the application 1.2 s after injection: says no: 200, /status is \
                 \"degraded\" (check \"the API is ready, with its database\")"
                    .to_owned(),
                "first sign in the kernel 226 ms after injection: trading-api → postgres sends a \
                 segment again (tail_loss_probe) (tp_btf/tcp_retransmit_skb)"
                    .to_owned(),
            ],
        },
        Answer {
            question: "Does anything get lost?".to_owned(),
            found: vec!["0 of 13,571 acknowledged orders lost".to_owned()],
        },
    ]
}

fn phases() -> Vec<PhaseResult> {
    let load = |planned: u64, unsure: u64, per_second, p50, p90, p99, max| LoadFigures {
        planned,
        ok: planned - unsure,
        failed: 0,
        unsure,
        unsent: 0,
        #[expect(clippy::cast_precision_loss, reason = "an example")]
        success: Some((planned - unsure) as f64 / planned as f64),
        #[expect(clippy::cast_precision_loss, reason = "an example")]
        errors: Some(unsure as f64 / planned as f64),
        throughput_per_second: per_second,
        p50_seconds: Some(p50),
        p90_seconds: Some(p90),
        p99_seconds: Some(p99),
        max_seconds: Some(max),
    };
    let backlog = |readings, max, last| {
        map([("order backlog", GaugeFigures { readings, min: 0.0, max, last })])
    };
    let checks = |asked, alive, ready| {
        map([
            ("the API is alive", CheckFigures { asked, passed: alive }),
            ("the API is ready, with its database", CheckFigures { asked, passed: ready }),
        ])
    };
    vec![
        PhaseResult {
            name: "baseline".to_owned(),
            role: PhaseRole::Baseline,
            start: "2026-11-20T10:15:02.412Z".to_owned(),
            end: "2026-11-20T10:15:22.414Z".to_owned(),
            start_seconds: -20.018,
            end_seconds: -0.016,
            load: Some(load(4_021, 0, 201.0, 0.002_71, 0.004_2, 0.006_91, 0.018_4)),
            gauges: backlog(20, 31.0, 12.0),
            checks: checks(40, 40, 40),
            retransmitted_segments: Some(0),
        },
        PhaseResult {
            name: "fault".to_owned(),
            role: PhaseRole::Fault,
            start: "2026-11-20T10:15:22.414Z".to_owned(),
            end: "2026-11-20T10:15:52.451Z".to_owned(),
            start_seconds: -0.016,
            end_seconds: 30.021,
            load: Some(load(6_008, 1, 199.98, 0.002_83, 0.004_9, 0.011_7, 0.412)),
            gauges: backlog(30, 6_003.0, 6_003.0),
            checks: checks(60, 60, 3),
            retransmitted_segments: Some(46),
        },
        PhaseResult {
            name: "recovery".to_owned(),
            role: PhaseRole::Recovery,
            start: "2026-11-20T10:15:52.451Z".to_owned(),
            end: "2026-11-20T10:16:10.230Z".to_owned(),
            start_seconds: 30.021,
            end_seconds: 47.8,
            load: Some(load(3_543, 0, 199.3, 0.003_02, 0.006_6, 0.021_3, 0.064)),
            gauges: backlog(18, 6_021.0, 9.0),
            checks: checks(36, 36, 30),
            retransmitted_segments: Some(5),
        },
    ]
}

fn timeline() -> Vec<TimelineEntry> {
    use TimelineKind::{Application, Fault, Kernel, Recovery, Run};
    [
        (-20.018, Run, "phase baseline begins", "runner"),
        (-0.016, Run, "phase fault begins", "runner"),
        (0.0, Fault, "network.partition is in place, applied within 6.1 ms", "runner"),
        (
            0.226,
            Kernel,
            "first segment sent again: trading-api → postgres, tail-loss probe",
            "tp_btf/tcp_retransmit_skb",
        ),
        (
            0.452,
            Kernel,
            "trading-api → postgres: the timer ran out at 226 ms and begins to double",
            "tp_btf/tcp_retransmit_skb",
        ),
        (
            1.244,
            Application,
            "the check fails for the first time: 200, /status is \"degraded\"",
            "check \"the API is ready, with its database\"",
        ),
        (
            5.41,
            Kernel,
            "trading-api gives up a connection to postgres after 5.02 s (ETIMEDOUT)",
            "tp_btf/inet_sock_set_state",
        ),
        (
            6.42,
            Kernel,
            "connection attempts of trading-api to postgres go unanswered: 18 SYNs sent again",
            "tp_btf/tcp_retransmit_skb",
        ),
        (30.004, Fault, "network.partition is undone within 3.3 ms, and verified gone", "runner"),
        (30.021, Run, "phase recovery begins", "runner"),
        (
            30.875,
            Recovery,
            "first connection that works: trading-api → postgres in 214 µs",
            "tp_btf/inet_sock_set_state",
        ),
        (
            32.744,
            Recovery,
            "the check passes again",
            "check \"the API is ready, with its database\"",
        ),
        (
            34.121,
            Recovery,
            "the backlog is drained: 29, at most 31 in the baseline",
            "gauge \"order backlog\"",
        ),
        (34.504, Recovery, "steady again", "load, checks and gauges"),
        (47.8, Run, "phase recovery ends: steady for 10 s", "runner"),
    ]
    .into_iter()
    .map(|(t_seconds, kind, what, source)| TimelineEntry {
        t_seconds,
        what: what.to_owned(),
        source: source.to_owned(),
        kind,
    })
    .collect()
}

fn fault() -> FaultResult {
    FaultResult {
        name: "network.partition".to_owned(),
        dose: map([
            ("from", "trading-api".to_owned()),
            ("to", "postgres".to_owned()),
            ("action", "drop".to_owned()),
            ("direction", "both".to_owned()),
        ]),
        mechanism: "nftables table `temblor-1` in the network namespace of trading-api".to_owned(),
        undone_by: "the kernel, when the table's owner closes its socket".to_owned(),
        effect: Effect {
            measure: "packets dropped".to_owned(),
            count: 311,
            source: "nftables rule counters in the namespace of trading-api".to_owned(),
            parts: vec![
                EffectPart { name: "out to 10.83.0.11".to_owned(), count: 243, bytes: 187_331 },
                EffectPart { name: "in from 10.83.0.11".to_owned(), count: 68, bytes: 5_212 },
            ],
            doses: vec![],
        },
        injected_seconds: 0.0,
        reverted_seconds: Some(30.004),
        apply_seconds: 0.006_1,
        revert_seconds: Some(0.003_3),
        verified_gone: true,
        id: 1,
        services: vec!["trading-api".to_owned(), "postgres".to_owned()],
        levels: Vec::new(),
    }
}

fn expectation(
    name: &str,
    during: Option<&str>,
    figure: Figure,
    op: Op,
    bound: f64,
    text: &str,
    observed: Option<f64>,
) -> ExpectationResult {
    ExpectationResult {
        name: name.to_owned(),
        during: during.map(str::to_owned),
        condition: Condition { figure, op, bound, text: text.to_owned() },
        held: observed.is_some_and(|v| op.holds(v, bound)),
        observed,
    }
}

fn expectations() -> Vec<ExpectationResult> {
    vec![
        expectation(
            "no acknowledged order is lost",
            None,
            Figure::LedgerLost,
            Op::Eq,
            0.0,
            "0",
            Some(0.0),
        ),
        expectation(
            "no order is stored twice",
            None,
            Figure::LedgerDuplicated,
            Op::Eq,
            0.0,
            "0",
            Some(0.0),
        ),
        expectation(
            "nothing unasked is stored",
            None,
            Figure::LedgerUnexpected,
            Op::Eq,
            0.0,
            "0",
            Some(0.0),
        ),
        expectation(
            "orders are accepted throughout",
            Some("fault"),
            Figure::LoadSuccess,
            Op::Ge,
            0.995,
            ">= 99.5%",
            Some(6_007.0 / 6_008.0),
        ),
        expectation(
            "the loss is noticed",
            None,
            Figure::Detection,
            Op::Le,
            5.0,
            "<= 5s",
            Some(1.244),
        ),
        expectation(
            "well again soon after",
            None,
            Figure::RecoveryFull,
            Op::Le,
            10.0,
            "<= 10s",
            Some(4.5),
        ),
    ]
}

fn kernel_figure(figure: &str, unit: FigureUnit, values: [f64; 3], changed: bool) -> KernelFigure {
    KernelFigure {
        probe: "sched".to_owned(),
        service: "trading-api".to_owned(),
        figure: figure.to_owned(),
        unit,
        phases: ["baseline", "fault", "recovery"]
            .map(str::to_owned)
            .into_iter()
            .zip(values)
            .collect(),
        factor: (values[0] > 0.0).then(|| values[1] / values[0]),
        changed,
        source: "tp_btf/sched_switch".to_owned(),
    }
}

fn edge(from: &str, to: &str, rates: [f64; 3], p99_ms: [f64; 3]) -> EdgeResult {
    let phase = |(rate, p99_ms): (f64, f64)| EdgePhase {
        turns_per_second: rate,
        p50_seconds: (rate > 0.0).then_some(p99_ms / 4e3),
        p99_seconds: (rate > 0.0).then_some(p99_ms / 1e3),
        bytes_per_second: rate * 700.0,
        connections_opened: 2,
    };
    EdgeResult {
        from: from.to_owned(),
        to: to.to_owned(),
        seen_at: EdgeEnd::Asks,
        phases: ["baseline", "fault", "recovery"]
            .map(str::to_owned)
            .into_iter()
            .zip(rates.into_iter().zip(p99_ms).map(phase))
            .collect(),
    }
}

fn evidence() -> Evidence {
    let rtt = |samples, p50_us_max, p99_us_max| RttFigures { samples, p50_us_max, p99_us_max };
    Evidence {
        causes: vec![
            CauseCount {
                service: "trading-api".to_owned(),
                peer: Some("postgres".to_owned()),
                cause: "sent again after a time-out".to_owned(),
                phases: [("fault".to_owned(), 34)].into(),
            },
            CauseCount {
                service: "trading-api".to_owned(),
                peer: None,
                cause: "killed by SIGKILL from temblor".to_owned(),
                phases: [("fault".to_owned(), 1), ("recovery".to_owned(), 2)].into(),
            },
        ],
        edges: vec![
            edge("temblor", "nginx", [201.0, 199.0, 200.5], [6.1, 8.4, 6.0]),
            edge("nginx", "trading-api", [201.0, 199.0, 200.5], [5.8, 8.0, 5.7]),
            edge("trading-api", "postgres", [24.0, 0.0, 61.0], [12.0, 0.0, 48.0]),
            edge("trading-api", "redis", [200.0, 199.0, 200.0], [0.4, 0.4, 0.4]),
            edge("market-simulator", "redis", [20.0, 20.0, 20.0], [0.3, 0.3, 0.3]),
            edge("order-flow-simulator", "nginx", [9.0, 9.0, 9.0], [6.3, 8.1, 6.2]),
            edge("postgres", "trading-api", [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]),
        ],
        figures: vec![
            kernel_figure(
                "run-queue wait, 99th percentile",
                FigureUnit::Seconds,
                [0.0002, 0.85, 0.000_21],
                true,
            ),
            kernel_figure("time on a processor", FigureUnit::Processors, [0.11, 0.1, 0.12], false),
            kernel_figure(
                "periods in which its quota was used up",
                FigureUnit::Share,
                [0.0, 0.0, 0.0],
                false,
            ),
        ],
        probes: vec![ProbeResult {
            probe: "tcp".to_owned(),
            hooks: [
                ("retransmissions", "tp_btf/tcp_retransmit_skb"),
                ("state changes", "tp_btf/inet_sock_set_state"),
                ("resets received", "tp_btf/tcp_receive_reset"),
                ("resets sent", "tp_btf/tcp_send_reset"),
                ("round-trip times", "tp_btf/tcp_probe"),
            ]
            .map(|(sees, hook)| Hook { sees: sees.to_owned(), hook: hook.to_owned() })
            .to_vec(),
            unseen: vec![
                "SYN-ACKs sent again: this kernel has no BTF for their request socket".to_owned(),
            ],
            events: 1_482,
            events_lost: 0,
            programs: [
                ("retransmit", 51, 128_000),
                ("set_state", 966, 812_000),
                ("rtt", 31_204, 903_116),
            ]
            .map(|(program, runs, run_ns)| ProgramCost {
                program: program.to_owned(),
                runs,
                run_ns,
            })
            .to_vec(),
        }],
        tcp: vec![
            TcpPeerFigures {
                service: "trading-api".to_owned(),
                peer: "postgres".to_owned(),
                connects: 8,
                connected: 3,
                connect_failures: map([("given up", 4), ("ETIMEDOUT", 1)]),
                timed_out: 2,
                retransmitted: map([("timeout", 15), ("tail_loss_probe", 4), ("syn", 18)]),
                resets_sent: 0,
                resets_received: 2,
                rtt: map([("baseline", rtt(8_112, 64, 512)), ("recovery", rtt(9_480, 128, 1_024))]),
            },
            TcpPeerFigures {
                service: "postgres".to_owned(),
                peer: "trading-api".to_owned(),
                connects: 0,
                connected: 0,
                connect_failures: BTreeMap::new(),
                timed_out: 0,
                retransmitted: map([("timeout", 12), ("tail_loss_probe", 2)]),
                resets_sent: 2,
                resets_received: 0,
                rtt: map([("baseline", rtt(8_020, 64, 256)), ("recovery", rtt(9_401, 64, 512))]),
            },
        ],
        connections: vec![
            story(
                90_114,
                "10.83.0.13:40112 → 10.83.0.11:5432",
                0.226,
                "timeout",
                6,
                "timed out (ETIMEDOUT) after 5.02 s",
            ),
            story(
                90_115,
                "10.83.0.13:40126 → 10.83.0.11:5432",
                0.239,
                "timeout",
                6,
                "timed out (ETIMEDOUT) after 5.03 s",
            ),
            story(
                90_322,
                "10.83.0.13:40380 → 10.83.0.11:5432",
                6.42,
                "syn",
                3,
                "given up after 5.00 s",
            ),
            story(
                90_367,
                "10.83.0.13:40402 → 10.83.0.11:5432",
                12.91,
                "syn",
                3,
                "given up after 5.00 s",
            ),
        ],
    }
}

fn story(
    cookie: u64,
    addresses: &str,
    first: f64,
    kind: &str,
    n: u8,
    end: &str,
) -> ConnectionStory {
    let mut t = first;
    let mut retransmissions = Vec::new();
    for i in 0..n {
        let probe = i == 0 && kind == "timeout";
        let backoff = if kind == "timeout" { i.saturating_sub(1) } else { i };
        let base = if kind == "syn" { 1.0 } else { 0.204 };
        let rto_seconds = base * f64::from(1_u32 << backoff);
        let gap_seconds = (i > 0).then_some(rto_seconds + 0.004_7);
        t += gap_seconds.unwrap_or(0.0);
        retransmissions.push(Retransmission {
            t_seconds: t,
            kind: if probe { "tail_loss_probe".to_owned() } else { kind.to_owned() },
            rto_seconds,
            backoff,
            gap_seconds,
        });
    }
    ConnectionStory {
        cookie,
        service: Some("trading-api".to_owned()),
        peer: Some("postgres".to_owned()),
        addresses: addresses.to_owned(),
        retransmissions,
        segments: u64::from(n),
        end: end.to_owned(),
    }
}

/// Second by second, with some noise from a generator of our own: no seed, no surprise.
pub(crate) fn series() -> Series {
    let mut state = 0x2545_f491_u32;
    let mut noise = move || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        f64::from(state % 10_000) / 10_000.0
    };
    let mut series = Series::default();
    let mut backlog = 0.0_f64;
    for second in -20_i32..48 {
        let t = f64::from(second);
        let fault = (0..30).contains(&second);
        let draining = (30..34).contains(&second);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an example")]
        let planned = (200.0 + (noise() + noise() - 1.0) * 28.0).round() as u64;
        let unsure = u64::from(second == 0);
        let slow = if second == 0 {
            40.0
        } else if draining {
            4.0
        } else if fault {
            1.3
        } else {
            1.0
        };
        let p50 = 0.002_6 + 0.000_4 * noise();
        series.load.push(LoadPoint {
            t_seconds: t,
            planned,
            ok: planned - unsure,
            failed: 0,
            unsure,
            unsent: 0,
            p50_seconds: Some(p50),
            p99_seconds: Some((0.006 + 0.003 * noise()) * slow),
            max_seconds: Some((0.010 + 0.008 * noise()) * slow),
        });
        backlog = if fault {
            backlog + 200.0
        } else if draining {
            (backlog - 1_500.0 * (0.9 + 0.2 * noise())).max(9.0)
        } else {
            (8.0 + 20.0 * noise()).round()
        };
        series
            .gauges
            .entry("order backlog".to_owned())
            .or_default()
            .push((t + 0.4, backlog.round()));
        for half in [0.0, 0.5] {
            let at = t + half + 0.244;
            let ready = !(1.0..32.5).contains(&at);
            series.checks.entry("the API is alive".to_owned()).or_default().push((at, true));
            series
                .checks
                .entry("the API is ready, with its database".to_owned())
                .or_default()
                .push((at, ready));
        }
    }
    series.retransmitted = [
        (0, 9),
        (1, 5),
        (2, 2),
        (3, 4),
        (5, 2),
        (6, 3),
        (7, 4),
        (9, 3),
        (12, 2),
        (13, 3),
        (15, 2),
        (19, 3),
        (22, 2),
        (25, 2),
        (30, 4),
        (31, 1),
    ]
    .map(|(t, n)| (f64::from(t), n))
    .to_vec();
    series
}
