//! The market simulator: makes up prices that wander and come back.
//!
//! Prices are whole ticks. They are served over HTTP and published to Redis; without Redis
//! they are served all the same.

mod http;
mod publish;
mod settings;
mod walk;

pub use publish::{PRICES_CHANNEL, PRICES_HASH};
pub use settings::{Args, main, run};
pub use walk::{Price, Walk};
