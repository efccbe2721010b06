//! Profiles that a program collects of itself and hands out over HTTP, as Go's `net/http/pprof` does.

use std::time::Duration;

use hyper::Uri;
use temblor_profile::Profile;

use crate::error::RunnerError;
use crate::http::Http;

/// Where Go puts them.
const DIRECTORY: &str = "/debug/pprof";
/// More than any profile that is read has.
const ANSWER_BYTES_MAX: usize = 256 << 20;
/// On top of the time for which it collects.
const ANSWERS_WITHIN: Duration = Duration::from_secs(30);
/// How much of what a server says of a failure is told.
const SAID_MAX: usize = 200;

/// What is collected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PprofKind {
    /// Processor time.
    Cpu,
    /// Memory that is in use.
    Heap,
    /// All memory that was allocated.
    Allocs,
    /// Time spent waiting.
    Block,
    /// Time that others had to wait for locks.
    Mutex,
    /// What each goroutine is at.
    Goroutine,
}

impl PprofKind {
    fn name(self) -> &'static str {
        match self {
            Self::Cpu => "profile",
            Self::Heap => "heap",
            Self::Allocs => "allocs",
            Self::Block => "block",
            Self::Mutex => "mutex",
            Self::Goroutine => "goroutine",
        }
    }
}

/// What is to be fetched, and from where.
#[derive(Debug, Clone)]
pub struct FetchSettings {
    /// The program's address, such as `http://127.0.0.1:6060`; or with the path of its profiles, where
    /// that is another one than Go's.
    pub url: String,
    /// What is collected.
    pub kind: PprofKind,
    /// For how long; of what is counted from the program's start on, what came on top meanwhile. None:
    /// what there is now.
    pub length: Option<Duration>,
}

/// Asks a program for a profile of itself.
///
/// # Errors
/// There is no such address or no such profile there; the program refused; or the profile is empty.
pub fn fetch_pprof(settings: &FetchSettings) -> Result<Profile, RunnerError> {
    let url = address(settings)?;
    let failed = |why: String| RunnerError::Failed {
        what: format!("no profile came from {url}"),
        source: why.into(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| failed(error.to_string()))?;
    let bound = settings.length.unwrap_or_default() + ANSWERS_WITHIN;
    let answer = runtime.block_on(Http::new().get_at_most(&url, bound, ANSWER_BYTES_MAX));
    let (status, body) = answer.map_err(failed)?;
    if status == 404 {
        return Err(RunnerError::Input(format!(
            "{url} is not there: a Go program hands its profiles out once it imports net/http/pprof; \
             give their path where it is another one than {DIRECTORY}"
        )));
    }
    if status != 200 {
        let said = String::from_utf8_lossy(&body);
        let said: String =
            said.trim().replace(char::is_control, " ").chars().take(SAID_MAX).collect();
        return Err(failed(format!("it answers {status}: {said}")));
    }
    let profile =
        temblor_profile::pprof::read(&body).map_err(|error| failed(crate::http::chain(&error)))?;
    let index = profile.type_index(None).map_err(|error| failed(error.to_string()))?;
    match profile.remedy_if_empty(index) {
        Some(remedy) => Err(RunnerError::Nothing(format!("{url} has no samples: {remedy}"))),
        None if profile.samples.is_empty() => {
            Err(RunnerError::Nothing(format!("{url} has no samples")))
        }
        None => Ok(profile),
    }
}

/// The profile's own address.
fn address(settings: &FetchSettings) -> Result<String, RunnerError> {
    let FetchSettings { url, kind, length } = settings;
    let wrong = |why: &str| RunnerError::Input(format!("{url}: {why}"));
    let uri: Uri = url.parse().map_err(|_| wrong("not a URL, such as http://127.0.0.1:6060"))?;
    match uri.scheme_str() {
        Some("http") => {}
        Some(other) => return Err(wrong(&format!("{other} is not spoken here, but http"))),
        None => return Err(wrong("begin it with http://")),
    }
    let authority = uri.authority().ok_or_else(|| wrong("no host"))?;
    let path = uri.path().trim_end_matches('/');
    let directory = if path.is_empty() { DIRECTORY } else { path };
    let name = kind.name();
    let seconds = length.map_or(0, |length| length.as_secs_f64().ceil() as u64);
    let query = if seconds == 0 { String::new() } else { format!("?seconds={seconds}") };
    Ok(format!("http://{authority}{directory}/{name}{query}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_lead_to_the_profile() {
        for (url, kind, seconds, expected) in [
            ("http://h:1", PprofKind::Cpu, 30, "http://h:1/debug/pprof/profile?seconds=30"),
            ("http://h:1/", PprofKind::Heap, 0, "http://h:1/debug/pprof/heap"),
            ("http://h:1/own/pprof/", PprofKind::Mutex, 5, "http://h:1/own/pprof/mutex?seconds=5"),
        ] {
            let length = (seconds > 0).then(|| Duration::from_secs(seconds));
            let settings = FetchSettings { url: url.into(), kind, length };
            assert_eq!(address(&settings).unwrap(), expected);
        }
        for (url, said) in [
            ("h:1", "begin it with http://"),
            ("https://h", "https is not spoken here"),
            ("http://", "not a URL"),
        ] {
            let settings = FetchSettings { url: url.into(), kind: PprofKind::Cpu, length: None };
            let told = address(&settings).unwrap_err().to_string();
            assert!(told.contains(said), "{told}");
        }
    }
}
