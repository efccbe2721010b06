//! Waits: whether they add up to what bpftrace counts at the same time, and what that costs a program
//! that does little else than wait for itself.
//!
//! A wait as bpftrace has it includes what we take at its beginning and its end, which we leave out: a
//! microsecond or so, and thus some hundredths where waits last some forty.

use std::time::Duration;

use temblor_event::clock::now_ns;
use temblor_profiler::{Collected, Settings, Wanted};

use crate::bpftrace::{Bpftrace, STACKS_OF_WAITS, WAITS};
use crate::program::{Built, Program};
use crate::{has, median, tell, while_collected};

const ROUNDS: usize = 3;
const ROUND_NS: u64 = 2_000_000_000;
/// For how long bpftrace watches.
const EXACT_S: u32 = 4;
/// Threads of each program that wait again and again.
const THREADS: f64 = 2.0;
/// What is promised.
const OFF_MAX: f64 = 0.02;

pub(crate) fn measure(built: &Built) -> bool {
    let settings = Settings::of(Wanted::OffCpu);
    println!("waits, beside an exact trace of the same by bpftrace");
    let mut met = true;
    for what in ["naps", "ping-pong"] {
        let program = built.start(&[what]);
        let off = median((0..ROUNDS).map(|_| off(&program, &settings)).collect());
        met &= tell(&format!("{what}: sum of the lengths is off by"), off, OFF_MAX, off <= OFF_MAX);
    }
    let program = built.start(&["ping-pong"]);
    let mut rounds: Vec<[f64; 3]> = Vec::new();
    for _ in 0..ROUNDS {
        let alone = waits_while(&program, rest);
        let ours = || waits_while(&program, rest);
        let (_, ours) = while_collected(program.target(), &settings, ours);
        let bpftrace = Bpftrace::start(STACKS_OF_WAITS, program.pid(), EXACT_S);
        let theirs = waits_while(&program, rest);
        bpftrace.end();
        rounds.push([alone, ours, theirs]);
    }
    let [alone, ours, theirs] =
        [0, 1, 2].map(|which| median(rounds.iter().map(|round| round[which]).collect()));
    println!(
        "waits a second of a program that does little else: {alone:.0} alone, {ours:.0} with us \
         ({:.2}), {theirs:.0} with bpftrace and its stacks ({:.2})",
        ours / alone,
        theirs / alone
    );
    met
}

/// For a round.
fn rest() {
    let end_ns = now_ns() + ROUND_NS;
    while now_ns() < end_ns {
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

/// How far what we add up, a second, is off what bpftrace does, which begins after us and ends before.
fn off(program: &Program, settings: &Settings) -> f64 {
    let (collected, [sum_ns, covered_ns, _]) = while_collected(program.target(), settings, || {
        Bpftrace::start(WAITS, program.pid(), EXACT_S).end()
    });
    let exact = sum_ns / covered_ns * THREADS;
    (told(&collected) / exact - 1.0).abs()
}

/// Seconds that were waited, of each second; without the thread that only waits for the others, which
/// never ends and so is in no trace of ends.
fn told(Collected { profile, account }: &Collected) -> f64 {
    let counted = profile.samples.iter().filter(|sample| !has(profile, sample, "forever"));
    let sum_ns: i64 = counted.map(|sample| sample.values[1]).sum();
    sum_ns as f64 / account.took.as_nanos() as f64
}

fn waits_while(program: &Program, meanwhile: impl FnOnce()) -> f64 {
    let (before, began_ns) = (program.waits(), now_ns());
    meanwhile();
    (program.waits() - before) / ((now_ns() - began_ns) as f64 / 1e9)
}
