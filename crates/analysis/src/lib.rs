//! What profiles mean: where time or memory goes by what it is for, what of that is worth a word,
//! what changed between two profiles, and whether a budget was kept.
//!
//! Every figure comes with what it rests on: how many samples, and what they leave open. What they
//! do not show is not claimed. A profile that does not say how many samples it is made of gets its
//! figures without intervals, and is told so.
//!
//! Nothing here opens a file, asks for the time or knows a terminal. What functions are for is data:
//! `src/rules/*.toml`.

#![expect(
    clippy::cast_precision_loss,
    reason = "counts of samples are far below 2^53, and figures are rounded when shown"
)]

mod against;
mod budget;
mod change;
mod counts;
mod drawn;
mod error;
pub mod explain;
mod finding;
mod interval;
mod json;
mod known;
mod rules;
mod sentence;
mod shorten;
mod tally;
mod text;

pub use self::against::{Against, AgainstOptions, against};
pub use self::budget::{Budget, Held, Holding, hold};
pub use self::change::{Basis, Change, Changes, ChangesOptions, Measure, Subject, Told, changes};
pub use self::counts::Uncounted;
pub use self::drawn::Sampled;
pub use self::error::Error;
pub use self::finding::{Analysis, Figure, Finding, Row, Stack, analyze};
pub use self::interval::Interval;
pub use self::json::json;
pub use self::rules::{Category, Rank, Rules, RulesError};
pub use self::text::{Report, text};

/// With fewer samples nothing is said: shares may be off by a tenth of the whole.
pub const SAMPLES_MIN: u64 = 100;
