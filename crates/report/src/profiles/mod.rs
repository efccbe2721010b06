//! The profiles of a run: read from its directory, drawn, and held against each other.

mod compare;
mod draw;

use std::error::Error as _;

use temblor_judge::{PhaseProfile, RunResult};
use temblor_profile::Profile;
use temblor_runs::{RunDir, RunError};

pub(crate) use compare::compare;
pub(crate) use draw::{Drawing, difference, drawing};

/// Far more than a phase's profile has.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// A phase's profile, as it lies in the run directory.
#[derive(Debug, Clone)]
pub struct ProfileFile {
    /// The file's name in the run directory.
    pub file: String,
    /// What is in it; or why that is not known.
    pub profile: Result<Profile, String>,
}

/// Every profile that a run says it has.
pub(crate) fn read(dir: &RunDir, result: &RunResult) -> Vec<ProfileFile> {
    let all = result.profiles.iter().flat_map(|of_kind| &of_kind.phases);
    all.map(|PhaseProfile { file, .. }| ProfileFile { file: file.clone(), profile: one(dir, file) })
        .collect()
}

fn one(dir: &RunDir, file: &str) -> Result<Profile, String> {
    let cause =
        |error: RunError| error.source().map_or_else(|| error.to_string(), ToString::to_string);
    let bytes = dir.read_file(file, FILE_BYTES_MAX).map_err(cause)?;
    temblor_profile::pprof::read(&bytes).map_err(|error| error.to_string())
}

/// The profile of a file among those that were read.
pub(crate) fn of<'a>(files: &'a [ProfileFile], file: &str) -> Option<&'a Result<Profile, String>> {
    files.iter().find(|one| one.file == file).map(|one| &one.profile)
}
