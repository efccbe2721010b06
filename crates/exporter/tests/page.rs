//! The page: what is on it is what was counted, it has a bound, and Prometheus can read it.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail where they stand, as tests do")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::process::{Command, Stdio};

use proptest::prelude::*;
use temblor_event::{
    Body, Connection, Distribution, Event, Meaning, MeasureKind, ProbeCost, ProbeLost, ProbeStatus,
    ProbeWindow, ProgramCost, Reading, TcpRetransmit, TcpState, all_meanings,
};
use temblor_exporter::{Figures, Limits, Resources};

const SECOND: u64 = 1_000_000_000;

/// A line of the page: the name with its labels, and the value.
type Lines = Vec<(String, BTreeMap<String, String>, f64)>;

/// Reads the format as its specification has it, and nothing else.
fn parse(page: &str) -> Lines {
    let mut lines = Lines::new();
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        let at = line.find(['{', ' ']).unwrap();
        let name = &line[..at];
        let mut rest = &line[at..];
        let mut labels = BTreeMap::new();
        if let Some(inside) = rest.strip_prefix('{') {
            let mut chars = inside.char_indices();
            let (mut label, mut value, mut in_value) = (String::new(), String::new(), false);
            loop {
                let (at, c) = chars.next().unwrap();
                match c {
                    '}' if !in_value => {
                        rest = &inside[at + 1..];
                        break;
                    }
                    ',' | '=' if !in_value => {}
                    '"' if in_value => {
                        let twice = labels.insert(label.clone(), value.clone());
                        assert_eq!(twice, None, "{line}");
                        (label, value, in_value) = (String::new(), String::new(), false);
                    }
                    '"' => in_value = true,
                    '\\' if in_value => value.push(match chars.next().unwrap().1 {
                        'n' => '\n',
                        c @ ('\\' | '"') => c,
                        other => panic!("\\{other} in {line}"),
                    }),
                    c if in_value => value.push(c),
                    c => label.push(c),
                }
            }
        }
        lines.push((name.to_owned(), labels, rest.trim().parse().unwrap()));
    }
    lines
}

fn of<'a>(lines: &'a Lines, name: &str) -> Vec<(&'a BTreeMap<String, String>, f64)> {
    let named = lines.iter().filter(|(of, ..)| of == name);
    named.map(|(_, labels, value)| (labels, *value)).collect()
}

fn again(peer: Option<&str>, remote: &str, segments: u32) -> Event {
    let conn = Connection {
        cookie: 1,
        service: Some("api".into()),
        peer: peer.map(str::to_owned),
        local: "10.0.0.1:40000".parse().unwrap(),
        remote: remote.parse().unwrap(),
    };
    Event::now(TcpRetransmit {
        conn,
        kind: temblor_event::RetransmitKind::Timeout,
        segments,
        rto_ns: 0,
        backoff: 0,
        state: TcpState::Established,
        errno: 0,
    })
}

fn status(probe: &str) -> Event {
    let status = ProbeStatus { probe: probe.into(), hooks: Vec::new(), unseen: Vec::new() };
    Event::now(status)
}

fn no_cost() -> ProbeCost {
    let probe = String::new();
    ProbeCost { probe, programs: Vec::new(), events: 0, floor_ns: None, map_bytes: 0 }
}

/// A reading of a figure's kind, with values for its labels.
fn window(of: &Meaning, service: &str, label: &str, value: u64) -> Event {
    let mut window = ProbeWindow::new(of.probe, service, SECOND);
    let labels: Vec<_> = of.labels.iter().map(|name| (*name, label)).collect();
    let reading = match of.kind {
        MeasureKind::Count => Reading::Count(value),
        MeasureKind::Level => Reading::Level(value),
        MeasureKind::Distribution => Reading::Distribution(Distribution::of(value)),
    };
    window.put(of.name, &labels, reading);
    Event::now(window)
}

fn promtool(page: &str) {
    let mut child = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool is there (make setup)");
    child.stdin.take().unwrap().write_all(page.as_bytes()).unwrap();
    let out = child.wait_with_output().unwrap();
    let said = [out.stdout, out.stderr].concat();
    assert!(out.status.success(), "{}\n{page}", String::from_utf8_lossy(&said));
    assert!(said.is_empty(), "{}", String::from_utf8_lossy(&said));
}

