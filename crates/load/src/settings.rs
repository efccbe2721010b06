//! What a load is asked to be, checked before anything starts.

use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

use hyper::Uri;
use hyper::header::HeaderValue;

use crate::latency::LATENCY_NS_MAX;
use crate::ledger::Imbalance;
use crate::profiles::{self, Profile};
use crate::schedule::Arrivals;

/// More than one thread sends on any machine; a rate above this is a slip of the pen.
const RATE_PER_SECOND_MAX: f64 = 1_000_000.0;
/// Each request in flight holds a socket.
const IN_FLIGHT_MAX: usize = 65_536;
const DURATION_MAX: Duration = Duration::from_secs(30 * 24 * 3600);
const KEY_PREFIX_LEN_MAX: usize = 64;

/// A load to be sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// `http://host:port`; a path other than `/` replaces the profile's own.
    pub url: String,
    /// Which requests are sent: one of [`crate::profile_names`].
    pub profile: String,
    /// How many are planned per second, on average.
    pub rate_per_second: f64,
    /// How the planned times are spread.
    pub arrivals: Arrivals,
    /// How long a request may take, from its planned send; at most 120 s.
    pub timeout: Duration,
    /// The same seed gives the same planned times and the same requests.
    pub seed: u64,
    /// Keys are `<prefix>-<number from 0>`: the prefix must be unique to the run, for the audit
    /// selects by it. Letters, digits and `-` only, because `_` and `%` mean something in LIKE.
    pub key_prefix: String,
    /// How many requests may be under way; what is planned beyond that is `unsent`.
    pub in_flight_max: usize,
    /// The load ends by itself after this time.
    pub duration_max: Duration,
    /// The load ends by itself after so many planned requests.
    pub requests_max: u64,
}

/// Why a load cannot start, or what was wrong with its account.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A setting is out of its range.
    #[error("the load's {setting} is {found}; it must be {wanted}")]
    Setting {
        /// Which one.
        setting: &'static str,
        /// What it is.
        found: String,
        /// What would be right.
        wanted: String,
    },
    /// The host of the URL has no address.
    #[error("the load's host {host} cannot be resolved to an address")]
    Resolve {
        /// The host as given.
        host: String,
        /// The resolver's answer.
        source: std::io::Error,
    },
    /// The machine refused a thread or an event loop.
    #[error("the load generator could not be started")]
    Start(#[source] std::io::Error),
    /// Requests were lost from the account: a bug here, and the ledger must not be trusted.
    #[error("the load's account does not balance, so its ledger cannot be trusted ({whose})")]
    Unbalanced {
        /// `second 12` or `the whole`.
        whose: String,
        /// The figures.
        source: Imbalance,
    },
    /// A thread of the generator, or the receiver of its events, panicked.
    #[error("the load generator broke off by a panic in its {0}; what it recorded is incomplete")]
    Panicked(&'static str),
}

/// Settings that have been checked.
#[derive(Debug)]
pub(crate) struct Checked {
    pub(crate) profile: &'static dyn Profile,
    pub(crate) target: Target,
    pub(crate) timeout_ns: u64,
    pub(crate) duration_ns: u64,
}

/// Where requests go. The addresses are resolved once: a name that resolves differently in the
/// middle of an experiment would be a second fault.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) addresses: Vec<SocketAddr>,
    pub(crate) host: HeaderValue,
    pub(crate) path: Uri,
}

