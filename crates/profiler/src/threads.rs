//! Threads as they are.

use temblor_probes::stacks::{End, Kind, Record, Sampler};

use crate::collecting::Collecting;
use crate::error::Error;
use crate::stacks::Weight;

/// Keeps a thread's stack, with what it is at.
pub(crate) fn take(
    record: Record,
    sampler: &mut Sampler,
    into: &mut Collecting,
) -> Result<(), Error> {
    let Record::Stack(stack) = record else { return Ok(()) };
    let Kind::Thread { state } = stack.kind else { return Ok(()) };
    let t_ns = stack.t_ns;
    let mut seen = into.locate(sampler, stack)?;
    seen.circumstances.state = Some(state_of(state, seen.frames.end));
    into.keep(t_ns..t_ns, seen, Weight::seen(1.0, 1));
    Ok(())
}

/// The kernel's bits, as its own tools call what they stand for.
fn state_of(bits: u64, end: End) -> &'static str {
    const SLEEPING: u64 = 0x1;
    const UNINTERRUPTIBLE: u64 = 0x2;
    const STOPPED: u64 = 0x4;
    const TRACED: u64 = 0x8;
    const NO_LOAD: u64 = 0x400;
    match bits {
        _ if end == End::Running => "running",
        0 => "waiting for a processor",
        bits if bits & SLEEPING != 0 => "sleeping",
        bits if bits & UNINTERRUPTIBLE != 0 && bits & NO_LOAD != 0 => "idle",
        bits if bits & UNINTERRUPTIBLE != 0 => "uninterruptible",
        bits if bits & STOPPED != 0 => "stopped",
        bits if bits & TRACED != 0 => "traced",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_on_a_processor_runs_whatever_its_bits_say() {
        assert_eq!(state_of(1, End::Running), "running");
        assert_eq!(state_of(0, End::Root), "waiting for a processor");
    }

    #[test]
    fn bits_have_the_names_of_ps() {
        for (bits, name) in [
            (0x1, "sleeping"),
            (0x2, "uninterruptible"),
            (0x102, "uninterruptible"),
            (0x402, "idle"),
            (0x4, "stopped"),
            (0x8, "traced"),
            (0x1000, "other"),
        ] {
            assert_eq!(state_of(bits, End::Root), name, "{bits:#x}");
        }
    }
}
