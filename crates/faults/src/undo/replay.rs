//! What is on record is undone, by whoever is left: the guardian, or `temblor heal`.
//!
//! The journal is locked meanwhile, so that it is one of them. The last change is undone first.
//! Where one cannot be undone now, those before it are undone as well, and all that is left is
//! tried again for a bounded time. A change before it that turns out to be covered ("somebody
//! else has written since") counts only when nothing after it is open: the somebody may have been
//! we.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustix::event::{Timespec, poll};
use rustix::fs::OFlags;
use serde::de::DeserializeOwned;
use temblor_event::clock::now_ns;

use super::journal::{Directory, LOG_ENDING, Line, Parsed, check_file, encode, is_at, lock, parse};
use super::{Undo, Undoing, Undone};
use crate::Error;

/// A journal is small; more than this is not one.
const JOURNAL_BYTES_MAX: u64 = 64 << 20;
/// How long to wait before the first further try; each is twice as far away as the one before.
const RETRY_FIRST_MS: u64 = 5;
const RETRY_LAST_MS: u64 = 1_000;
/// A program that the dead owner had started may still be at its change: what was undone is
/// looked at again after this long.
const SECOND_LOOK_MS: u64 = 100;

/// What became of one change.
#[derive(Debug)]
pub struct Change {
    /// What was to be done about it, in words.
    pub words: String,
    /// What was done, or why it is still in place.
    pub outcome: Result<Undone, Error>,
}

/// What became of one journal.
#[derive(Debug, Default)]
pub struct Replayed {
    /// Each change that was on record, the last one first.
    pub changes: Vec<Change>,
    /// Lines that cannot be read, in words; what they said is not undone.
    pub damage: Vec<String>,
    /// The last line was cut short: its change was not made.
    pub torn: bool,
    /// Whether the journal is gone, because nothing is left.
    pub finished: bool,
}

/// How long a replay may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// How long to wait for somebody else who is at it, in milliseconds.
    pub(super) lock_ms: u64,
    /// How long to try again what could not be undone, in milliseconds.
    pub(super) retry_ms: u64,
}

/// Replays a journal and removes it if nothing is left. `None`: somebody else has finished it.
///
/// # Errors
/// It cannot be read, or somebody else is at it and does not come to an end.
pub(super) fn replay(path: &Path, bounds: Bounds) -> io::Result<Option<Replayed>> {
    let mut file = match open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e),
    };
    if !lock(&file, bounds.lock_ms)? {
        return Err(io::Error::new(io::ErrorKind::WouldBlock, "somebody else is undoing it"));
    }
    if !is_at(&file, path)? {
        return Ok(None);
    }
    let parsed: Parsed<Undo> = parse(&read(&mut file)?);
    let mut replayed = Replayed { damage: parsed.damage, torn: parsed.torn, ..Replayed::default() };
    if parsed.header.is_none() {
        return Ok(Some(replayed));
    }
    if parsed.torn {
        // What is added now is to stand on lines of its own.
        let _ = file.set_len(parsed.whole_bytes as u64);
    }
    let undone_any = !parsed.open.is_empty();
    let mut all = Vec::new();
    let left = settle(parsed.open, bounds.retry_ms, &mut |id, undo, undone| {
        if let Ok(bytes) = encode::<Undo>(&Line::Done { id }) {
            // One that is not written makes somebody look at this change once more.
            let _ = file.write_all(&bytes);
        }
        all.push((id, undo, undone));
    });
    if undone_any {
        look_again(&mut all);
    }
    replayed.finished = left.is_empty()
        && replayed.damage.is_empty()
        && all.iter().all(|(_, _, outcome)| outcome.is_ok());
    let mut changes: Vec<(u64, Change)> = left
        .into_iter()
        .map(|(id, undo, error)| (id, Change { words: undo.words(), outcome: Err(error) }))
        .chain(
            all.into_iter()
                .map(|(id, undo, outcome)| (id, Change { words: undo.words(), outcome })),
        )
        .collect();
    changes.sort_by_key(|(id, _)| std::cmp::Reverse(*id));
    replayed.changes = changes.into_iter().map(|(_, change)| change).collect();
    if replayed.finished {
        fs::remove_file(path)?;
        let _ = fs::remove_file(path.with_extension(LOG_ENDING));
        if let Ok(Some(directory)) = Directory::find(path.parent().unwrap_or(Path::new("/"))) {
            directory.tidy();
        }
    }
    Ok(Some(replayed))
}

/// Undoes changes, the last one first, and tells which are final. Gives those that are left, with
/// the reason.
pub(super) fn settle<U: Undoing>(
    mut open: Vec<(u64, U)>,
    retry_ms: u64,
    done: &mut impl FnMut(u64, U, Result<Undone, Error>),
) -> Vec<(u64, U, Error)> {
    let deadline_ns = now_ns().saturating_add(retry_ms.saturating_mul(1_000_000));
    let mut wait_ms = RETRY_FIRST_MS;
    loop {
        let mut left = Vec::new();
        for (id, undo) in open.into_iter().rev() {
            match undo.undo() {
                Err(error) => left.push((id, undo, Some(error))),
                // One that is still in place stands on top of this one.
                Ok(undone) if !left.is_empty() && undone != Undone::Restored => {
                    left.push((id, undo, None));
                }
                Ok(undone) => done(id, undo, Ok(undone)),
            }
        }
        if left.is_empty() || now_ns() >= deadline_ns {
            let below = || Error::system("undo it", io::Error::other("a later change covers it"));
            return left
                .into_iter()
                .map(|(id, undo, error)| (id, undo, error.unwrap_or_else(below)))
                .collect();
        }
        left.reverse();
        open = left.into_iter().map(|(id, undo, _)| (id, undo)).collect();
        pause(wait_ms);
        wait_ms = (wait_ms * 2).min(RETRY_LAST_MS);
    }
}

/// Looks whether any of what was undone is in place again, and undoes it again.
fn look_again(all: &mut [(u64, Undo, Result<Undone, Error>)]) {
    pause(SECOND_LOOK_MS);
    for (_, undo, outcome) in all {
        if matches!(undo.is_open(), Ok(true)) {
            *outcome = undo.undo();
        }
    }
}

/// Opens a journal to be obeyed.
pub(super) fn open(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .append(true)
        .custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed())
        .open(path)?;
    check_file(&file)?;
    Ok(file)
}

/// Reads a journal from its beginning.
pub(super) fn read(file: &mut File) -> io::Result<Vec<u8>> {
    use std::io::Seek as _;

    file.rewind()?;
    let mut bytes = Vec::new();
    file.take(JOURNAL_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Reads and parses a journal that is only looked at.
pub(super) fn look<U: DeserializeOwned>(path: &Path) -> io::Result<Parsed<U>> {
    let mut file = OpenOptions::new()
        .read(true)
        .custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed())
        .open(path)?;
    check_file(&file)?;
    Ok(parse(&read(&mut file)?))
}

pub(super) fn pause(ms: u64) {
    let nanoseconds = i64::try_from(ms % 1_000).unwrap_or(0) * 1_000_000;
    let timeout =
        Timespec { tv_sec: i64::try_from(ms / 1_000).unwrap_or(i64::MAX), tv_nsec: nanoseconds };
    // Interrupted is as good as elapsed: whoever waits looks again either way.
    let _ = poll(&mut [], Some(&timeout));
}

impl fmt::Display for Undone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Restored => f.write_str("undone"),
            Self::Nothing => f.write_str("was not in place"),
            Self::NotOurs(why) => write!(f, "left as it is: {why}"),
        }
    }
}
