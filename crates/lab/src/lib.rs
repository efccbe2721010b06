//! The built-in lab: services in their own namespaces and cgroups.
//!
//! A lab is data (`labs/exchange.yaml`): what to start, on which port, how to ask whether it is
//! well. [`up`] hands it to a supervisor of its own, [`supervise`], which makes the network, keeps
//! the services running and takes everything down when it is told to; [`down`] tells it, and makes
//! sure that nothing is left. [`status`] reads what the supervisor last wrote.
//!
//! All services hang on a bridge in a network namespace that has no name: one link joins it to the
//! host, whose firewall, forwarding and routes to elsewhere are neither asked nor changed. What
//! this crate does not know: experiments, faults, and what the services are for.

mod cleanup;
mod control;
mod error;
mod health;
mod launch;
mod lock;
mod network;
mod options;
mod plan;
mod range;
mod spec;
mod state;
mod supervisor;
mod template;
mod unit;

pub use control::{DownReport, Up, down, status, up};
pub use error::{Error, Kind, Result};
pub use options::{Options, SupervisorCommand};
pub use range::Range;
pub use spec::{Health, Lab, ProgramSource, Restart, Service, SpecError};
pub use state::{NetworkState, Phase, ServiceState, ServiceStatus, State};
pub use supervisor::supervise;
