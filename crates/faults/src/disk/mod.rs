//! Faults of a target's disk.
//!
//! [`Throttle`] limits what the target may read and write in a second. How each works, what it
//! reaches and what it does not, is said at the top of its file.

mod device;
mod mounts;
mod refused;
mod throttle;

pub use device::{BlockDevice, DeviceAsked, NotADevice};
pub use refused::DiskRefusal;
pub use throttle::{MIN_BYTES_PER_SECOND, Throttle};
