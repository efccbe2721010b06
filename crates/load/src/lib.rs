//! Open-loop traffic and the client's own ledger.
//!
//! Requests are sent when they were planned to be, whether or not earlier ones have been
//! answered, and every latency counts from the planned time: a server that stalls cannot make
//! the load wait for it and so hide the stall. Every planned request ends in exactly one
//! outcome, and the account (planned = ok + failed + unsure + unsent) is checked for each second
//! and for the whole.
//!
//! What an outcome promises, and why the client errs towards `unsure`, stands in `verdict.rs`.
//!
//! Three threads work: `load-pacer` sleeps to absolute deadlines and hands requests over,
//! `load-http` sends and receives, `load-ledger` writes completed seconds. This crate does not
//! know what the events are used for, nor who answers the requests.

mod attempt;
mod http;
mod latency;
mod ledger;
mod pacer;
mod profiles;
mod running;
mod schedule;
mod settings;
mod verdict;

pub use ledger::{Imbalance, Tally};
pub use profiles::names as profile_names;
pub use running::{LastSecond, Live, Load, Running};
pub use schedule::Arrivals;
pub use settings::{Error, Settings};
