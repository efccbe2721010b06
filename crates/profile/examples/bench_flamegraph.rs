//! Many stacks to one picture: how long it takes and how much memory, beside inferno on the same
//! stacks in the same run; and to a table, beside `go tool pprof` where there is a `go`. Each is a
//! process of its own, so that its memory is its own.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark measures, prints, and stops where something is wrong"
)]

use std::fs::File;
use std::io::{BufReader, BufWriter, Write as _};
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Instant;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use temblor_profile::{SvgOptions, TopOptions, Tree, ValueType, folded, pprof, svg, top};

const STACKS: u32 = 400_000;
const ROUNDS: usize = 5;
const SEED: u64 = 227;
/// What is promised of the time, and of the memory.
const SECONDS_MAX: f64 = 1.0;
const MIB_MAX: f64 = 150.0;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["ours", path] => timed(|| {
            let file = BufReader::with_capacity(1 << 20, File::open(path).unwrap());
            let tree = Tree::read_folded(file).unwrap();
            svg(&tree, &SvgOptions { unit: "samples".into(), ..SvgOptions::default() })
                .unwrap()
                .len()
        }),
        ["inferno", path] => timed(|| {
            let mut options = inferno::flamegraph::Options::default();
            let mut picture = Vec::new();
            let file = BufReader::with_capacity(1 << 20, File::open(path).unwrap());
            inferno::flamegraph::from_reader(&mut options, file, &mut picture).unwrap();
            picture.len()
        }),
        ["top", path] => timed(|| {
            let profile = pprof::read(&std::fs::read(path).unwrap()).unwrap();
            top(&profile, &TopOptions::default()).unwrap().len()
        }),
        [] => return compare(),
        _ => println!("it takes no arguments"),
    }
    ExitCode::SUCCESS
}

fn compare() -> ExitCode {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("stacks.folded");
    let bytes = generate(&path);
    println!("{STACKS} stacks, {} MB folded, seed {SEED}; best of {ROUNDS}", bytes / 1_000_000);
    let mut told = Vec::new();
    for who in ["ours", "inferno"] {
        let runs = (0..ROUNDS).map(|_| run(who, &path));
        let best = runs.min_by(|left, right| left.0.total_cmp(&right.0)).unwrap();
        println!("{who:<10} {:>6.2} s {:>6.0} MiB {:>6.1} MB of SVG", best.0, best.1, best.2);
        told.push(best);
    }
    println!("time, ours / inferno: {:.2}", told[0].0 / told[1].0);
    println!("memory, ours / inferno: {:.2}", told[0].1 / told[1].1);
    beside_pprof(&path);
    let met = told[0].0 <= SECONDS_MAX && told[0].1 <= MIB_MAX;
    println!("at most {SECONDS_MAX} s and {MIB_MAX} MiB: {}", if met { "met" } else { "MISSED" });
    if met { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The same stacks in pprof's format, to the table of the heaviest functions.
fn beside_pprof(stacks: &Path) {
    let profile =
        folded::read(&std::fs::read(stacks).unwrap()[..], ValueType::new("samples", "count"));
    let path = stacks.with_extension("pb.gz");
    std::fs::write(&path, pprof::write(&profile.unwrap())).unwrap();
    let ours = (0..ROUNDS).map(|_| run("top", &path).0).fold(f64::INFINITY, f64::min);
    let theirs = || {
        let began = Instant::now();
        let told = Command::new("go").args(["tool", "pprof", "-top"]).arg(&path).output();
        told.is_ok_and(|told| told.status.success()).then(|| began.elapsed().as_secs_f64())
    };
    // Newer ones build it when it is run for the first time.
    let Some(first) = theirs() else {
        println!("top of them: {ours:.2} s; there is no go to compare with");
        return;
    };
    let best = (0..ROUNDS).filter_map(|_| theirs()).fold(first, f64::min);
    println!(
        "top of them: {ours:.2} s, go tool pprof {best:.2} s; ours / theirs: {:.2}",
        ours / best
    );
}

/// Seconds, MiB and megabytes of the picture.
fn run(who: &str, path: &Path) -> (f64, f64, f64) {
    let said = Command::new(std::env::current_exe().unwrap()).arg(who).arg(path).output().unwrap();
    let said = String::from_utf8(said.stdout).unwrap();
    let figures: Vec<f64> = said.split_whitespace().map(|word| word.parse().unwrap()).collect();
    (figures[0], figures[1], figures[2])
}

fn timed(work: impl FnOnce() -> usize) {
    let began = Instant::now();
    let bytes = work();
    let took = began.elapsed().as_secs_f64();
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let kib: f64 = peak.split_whitespace().next().unwrap().parse().unwrap();
    println!("{took} {} {}", kib / 1024.0, bytes as f64 / 1e6);
}

/// Stacks as a large program has them: deep, alike at their roots, each leaf seldom.
fn generate(path: &Path) -> u64 {
    let mut random = StdRng::seed_from_u64(SEED);
    let mut file = BufWriter::new(File::create(path).unwrap());
    let mut stack: Vec<u32> = Vec::new();
    for _ in 0..STACKS {
        // From some frame on it is another stack.
        let kept = random.random_range(0..=stack.len());
        stack.truncate(kept.max(stack.len().saturating_sub(random.random_range(1..6))));
        while stack.len() < 20 || (stack.len() < 32 && random.random_bool(0.8)) {
            stack.push(random.random_range(0..8_000));
        }
        let frames = stack.iter().map(|frame| format!("crate::path::work_{frame}"));
        let frames: Vec<String> = frames.collect();
        writeln!(file, "{} {}", frames.join(";"), random.random_range(1..50)).unwrap();
    }
    file.flush().unwrap();
    file.into_inner().unwrap().metadata().unwrap().len()
}