#[test]
fn promtool_has_nothing_to_say_of_any_metric() {
    let mut figures = Figures::new(Limits { series_max: 200, ..Limits::default() });
    figures.watching([("api-7".to_owned(), "api \"quoted\\\" ö".to_owned())]);
    figures.present(["api \"quoted\\\" ö".to_owned()]);
    figures.found("process:api", 1);
    let probes: BTreeSet<&str> = all_meanings().map(|of| of.probe).collect();
    for probe in probes {
        figures.add(&status(probe), 1);
        figures.add(&Event::now(ProbeLost { probe: probe.into(), events: 2 }), 1);
        let program = ProgramCost { program: "x".into(), runs: 3, run_ns: 4 };
        let cost =
            ProbeCost { probe: probe.into(), programs: vec![program], events: 5, ..no_cost() };
        figures.add(&Event::now(cost), 1);
    }
    for of in all_meanings() {
        figures.add(&window(of, "api-7", "a\\b\"c\nd", 4096), 1);
        (0..300).for_each(|n| figures.add(&window(of, "api-7", &n.to_string(), n), 1));
    }
    figures.resources(Resources {
        cpu_ns: 500,
        resident_bytes: Some(1),
        open_files: Some(3),
        began_unix_ns: 1_000_000_000_000_000_000,
    });
    let page = figures.text(2).unwrap();
    promtool(&page);
    let lines = parse(&page);
    for probe in all_meanings().map(|of| of.probe) {
        let begins = format!("# TYPE temblor_{probe}_");
        let metrics = page.lines().filter(|line| line.starts_with(&begins)).count();
        let figures = all_meanings().filter(|of| of.probe == probe).count();
        assert_eq!(metrics, figures, "{probe}");
    }
    assert!(of(&lines, "temblor_collapsed_readings_total").len() > 3);
}

#[test]
fn a_histogram_counts_what_is_at_most_its_bound() {
    let latency = temblor_event::meaning("block", "io_latency").unwrap();
    let size = temblor_event::meaning("block", "io_size").unwrap();
    let mut figures = Figures::new(Limits::default());
    for ns in [500, 1_000_000, 1_048_575, 1_048_576, 60 * SECOND] {
        figures.add(&window(latency, "db", "vda", ns), 1);
    }
    for bytes in [512, 4096, 4097, 4352] {
        figures.add(&window(size, "db", "vda", bytes), 1);
    }
    let lines = parse(&figures.text(2).unwrap());
    let at = |name: &str, le: &str| {
        let found = of(&lines, name).into_iter().find(|(labels, _)| labels["le"] == le);
        found.unwrap_or_else(|| panic!("{name} {le}: {lines:?}")).1
    };
    let name = "temblor_block_io_latency_seconds_bucket";
    assert_eq!(at(name, "0.000001024"), 1.0);
    assert_eq!(at(name, "0.000524288"), 1.0);
    assert_eq!(at(name, "0.001048576"), 3.0);
    assert_eq!(at(name, "34.359738368"), 4.0);
    assert_eq!(at(name, "+Inf"), 5.0);
    assert_eq!(of(&lines, "temblor_block_io_latency_seconds_sum")[0].1, 60.003_097_651);
    assert_eq!(of(&lines, "temblor_block_io_latency_seconds_count")[0].1, 5.0);
    let name = "temblor_block_io_size_bytes_bucket";
    assert_eq!((at(name, "2175"), at(name, "4351"), at(name, "8703")), (1.0, 3.0, 4.0));
}

