//! What of a program's run time is the counting itself: the kernel reads a clock before and after
//! each run, and that much it says of a program that does nothing, too.

use std::os::fd::AsFd as _;
use std::sync::OnceLock;

use libbpf_rs::ProgramInput;

use crate::Error;
use crate::kernel;
use crate::object::{Loaded, Loading};

/// The compiled program.
static OBJECT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/floor.bpf.o"));

/// Runs in a batch, and batches. The cheapest batch counts: what disturbs it can only add.
const RUNS: u32 = 200;
const BATCHES: u32 = 10;

/// The run time that the kernel counts for an empty program, nanoseconds a run. None where it
/// cannot be told (before Linux 5.10 such a program cannot be run for trial).
pub(crate) fn floor_ns() -> Option<u64> {
    static FLOOR: OnceLock<Option<u64>> = OnceLock::new();
    *FLOOR.get_or_init(|| match measure() {
        Ok(floor) => floor,
        Err(error) => {
            tracing::warn!(%error, "what an empty program costs could not be measured");
            None
        }
    })
}

fn measure() -> Result<Option<u64>, Error> {
    let loaded = Loaded::load(&Loading {
        probe: "floor",
        object: OBJECT,
        wants: &|_| true,
        constants: &|(): &mut ()| (),
        sizes: &[],
        without: &[],
        shared: &[],
    })?;
    let _counting = kernel::count_run_time()?;
    let program = loaded.program("floor_empty")?;
    let read = || {
        kernel::program_run("floor_empty", program.as_fd()).map_err(|source| Error::System {
            doing: "read what an empty program cost".into(),
            source,
        })
    };
    let mut least = None;
    for _ in 0..BATCHES {
        let before = read()?.cost;
        for _ in 0..RUNS {
            program
                .test_run(ProgramInput::default())
                .map_err(|source| Error::kernel("run an empty program", source))?;
        }
        let after = read()?.cost;
        let each = (after.run_ns - before.run_ns).checked_div(after.runs - before.runs);
        least = [least, each].into_iter().flatten().min();
    }
    Ok(least)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_program_costs_something_but_not_much() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: only root may load programs");
            return;
        }
        let floor = measure().unwrap().expect("this kernel runs programs for trial");
        assert!((1..2_000).contains(&floor), "{floor} ns");
    }
}
