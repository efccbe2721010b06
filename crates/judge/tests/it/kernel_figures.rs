//! What the kernel aggregated, by phase.

use temblor_event::{
    Buckets, Distribution, Event, Hook, Latency, ProbeStatus, ProbeWindow, Reading, SchedWindow,
    Throttled,
};
use temblor_judge::{FigureUnit, KernelFigure};

use crate::good_run::{good_run, judged, ms};

const P99: &str = "run-queue wait, 99th percentile";

/// A second that ends then, milliseconds of the good run: all waits in one bucket.
fn second(end: u64, service: &str, bucket: u16, throttled: u64) -> Event {
    let window = SchedWindow {
        service: service.to_owned(),
        window_ns: 1_000_000_000,
        on_cpu_ns: 250_000_000,
        voluntary: 400,
        involuntary: 3,
        wait: Latency::of(vec![(bucket, 1000)].into(), 1_000, u64::MAX),
        waited_ns: Some(1_000),
        waiting_max_ns: 0,
        throttled: Some(Throttled {
            periods: 10,
            periods_throttled: throttled,
            ns: throttled * 90_000_000,
        }),
    };
    Event::at(ms(end), window)
}

fn figures(told: impl IntoIterator<Item = Event>) -> Vec<KernelFigure> {
    let mut events = good_run();
    events.extend(told);
    judged(&events).result.evidence.figures
}

fn of<'a>(figures: &'a [KernelFigure], service: &str, figure: &str) -> &'a KernelFigure {
    let found = figures.iter().find(|one| one.service == service && one.figure == figure);
    found.unwrap_or_else(|| panic!("no {figure} of {service}"))
}

#[test]
fn a_probe_that_was_not_there_gives_no_figures() {
    assert!(figures([]).is_empty());
}

#[test]
fn what_changed_most_comes_first_and_what_did_not_is_there_too() {
    // The baseline ends and the fault begins at 111 s, the fault ends at 121 s.
    let calm =
        (102..=110).flat_map(|s| [second(s * 1000, "api", 240, 0), second(s * 1000, "db", 240, 0)]);
    let bad =
        (112..=120).flat_map(|s| [second(s * 1000, "api", 400, 9), second(s * 1000, "db", 242, 0)]);
    let figures = figures(calm.chain(bad));
    let throttled = &figures[0];
    assert_eq!(throttled.service, "api", "out of nothing is more than any factor: {throttled:?}");
    assert!(throttled.changed && throttled.factor.is_none());
    let share = of(&figures, "api", "periods in which its quota was used up");
    assert_eq!((share.phases["baseline"], share.phases["fault"]), (0.0, 0.9));
    let waits = of(&figures, "api", P99);
    assert!(waits.changed);
    // Ten doublings of sixteen buckets each.
    assert!(waits.factor.is_some_and(|factor| (1000.0..1050.0).contains(&factor)), "{waits:?}");
    let still = of(&figures, "db", P99);
    assert!(!still.changed, "{still:?}");
    let busy = of(&figures, "api", "time on a processor");
    assert_eq!((busy.phases["fault"], busy.changed), (0.25, false));
    let last_change = figures.iter().rposition(|one| one.changed).unwrap();
    assert!(figures[..last_change].iter().all(|one| one.changed), "changes come first");
    assert!(figures.iter().all(|one| one.service != "db" || !one.changed));
}

#[test]
fn a_window_belongs_where_its_middle_lies_and_else_to_no_phase() {
    let figures = figures([
        second(111_400, "api", 240, 0),
        second(111_600, "api", 300, 0),
        second(5, "api", 500, 0),
    ]);
    let phases = &of(&figures, "api", P99).phases;
    assert_eq!(phases.keys().collect::<Vec<_>>(), ["baseline", "fault"]);
    assert!(phases["fault"] > phases["baseline"] * 10.0, "{phases:?}");
}

#[test]
fn microseconds_are_no_change_whatever_the_factor() {
    let figures = figures([second(110_000, "api", 100, 0), second(115_000, "api", 180, 0)]);
    let waits = of(&figures, "api", P99);
    assert!(waits.factor.is_some_and(|factor| factor > 10.0) && !waits.changed, "{waits:?}");
}

/// A second of I/O that ends then, milliseconds of the good run: all in one bucket.
fn io(end: u64, bucket: u16, samples: u64) -> Event {
    let mut window = ProbeWindow::new("block", "db", 1_000_000_000);
    let labels = [("device", "vda"), ("operation", "write")];
    let latency = Distribution { sum: 1, max: u64::MAX, buckets: vec![(bucket, samples)].into() };
    window.put("io_latency", &labels, Reading::Distribution(latency));
    let under_way = if bucket > 300 { Reading::Level(9) } else { Reading::Level(0) };
    window.put("io_under_way", &[("device", "vda")], under_way);
    Event::at(ms(end), window)
}

#[test]
fn figures_of_windows_are_compared_by_their_meaning() {
    let calm = (102..=110).map(|s| io(s * 1000, 240, 100));
    let bad = (112..=120).map(|s| io(s * 1000, 400, 10));
    let hook = Hook { sees: "I/O".into(), hook: "tp_btf/block_rq_complete".into() };
    let status = ProbeStatus { probe: "block".into(), hooks: vec![hook], unseen: vec![] };
    let status = Event::at(ms(100_000), status);
    let figures = figures(calm.chain(bad).chain([status]));

    let p99 = of(&figures, "db", "time of I/O (vda, write), 99th percentile");
    assert_eq!((p99.probe.as_str(), p99.unit), ("block", FigureUnit::Seconds));
    assert_eq!(p99.source, "tp_btf/block_rq_complete");
    assert!(p99.changed, "{p99:?}");
    let bound =
        |bucket| std::time::Duration::from_nanos(Buckets::upper_bound(bucket)).as_secs_f64();
    assert_eq!((p99.phases["baseline"], p99.phases["fault"]), (bound(240), bound(400)));

    let many = of(&figures, "db", "time of I/O (vda, write), how many");
    assert_eq!((many.phases["baseline"], many.phases["fault"]), (100.0, 10.0));
    let under_way = of(&figures, "db", "requests under way (vda), greatest");
    assert_eq!((under_way.phases["baseline"], under_way.phases["fault"]), (0.0, 9.0));
    assert!(under_way.changed && under_way.factor.is_none(), "{under_way:?}");
}

#[test]
fn that_a_program_waits_longer_is_no_finding() {
    let waits = |s: u64, bucket: u16, samples: u64| {
        let mut window = ProbeWindow::new("syscall", "db", 1_000_000_000);
        let waits = Distribution { sum: 1, max: u64::MAX, buckets: vec![(bucket, samples)].into() };
        for figure in ["long_waits", "slow_calls"] {
            let reading = Reading::Distribution(waits.clone());
            window.put(figure, &[("call", "epoll_wait")], reading);
        }
        Event::at(ms(s * 1000), window)
    };
    let calm = (102..=110).map(|s| waits(s, 340, 100));
    let figures = figures(calm.chain((112..=120).map(|s| waits(s, 440, 900))));
    for part in ["99th percentile", "how many"] {
        let figure = format!("waits of 1 ms and more (epoll_wait), {part}");
        assert!(!of(&figures, "db", &figure).changed, "{figure}");
        let figure = format!("slow system calls, 1 ms and more (epoll_wait), {part}");
        assert!(of(&figures, "db", &figure).changed, "{figure}");
    }
}
