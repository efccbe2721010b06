//! The process probe against a real kernel: children of our own end in ways that we know, and what
//! is told of them is held against what the kernel told their parent.

#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "helpers of tests are tests: a panic is how they fail, stderr is how they explain, \
              stdout is how a child answers"
)]

mod child;
#[path = "../common/mod.rs"]
mod common;
mod ends;
mod restarts;
mod signals;
mod told;
