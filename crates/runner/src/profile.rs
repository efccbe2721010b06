//! A profile of targets, with nothing around it: no experiment, no load, no verdict.

use std::time::Duration;

use temblor_event::clock;
use temblor_lab::State as LabState;
use temblor_probes::Error as ProbeError;
use temblor_profiler::{Collected, CpuSettings, Error, collect};

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
    /// Whoever is on a processor, and not the targets alone.
    pub everybody: bool,
    /// How often a second each processor is looked at.
    pub rate_hz: u32,
    /// For how long.
    pub length: Duration,
    /// Ends it early; what was collected is there all the same.
    pub stop: Stop,
}

/// Where the targets' processor time goes. Nobody is refused as a target: it changes nothing.
///
/// # Errors
/// A target is not there, the sampler cannot be attached, or nothing was seen.
pub fn profile_cpu(settings: &ProfileSettings) -> Result<Collected, RunnerError> {
    let targets = find(&settings.targets, settings.lab.as_ref())?;
    let length_ns = u64::try_from(settings.length.as_nanos()).unwrap_or(u64::MAX);
    let cpu = CpuSettings { rate_hz: settings.rate_hz, everybody: settings.everybody };
    let mut end_ns = None;
    let enough = || {
        // It begins once everything is in place.
        let now_ns = clock::now_ns();
        let end_ns = *end_ns.get_or_insert(now_ns.saturating_add(length_ns));
        settings.stop.requested().is_some() || now_ns >= end_ns
    };
    collect(&targets, &cpu, enough).map_err(|error| match error {
        Error::Sampler(ProbeError::Missing { what, how }) => RunnerError::Missing { what, how },
        error @ Error::NoSamples { .. } => RunnerError::Nothing(error.to_string()),
        error => RunnerError::failed("the processors could not be sampled")(error.into()),
    })
}