impl Settings {
    pub(crate) fn check(&self) -> Result<Checked, Error> {
        let profile = profiles::by_name(&self.profile).ok_or_else(|| {
            setting("profile", &self.profile, &format!("one of {}", profiles::names().join(", ")))
        })?;
        if !(self.rate_per_second > 0.0 && self.rate_per_second <= RATE_PER_SECOND_MAX) {
            let wanted = format!("above 0 and at most {RATE_PER_SECOND_MAX} per second");
            return Err(setting("rate", &self.rate_per_second.to_string(), &wanted));
        }
        let timeout_ns = bounded("timeout", self.timeout, Duration::from_nanos(LATENCY_NS_MAX))?;
        let duration_ns = bounded("greatest duration", self.duration_max, DURATION_MAX)?;
        if self.requests_max == 0 {
            return Err(setting("greatest number of requests", "0", "at least 1"));
        }
        if !(1..=IN_FLIGHT_MAX).contains(&self.in_flight_max) {
            let wanted = format!("from 1 to {IN_FLIGHT_MAX}");
            return Err(setting("bound in flight", &self.in_flight_max.to_string(), &wanted));
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
        if !(1..=KEY_PREFIX_LEN_MAX).contains(&self.key_prefix.len())
            || !self.key_prefix.chars().all(plain)
        {
            let wanted = format!("1 to {KEY_PREFIX_LEN_MAX} letters, digits or `-`");
            return Err(setting("key prefix", &format!("{:?}", self.key_prefix), &wanted));
        }
        let target = resolve(&self.url, profile.path())?;
        Ok(Checked { profile, target, timeout_ns, duration_ns })
    }
}

fn setting(setting: &'static str, found: &str, wanted: &str) -> Error {
    Error::Setting { setting, found: found.to_owned(), wanted: wanted.to_owned() }
}

fn bounded(name: &'static str, found: Duration, max: Duration) -> Result<u64, Error> {
    match u64::try_from(found.as_nanos()) {
        Ok(ns) if ns > 0 && found <= max => Ok(ns),
        _ => Err(setting(name, &format!("{found:?}"), &format!("above 0 and at most {max:?}"))),
    }
}

fn resolve(url: &str, profile_path: &str) -> Result<Target, Error> {
    let wrong = || setting("url", &format!("{url:?}"), "like http://10.0.0.5:8080");
    let uri: Uri = url.parse().map_err(|_| wrong())?;
    let authority = uri.authority().ok_or_else(wrong)?;
    if uri.scheme_str() != Some("http") || authority.as_str().contains('@') {
        return Err(wrong());
    }
    let path = match uri.path_and_query().map_or("/", |path| path.as_str()) {
        "/" => profile_path,
        given => given,
    };
    // The resolver wants an IPv6 address without its brackets.
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    let addresses: Vec<_> = (host, authority.port_u16().unwrap_or(80))
        .to_socket_addrs()
        .map_err(|source| Error::Resolve { host: host.to_owned(), source })?
        .collect();
    if addresses.is_empty() {
        let source = std::io::Error::from(std::io::ErrorKind::NotFound);
        return Err(Error::Resolve { host: host.to_owned(), source });
    }
    Ok(Target {
        addresses,
        host: HeaderValue::from_str(authority.as_str()).map_err(|_| wrong())?,
        path: path.parse().map_err(|_| wrong())?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        Settings {
            url: "http://127.0.0.1:8080".into(),
            profile: "orders".into(),
            rate_per_second: 10.0,
            arrivals: Arrivals::Constant,
            timeout: Duration::from_secs(5),
            seed: 1,
            key_prefix: "tmb-1".into(),
            in_flight_max: 64,
            duration_max: Duration::from_secs(1),
            requests_max: 10,
        }
    }

    #[test]
    fn wrong_settings_are_named_with_what_would_be_right() {
        let check = |change: fn(&mut Settings), expected: &str| {
            let mut wrong = settings();
            change(&mut wrong);
            let message = wrong.check().unwrap_err().to_string();
            assert!(message.contains(expected), "{message:?} does not say {expected:?}");
        };
        check(|s| s.profile = "order".into(), "one of orders");
        check(|s| s.rate_per_second = 0.0, "rate is 0");
        check(|s| s.rate_per_second = f64::NAN, "rate is NaN");
        check(|s| s.rate_per_second = 1e9, "at most 1000000");
        check(|s| s.timeout = Duration::ZERO, "timeout is 0ns");
        check(|s| s.timeout = Duration::from_secs(121), "at most 120s");
        check(|s| s.duration_max = Duration::ZERO, "greatest duration");
        check(|s| s.requests_max = 0, "at least 1");
        check(|s| s.in_flight_max = 0, "from 1 to");
        check(|s| s.key_prefix = "a_b".into(), "letters, digits");
        check(|s| s.key_prefix = String::new(), "letters, digits");
        check(|s| s.url = "https://127.0.0.1".into(), "like http://");
        check(|s| s.url = "127.0.0.1:80".into(), "like http://");
        check(|s| s.url = "http://u:p@127.0.0.1".into(), "like http://");
        check(|s| s.url = String::new(), "like http://");
    }

    #[test]
    fn the_path_is_the_profiles_unless_the_url_has_one() {
        let check = |url: &str, address: &str, path: &str| {
            let target = Settings { url: url.into(), ..settings() }.check().unwrap().target;
            assert_eq!(target.addresses, [address.parse().unwrap()], "{url}");
            assert_eq!(target.path.to_string(), path, "{url}");
        };
        check("http://127.0.0.1:8080", "127.0.0.1:8080", "/api/orders");
        check("http://127.0.0.1/", "127.0.0.1:80", "/api/orders");
        check("http://127.0.0.1/v2/orders", "127.0.0.1:80", "/v2/orders");
        check("http://[::1]:81", "[::1]:81", "/api/orders");
    }
}
