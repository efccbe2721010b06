//! The samplers against programs whose stacks are known, on the real kernel.

#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "helpers of tests are tests: a panic is how they fail, stderr is how they explain"
)]

mod common;
mod cpu;
mod heap;
mod programs;
mod threads;
mod waits;
