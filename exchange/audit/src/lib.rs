//! Proves after any run that the exchange kept what it promised, or says where it did not.
//!
//! Three parties tell what happened: the [`journal`](replayed::Replayed), the
//! [database](stored), and the clients' own [`ledger`](ledger::Ledger) of what they sent and what they
//! were told. [`audit`] holds each against the others, and the database also against what must be true of
//! any exchange, so that a fault that is in all of them the same way is seen as well.
//!
//! It asks the matching engine alone what follows from the journal, and neither the service's own state
//! nor its relay: what is judged must not be the judge.

pub mod check;
pub mod ledger;
pub mod replayed;
pub mod report;
pub mod stored;
pub mod tables;

pub use check::{Evidence, audit};
pub use report::{Check, Finding, Report};