#[test]
fn addresses_that_there_is_no_room_for_are_others_and_names_are_not() {
    let mut figures = Figures::new(Limits { peers_max: 10, ..Limits::default() });
    figures.watching([("api-7".to_owned(), "api".to_owned())]);
    for n in 0..500_u32 {
        figures.add(&again(None, &format!("10.1.{}.{}:443", n / 250, n % 250), 2), 1);
    }
    figures.add(&again(Some("postgres"), "10.9.9.9:5432", 1), 1);
    figures.add(&again(Some("api-7"), "10.9.9.8:80", 1), 1);
    let lines = parse(&figures.text(2).unwrap());
    let told = of(&lines, "temblor_tcp_retransmitted_segments_total");
    let peer = |peer: &str| told.iter().find(|(labels, _)| labels["peer"] == peer).unwrap().1;
    assert_eq!(told.len(), 13, "{told:?}");
    assert_eq!((peer("10.1.0.0"), peer("postgres"), peer("api")), (2.0, 1.0, 1.0));
    assert_eq!(peer("other"), 2.0 * 490.0);
    assert_eq!(of(&lines, "temblor_collapsed_readings_total")[0].1, 490.0);
}

#[test]
fn what_has_not_changed_for_long_goes_but_a_target_that_is_there_stays() {
    let mut figures = Figures::new(Limits { stays_ns: 10 * SECOND, ..Limits::default() });
    figures.present(["api".to_owned(), "db".to_owned()]);
    figures.add(&status("process"), SECOND);
    figures.add(&again(None, "10.0.0.9:1", 1), SECOND);
    let execs = |lines: &Lines| {
        let told = of(lines, "temblor_process_execs_total");
        told.iter().map(|(labels, value)| (labels["target"].clone(), *value)).collect::<Vec<_>>()
    };
    let lines = parse(&figures.text(2 * SECOND).unwrap());
    assert_eq!(execs(&lines), [("api".to_owned(), 0.0), ("db".to_owned(), 0.0)]);
    assert_eq!(of(&lines, "temblor_tcp_retransmitted_segments_total").len(), 1);
    figures.present(["api".to_owned()]);
    let lines = parse(&figures.text(20 * SECOND).unwrap());
    assert_eq!(execs(&lines), [("api".to_owned(), 0.0)]);
    assert_eq!(of(&lines, "temblor_tcp_retransmitted_segments_total"), []);
}

#[test]
fn a_level_that_is_told_no_more_is_nothing() {
    let depth = temblor_event::meaning("block", "io_under_way").unwrap();
    let mut figures = Figures::new(Limits::default());
    figures.watching(["db-1", "db-2"].map(|of| (of.to_owned(), "db".to_owned())));
    figures.add(&window(depth, "db-1", "vda", 7), SECOND);
    figures.add(&window(depth, "db-2", "vda", 2), SECOND);
    figures.add(&window(depth, "db-2", "vda", 3), 2 * SECOND);
    let mut level = |now_ns| {
        let lines = parse(&figures.text(now_ns).unwrap());
        let told = of(&lines, "temblor_block_io_under_way");
        assert_eq!(told.len(), 1, "both go by one name: {told:?}");
        told[0].1
    };
    assert_eq!(level(2 * SECOND + 1), 10.0);
    assert_eq!(level(4 * SECOND + 1), 3.0);
    assert_eq!(level(9 * SECOND), 0.0);
}

