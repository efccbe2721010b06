//! Journals that nobody watches any more: found, shown, replayed.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use temblor_event::clock::now_ns;
use temblor_host::boot_id;
use temblor_host::process::Identity;

use super::journal::{Directory, ENDING, Header, NEW_ENDING, Parsed};
use super::replay::{Bounds, Replayed, look, pause, replay};
use super::{Undo, Undoing as _, pid_namespace};
use crate::{Error, Result};

/// Where journals are unless told otherwise. It outlives a reboot, because files of ours do.
const STATE_DIR: &str = "/var/lib/temblor/undo";
/// Names another one.
const STATE_DIR_ENV: &str = "TEMBLOR_STATE_DIR";
/// A guardian whose owner has just died is at it: it is given this long before heal speaks up.
const GUARDIAN_MS: u64 = 5_000;
const LOOK_AGAIN_MS: u64 = 20;
/// How long heal tries.
const BOUNDS: Bounds = Bounds { lock_ms: 5_000, retry_ms: 3_000 };

/// The directory of journals: `TEMBLOR_STATE_DIR`, or `/var/lib/temblor/undo`.
#[must_use]
pub fn state_dir() -> PathBuf {
    std::env::var_os(STATE_DIR_ENV)
        .filter(|dir| !dir.is_empty())
        .map_or_else(|| PathBuf::from(STATE_DIR), PathBuf::from)
}

/// A journal as it is now.
#[derive(Debug)]
pub struct OpenJournal {
    /// The file.
    pub path: PathBuf,
    /// Whose it is and who would replay it.
    pub standing: Standing,
    /// What is on record and not marked as undone, the last change first.
    pub changes: Vec<OpenChange>,
    /// What cannot be read of it, in words.
    pub damage: Vec<String>,
}

impl OpenJournal {
    /// Whether there is something that only `temblor heal` sees to.
    #[must_use]
    pub fn needs_healing(&self) -> bool {
        match self.standing {
            Standing::Live { .. } => false,
            Standing::Hidden => true,
            _ => !self.changes.is_empty() || !self.damage.is_empty(),
        }
    }
}

/// A change on record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenChange {
    /// What undoing it would do, in words.
    pub words: String,
    /// Whether it is in place; none where that cannot be found out.
    pub in_place: Option<bool>,
}

/// Whose a journal is and who would replay it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Its owner lives and undoes it by itself.
    Live {
        /// The owner's pid.
        owner: u32,
        /// Seconds until the guardian ends it; none without a guardian.
        ends_in_s: Option<u64>,
    },
    /// Its owner is dead, and the guardian is at it.
    Guarded {
        /// The guardian's pid.
        guardian: u32,
    },
    /// Both are dead: nobody but `temblor heal` undoes it.
    Dead,
    /// It was written by processes that cannot be seen from here, in another pid namespace.
    Elsewhere,
    /// This user may not read it.
    Hidden,
    /// It cannot be read, or does not say whose it is.
    Unknown,
}

/// All journals in a directory, also those of runs that go on. Changes nothing.
///
/// # Errors
/// The directory is there and cannot be read, or others may write it.
pub fn open_journals(dir: &Path) -> Result<Vec<OpenJournal>> {
    let Some(directory) = found(dir)? else { return Ok(Vec::new()) };
    let mut journals = Vec::new();
    for path in paths(&directory, ENDING)? {
        let parsed: io::Result<Parsed<Undo>> = look(&path);
        match parsed {
            Ok(parsed) => journals.push(describe(path, parsed)),
            // Finished meanwhile.
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => {
                let (standing, damage) = match e.kind() {
                    io::ErrorKind::PermissionDenied => (Standing::Hidden, Vec::new()),
                    _ => (Standing::Unknown, vec![e.to_string()]),
                };
                journals.push(OpenJournal { path, standing, changes: Vec::new(), damage });
            }
        }
    }
    Ok(journals)
}

/// What became of one journal under [`heal`].
#[derive(Debug)]
pub struct Healed {
    /// The file.
    pub path: PathBuf,
    /// What was done, or why nothing was.
    pub outcome: HealOutcome,
}

/// What [`heal`] did about a journal.
#[derive(Debug)]
pub enum HealOutcome {
    /// It was replayed.
    Replayed(Replayed),
    /// The guardian, or another `temblor heal`, has finished it meanwhile.
    Finished,
    /// Its owner lives, so it was left alone.
    Live {
        /// The owner's pid.
        owner: u32,
        /// Seconds until the guardian ends it; none without a guardian.
        ends_in_s: Option<u64>,
    },
    /// This user may not read it.
    Hidden,
    /// It is still there, and why.
    Left(String),
}

