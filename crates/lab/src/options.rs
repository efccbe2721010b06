//! Which lab, and where.

use std::io::Read;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Doing, Error, Result};
use crate::range::Range;
use crate::spec::Lab;

/// More than this is no options document of ours.
const HANDED_OVER_BYTES_MAX: u64 = 1 << 20;

/// Which lab, and where. Two labs with different directories, links and ranges live side by side.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Options {
    /// The lab's file; `None` is the built-in exchange.
    pub lab: Option<PathBuf>,
    /// Where the state, the logs and what only lives as long as a process are.
    pub runtime_dir: PathBuf,
    /// Where the services' data is: made by `up`, removed by `down`.
    pub data_dir: PathBuf,
    /// The name of the host's link to the lab; the cgroups are called after it.
    pub link: String,
    /// The lab's address range; `None` chooses one that is free.
    pub network: Option<Range>,
    /// Where the exchange's own programs are; `None` is beside this program.
    pub exchange_bin: Option<PathBuf>,
    /// The optional services that it is started without.
    pub without: Vec<String>,
    /// How long everything together may take to become healthy.
    pub start_within_ms: u64,
    /// How to start the supervisor.
    pub supervisor: SupervisorCommand,
}

/// A command that calls [`crate::supervise`] with [`Options::handed_over`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SupervisorCommand {
    /// The program; `None` is the one that is running.
    pub program: Option<PathBuf>,
    /// Its arguments.
    pub args: Vec<String>,
}

impl Default for Options {
    /// The built-in lab in its usual place, with a supervisor of `temblor lab supervise`.
    fn default() -> Self {
        Self {
            lab: None,
            runtime_dir: "/run/temblor/lab".into(),
            data_dir: "/var/lib/temblor/lab".into(),
            link: "temblor0".into(),
            network: None,
            exchange_bin: None,
            without: Vec::new(),
            start_within_ms: 60_000,
            supervisor: SupervisorCommand {
                program: None,
                args: vec!["lab".into(), "supervise".into()],
            },
        }
    }
}

impl Options {
    /// The defaults, with what the environment says otherwise: `TEMBLOR_LAB_RUNTIME_DIR`,
    /// `TEMBLOR_LAB_DATA_DIR`, `TEMBLOR_LAB_LINK`, `TEMBLOR_LAB_NETWORK`, `TEMBLOR_LAB_START_SECONDS`,
    /// `TEMBLOR_LAB_WITHOUT`, `TEMBLOR_EXCHANGE_BIN`.
    ///
    /// # Errors
    /// `TEMBLOR_LAB_NETWORK` is no range, or `TEMBLOR_LAB_START_SECONDS` no number of seconds.
    pub fn from_env() -> Result<Self> {
        let path = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
        let text = |name: &str| std::env::var(name).ok().filter(|v| !v.is_empty());
        let mut options = Self::default();
        if let Some(dir) = path("TEMBLOR_LAB_RUNTIME_DIR") {
            options.runtime_dir = dir;
        }
        if let Some(dir) = path("TEMBLOR_LAB_DATA_DIR") {
            options.data_dir = dir;
        }
        if let Some(link) = text("TEMBLOR_LAB_LINK") {
            options.link = link;
        }
        if let Some(network) = text("TEMBLOR_LAB_NETWORK") {
            let parsed = network
                .parse()
                .map_err(|e| Error::Option(format!("TEMBLOR_LAB_NETWORK is {network:?}: {e}")))?;
            options.network = Some(parsed);
        }
        if let Some(seconds) = text("TEMBLOR_LAB_START_SECONDS") {
            options.start_within_ms = start_within_ms(&seconds)?;
        }
        if let Some(without) = text("TEMBLOR_LAB_WITHOUT") {
            options.without = names(&without);
        }
        options.exchange_bin = path("TEMBLOR_EXCHANGE_BIN");
        Ok(options)
    }

    /// The options that [`crate::up`] gave to the supervisor it started: on its standard input.
    ///
    /// # Errors
    /// There are none: the supervisor was started by hand.
    pub fn handed_over() -> Result<Self> {
        let mut text = String::new();
        std::io::stdin()
            .take(HANDED_OVER_BYTES_MAX)
            .read_to_string(&mut text)
            .doing(|| "read the lab's options from standard input".into())?;
        serde_json::from_str(&text).map_err(|_| {
            Error::Option(
                "the supervisor is started by `temblor lab up`, not by hand: its options come on \
                 standard input"
                    .into(),
            )
        })
    }

