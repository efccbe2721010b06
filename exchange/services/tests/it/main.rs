//! The services on real servers: PostgreSQL and Redis as the distribution ships them.

#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "helpers of tests; clippy sees only functions marked as tests as such"
)]

mod support;

mod backlog;
mod crash;
mod day;
mod degraded;
mod events;
mod http;
mod idempotency;
mod many_runs;
mod metrics;
mod openapi;
mod partition;
mod planted;
mod projection;
mod readiness;
mod relay;
mod replace;
mod sequencer;
mod simulators;
mod stream;
