//! The order book: pure, deterministic, integer ticks.
