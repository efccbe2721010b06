//! `make test-kernels`: what holds on which kernel.
//!
//! The host notes which test programs there are ([`Programs`]). The guest, which is another kernel
//! over the host's files, runs them and tells what came of each ([`run`]). The host makes a page
//! of what all guests told ([`page`]).

#[expect(clippy::print_stdout, reason = "what comes of each test is told while the others run")]
mod guest;
mod machine;
mod page;
mod programs;
mod record;
mod told;

pub use guest::run;
pub use page::page;
pub use programs::{Program, Programs};
pub use record::{Fault, Offer, Offered, Outcome, Record, Test};
pub use told::Told;
