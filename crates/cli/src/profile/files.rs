//! Profiles from files, and into them.

use std::fs::File;
use std::io::{self, BufReader, Read as _, Write as _};
use std::path::Path;

use anyhow::Context as _;
use temblor_profile::{Error, Format, Profile, Tree};

use crate::exit::{Exit, Failure};

/// Of a file. What is larger is more than a profile's readers hold in memory.
const BYTES_MAX: u64 = 512 << 20;
/// What is looked at to tell what a file is.
const LOOKED_AT: usize = 4096;
const STANDARD_INPUT: &str = "-";

/// The profile in a file, whatever its format.
pub(super) fn read(path: &Path) -> Result<Profile, Failure> {
    let bytes = bytes(path).with_context(|| shown(path)).map_err(Failure::input)?;
    temblor_profile::read(&bytes).map_err(|error| of_input(path, error))
}

/// The stacks of a file that has them folded; nothing where it has not.
pub(super) fn folded_tree(path: &Path) -> Result<Option<Tree>, Failure> {
    let tree = |file| Tree::read_folded(BufReader::with_capacity(1 << 20, file));
    folded_file(path)?.map(tree).transpose().map_err(|error| of_input(path, error))
}

/// A file of folded stacks at its beginning; nothing where it is another one.
pub(super) fn folded_file(path: &Path) -> Result<Option<File>, Failure> {
    if path == Path::new(STANDARD_INPUT) {
        return Ok(None);
    }
    let open = || -> io::Result<Option<File>> {
        let mut begin = Vec::new();
        File::open(path)?.take(LOOKED_AT as u64).read_to_end(&mut begin)?;
        let is_folded = Format::of(&begin) == Format::Folded;
        is_folded.then(|| File::open(path)).transpose()
    };
    open().with_context(|| shown(path)).map_err(Failure::input)
}

fn bytes(path: &Path) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if path == Path::new(STANDARD_INPUT) {
        io::stdin().lock().take(BYTES_MAX + 1).read_to_end(&mut bytes)?;
    } else {
        File::open(path)?.take(BYTES_MAX + 1).read_to_end(&mut bytes)?;
    }
    anyhow::ensure!(
        bytes.len() as u64 <= BYTES_MAX,
        "it has more than the {} MiB that are read of a profile",
        BYTES_MAX >> 20
    );
    Ok(bytes)
}

/// Whether a file can be written, before anything is collected for it. What is in it stays.
pub(super) fn try_to_write(path: &Path) -> Result<(), Failure> {
    let is_new = !path.exists();
    let opened = File::options().create(true).append(true).open(path);
    opened.with_context(|| shown(path)).map_err(Failure::input)?;
    if is_new {
        // It comes again once there is something in it.
        std::fs::remove_file(path).with_context(|| shown(path)).map_err(Failure::input)?;
    }
    Ok(())
}

/// To a file, or to standard output, whose reader may hang up.
pub(super) fn write(path: Option<&Path>, bytes: &[u8]) -> Result<Exit, Failure> {
    let Some(path) = path else {
        let mut out = io::stdout().lock();
        return match out.write_all(bytes).and_then(|()| out.flush()) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                Err(Failure::other(anyhow::Error::new(error).context("standard output")))
            }
            _ => Ok(Exit::Pass),
        };
    };
    std::fs::write(path, bytes).with_context(|| shown(path)).map_err(Failure::other)?;
    Ok(Exit::Pass)
}

/// What is wrong with the profile in a file. One that is empty is as where nothing is collected: there
/// was nothing to see.
pub(super) fn of_input(path: &Path, error: Error) -> Failure {
    let is_empty = matches!(error, Error::Empty { .. });
    let failure = Failure::input(anyhow::Error::new(error).context(shown(path)));
    if is_empty { failure.with(Exit::Invalid) } else { failure }
}

/// What a picture of it is called.
pub(super) fn name_of(path: &Path) -> String {
    path.file_name().map_or_else(|| shown(path), |name| name.to_string_lossy().into_owned())
}

pub(super) fn shown(path: &Path) -> String {
    if path == Path::new(STANDARD_INPUT) {
        "standard input".to_owned()
    } else {
        path.display().to_string()
    }
}
