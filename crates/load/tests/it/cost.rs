//! What a request costs the generator.

use std::fs;

use temblor_load::Settings;

use crate::recorded::{Recording, settings, wait_until};
use crate::server::{Reply, Server};

/// Time on a processor of all threads of this process whose name begins with `load-`.
fn load_threads_ns() -> Option<u64> {
    let mut total_ns = 0;
    for task in fs::read_dir("/proc/self/task").ok()?.flatten() {
        // A thread may end while it is looked at.
        let Ok(name) = fs::read_to_string(task.path().join("comm")) else { continue };
        if name.starts_with("load-") {
            let Ok(times) = fs::read_to_string(task.path().join("schedstat")) else { continue };
            total_ns += times.split(' ').next()?.parse::<u64>().ok()?;
        }
    }
    Some(total_ns)
}

#[test]
fn a_thousand_requests_a_second_leave_the_machine_to_the_measured() {
    let server = Server::start(|_| Reply::Acknowledge);
    let recording =
        Recording::start(Settings { rate_per_second: 1_000.0, ..settings(server.url()) }).unwrap();
    wait_until("2000 are answered", || recording.running.live().tally.ok >= 2_000);
    let answered = recording.running.live().tally.ok;
    let used_ns = load_threads_ns();
    let recorded = recording.stop();
    recorded.hold_against(&server.seen());
    let lag_ns_max = recorded.seconds.iter().map(|second| second.lag_ns_max).max().unwrap();
    let p99_ns = recorded.latencies.value_at_quantile(0.99);
    let Some(used_ns) = used_ns.filter(|&used_ns| used_ns > 0) else {
        eprintln!("skipped: this kernel keeps no schedstat");
        return;
    };
    let each_ns = used_ns / answered;
    eprintln!("{each_ns} ns of CPU a request; p99 {p99_ns} ns; lag up to {lag_ns_max} ns");
    // Optimised, it is a small part of this; the bound catches a busy loop.
    assert!(each_ns < 1_000_000, "{each_ns} ns of CPU for each request");
}
