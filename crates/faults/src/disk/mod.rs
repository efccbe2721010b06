//! Faults of a target's disk.
//!
//! [`Throttle`] limits what the target may read and write in a second; [`Fill`] takes the space
//! that its filesystem has left; [`Fsync`] makes its syncs slow, or makes them fail;
//! [`Contention`] keeps the disk busy with others' work. How each works, what it
//! reaches and what it does not, is said at the top of its file.

mod contention;
mod device;
mod fill;
mod fsync;
mod mounts;
mod place;
mod refused;
mod scratch;
mod throttle;

pub(crate) use contention::DiskWork;
pub use contention::{Contention, FILE_BYTES, MAX_BLOCK_BYTES, MAX_WORKERS, MIN_BLOCK_BYTES};
pub use device::{BlockDevice, DeviceAsked, NotADevice};
pub use fill::{Fill, Mark};
pub use fsync::{Fsync, MAX_DELAY, SyncError};
pub use place::Place;
pub use refused::DiskRefusal;
pub use throttle::{MIN_BYTES_PER_SECOND, Throttle};
