//! The block probe against a real kernel: loop devices of our own, on which children of ours read
//! and write as much as they are told, held against what the kernel's own statistics and the
//! children's clocks say.

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
mod io;
mod limits;
mod syncs;
mod world;

/// Within a share.
fn near(told: u64, truth: u64, share: f64) -> bool {
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let (off, truth) = (told.abs_diff(truth) as f64, truth as f64);
    off <= truth * share
}
