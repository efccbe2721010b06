//! The probes' figures as a page in Prometheus' classic text format, and a server for it.
//!
//! [`Figures`] adds up what events count, in memory that has a bound however long it goes on and
//! whoever talks to the targets. [`Server`] hands the page out.
//!
//! What this crate does not know: probes, targets on this machine, the command line. It is given
//! events and the names of targets.

mod bounds;
mod family;
mod figures;
mod own;
mod peers;
mod serve;
mod text;

pub use figures::{Figures, Limits};
pub use own::Resources;
pub use serve::{Pages, serve};
pub use text::{CONTENT_TYPE, WriteError};
