//! What is sent: each profile is one file here and one line in the table.

mod orders;

use std::fmt;

/// A kind of request and how its answer is read. No I/O.
pub(crate) trait Profile: fmt::Debug + Sync {
    /// Its name in an experiment.
    fn name(&self) -> &'static str;

    /// The path it is sent to, unless the URL names one.
    fn path(&self) -> &'static str;

    /// The JSON body of request `number`. It depends on nothing else, so that a request is the
    /// same whether or not the ones before it were sent.
    fn body(&self, seed: u64, number: u64, key: &str) -> Vec<u8>;

    /// The server's id, from the body of a 2xx answer to the request with this key.
    ///
    /// # Errors
    /// The body is not the acknowledgement it should be; says in what way.
    fn acknowledged(&self, key: &str, body: &[u8]) -> Result<String, String>;
}

/// Every profile.
const PROFILES: &[&dyn Profile] = &[&orders::Orders];

pub(crate) fn by_name(name: &str) -> Option<&'static dyn Profile> {
    PROFILES.iter().copied().find(|profile| profile.name() == name)
}

/// The names of all profiles.
#[must_use]
pub fn names() -> Vec<&'static str> {
    PROFILES.iter().map(|profile| profile.name()).collect()
}
