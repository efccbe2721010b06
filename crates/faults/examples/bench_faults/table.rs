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
    /// The changes alone, as the fault itself tells when it began and ended them: without checks,
    /// measurements and proof.
    injecting: Vec<u64>,
    reverting: Vec<u64>,
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
        for (took_ns, alone_ns, what) in [
            (&mut took.inject, Some(&mut took.injecting), "put in place"),
            (&mut took.effect, None, "read its effect"),
            (&mut took.revert, Some(&mut took.reverting), "undo"),
        ] {
            let (median, p99, max) = (ms(took_ns, 50), ms(took_ns, 99), ms(took_ns, 100));
            print!("{median:>9.2}{p99:>9.2}{max:>9.2} ");
            if let Some(alone_ns) = alone_ns
                && p99 > TARGET_MS
            {
                past.push(format!("{what} (the change alone: {:.2})", ms(alone_ns, 99)));
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

/// The smallest, in milliseconds, that so many of a hundred are not above.
fn ms(took_ns: &mut [u64], percent: usize) -> f64 {
    took_ns.sort_unstable();
    let rank = (took_ns.len() * percent).div_ceil(100);
    took_ns[rank - 1] as f64 / 1e6
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
        let described = injected.describe();
        self.injecting.push(described.ended_ns.saturating_sub(described.began_ns));
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
        self.reverting.push(reverted.ended_ns.saturating_sub(reverted.began_ns));
        Ok(())
    }
}
