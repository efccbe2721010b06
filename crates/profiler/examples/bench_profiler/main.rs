//! What profiling costs and how true it is: processors, waits, memory; beside perf and bpftrace where
//! they do the same.

#![expect(
    clippy::cast_precision_loss,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark prints, and stops where something is wrong; its figures are rounded"
)]

mod bpftrace;
mod cpu;
mod heap;
mod perf;
mod program;
mod waits;

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;

use temblor_event::clock::now_ns;
use temblor_host::target::Target;
use temblor_profile::{Profile, Sample};
use temblor_profiler::{Collected, Settings, collect};

use crate::program::Built;

fn main() -> ExitCode {
    let built = Built::new();
    // What this program takes at most is asked for while it has looked at processors only.
    let met = [cpu::measure(&built), waits::measure(&built), heap::measure(&built)];
    if met.iter().all(|met| *met) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn tell(what: &str, figure: f64, bound: f64, met: bool) -> bool {
    println!("{what:<40} {figure:>9.3} (promised: {bound}) {}", if met { "met" } else { "MISSED" });
    met
}

/// Of these, or of everybody where there are none.
fn collected(targets: &[Target], settings: &Settings, length_ns: u64) -> Collected {
    let settings = Settings { everybody: targets.is_empty(), ..settings.clone() };
    let mut end_ns = None;
    let enough = || now_ns() >= *end_ns.get_or_insert(now_ns() + length_ns);
    collect(targets, &settings, enough).unwrap()
}

/// What is collected while something is done, once everything is in place; and what that gives.
fn while_collected<T>(
    target: Target,
    settings: &Settings,
    doing: impl FnOnce() -> T,
) -> (Collected, T) {
    let (is_done, (tell, is_in_place)) = (AtomicBool::new(false), sync_channel(1));
    std::thread::scope(|scope| {
        let collecting = scope.spawn(|| {
            let enough = || {
                // Asked for the first time once everything is in place.
                let _ = tell.try_send(());
                is_done.load(Ordering::Relaxed)
            };
            collect(&[target], settings, enough).unwrap()
        });
        is_in_place.recv().unwrap();
        let done = doing();
        is_done.store(true, Ordering::Relaxed);
        (collecting.join().unwrap(), done)
    })
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// Whether a function is in a sample's stack.
fn has(profile: &Profile, sample: &Sample, function: &str) -> bool {
    sample.stack.iter().any(|id| {
        let location = profile.location(*id);
        let mut lines = location.lines.iter();
        lines.any(|line| profile.name_of(location, Some(line)) == function)
    })
}