    /// Refuses what could not work or would be dangerous.
    pub(crate) fn check(&self) -> Result<()> {
        let link_is_good = (1..=15).contains(&self.link.len())
            && self.link.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        if !link_is_good {
            return Err(Error::Option(format!(
                "{:?} cannot name a network link: 1 to 15 letters, digits, - or _",
                self.link
            )));
        }
        for dir in [&self.runtime_dir, &self.data_dir] {
            if !dir.is_absolute() || dir.parent().is_none() {
                return Err(Error::Option(format!(
                    "{} cannot be a lab's directory: an absolute path below / is wanted",
                    dir.display()
                )));
            }
        }
        if self.runtime_dir.starts_with(&self.data_dir)
            || self.data_dir.starts_with(&self.runtime_dir)
        {
            return Err(Error::Option(
                "the lab's runtime and data directories must not lie in one another".into(),
            ));
        }
        Ok(())
    }

    /// What the lab is made of: the file that the options name, or else the built-in lab, less what
    /// it is started without.
    ///
    /// # Errors
    /// The file cannot be read, or is wrong, or the lab cannot go without what is left out.
    pub fn read_lab(&self) -> Result<Lab> {
        let lab = match &self.lab {
            None => Lab::exchange()?,
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .doing(|| format!("read the lab's file {}", path.display()))?;
                Lab::parse(&path.display().to_string(), &text)?
            }
        };
        lab.without(&self.without)
            .map_err(|problem| Error::Option(format!("TEMBLOR_LAB_WITHOUT: {problem}")))
    }

    pub(crate) fn state_file(&self) -> PathBuf {
        self.runtime_dir.join("state.json")
    }

    pub(crate) fn log_dir(&self) -> PathBuf {
        self.runtime_dir.join("log")
    }

    /// The cgroup that holds one group a service.
    pub(crate) fn cgroup(&self) -> String {
        format!("temblor-lab-{}", self.link)
    }

    /// Where the exchange's programs may be, first choice first.
    pub(crate) fn exchange_dirs(&self) -> Vec<PathBuf> {
        if let Some(dir) = &self.exchange_bin {
            return vec![dir.clone()];
        }
        let Ok(program) = std::env::current_exe() else { return Vec::new() };
        // A test or an example of Cargo's lies one level below the programs.
        program.ancestors().skip(1).take(2).map(Path::to_path_buf).collect()
    }
}

/// Names with commas between them.
fn names(list: &str) -> Vec<String> {
    list.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// From a tenth of the usual bound to what a slow emulator may take.
fn start_within_ms(seconds: &str) -> Result<u64> {
    match seconds.parse::<u64>() {
        Ok(seconds @ 5..=3_600) => Ok(seconds * 1_000),
        _ => Err(Error::Option(format!(
            "TEMBLOR_LAB_START_SECONDS is {seconds:?}: a whole number from 5 to 3600 is wanted"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_of_a_start_is_a_number_of_seconds() {
        assert_eq!(start_within_ms("300").unwrap(), 300_000);
        for bad in ["0", "4", "3601", "-5", "5m", "5.5", ""] {
            let error = start_within_ms(bad).unwrap_err();
            assert!(error.to_string().contains("from 5 to 3600"), "{error}");
            assert_eq!(error.kind(), crate::Kind::Input);
        }
    }

    #[test]
    fn a_lab_is_read_less_what_it_goes_without() {
        assert_eq!(names(" prometheus, nginx,"), ["prometheus", "nginx"]);
        assert_eq!(names(" , "), [""; 0]);
        let without = |list| Options { without: names(list), ..Options::default() }.read_lab();
        let has = |lab: &Lab| lab.services.iter().any(|s| s.name.value == "prometheus");
        assert!(has(&without("").unwrap()));
        assert!(!has(&without("prometheus").unwrap()));
        let error = without("postgres").unwrap_err();
        assert!(error.to_string().contains("TEMBLOR_LAB_WITHOUT"), "{error}");
        assert_eq!(error.kind(), crate::Kind::Input);
    }

    #[test]
    fn options_that_could_not_work_are_refused() {
        let good = Options::default();
        assert!(good.check().is_ok());
        for (bad, said) in [
            (Options { link: String::new(), ..good.clone() }, "network link"),
            (Options { link: "a-name-of-16-byte".into(), ..good.clone() }, "network link"),
            (Options { link: "a/b".into(), ..good.clone() }, "network link"),
            (Options { data_dir: "/".into(), ..good.clone() }, "below /"),
            (Options { data_dir: "data".into(), ..good.clone() }, "absolute"),
            (Options { data_dir: good.runtime_dir.join("data"), ..good.clone() }, "one another"),
        ] {
            let error = bad.check().unwrap_err();
            assert!(error.to_string().contains(said), "{error}");
            assert_eq!(error.kind(), crate::Kind::Input);
        }
    }
}