#[test]
fn what_a_probe_cost_never_goes_back_when_it_is_attached_again() {
    let mut figures = Figures::new(Limits::default());
    let cost = |runs, run_ns| {
        let program = ProgramCost { program: "x".into(), runs, run_ns };
        let programs = vec![program];
        Event::now(ProbeCost { probe: "tcp".into(), programs, ..no_cost() })
    };
    let mut up = Vec::new();
    let mut told = |figures: &mut Figures| {
        let lines = parse(&figures.text(1).unwrap());
        up.push(of(&lines, "temblor_probe_up")[0].1);
        let one = |name| of(&lines, name)[0].1;
        (one("temblor_ebpf_runs_total"), one("temblor_ebpf_run_seconds_total"))
    };
    figures.add(&status("tcp"), 1);
    figures.add(&cost(10, SECOND), 1);
    figures.add(&cost(20, 2 * SECOND), 1);
    assert_eq!(told(&mut figures), (20.0, 2.0));
    figures.down("tcp");
    figures.unwatched("tcp", SECOND / 2);
    assert_eq!(told(&mut figures), (20.0, 2.0));
    figures.add(&status("tcp"), 1);
    figures.add(&cost(5, SECOND), 1);
    assert_eq!(told(&mut figures), (25.0, 3.0));
    assert_eq!(up, [1.0, 0.0, 1.0]);
    let lines = parse(&figures.text(1).unwrap());
    assert_eq!(of(&lines, "temblor_probe_attaches_total")[0].1, 2.0);
    assert_eq!(of(&lines, "temblor_probe_unwatched_seconds_total")[0].1, 0.5);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_label_is_read_back_as_it_was(label in "[^\\p{Cc}]{0,40}", target in "[^\\p{Cc}]{1,40}") {
        let signals = temblor_event::meaning("process", "signals").unwrap();
        let mut figures = Figures::new(Limits::default());
        figures.add(&window(signals, &target, &label, 3), 1);
        let lines = parse(&figures.text(2).unwrap());
        let told = of(&lines, "temblor_process_signals_total");
        prop_assert_eq!(told.len(), 1);
        prop_assert_eq!(&told[0].0["signal"], &label);
        prop_assert_eq!(&told[0].0["target"], &target);
        prop_assert_eq!(told[0].1, 3.0);
    }

    #[test]
    fn no_value_of_a_label_makes_a_line_of_its_own(label in any::<String>()) {
        let signals = temblor_event::meaning("process", "signals").unwrap();
        let mut figures = Figures::new(Limits::default());
        figures.add(&window(signals, "api", &label, 3), 1);
        let lines = parse(&figures.text(2).unwrap());
        prop_assert_eq!(of(&lines, "temblor_process_signals_total").len(), 1);
        prop_assert!(lines.iter().all(|(name, ..)| name.starts_with("temblor_")));
    }

    #[test]
    fn there_are_never_more_lines_than_allowed_and_nothing_is_lost(
        series_max in 60_usize..300,
        readings in prop::collection::vec((0..40_u32, 0..60_u32, 1..5_u64), 1..200),
    ) {
        let limits = Limits { series_max, peers_max: 20, ..Limits::default() };
        let mut figures = Figures::new(limits);
        figures.present((0..40).map(|n| format!("t{n}")));
        let mut all = 0;
        for (target, label, value) in &readings {
            all += value;
            for of in all_meanings() {
                let event = window(of, &format!("t{target}"), &format!("10.0.0.{label}"), *value);
                figures.add(&event, 1);
            }
        }
        let lines = parse(&figures.text(2).unwrap());
        let mut count: BTreeMap<&str, usize> = BTreeMap::new();
        let own = ["temblor_build_info", "temblor_collapsed_readings_total"];
        for (name, ..) in lines.iter().filter(|(name, ..)| !own.contains(&name.as_str())) {
            let family = ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|ending| name.strip_suffix(ending))
                .unwrap_or(name);
            *count.entry(family).or_default() += 1;
        }
        for (family, lines) in count {
            prop_assert!(lines <= series_max, "{} of {}: {}", lines, series_max, family);
        }
        let sum = |name: &str| of(&lines, name).iter().map(|(_, value)| value).sum::<f64>();
        prop_assert_eq!(sum("temblor_process_signals_total"), all as f64);
        prop_assert_eq!(sum("temblor_tcp_resets_total"), all as f64);
        prop_assert_eq!(sum("temblor_block_io_size_bytes_sum"), all as f64);
        prop_assert_eq!(sum("temblor_block_io_size_bytes_count"), readings.len() as f64);
    }
}

/// A body that counts nothing adds nothing.
#[test]
fn what_is_no_figure_is_not_on_the_page() {
    let mut figures = Figures::new(Limits::default());
    let body = Body::Phase(temblor_event::PhaseMark {
        phase: "fault".into(),
        role: temblor_event::PhaseRole::Fault,
        starts: true,
    });
    figures.add(&Event::now(body), 1);
    let lines = parse(&figures.text(2).unwrap());
    let names: Vec<_> = lines.iter().map(|(name, ..)| name.as_str()).collect();
    assert_eq!(names, ["temblor_build_info"]);
}
