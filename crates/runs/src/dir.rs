use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Component, Path, PathBuf};

use jiff::Timestamp;

use crate::{PROFILES_DIR, RunError};

/// The resolved experiment, in a run directory.
pub const EXPERIMENT_FILE: &str = "experiment.yaml";

const NAME_CHARS_MAX: usize = 80;
const COLLISIONS_MAX: u32 = 1_000;

/// A run directory: where it is, and how a file is put into it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunDir {
    path: PathBuf,
}

impl RunDir {
    /// Makes `<parent>/<UTC time>-<name>/`, with `-2`, `-3` … where that is taken.
    pub(crate) fn create_under(
        parent: &Path,
        name: &str,
        wall: Timestamp,
    ) -> Result<Self, RunError> {
        fs::create_dir_all(parent).map_err(|e| RunError::io("create", parent, e))?;
        let stem = format!("{}-{}", wall.strftime("%Y%m%dT%H%M%SZ"), file_name(name));
        for n in 1..=COLLISIONS_MAX {
            let path = parent.join(if n == 1 { stem.clone() } else { format!("{stem}-{n}") });
            // create_dir is atomic: of two runs that start in the same second one gets the name.
            match fs::create_dir(&path) {
                Ok(()) => return Self { path }.with_profiles(),
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                Err(e) => return Err(RunError::io("create", path, e)),
            }
        }
        Err(RunError::NoFreeName { parent: parent.to_owned(), tries: COLLISIONS_MAX })
    }

    /// Makes exactly this directory; it may exist if it is empty.
    pub(crate) fn create_at(path: &Path) -> Result<Self, RunError> {
        fs::create_dir_all(path).map_err(|e| RunError::io("create", path, e))?;
        let mut entries = fs::read_dir(path).map_err(|e| RunError::io("read", path, e))?;
        if entries.next().is_some() {
            return Err(RunError::NotEmpty(path.to_owned()));
        }
        Self { path: path.to_owned() }.with_profiles()
    }

    /// An existing run directory; whether it holds a run shows when it is read.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, RunError> {
        let path = path.into();
        if path.is_dir() { Ok(Self { path }) } else { Err(RunError::Missing(path)) }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where profiles go.
    #[must_use]
    pub fn profiles(&self) -> PathBuf {
        self.path.join(PROFILES_DIR)
    }

    /// The experiment as it was run, resolved.
    pub fn experiment(&self) -> Result<String, RunError> {
        let path = self.path.join(EXPERIMENT_FILE);
        fs::read_to_string(&path).map_err(|e| RunError::io("read", path, e))
    }

    /// Writes a file whole or not at all: under another name, synced, then renamed. A file of
    /// that name is replaced. `name` may name a file in a folder (`profiles/api.pb.gz`).
    pub fn write_file(&self, name: &str, bytes: &[u8]) -> Result<PathBuf, RunError> {
        let path = self.inside(name)?;
        let folder = path.parent().unwrap_or(&self.path);
        fs::create_dir_all(folder).map_err(|e| RunError::io("create", folder, e))?;
        let mut draft = path.clone().into_os_string();
        draft.push(format!(".{}.tmp", std::process::id()));
        let draft = PathBuf::from(draft);
        let written = write_synced(&draft, bytes).and_then(|()| fs::rename(&draft, &path));
        if let Err(e) = written {
            // The draft is ours alone; if it cannot be removed either, the first error says more.
            let _ = fs::remove_file(&draft);
            return Err(RunError::io("write", path, e));
        }
        sync_dir(folder)?;
        Ok(path)
    }

    /// Writes the profile of a kind and a phase, whole or not at all, and gives the file's name:
    /// `profiles/cpu-baseline.pb.gz`, with `-2`, `-3` … where another phase has that name.
    pub fn write_profile(&self, kind: &str, phase: &str, bytes: &[u8]) -> Result<String, RunError> {
        let stem = format!("{PROFILES_DIR}/{}-{}", file_name(kind), file_name(phase));
        for n in 1..=COLLISIONS_MAX {
            let suffix = if n == 1 { String::new() } else { format!("-{n}") };
            let name = format!("{stem}{suffix}.pb.gz");
            if !self.path.join(&name).exists() {
                return self.write_file(&name, bytes).map(|_| name);
            }
        }
        Err(RunError::NoFreeName { parent: self.profiles(), tries: COLLISIONS_MAX })
    }

    /// Makes a file to be written bit by bit; there must be none of that name.
    pub(crate) fn create_file(&self, name: &str) -> Result<File, RunError> {
        let path = self.inside(name)?;
        File::create_new(&path).map_err(|e| RunError::io("create", path, e))
    }

