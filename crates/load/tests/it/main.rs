//! The load against a scripted server on loopback: what the server did is held against what the
//! ledger says.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod cost;
mod open_loop;
mod outcomes;
mod recorded;
mod server;
mod stopping;
