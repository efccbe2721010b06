//! Faults on containers of a real engine, and on a program that knows nothing of any of this.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail where they stand, as tests do")]
#![expect(clippy::print_stderr, reason = "a test that is skipped says so")]

mod engine;
mod faults;
mod find;
mod stranger;
mod world;
