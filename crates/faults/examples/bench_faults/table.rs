//! One line a fault.

use std::error::Error as _;
use std::process::ExitCode;

use temblor_event::clock::now_ns;
use temblor_faults::undo::Guard;
use temblor_faults::{Fault, Kind};

/// What a 99th percentile may be, in milliseconds.
const TARGET_MS: f64 = 50.0;

/// What was measured so far.
pub(crate) struct Table {
    rounds: usize,
    measured: usize,
    /// The faults that are past the target, or did not work.
    missed: Vec<String>,
    /// Those that this machine cannot make.
    impossible: Vec<String>,
}

/// How long the rounds of a fault took, nanoseconds.
#[derive(Default)]
struct Took {
    inject: Vec<u64>,
    effect: Vec<u64>,
    revert: Vec<u64>,
}

impl Table {
    pub(crate) fn new(rounds: usize) -> Self {
        println!("{:<44}{:^28}{:^28}{:^28}", "", "put in place", "read its effect", "undo, verify");
        print!("{:<44}", format!("milliseconds, {rounds} rounds"));
        for _ in 0..3 {
            print!("{:>9}{:>9}{:>9} ", "median", "p99", "max");
        }
        println!("  p99 <= {TARGET_MS}");
        Self { rounds, measured: 0, missed: Vec::new(), impossible: Vec::new() }
    }

    /// Measures a fault with the dose that these words say. It is made anew for each round, and
    /// with it what it is to be done to; that is not timed.
    pub(crate) fn measure<F: Fault>(&mut self, dose: &str, mut make: impl FnMut() -> F) {
        let fault = make();
        let name = fault.name();
        print!("{:<44}", format!("{name}: {dose}"));
        if let Err(error) = fault.check()
            && error.kind() == Kind::Missing
        {
            println!("  not on this machine: {error}");
            self.impossible.push(name.into());
            return;
        }
        self.measured += 1;
        let mut took = Took::default();
        let mut fault = Some(fault);
        for _ in 0..self.rounds {
            let round = took.round(&fault.take().unwrap_or_else(&mut make));
            if let Err(why) = round {
                println!("  FAILED: {why}");
                self.missed.push(name.into());
                return;
            }
        }
        let mut past = Vec::new();
        for (took_ns, what, has_target) in [
            (&mut took.inject, "put in place", true),
            (&mut took.effect, "read its effect", false),
            (&mut took.revert, "undo", true),
        ] {
            took_ns.sort_unstable();
            let [median, p99, max] = [(1, 2), (99, 100), (1, 1)].map(|(part, of)| {
                // The smallest that so great a share of all is not above.
                let rank = (took_ns.len() * part).div_ceil(of);
                took_ns[rank - 1] as f64 / 1e6
            });
            print!("{median:>9.2}{p99:>9.2}{max:>9.2} ");
            if has_target && p99 > TARGET_MS {
                past.push(what);
            }
        }
        if past.is_empty() {
            println!("  met");
        } else {
            println!("  MISSED: {}", past.join(", "));
            self.missed.push(name.into());
        }
    }

    /// Says how many met the target.
    pub(crate) fn end(self) -> ExitCode {
        let Self { measured, missed, impossible, .. } = self;
        if !impossible.is_empty() {
            println!(
                "not measured, since this machine cannot make them: {}",
                impossible.join(", ")
            );
        }
        let met = measured - missed.len();
        println!("{met} of {measured} are put in place and undone within {TARGET_MS} ms (p99)");
        if missed.is_empty() {
            return ExitCode::SUCCESS;
        }
        eprintln!("past the target, or failed: {}", missed.join(", "));
        ExitCode::FAILURE
    }
}

impl Took {
    fn round(&mut self, fault: &dyn Fault) -> Result<(), String> {
        // What it leaves on record goes with this directory.
        let journal = tempfile::tempdir().unwrap();
        let guard = Guard::without_guardian(journal.path()).unwrap();
        let why = |error: temblor_faults::Error| match error.source() {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        };
        let t0 = now_ns();
        let mut injected = fault.inject(&guard).map_err(why)?;
        let t1 = now_ns();
        injected.effect().map_err(why)?;
        let t2 = now_ns();
        let reverted = injected.revert().map_err(why)?;
        let t3 = now_ns();
        if !reverted.verified {
            return Err("something of it is left".into());
        }
        self.inject.push(t1 - t0);
        self.effect.push(t2 - t1);
        self.revert.push(t3 - t2);
        Ok(())
    }
}
