//! A storage in memory that loses what was not synced, for tests here and in services.

mod checker;
mod disk;
mod faulty;

pub use checker::{Checker, Violation};
pub use disk::SimStorage;
pub use faulty::{Lie, LyingStorage};