impl Healed {
    /// Whether nothing of it is left, or it is somebody's who lives.
    #[must_use]
    pub fn is_well(&self) -> bool {
        match &self.outcome {
            HealOutcome::Replayed(replayed) => replayed.finished,
            HealOutcome::Finished | HealOutcome::Live { .. } => true,
            HealOutcome::Hidden | HealOutcome::Left(_) => false,
        }
    }
}

/// Replays every journal whose owner and guardian are both dead. One whose guardian is at it is
/// given a moment to be finished.
///
/// # Errors
/// The directory is there and cannot be read, or others may write it.
pub fn heal(dir: &Path) -> Result<Vec<Healed>> {
    let Some(directory) = found(dir)? else { return Ok(Vec::new()) };
    sweep(&directory)?;
    let mut all = Vec::new();
    for path in paths(&directory, ENDING)? {
        let outcome = heal_one(&path);
        all.push(Healed { path, outcome });
    }
    // A last one may have taken the directory with it; one without journals goes too.
    directory.tidy();
    Ok(all)
}

fn heal_one(path: &Path) -> HealOutcome {
    let deadline_ns = now_ns().saturating_add(GUARDIAN_MS * 1_000_000);
    loop {
        let parsed: Parsed<Undo> = match look(path) {
            Ok(parsed) => parsed,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return HealOutcome::Finished,
            Err(e) if e.kind() == io::ErrorKind::PermissionDenied => return HealOutcome::Hidden,
            Err(e) => return HealOutcome::Left(e.to_string()),
        };
        match standing(&parsed) {
            Standing::Live { owner, ends_in_s } => return HealOutcome::Live { owner, ends_in_s },
            Standing::Guarded { .. } if now_ns() < deadline_ns => pause(LOOK_AGAIN_MS),
            Standing::Guarded { guardian } => {
                return HealOutcome::Left(format!(
                    "the guardian, process {guardian}, is still at it"
                ));
            }
            Standing::Elsewhere => {
                return HealOutcome::Left(
                    "it is of another pid namespace: heal it from there, or after a reboot".into(),
                );
            }
            Standing::Unknown | Standing::Hidden => {
                return HealOutcome::Left(parsed.damage.join("; "));
            }
            Standing::Dead => break,
        }
    }
    match replay(path, BOUNDS) {
        Ok(Some(replayed)) => HealOutcome::Replayed(replayed),
        Ok(None) => HealOutcome::Finished,
        Err(e) => HealOutcome::Left(e.to_string()),
    }
}

fn describe(path: PathBuf, parsed: Parsed<Undo>) -> OpenJournal {
    let standing = standing(&parsed);
    let changes = parsed
        .open
        .iter()
        .rev()
        .map(|(_, undo)| OpenChange { words: undo.words(), in_place: undo.is_open().ok() })
        .collect();
    OpenJournal { path, standing, changes, damage: parsed.damage }
}

fn standing<U>(parsed: &Parsed<U>) -> Standing {
    let Some(header) = &parsed.header else { return Standing::Unknown };
    // After a reboot nobody is alive, whatever the namespace's number.
    let this_boot = boot_id().is_ok_and(|boot| boot == header.owner.boot_id);
    if this_boot && pid_namespace().is_ok_and(|here| here != header.pid_namespace) {
        return Standing::Elsewhere;
    }
    if header.owner.is_alive() {
        return Standing::Live { owner: header.owner.pid, ends_in_s: ends_in_s(header) };
    }
    match parsed.guardian.as_ref().filter(|guardian| guardian.is_alive()) {
        Some(guardian) => Standing::Guarded { guardian: guardian.pid },
        None => Standing::Dead,
    }
}

fn ends_in_s(header: &Header) -> Option<u64> {
    Some(header.deadline_ns?.saturating_sub(now_ns()) / 1_000_000_000)
}

/// Removes what a process left that died before its journal had a name.
fn sweep(directory: &Directory) -> Result<()> {
    for path in paths(directory, NEW_ENDING)? {
        let maker = || {
            let name = path.file_stem()?.to_str()?;
            let mut parts = name.split('-').skip(1);
            let pid = parts.next()?.parse().ok()?;
            let start_ticks = parts.next()?.parse().ok()?;
            Some(Identity { pid, start_ticks, boot_id: boot_id().ok()? })
        };
        if maker().is_some_and(|maker| !maker.is_alive()) {
            let _ = fs::remove_file(&path);
        }
    }
    Ok(())
}

fn found(dir: &Path) -> Result<Option<Directory>> {
    Directory::find(dir)
        .map_err(|e| Error::system(format!("look for undo journals in {}", dir.display()), e))
}

/// The files with this ending, the oldest first.
fn paths(directory: &Directory, ending: &str) -> Result<Vec<PathBuf>> {
    let failed = |e: io::Error| {
        Error::system(format!("look for undo journals in {}", directory.path().display()), e)
    };
    let entries = match fs::read_dir(directory.path()) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(failed(e)),
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|e| e == ending) {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}
