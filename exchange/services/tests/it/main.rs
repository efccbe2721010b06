//! The services on real servers: PostgreSQL and Redis as the distribution ships them.

mod support;

mod backlog;
mod crash;
mod http;
mod idempotency;
mod metrics;
mod planted;
mod projection;
mod readiness;
mod relay;
mod simulators;
