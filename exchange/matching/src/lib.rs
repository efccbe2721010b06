//! The order book: pure, deterministic, integer ticks.
//!
//! An [`Engine`] holds one book per [`Symbol`] and is driven by one sequencer: commands go in,
//! one after another, and what they did comes out. The same commands from a fresh engine with the same
//! [`Limits`] give the same outcomes and the same [`Digest`], on any machine, in any process;
//! that is what lets a journal of commands stand for the state.
//!
//! The rules, in full:
//! - Price first, then time: a better price trades first, and at one price the order that rested first.
//! - A trade happens at the resting (maker) order's price.
//! - A market order never rests: what the book cannot fill is cancelled. It trades at makers' prices only,
//!   and a maker always has a price above zero.
//! - Self-trade prevention: where a taker meets a resting order of its own user, the *resting* order is
//!   cancelled and the taker goes on. No trade has the same user on both sides.
//! - Order ids only grow. The sequencer gives them out, so an id that does not grow is a replay of the
//!   same command or a bug, and either is refused without having to remember every id ever seen.
//!
//! What this crate does not know: time, files, threads, the network, floating point, and who may cancel
//! whose order.

mod book;
mod command;
mod digest;
mod engine;
mod history;
mod order;
mod slab;
mod symbol;
mod units;

pub use command::{Cancel, Command, Execution, MakerUpdate, Outcome, Place, RejectReason, Trade};
pub use digest::Digest;
pub use engine::{Depth, DepthLevel, Engine, Inconsistency, Limits};
pub use order::{OrdStatus, Order, OrderKind, Side};
pub use symbol::{Symbol, UnknownSymbol};
pub use units::{
    ClientOrderId, Lots, OrderId, PRICE_TICKS_MAX, QUANTITY_LOTS_MAX, TEXT_BYTES_MAX, TextError,
    Ticks, TradeId, UserId,
};
