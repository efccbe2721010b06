//! What it takes to kill the instrument at any moment and to see whether anything is left: a
//! small world to break, its whole state as text, and the killing.

mod faults;
mod kill;
mod state;
mod world;

pub use faults::{FAULTS, Tortured};
pub use kill::{Calibrated, Moment, Round, Victim, abandon, calibrate, round};
pub use state::{State, difference};
pub(crate) use state::{groups, network};
pub use world::{Torn, World, act_as_target};
