//! Which test programs there are: cargo says it when it builds them.

use std::io::BufRead;
use std::path::PathBuf;

use cargo_metadata::Message;
use serde::{Deserialize, Serialize};

/// One test program.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Program {
    /// The crate, without its prefix.
    pub of: String,
    /// Its name: that of the file or folder.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
    /// Where cargo would run it.
    pub dir: PathBuf,
}

/// All that are to be run, in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Programs(pub Vec<Program>);

impl Programs {
    /// Those in what `cargo test --no-run --message-format=json` prints.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn read(messages: impl BufRead) -> std::io::Result<Self> {
        let mut all = Vec::new();
        for message in Message::parse_stream(messages) {
            let Message::CompilerArtifact(artifact) = message? else { continue };
            let (true, Some(path)) = (artifact.profile.test, artifact.executable) else { continue };
            let dir = PathBuf::from(artifact.manifest_path.parent().unwrap());
            let of = dir.file_name().unwrap().to_string_lossy().into_owned();
            // What is tested inside of a library is what is computed.
            if artifact.target.is_test() {
                all.push(Program { of, name: artifact.target.name, path: path.into(), dir });
            }
        }
        all.sort();
        Ok(Self(all))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn test_programs_are_told_from_all_else_that_cargo_builds() {
        let artifact = |name: &str, kind: &str, test: bool, executable: &str| {
            serde_json::json!({
                "reason": "compiler-artifact",
                "package_id": "path+file:///w/crates/probes#temblor-probes@0.1.0",
                "manifest_path": "/w/crates/probes/Cargo.toml",
                "target": {
                    "kind": [kind], "crate_types": [kind], "name": name,
                    "src_path": "/w/crates/probes/x.rs", "edition": "2024",
                    "doc": false, "doctest": false, "test": true,
                },
                "profile": {
                    "opt_level": "0", "debuginfo": 0, "debug_assertions": true,
                    "overflow_checks": true, "test": test,
                },
                "features": [], "filenames": [], "fresh": true,
                "executable": if executable.is_empty() { None } else { Some(executable) },
            })
            .to_string()
        };
        let text = [
            artifact("tcp", "test", true, "/w/target/debug/deps/tcp-1"),
            artifact("temblor_probes", "lib", true, "/w/target/debug/deps/temblor_probes-2"),
            artifact("temblor_probes", "lib", false, ""),
            artifact("stressor", "example", false, "/w/target/debug/examples/stressor"),
        ]
        .join("\n");
        let Programs(found) = Programs::read(text.as_bytes()).unwrap();
        let names: Vec<_> = found.iter().map(|p| (p.of.as_str(), p.name.as_str())).collect();
        assert_eq!(names, [("probes", "tcp")]);
        assert_eq!(found[0].path, PathBuf::from("/w/target/debug/deps/tcp-1"));
        assert_eq!(found[0].dir, PathBuf::from("/w/crates/probes"));
    }
}
