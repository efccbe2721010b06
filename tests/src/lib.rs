//! What crosses crates: the tests themselves are in `tests/`, what they share is here.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail where they stand, as tests do")]
#![expect(clippy::print_stderr, reason = "a test that is skipped says so")]

pub mod kernels;
mod lab;
pub mod torture;

pub use lab::{Lab, result, said, skipped, temblor, wait_for};
