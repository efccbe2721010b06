//! The exchange's services.
//!
//! - [`trading_api`] takes orders: HTTP, one sequencer, the journal, the matching engine,
//!   a relay to PostgreSQL and a projection to Redis.
//! - [`market_simulator`] makes prices up.
//! - [`order_flow`] makes orders up around those prices and sends them to the trading API.
//!
//! Each is a module with a `run` that takes a listener and a shutdown future, and a thin
//! binary. The services know nothing of whoever watches, loads or breaks them.

pub mod common;
pub mod market_simulator;
pub mod order_flow;
pub mod trading_api;
