//! A note of how far the database is, for a start while the database is away.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::common::monotonic;

const EVERY: Duration = Duration::from_secs(1);

/// Without it, a service that starts while PostgreSQL is away would have to count its
/// whole journal as backlog and refuse orders. Nothing else rests on it: the relay itself
/// goes by the cursor in the database. So it is not synced, and an old note only makes the
/// backlog look longer than it is.
#[derive(Debug)]
pub struct Hint {
    path: Option<PathBuf>,
    written: Option<(Instant, u64)>,
}

impl Hint {
    /// A note kept at `path`, or none.
    #[must_use]
    pub fn new(path: Option<PathBuf>) -> Self {
        Self { path, written: None }
    }

    /// How many orders of this journal were in the database when the note was last written.
    #[must_use]
    pub fn read(&self, journal_id: &str) -> u64 {
        let Some(path) = &self.path else { return 0 };
        let Ok(text) = fs::read_to_string(path) else { return 0 };
        match text.trim().split_once(' ') {
            Some((id, count)) if id == journal_id => count.parse().unwrap_or(0),
            _ => 0,
        }
    }

    /// Notes it, at most once a second.
    ///
    /// # Errors
    /// When the file cannot be written; nothing is lost by that.
    pub fn write(&mut self, journal_id: &str, relayed_orders: u64) -> io::Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        let now = monotonic();
        let due = self
            .written
            .is_none_or(|(at, count)| count != relayed_orders && now.duration_since(at) >= EVERY);
        if !due {
            return Ok(());
        }
        self.written = Some((now, relayed_orders));
        let fresh = path.with_extension("new");
        fs::write(&fresh, format!("{journal_id} {relayed_orders}\n"))?;
        fs::rename(&fresh, path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_counts_for_its_own_journal_only() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("relayed");
        let mut hint = Hint::new(Some(path.clone()));
        assert_eq!(hint.read("a"), 0);
        hint.write("a", 17).unwrap();
        assert_eq!(hint.read("a"), 17);
        assert_eq!(hint.read("b"), 0);
        fs::write(&path, "torn").unwrap();
        assert_eq!(hint.read("a"), 0);
    }
}
