//! From the journal to the database.
//!
//! The relay replays the journal into a state of its own and writes what follows from the
//! records, batch by batch, each together with its cursor. It needs nothing from the
//! sequencer but the news that there is more, so whatever happens on either side (a crash,
//! a lost connection, a database from an older backup) it continues where the database's own
//! cursor stands.

mod batch;
mod columns;
mod hint;
mod postgres;
mod state;
mod store;
mod task;

pub use batch::{BATCH_RECORDS_MAX, Batch, Changed, DeriveError, Deriver, OrderRow, TradeRow};
pub use hint::Hint;
pub use postgres::{PostgresSession, PostgresStore};
pub use state::RelayState;
pub use store::{Session, Store, StoreError};
pub use task::{Relay, RelayError};
