//! A profile of targets, with nothing around it: no experiment, no load, no verdict.

use std::time::Duration;

use temblor_event::clock;
use temblor_lab::State as LabState;
use temblor_probes::Error as ProbeError;
use temblor_profiler::{Collected, Error, Settings, collect};

use crate::error::RunnerError;
use crate::stop::Stop;
use crate::trace::{Sought, find};

/// What is to be profiled, and for how long.
#[derive(Debug)]
pub struct ProfileSettings {
    /// Whom.
    pub targets: Vec<Sought>,
    /// The lab, where one is up: its services can be targets.
    pub lab: Option<LabState>,
    /// What.
    pub collect: Settings,
    /// For how long. Of threads it is of no account.
    pub length: Duration,
    /// Ends it early; what was collected is there all the same.
    pub stop: Stop,
}

/// A profile of the targets. Nobody is refused as a target: it changes nothing.
///
/// # Errors
/// A target is not there, the sampler cannot be attached, or nothing was seen.
pub fn profile(settings: &ProfileSettings) -> Result<Collected, RunnerError> {
    let targets = find(&settings.targets, settings.lab.as_ref())?;
    let length_ns = u64::try_from(settings.length.as_nanos()).unwrap_or(u64::MAX);
    let mut end_ns = None;
    let enough = || {
        // It begins once everything is in place.
        let now_ns = clock::now_ns();
        let end_ns = *end_ns.get_or_insert(now_ns.saturating_add(length_ns));
        settings.stop.requested().is_some() || now_ns >= end_ns
    };
    collect(&targets, &settings.collect, enough).map_err(|error| match error {
        Error::Sampler(ProbeError::Missing { what, how }) => RunnerError::Missing { what, how },
        error @ Error::NoSamples { .. } => RunnerError::Nothing(error.to_string()),
        error => RunnerError::failed("no stacks could be taken")(error.into()),
    })
}