    /// Reads a file beside the events, at most so many bytes of it. A link is not followed: a run
    /// may be somebody else's, and the reader root.
    pub fn read_file(&self, name: &str, bytes_max: u64) -> Result<Vec<u8>, RunError> {
        let path = self.inside(name)?;
        let mut bytes = Vec::new();
        let read = fs::symlink_metadata(&path).and_then(|found| {
            if !found.is_file() {
                return Err(io::Error::other("it is no file"));
            }
            File::open(&path)?.take(bytes_max).read_to_end(&mut bytes)
        });
        read.map_err(|e| RunError::io("read", &path, e))?;
        Ok(bytes)
    }

    fn with_profiles(self) -> Result<Self, RunError> {
        let profiles = self.profiles();
        fs::create_dir(&profiles).map_err(|e| RunError::io("create", profiles, e))?;
        Ok(self)
    }

    fn inside(&self, name: &str) -> Result<PathBuf, RunError> {
        let relative = Path::new(name);
        let plain = relative.components().all(|c| matches!(c, Component::Normal(_)));
        if plain && relative.file_name().is_some() && !name.ends_with('/') && !name.contains('\0') {
            Ok(self.path.join(relative))
        } else {
            Err(RunError::BadFileName(name.to_owned()))
        }
    }
}

/// Makes a rename or a removal in a directory outlast a power cut.
pub(crate) fn sync_dir(path: &Path) -> Result<(), RunError> {
    File::open(path).and_then(|dir| dir.sync_all()).map_err(|e| RunError::io("sync", path, e))
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// An experiment's name as a part of a directory's name.
fn file_name(name: &str) -> String {
    let kept: String = name
        .chars()
        .take(NAME_CHARS_MAX)
        .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_') { c } else { '-' })
        .collect();
    if kept.is_empty() { "run".to_owned() } else { kept }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wall() -> Timestamp {
        "2026-08-07T10:15:02.5Z".parse().unwrap()
    }

    #[test]
    fn names_are_made_of_time_and_name_and_do_not_collide() {
        let parent = tempfile::tempdir().unwrap();
        let names: Vec<String> = (0..3)
            .map(|_| RunDir::create_under(&parent.path().join("runs"), "a/../b c", wall()).unwrap())
            .map(|d| d.path().file_name().unwrap().to_str().unwrap().to_owned())
            .collect();
        let stem = "20260807T101502Z-a----b-c";
        assert_eq!(names, [stem.to_owned(), format!("{stem}-2"), format!("{stem}-3")]);
        assert!(parent.path().join("runs").join(stem).join("profiles").is_dir());
    }

    #[test]
    fn a_directory_in_use_is_refused_and_an_empty_one_taken() {
        let parent = tempfile::tempdir().unwrap();
        let dir = RunDir::create_at(parent.path()).unwrap();
        assert!(dir.profiles().is_dir());
        let refused = RunDir::create_at(parent.path()).unwrap_err();
        assert!(matches!(&refused, RunError::NotEmpty(p) if p == parent.path()), "{refused}");
    }

    #[test]
    fn files_stay_inside_and_are_replaced_whole() {
        let parent = tempfile::tempdir().unwrap();
        let dir = RunDir::create_at(&parent.path().join("run")).unwrap();
        for bad in ["", "..", "../x", "/etc/x", "a/../../x", ".", "x/", "a\0b"] {
            assert!(matches!(dir.write_file(bad, b"x"), Err(RunError::BadFileName(_))), "{bad:?}");
        }
        for (name, bytes) in [("result.json", "one"), ("result.json", "2"), ("profiles/a.pb", "")] {
            let path = dir.write_file(name, bytes.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(path).unwrap(), bytes);
        }
        let mut left: Vec<_> =
            fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["profiles", "result.json"]);
    }

    #[test]
    fn a_profile_is_named_by_its_kind_and_its_phase() {
        let parent = tempfile::tempdir().unwrap();
        let dir = RunDir::create_at(parent.path()).unwrap();
        for (phase, file) in [
            ("baseline", "profiles/cpu-baseline.pb.gz"),
            ("plus 50 ms", "profiles/cpu-plus-50-ms.pb.gz"),
            ("plus-50/ms", "profiles/cpu-plus-50-ms-2.pb.gz"),
            ("../x", "profiles/cpu----x.pb.gz"),
        ] {
            assert_eq!(dir.write_profile("cpu", phase, phase.as_bytes()).unwrap(), file);
            assert_eq!(fs::read_to_string(dir.path().join(file)).unwrap(), phase);
        }
    }

    #[test]
    fn a_file_that_cannot_be_put_in_place_leaves_no_draft() {
        let parent = tempfile::tempdir().unwrap();
        let dir = RunDir::create_at(parent.path()).unwrap();
        // A folder stands where the file should go: the rename fails.
        let failed = dir.write_file("profiles", b"x").unwrap_err();
        assert!(failed.to_string().starts_with("cannot write "), "{failed}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
