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
//! - How long an order stands is FIX's TimeInForce. Day and good-till-cancel orders rest with what did not
//!   trade; the end of the day, a command of its own, expires the former. Of an immediate-or-cancel order the
//!   rest is cancelled. A fill-or-kill order trades whole or not at all, and one that is killed leaves every
//!   resting order as it was.
//! - A market order never rests: what the book cannot fill is cancelled. It trades at makers' prices only,
//!   and a maker always has a price above zero.
//! - A post-only order that would meet a resting order at its arrival, be it of its own user, is cancelled
//!   instead, and leaves every resting order as it was.
//! - Self-trade prevention: where a taker meets a resting order of its own user, the *resting* order is
//!   cancelled and the taker goes on. No trade has the same user on both sides.
//! - A replaced order keeps its id and what has traded of it. It keeps its place in the queue where only its
//!   quantity shrinks; else it leaves and arrives anew, under all the rules above.
//! - Order ids only grow. The sequencer gives them out, so an id that does not grow is a replay of the
//!   same command or a bug, and either is refused without having to remember every id ever seen.
//!
//! What this crate does not know: time, files, threads, the network, floating point, and who may cancel
//! or replace whose order.

mod book;
mod command;
mod digest;
mod effects;
mod engine;
mod history;
mod index;
mod levels;
mod order;
mod orders;
mod reject;
mod slab;
mod symbol;
mod units;
mod users;
mod view;

pub use command::{Cancel, Command, Place, Replace};
pub use digest::Digest;
pub use effects::{Effects, Trade};
pub use engine::{Engine, Limits};
pub use order::{EndReason, OrdStatus, Order, OrderKind, Side, TimeInForce};
pub use reject::RejectReason;
pub use symbol::{Symbol, Units, UnknownSymbol};
pub use units::{
    ClientOrderId, Lots, OrderId, PRICE_TICKS_MAX, QUANTITY_LOTS_MAX, TEXT_BYTES_MAX, TextError,
    Ticks, TradeId, UserId,
};
pub use view::{Depth, DepthLevel, Inconsistency};
