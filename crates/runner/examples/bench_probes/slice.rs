//! One slice: a stated load for so long, and what it cost the machine.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use temblor_event::{Body, Event, Outcome, clock};
use temblor_load::{Arrivals, Load, Settings};

/// Load that is sent before the slice is measured: connections are opened, caches are warm.
const WARM_UP_NS: u64 = 2_000_000_000;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Slice {
    /// Of all processors, 0 to 1: everything but idle, waiting for a disk, and what the machine's host
    /// has given to others.
    pub(crate) busy: f64,
    /// What the machine's host has given to others, of all processors, 0 to 1.
    pub(crate) stolen: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) answered: usize,
}

pub(crate) fn run(url: &str, rate: f64, length: Duration, number: u64) -> Slice {
    let orders = Arc::<Mutex<Vec<(u64, u64)>>>::default();
    let sink = Arc::clone(&orders);
    let settings = Settings {
        url: url.to_owned(),
        profile: "orders".to_owned(),
        rate_per_second: rate,
        arrivals: Arrivals::Poisson,
        timeout: Duration::from_secs(10),
        seed: 1 + number,
        key_prefix: format!("bench-{}-{number}", std::process::id()),
        in_flight_max: 4096,
        duration_max: Duration::from_secs(600),
        requests_max: 10_000_000,
    };
    let load = Load::start(settings, move |event: Event| {
        if let Body::Order(order) = &event.body
            && order.outcome == Outcome::Ok
        {
            let took_ns = event.t_ns.saturating_sub(order.planned_ns);
            sink.lock().unwrap().push((order.planned_ns, took_ns));
        }
    })
    .expect("the load starts");
    let began_ns = load.start_ns() + WARM_UP_NS;
    wait_until(began_ns);
    let (before, from_ns) = (Unused::read(), clock::now_ns());
    wait_until(began_ns + u64::try_from(length.as_nanos()).unwrap());
    let (after, to_ns) = (Unused::read(), clock::now_ns());
    load.stop().expect("the load's account balances");

    let mut took: Vec<u64> = orders
        .lock()
        .unwrap()
        .iter()
        .filter(|(planned_ns, _)| (from_ns..to_ns).contains(planned_ns))
        .map(|(_, took_ns)| *took_ns)
        .collect();
    took.sort_unstable();
    let rank = |share: f64| {
        let at = (took.len() as f64 * share).ceil() as usize;
        took[at.clamp(1, took.len()) - 1] as f64 / 1e6
    };
    let available = (to_ns - from_ns) as f64 / 1e9 * before.processors;
    let stolen = (after.stolen - before.stolen) / available;
    Slice {
        busy: 1.0 - (after.idle - before.idle) / available - stolen,
        stolen,
        p50_ms: rank(0.5),
        p99_ms: rank(0.99),
        answered: took.len(),
    }
}

fn wait_until(end_ns: u64) {
    while clock::now_ns() < end_ns {
        std::thread::park_timeout(Duration::from_nanos(end_ns - clock::now_ns().min(end_ns)));
    }
}

/// Waits for a second in which the machine's host gives at most so much to others, but no longer than
/// a minute.
pub(crate) fn await_quiet(stolen_max: f64) {
    for _ in 0..60 {
        let before = Unused::read();
        wait_until(clock::now_ns() + 1_000_000_000);
        if Unused::read().stolen - before.stolen <= stolen_max * before.processors {
            return;
        }
    }
}

/// Seconds that the processors have not worked for this machine, all together. The kernel writes them
/// in hundredths.
struct Unused {
    /// They had nothing to do.
    idle: f64,
    /// They were not there.
    stolen: f64,
    processors: f64,
}

impl Unused {
    fn read() -> Self {
        let stat = std::fs::read_to_string("/proc/stat").expect("/proc/stat");
        let fields: Vec<f64> =
            stat.lines().next().unwrap().split_whitespace().skip(1).flat_map(str::parse).collect();
        let is_one = |line: &&str| line.starts_with("cpu") && !line.starts_with("cpu ");
        let processors = stat.lines().filter(is_one).count() as f64;
        Self { idle: (fields[3] + fields[4]) / 100.0, stolen: fields[7] / 100.0, processors }
    }
}
