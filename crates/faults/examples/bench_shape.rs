//! How long it takes to put a worse wire in place, to read its effect, and to undo it; how near
//! the delay comes to what was asked; and what one connection carries over a long wire.
//!
//! Prints median, 99th percentile and greatest of 100 rounds, and fails where the 99th percentile
//! of putting in place or undoing is past its target.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program to be read by the person who runs it"
)]

#[path = "../tests/support/mod.rs"]
#[expect(dead_code, reason = "the tests use more of it")]
mod support;

use std::io::{Read as _, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use temblor_event::clock::now_ns;
use temblor_faults::Fault as _;
use temblor_faults::network::{Action, Direction, Dose, Peer, Shape};

const ROUNDS: usize = 100;
const TARGET_MS: f64 = 50.0;
/// How long one connection sends as fast as it can.
const STREAM_NS: u64 = 2_000_000_000;

fn main() -> ExitCode {
    if !support::possible() {
        return ExitCode::FAILURE;
    }
    let met = times();
    delays();
    bulk();
    if met {
        return ExitCode::SUCCESS;
    }
    eprintln!("past the target: the 99th percentile is to be at most {TARGET_MS} ms");
    ExitCode::FAILURE
}

fn latency(pair: &support::Pair, delay: Duration, direction: Direction) -> Shape {
    Shape {
        from: pair.partition(support::B4, direction, Action::Drop).from,
        to: vec![Peer { name: "server".into(), address: support::B4.parse().unwrap() }],
        ports: vec![],
        direction,
        dose: Dose::Latency { delay, jitter: Duration::ZERO },
        seed: None,
    }
}

fn times() -> bool {
    let pair = support::Pair::new();
    let shape = latency(&pair, Duration::from_millis(20), Direction::Out);
    let [mut inject_ns, mut effect_ns, mut revert_ns] = [const { Vec::new() }; 3];
    for _ in 0..ROUNDS {
        let t0 = now_ns();
        let mut fault = shape.inject(&support::guard()).unwrap();
        let t1 = now_ns();
        fault.effect().unwrap();
        let t2 = now_ns();
        assert!(fault.revert().unwrap().verified);
        let t3 = now_ns();
        inject_ns.push(t1 - t0);
        effect_ns.push(t2 - t1);
        revert_ns.push(t3 - t2);
    }
    let mut met = true;
    println!("network.latency, {ROUNDS} rounds      median      p99      max");
    for (what, mut took_ns, target) in [
        ("put in place", inject_ns, true),
        ("read its effect", effect_ns, false),
        ("undo and verify", revert_ns, true),
    ] {
        took_ns.sort_unstable();
        let ms = |at: usize| took_ns[at] as f64 / 1e6;
        let p99 = ms(ROUNDS * 99 / 100 - 1);
        println!(
            "  {what:<32} {:>6.2} ms {p99:>6.2} ms {:>6.2} ms",
            ms(ROUNDS / 2),
            ms(ROUNDS - 1)
        );
        met &= !target || p99 <= TARGET_MS;
    }
    met
}

fn delays() {
    let pair = support::Pair::new();
    println!("delay asked, and added to the round trip (median of echoes)");
    for asked_ms in [1, 5, 20, 100, 500] {
        let shape = latency(&pair, Duration::from_millis(asked_ms), Direction::Out);
        let mut fault = shape.inject(&support::guard()).unwrap();
        let bound_ns = now_ns() + 10_000_000_000;
        let seen = loop {
            let seen = fault.effect().unwrap().doses.remove(0);
            if seen.samples >= 40 || now_ns() > bound_ns {
                break seen;
            }
            std::thread::park_timeout(Duration::from_millis(50));
        };
        println!(
            "  {asked_ms:>4} ms {:>9.3} ms of {} echoes",
            seen.observed.unwrap_or(f64::NAN),
            seen.samples
        );
        fault.revert().unwrap();
    }
}

fn bulk() {
    println!("one connection's bulk data while the wire is 20 ms longer");
    for (what, direction) in [
        ("no fault", None),
        ("on its way out", Some(Direction::Out)),
        ("on its way in", Some(Direction::In)),
    ] {
        let pair = support::Pair::new();
        let fault = direction.map(|direction| {
            latency(&pair, Duration::from_millis(20), direction).inject(&support::guard()).unwrap()
        });
        let listener = pair.listen(support::B4);
        let mut ours = pair.connect(listener.local_addr().unwrap()).unwrap();
        let mut theirs = listener.accept().unwrap().0;
        let (began_ns, mut bytes) = (now_ns(), 0);
        std::thread::scope(|scope| {
            scope.spawn(move || {
                let block = vec![0; 1 << 16];
                while now_ns() < began_ns + STREAM_NS && ours.write_all(&block).is_ok() {}
            });
            let mut buffer = vec![0; 1 << 20];
            while let Ok(length @ 1..) = theirs.read(&mut buffer) {
                bytes += length;
            }
        });
        let per_second = bytes as f64 * 1e9 / (now_ns() - began_ns) as f64;
        println!("  {what:<32} {:>9.1} MB/s", per_second / 1e6);
        drop(fault);
    }
}
