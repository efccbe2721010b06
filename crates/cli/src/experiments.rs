//! Experiments by name or by file.

use std::fs;
use std::path::Path;

use temblor_plan::Experiment;

use crate::args::Check;
use crate::exit::{Exit, Failure};
use crate::terminal;

/// The experiments that come with the program: the files of `experiments/`.
const BUILT_IN: &[(&str, &str)] =
    &[("network-partition", include_str!("../../../experiments/network-partition.yaml"))];

/// Reads an experiment: a file if there is one of that name, else a built-in one.
pub(crate) fn load(name: &str) -> Result<Experiment, Failure> {
    let path = Path::new(name);
    let looks_like_a_file = path.components().count() > 1
        || path.extension().is_some_and(|e| e == "yaml" || e == "yml" || e == "json");
    if looks_like_a_file || path.is_file() {
        let text = fs::read_to_string(path).map_err(|e| {
            Failure::input(anyhow::Error::new(e).context(format!("{name} cannot be read")))
        })?;
        return Experiment::parse(name, &text).map_err(Failure::input);
    }
    match BUILT_IN.iter().find(|(known, _)| *known == name) {
        Some((_, text)) => Experiment::parse(name, text).map_err(Failure::input),
        None => {
            let known: Vec<&str> = BUILT_IN.iter().map(|(known, _)| *known).collect();
            Err(Failure::input(anyhow::anyhow!(
                "there is no experiment \"{name}\": built in are {}; a file is given by its path, \
                 such as ./mine.yaml",
                known.join(", ")
            )))
        }
    }
}

/// `temblor check`: says of each file whether it could be run.
pub(crate) fn check(args: &Check) -> Result<Exit, Failure> {
    let mut worst = Exit::Pass;
    for name in &args.experiments {
        match load(name) {
            Ok(experiment) => terminal::print(&format!("{name}: good: {}", experiment.title)),
            Err(failure) => worst = failure.tell(),
        }
    }
    Ok(worst)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_experiment_is_good() {
        for (name, _) in BUILT_IN {
            assert_eq!(load(name).unwrap().name, *name);
        }
    }

    #[test]
    fn every_file_of_ours_is_built_in() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../experiments");
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            assert!(BUILT_IN.iter().any(|(known, _)| *known == name), "{name} is not built in");
        }
    }
}
