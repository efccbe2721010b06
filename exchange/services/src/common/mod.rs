//! What every service needs: a log, a clock, back-off, HTTP with its metrics.

mod backoff;
mod client;
mod clock;
mod http;
mod listener;
mod metrics;
mod process;

pub use backoff::Backoff;
pub use client::{CallError, Client, Reply};
pub use clock::{monotonic, unix_us};
pub use http::{ServeError, error_response, scrape, serve, with_http};
pub use metrics::{CLASSIC_TEXT, HttpMetrics};
pub use process::{Bound, bind, init_log, run_to_exit, terminated};
