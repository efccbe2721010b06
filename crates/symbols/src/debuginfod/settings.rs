//! Whom to ask, and where to keep what comes: from the variables that elfutils' own client reads.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// Distributions name one, companies two.
const SERVERS_MAX: usize = 16;
/// As elfutils' client waits.
const WAITING_DEFAULT: Duration = Duration::from_secs(90);
/// For all files of one naming: somebody waits for a profile.
const FETCHING_MAX: Duration = Duration::from_secs(300);
/// The debug information of a browser has half of it.
const BYTES_MAX_DEFAULT: u64 = 1 << 30;

/// Whom to ask for debug files, and within which bounds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DebuginfodSettings {
    /// The servers' addresses, which begin with `http://` or `https://`, in the order in which
    /// they are asked.
    pub servers: Vec<String>,
    /// The directory where files are kept, as elfutils' client keeps them; without one nobody is
    /// asked.
    pub cache: Option<PathBuf>,
    /// How long a server may say nothing.
    pub silent_max: Duration,
    /// How long fetching may take, all files together.
    pub fetching_max: Duration,
    /// How many bytes a file may have.
    pub bytes_max: u64,
}

impl DebuginfodSettings {
    /// What this process' environment says: `DEBUGINFOD_URLS`, `DEBUGINFOD_CACHE_PATH` (else
    /// `debuginfod_client` in `XDG_CACHE_HOME` or in `~/.cache`), `DEBUGINFOD_TIMEOUT` in seconds
    /// and `DEBUGINFOD_MAXSIZE` in bytes. None where no server is named.
    #[must_use]
    pub fn from_env() -> Option<Self> {
        Self::from_variables(|name| env::var_os(name))
    }

    pub(crate) fn from_variables(value: impl Fn(&str) -> Option<OsString>) -> Option<Self> {
        let value = |name| value(name).filter(|value| !value.is_empty());
        let servers = value("DEBUGINFOD_URLS")?.into_string().ok()?;
        // What else may stand there is about signatures, or a path.
        let is_server = |word: &&str| word.starts_with("http://") || word.starts_with("https://");
        let servers: Vec<String> = servers
            .split_whitespace()
            .filter(is_server)
            .take(SERVERS_MAX)
            .map(|server| server.trim_end_matches('/').to_owned())
            .collect();
        if servers.is_empty() {
            return None;
        }
        let directory = |name, below: &str| value(name).map(|path| PathBuf::from(path).join(below));
        let cache = value("DEBUGINFOD_CACHE_PATH")
            .map(PathBuf::from)
            .or_else(|| directory("XDG_CACHE_HOME", "debuginfod_client"))
            .or_else(|| directory("HOME", ".cache/debuginfod_client"));
        // Nought is without a bound there; here it is as if it were not said.
        let number = |name| value(name)?.to_str()?.trim().parse().ok().filter(|n: &u64| *n > 0);
        Some(Self {
            servers,
            cache,
            silent_max: number("DEBUGINFOD_TIMEOUT").map_or(WAITING_DEFAULT, Duration::from_secs),
            fetching_max: FETCHING_MAX,
            bytes_max: number("DEBUGINFOD_MAXSIZE").unwrap_or(BYTES_MAX_DEFAULT),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(variables: &[(&str, &str)]) -> Option<DebuginfodSettings> {
        DebuginfodSettings::from_variables(|name| {
            let found = variables.iter().find(|(of, _)| *of == name);
            found.map(|(_, value)| OsString::from(value))
        })
    }

    #[test]
    fn nobody_is_asked_unless_a_server_is_named() {
        let home = ("HOME", "/home/me");
        for urls in ["", " ", "ima:enforcing", "file:///debug", "debuginfod.example"] {
            assert_eq!(settings(&[("DEBUGINFOD_URLS", urls), home]), None, "{urls}");
        }
        assert_eq!(settings(&[home]), None);
    }

    #[test]
    fn what_the_environment_says_is_taken() {
        let urls = ("DEBUGINFOD_URLS", " https://one/ ima:ignore http://two:8002/x\n");
        let found = settings(&[urls]).unwrap();
        assert_eq!(found.servers, ["https://one", "http://two:8002/x"]);
        assert_eq!(found.cache, None);
        assert_eq!((found.silent_max.as_secs(), found.bytes_max), (90, 1 << 30));
        let bounds = [urls, ("DEBUGINFOD_TIMEOUT", "5"), ("DEBUGINFOD_MAXSIZE", "1000")];
        let found = settings(&bounds).unwrap();
        assert_eq!((found.silent_max.as_secs(), found.bytes_max), (5, 1000));
        let none = [urls, ("DEBUGINFOD_TIMEOUT", "0"), ("DEBUGINFOD_MAXSIZE", "x")];
        assert_eq!(settings(&none), settings(&[urls]));
    }

    #[test]
    fn files_are_kept_where_others_keep_them() {
        let all = [
            ("DEBUGINFOD_URLS", "http://one"),
            ("HOME", "/home/me"),
            ("XDG_CACHE_HOME", "/cache"),
            ("DEBUGINFOD_CACHE_PATH", "/own"),
        ];
        for (count, expected) in
            [(2, "/home/me/.cache/debuginfod_client"), (3, "/cache/debuginfod_client"), (4, "/own")]
        {
            assert_eq!(settings(&all[..count]).unwrap().cache, Some(expected.into()));
        }
    }
}
