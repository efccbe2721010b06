//! The file that outlives everybody who may die.
//!
//! One file a run, lines of JSON, each with a checksum of its own. A record is on the disk before
//! its change is made; `done` lines are written and not waited for, since undoing twice is as good
//! as once. So a file may end in the middle of a line: that line's change was not made, and the
//! rest is as good as ever. Any other line that cannot be read is damage, which is named.

mod line;
mod store;
mod writer;

pub(super) use line::{Header, Line, Parsed, VERSION, encode, parse};
#[cfg(test)]
pub(super) use store::LogFile;
pub(super) use store::{Directory, Store, check_file, is_at, lock};
pub(super) use writer::Journal;

/// How the name of a journal ends.
pub(super) const ENDING: &str = "journal";
/// How the name of one ends that has no header yet.
pub(super) const NEW_ENDING: &str = "new";
/// How the name of the file beside a journal ends that says what could not be undone.
pub(super) const LOG_ENDING: &str = "log";
