//! Control groups of both versions, alone or side by side.

mod group;
mod layout;

pub use group::{Group, Limits};
pub(crate) use group::{procs, subtree};
pub use layout::{Cgroups, Hierarchy, Layout};
