//! Memory: what a pair of an allocation and its end costs while it is watched, and whether the sizes
//! are right.

use temblor_profiler::{Settings, Wanted};

use crate::bpftrace::{ALLOCATIONS, Bpftrace};
use crate::program::{Built, Program};
use crate::{collected, has, median, tell, while_collected};

const EVERY_BYTES: u64 = 128 << 10;
const ROUNDS: usize = 3;
const ROUND_NS: u64 = 4_000_000_000;
const BPFTRACE_S: u32 = 3;
/// Of so many figures of the program's the median is taken.
const FIGURES: usize = 5;
/// What is promised.
const PAIR_US_MAX: f64 = 1.0;
const OFF_MAX: f64 = 0.05;

pub(crate) fn measure(built: &Built) -> bool {
    println!("memory: a pair of malloc and free in a program that does nothing else, ns");
    let mut program = built.start(&["pairs"]);
    let mut rounds: Vec<[f64; 3]> = Vec::new();
    for _ in 0..ROUNDS {
        let alone = pair_ns(&mut program);
        let ours = watched(&mut program);
        let bpftrace = Bpftrace::start(ALLOCATIONS, program.pid(), BPFTRACE_S);
        let theirs = pair_ns(&mut program);
        bpftrace.end();
        rounds.push([alone, ours, theirs]);
    }
    let [alone, ours, theirs] =
        [0, 1, 2].map(|which| median(rounds.iter().map(|round| round[which]).collect()));
    println!(
        "  alone {alone:.0}, with us {ours:.0}, with bpftrace that only counts them {theirs:.0}"
    );
    let added = (ours - alone) / 1e3;
    let met = tell("a pair costs more, us", added, PAIR_US_MAX, added <= PAIR_US_MAX);
    drop(program);

    // Those that are allocated are called equally often: what each has is known beside another.
    let program = built.start(&["allocates"]);
    let settings = Settings::of(Wanted::Heap { every_bytes: EVERY_BYTES / 8 });
    let profile = collected(&[program.target()], &settings, ROUND_NS).profile;
    let bytes_of = |function: &str| -> f64 {
        let of = profile.samples.iter().filter(|sample| has(&profile, sample, function));
        of.map(|sample| sample.values[1]).sum::<i64>() as f64
    };
    let kept = bytes_of("keeps");
    let off = [("gives_back", 1.0), ("grows", 3.3), ("aligned", 2.0)]
        .map(|(function, times)| (bytes_of(function) / kept / times - 1.0).abs())
        .into_iter()
        .fold(0.0, f64::max);
    met & tell("bytes of known sizes are off by at most", off, OFF_MAX, off <= OFF_MAX)
}

/// The same while we watch.
fn watched(program: &mut Program) -> f64 {
    let settings = Settings::of(Wanted::Heap { every_bytes: EVERY_BYTES });
    let (collected, took) = while_collected(program.target(), &settings, || pair_ns(program));
    let account = collected.account;
    println!("  ({} blocks sampled, {} lost)", account.samples, account.lost);
    took
}

fn pair_ns(program: &mut Program) -> f64 {
    median((0..FIGURES).map(|_| program.figure()).collect())
}
