//! How near a delay comes to what was asked, and what one connection carries over a long wire.
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

/// How long one connection sends as fast as it can.
const STREAM_NS: u64 = 2_000_000_000;

fn main() -> ExitCode {
    if !support::possible() {
        return ExitCode::FAILURE;
    }
    delays();
    bulk();
    ExitCode::SUCCESS
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
