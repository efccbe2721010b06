//! The tcp probe against a real kernel: connections between two namespaces of our own.

#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "helpers of tests are tests: a panic is how they fail, stderr is how they explain"
)]

#[path = "../common/link.rs"]
mod link;
mod losses;
mod retransmits;
mod states;
mod world;
