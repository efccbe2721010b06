//! The text of a script: read once.

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use temblor_plan::Experiment;

use crate::error::RunnerError;

/// The longest script that is read.
const TEXT_BYTES_MAX: u64 = 1 << 20;

/// A script as it will be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScriptText {
    /// Its name in the experiment.
    pub name: String,
    /// Its file, as the experiment names it.
    pub path: String,
    /// The folder that the file is in: what the script itself names by relative paths is sought
    /// there.
    pub folder: PathBuf,
    /// What it says.
    pub text: String,
}

/// Reads the scripts of an experiment whose own file is in `folder`.
///
/// # Errors
/// One of them is not there, or is none.
pub fn read_scripts(
    experiment: &Experiment,
    folder: &Path,
) -> Result<Vec<ScriptText>, RunnerError> {
    let read_one = |script: &temblor_plan::Script| {
        let file = folder.join(&script.path);
        let text = read(&file).map_err(|error| {
            let why = match error.kind() {
                io::ErrorKind::InvalidData => "it is no text (UTF-8)".to_owned(),
                _ => error.to_string(),
            };
            let file = file.display();
            RunnerError::Input(format!("the bpftrace script {file} cannot be read: {why}"))
        })?;
        let folder = file.parent().filter(|parent| !parent.as_os_str().is_empty());
        let folder = folder.map_or_else(|| PathBuf::from("."), Path::to_owned);
        let (name, path) = (script.name.clone(), script.path.clone());
        Ok(ScriptText { name, path, folder, text })
    };
    experiment.scripts.iter().map(read_one).collect()
}

fn read(file: &Path) -> io::Result<String> {
    // Opening a pipe that nobody writes to would wait for ever.
    let opened = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(file)?;
    if !opened.metadata()?.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    let mut text = String::new();
    opened.take(TEXT_BYTES_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > TEXT_BYTES_MAX {
        let why = format!("it is longer than {TEXT_BYTES_MAX} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, why));
    }
    if text.trim().is_empty() {
        return Err(io::Error::other("it is empty"));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn only_a_text_of_a_bearable_length_is_a_script() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("good.bt"), "BEGIN { exit(); }").unwrap();
        fs::write(at("empty.bt"), " \n").unwrap();
        fs::write(at("bytes.bt"), [0xff, 0xfe]).unwrap();
        fs::write(at("long.bt"), vec![b' '; 1 + (1 << 20)]).unwrap();
        let pipe = std::ffi::CString::new(at("pipe.bt").to_str().unwrap()).unwrap();
        // SAFETY: the path is a string that ends with a NUL and lives for the call.
        assert_eq!(unsafe { libc::mkfifo(pipe.as_ptr(), 0o600) }, 0);
        let mut experiment = Experiment::parse(
            "x.yaml",
            "{apiVersion: temblor.dev/v1, kind: Experiment, metadata: {name: x}, \
             targets: {a: {pid: 1}}, observe: [{bpftrace: good.bt}], phases: [\
             {name: b, for: 1s}, {name: f, for: 1s, inject: [{process.kill: {target: a}}]}]}",
        )
        .unwrap();
        let scripts = read_scripts(&experiment, dir.path()).unwrap();
        assert_eq!(scripts[0].text, "BEGIN { exit(); }");
        assert_eq!((scripts[0].name.as_str(), &*scripts[0].folder), ("good", dir.path()));
        for (path, why) in [
            ("none.bt", "No such file"),
            ("empty.bt", "it is empty"),
            ("bytes.bt", "it is no text"),
            ("long.bt", "longer than"),
            ("pipe.bt", "it is no file"),
            (".", "it is no file"),
        ] {
            experiment.scripts[0].path = path.into();
            let error = read_scripts(&experiment, dir.path()).unwrap_err();
            assert!(matches!(error, RunnerError::Input(_)), "{error}");
            let said = error.to_string();
            assert!(said.contains(why) && said.contains(path), "{path}: {said}");
        }
    }
}
