//! The order flow simulator: users who trade around the market's price.
//!
//! It is there to give the books something to hold. It is no measuring instrument: when
//! the trading API has trouble it sends less, as a polite client does.

mod flow;
mod http;
mod settings;
mod throttle;

pub use flow::{Counts, Flow};
pub use settings::{Args, main, run};
pub use throttle::Throttle;
