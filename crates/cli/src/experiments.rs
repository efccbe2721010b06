//! Experiments by name or by file.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use temblor_plan::Experiment;
use temblor_runner::{RunnerError, ScriptText};

use crate::args::Check;
use crate::exit::{Exit, Failure};
use crate::terminal;

/// The experiments that come with the program: the files of `experiments/`.
const BUILT_IN: &[(&str, &str)] = &[
    ("db-death", include_str!("../../../experiments/db-death.yaml")),
    ("network-partition", include_str!("../../../experiments/network-partition.yaml")),
    ("oom-kill", include_str!("../../../experiments/oom-kill.yaml")),
    ("cpu-throttle", include_str!("../../../experiments/cpu-throttle.yaml")),
    ("disk-io", include_str!("../../../experiments/disk-io.yaml")),
    ("conn-pool", include_str!("../../../experiments/conn-pool.yaml")),
    ("redis", include_str!("../../../experiments/redis.yaml")),
    ("nginx", include_str!("../../../experiments/nginx.yaml")),
    ("latency", include_str!("../../../experiments/latency.yaml")),
    ("cascade", include_str!("../../../experiments/cascade.yaml")),
    ("flamegraph", include_str!("../../../experiments/flamegraph.yaml")),
];

/// The longest experiment that is read.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Reads an experiment: a file if there is one of that name, else a built-in one.
pub(crate) fn load(name: &str) -> Result<Experiment, Failure> {
    let path = Path::new(name);
    let looks_like_a_file = path.components().count() > 1
        || path.extension().is_some_and(|e| e == "yaml" || e == "yml" || e == "json");
    if looks_like_a_file || path.is_file() {
        let text = read(path).map_err(|e| {
            Failure::input(anyhow::Error::new(e).context(format!("{name} cannot be read")))
        })?;
        return parse(name, &text);
    }
    match BUILT_IN.iter().find(|(known, _)| *known == name) {
        Some((_, text)) => parse(name, text),
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

/// Reads the bpftrace scripts of an experiment that was given by this name: their paths count from
/// its own file.
pub(crate) fn scripts(name: &str, experiment: &Experiment) -> Result<Vec<ScriptText>, Failure> {
    let folder = Path::new(name).parent().unwrap_or(Path::new(""));
    Ok(temblor_runner::read_scripts(experiment, folder)?)
}

/// The whole file, if it is one that somebody may have written.
fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        let why = format!("it is longer than {FILE_BYTES_MAX} bytes, so it is no experiment");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, why));
    }
    Ok(text)
}

/// Where it asks for the lab, its services are held against the lab's: a misspelt one is told
/// with its line, and before a lab is started for it.
fn parse(name: &str, text: &str) -> Result<Experiment, Failure> {
    let experiment = Experiment::parse(name, text).map_err(Failure::input)?;
    match experiment.lab.as_ref().and_then(|_| lab_services()) {
        Some(services) => {
            Experiment::parse_for(name, text, Some(&services)).map_err(Failure::input)
        }
        None => Ok(experiment),
    }
}

/// Those of the lab that is up, or else of the one that would be started. None: that cannot be
/// found out here, and is told by whoever starts the lab.
fn lab_services() -> Option<Vec<String>> {
    let options = temblor_lab::Options::from_env().ok()?;
    if let Some(state) = temblor_lab::status(&options).ok().flatten() {
        return Some(state.services.into_iter().map(|service| service.name).collect());
    }
    let lab = options.read_lab().ok()?;
    Some(lab.services.into_iter().map(|service| service.name.value).collect())
}

/// `temblor check`: says of each file whether it could be run.
pub(crate) fn check(args: &Check) -> Result<Exit, Failure> {
    if args.schema {
        terminal::print(&format!("{:#}", temblor_plan::schema()));
        return Ok(Exit::Pass);
    }
    let mut worst = Exit::Pass;
    for name in &args.experiments {
        match load(name)
            .and_then(|experiment| check_scripts(name, &experiment).map(|()| experiment))
        {
            Ok(experiment) => terminal::print(&format!("{name}: good: {}", experiment.title)),
            Err(failure) => worst = failure.tell(),
        }
    }
    Ok(worst)
}

/// Compiles the scripts where that can be done; where it cannot, they may be good all the same.
fn check_scripts(name: &str, experiment: &Experiment) -> Result<(), Failure> {
    let scripts = scripts(name, experiment)?;
    if scripts.is_empty() {
        return Ok(());
    }
    let cannot = if !rustix::process::geteuid().is_root() {
        "only root may use bpftrace".to_owned()
    } else {
        match temblor_runner::compile_scripts(&scripts) {
            Err(error @ RunnerError::Missing { .. }) => error.to_string(),
            compiled => return Ok(compiled?),
        }
    };
    terminal::say(&format!("{name}: its bpftrace scripts were not compiled: {cannot}"));
    Ok(())
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
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            assert!(BUILT_IN.iter().any(|(known, _)| *known == name), "{name} is not built in");
        }
    }
}
