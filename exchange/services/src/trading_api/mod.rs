//! The trading API: takes orders and keeps them.
//!
//! An order goes from [`http`] through validation to the [`sequencer`], which gives it an
//! id and appends it to the journal. Once the journal has synced it, it is carried out on
//! the [`exchange`] and acknowledged. From the journal, the [`relay`] carries it to
//! PostgreSQL at its own pace; the [`projection`] shows the books in Redis, and [`events`]
//! tells there what happened. None of them is on the way to an acknowledgement.
//!
//! What holds, whatever crashes:
//! - an acknowledged order is in the journal, and in PostgreSQL exactly once in the end;
//! - an order with the same client order id is accepted once, and answered the same again,
//!   as long as its key is remembered: the newest million orders, unless told otherwise;
//! - an order that is answered with 503 is in neither.

pub mod day;
pub mod events;
pub mod exchange;
pub mod feed;
pub mod http;
pub mod metrics;
pub mod projection;
pub mod rates;
pub mod readiness;
pub mod record;
pub mod relay;
pub mod sequencer;
mod server;
mod settings;
pub mod tape;
pub mod timed;
mod view;

pub use server::{Parts, run};
pub use settings::{Args, main};
