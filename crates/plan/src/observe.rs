//! What an experiment observes: probes by their names, and the user's own bpftrace scripts.

use std::path::Path;

use serde_saphyr::{Location, Spanned};

use crate::PROBES;
use crate::experiment::Script;
use crate::problem::Problem;
use crate::raw::RawValue;

/// Scripts of one experiment: each is a program of its own beside the run.
const SCRIPTS_MAX: usize = 8;
/// Characters of a script's name.
const NAME_CHARS_MAX: usize = 60;

/// What is to be observed, and what is wrong with it.
#[derive(Debug, Default)]
pub(crate) struct Observed {
    pub(crate) probes: Vec<String>,
    pub(crate) scripts: Vec<Script>,
    pub(crate) problems: Vec<Problem>,
}

/// The items of `observe`.
pub(crate) fn observed(items: Vec<Spanned<RawValue>>) -> Observed {
    let mut observed = Observed::default();
    for item in items {
        let at = item.referenced;
        match item.value {
            RawValue::Scalar(probe) => observed.probe(at, probe),
            RawValue::Map(fields) => match <[_; 1]>::try_from(fields) {
                Ok([(key, path)]) if key.value == "bpftrace" => observed.script(path),
                Ok([(key, _)]) => {
                    let what = format!("unknown way to observe \"{}\"", key.value);
                    observed.problem(key.referenced, what, HELP);
                }
                Err(_) => observed.problem(at, "one item observes one thing", HELP),
            },
            RawValue::Null | RawValue::List(_) => {
                observed.problem(at, "this is nothing to observe", HELP);
            }
        }
    }
    observed
}

const HELP: &str = "write the name of a probe, such as tcp, or {bpftrace: FILE}";

impl Observed {
    fn problem(&mut self, at: Location, what: impl Into<String>, help: impl Into<String>) {
        self.problems.push(Problem::at(at, what).help(help));
    }

    fn probe(&mut self, at: Location, probe: String) {
        if !PROBES.contains(&probe.as_str()) {
            let known = format!("known: {}; or {{bpftrace: FILE}}", PROBES.join(", "));
            self.problem(at, format!("unknown probe \"{probe}\""), known);
        }
        self.probes.push(probe);
    }

    fn script(&mut self, path: Spanned<RawValue>) {
        let at = path.referenced;
        let RawValue::Scalar(path) = path.value else {
            self.problem(at, "`bpftrace` takes the path of one script", HELP);
            return;
        };
        let name = script_name(&path);
        if name.is_empty() || path.ends_with('/') || path.contains('\0') {
            self.problem(at, format!("\"{path}\" is not the path of a script"), HELP);
            return;
        }
        if let Some(other) = self.scripts.iter().find(|other| other.name == name) {
            let what = format!("two scripts are called \"{name}\": {} and {path}", other.path);
            let help = "give one of the files another name: reports refer to them by name";
            self.problem(at, what, help);
        } else if self.scripts.len() == SCRIPTS_MAX {
            let help = format!("an experiment may have {SCRIPTS_MAX}: leave some out or join them");
            self.problem(at, "there are too many bpftrace scripts", help);
        }
        self.scripts.push(Script { name, path });
    }
}

/// The file's name without its ending, of characters that are safe in the name of a file.
fn script_name(path: &str) -> String {
    let stem = Path::new(path).file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let safe = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' };
    let name: String = stem.chars().take(NAME_CHARS_MAX).map(safe).collect();
    name.trim_matches('-').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_called_as_its_file_is_and_leads_nowhere_else() {
        for (path, name) in [
            ("slow.bt", "slow"),
            ("../probes/slow writes.v2.bt", "slow-writes-v2"),
            ("/opt/x/y_1", "y_1"),
            ("..", ""),
            ("a/..", ""),
            ("", ""),
            ("---.bt", ""),
            (".bt", "bt"),
        ] {
            assert_eq!(script_name(path), name, "{path}");
        }
        assert_eq!(script_name(&"x".repeat(500)).len(), NAME_CHARS_MAX);
    }
}
