//! What watching the exchange costs it: processor time and latency under a stated load, with nobody
//! watching, with our probes, and with a bpftrace script that counts the same.
//!
//! Slices are run in the order A B C, C B A, … so that whatever drifts slowly cancels out. Each
//! round gives one difference to nobody watching; of the differences come the median and the interval
//! in which it lies with 95 %. Prints the table and fails where a bound is missed for certain.
//!
//! A round in which the machine's host gave more than a little of the processors to others is left
//! out and run again: what such a round shows is the host's. How many were is printed.
//!
//! Wants root, the built-in lab up (`temblor lab up`), and bpftrace. Its own load is part of the
//! machine's work in all slices alike.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a program to be read by the person who runs it"
)]

mod interval;
mod observer;
mod slice;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use self::interval::Interval;
use self::observer::{Observer, Who};
use self::slice::Slice;

const ADDED_CPU_MAX: f64 = 0.01;
const P99_SHIFT_MAX: f64 = 0.02;
/// With more than this of the processors given to others a slice says nothing of who watches.
const STOLEN_MAX: f64 = 0.02;
/// So often a round is tried for each that is wanted.
const TRIES: usize = 3;
/// Of fewer rounds no interval is given.
const ROUNDS_MIN: usize = 6;

fn main() -> ExitCode {
    let number = |name: &str, default: f64| {
        std::env::var(name).ok().map_or(default, |text| {
            text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number"))
        })
    };
    let rounds = number("BENCH_ROUNDS", 20.0) as usize;
    let length = Duration::from_secs_f64(number("BENCH_SECONDS", 5.0));
    let rate = number("BENCH_RATE", 300.0);
    let probes = std::env::var("BENCH_PROBES").unwrap_or_else(|_| "tcp sched process".into());
    let probes: Vec<String> = probes.split_whitespace().map(str::to_owned).collect();
    let temblor = std::env::current_exe().unwrap();
    let temblor: PathBuf = temblor.parent().unwrap().parent().unwrap().join("temblor");
    let lab = temblor_lab::Options::from_env().and_then(|options| temblor_lab::status(&options));
    let Some(lab) = lab.expect("the lab's state can be read") else {
        eprintln!("the lab is down: start it with `temblor lab up`");
        return ExitCode::FAILURE;
    };
    let api = lab.services.iter().find(|service| service.name == "nginx").expect("nginx");
    let url = format!("http://{}:{}", api.address, api.port);

    println!(
        "{rounds} rounds of {} s a slice, {rate}/s Poisson orders to {url}; probes: {}",
        length.as_secs_f64(),
        probes.join(", ")
    );
    let mut slices: Vec<[Slice; 3]> = Vec::new();
    let mut tries = 0;
    let mut number = 0;
    'rounds: while slices.len() < rounds && tries < TRIES * rounds {
        tries += 1;
        let mut order = [Who::Nobody, Who::Temblor, Who::Bpftrace];
        if slices.len() % 2 == 1 {
            order.reverse();
        }
        slice::await_quiet(STOLEN_MAX);
        let mut of_round: Vec<(Who, Slice)> = Vec::new();
        for who in order {
            let watching = Observer::start(who, &temblor, &probes);
            let slice = slice::run(&url, rate, length, number);
            drop(watching);
            number += 1;
            eprintln!("round {}: {who:?} {slice:?}", slices.len() + 1);
            of_round.push((who, slice));
            if slice.stolen > STOLEN_MAX {
                continue 'rounds;
            }
        }
        of_round.sort_by_key(|(who, _)| *who);
        slices.push([of_round[0].1, of_round[1].1, of_round[2].1]);
    }
    println!(
        "{} rounds of {tries}: in the others the host gave more than {} % of the processors to others",
        slices.len(),
        STOLEN_MAX * 100.0
    );
    if slices.len() < ROUNDS_MIN {
        eprintln!("nothing is shown: fewer than {ROUNDS_MIN} rounds were undisturbed");
        return ExitCode::FAILURE;
    }
    report(&slices)
}

fn report(slices: &[[Slice; 3]]) -> ExitCode {
    let differences = |of: fn(&Slice, &Slice) -> f64, who: usize| {
        interval::of(&slices.iter().map(|round| of(&round[0], &round[who])).collect::<Vec<_>>())
    };
    let cpu = |none: &Slice, some: &Slice| some.busy - none.busy;
    let p99 = |none: &Slice, some: &Slice| some.p99_ms / none.p99_ms - 1.0;
    let p50 = |none: &Slice, some: &Slice| some.p50_ms / none.p50_ms - 1.0;
    let alone = |of: fn(&Slice) -> f64| {
        slices.iter().map(|round| of(&round[0])).sum::<f64>() / slices.len() as f64
    };
    println!(
        "nobody watching: {:.2} % of the processors busy, p50 {:.3} ms, p99 {:.3} ms, {:.0} answers \
         a slice",
        alone(|slice| slice.busy) * 100.0,
        alone(|slice| slice.p50_ms),
        alone(|slice| slice.p99_ms),
        alone(|slice| slice.answered as f64)
    );
    let shown = |of: Interval| {
        format!("{:+.2} % ({:+.2} to {:+.2})", of.median * 100.0, of.low * 100.0, of.high * 100.0)
    };
    println!("{:<34} {:<30} bpftrace", "difference to nobody (95 %)", "temblor");
    let ours = [differences(cpu, 1), differences(p50, 1), differences(p99, 1)];
    let theirs = [differences(cpu, 2), differences(p50, 2), differences(p99, 2)];
    let names = ["processor time, of the machine", "median latency", "99th percentile"];
    for ((name, ours), theirs) in names.iter().zip(ours).zip(theirs) {
        println!("{name:<34} {:<30} {}", shown(ours), shown(theirs));
    }
    println!("processor time, temblor / bpftrace: {:.2}", ours[0].median / theirs[0].median);
    let cpu = verdict("added processor time", ours[0], ADDED_CPU_MAX);
    let p99 = verdict("shift of the 99th percentile", ours[2], P99_SHIFT_MAX);
    if cpu && p99 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Says whether a bound holds. It is missed only where the whole interval is beyond it.
fn verdict(what: &str, of: Interval, max: f64) -> bool {
    let word = if of.high < max {
        "holds"
    } else if of.low < max {
        "not shown: the interval reaches beyond it"
    } else {
        "missed"
    };
    println!("{what} < {} %: {word}", max * 100.0);
    of.low < max
}
