//! The probes that an experiment asks for.

use std::net::IpAddr;

use temblor_plan::Experiment;
use temblor_probes::roster::Roster;
use temblor_probes::sched::SchedProbe;
use temblor_probes::tcp::{Attribution, TcpProbe};
use temblor_probes::{Error as ProbeError, Probe};

use crate::error::RunnerError;
use crate::targets::Targets;

/// The attached probes of a run, and whom they watch.
#[derive(Default)]
pub(crate) struct Probes {
    pub(crate) attached: Vec<Box<dyn Probe>>,
    /// Kept for as long as they run: it tells them whose processes are whose.
    pub(crate) roster: Option<Roster>,
}

/// Attaches the probes that the experiment asks for. `here` is the address from which the load and
/// the checks of this program come, so that their connections have a name.
pub(crate) fn attach(
    experiment: &Experiment,
    targets: &Targets,
    here: Option<IpAddr>,
) -> Result<Probes, RunnerError> {
    let mut probes = Probes::default();
    let asked = |name| experiment.observe.iter().any(|probe| probe == name);
    if asked("tcp") {
        let mut attribution = Attribution::of(&targets.all());
        if let Some(here) = here {
            attribution.name(here, "temblor");
        }
        let probe = TcpProbe::attach(&attribution).map_err(|error| refused("tcp", error))?;
        probes.attached.push(Box::new(probe));
    }
    if asked("sched") {
        let roster = Roster::of(&targets.all()).map_err(|error| refused("sched", error))?;
        let probe = SchedProbe::attach(&roster).map_err(|error| refused("sched", error))?;
        probes.attached.push(Box::new(probe));
        probes.roster = Some(roster);
    }
    Ok(probes)
}

fn refused(probe: &str, error: ProbeError) -> RunnerError {
    match error {
        ProbeError::Missing { what, how } => RunnerError::Missing { what, how },
        error => {
            RunnerError::failed(format!("the {probe} probe could not be attached"))(error.into())
        }
    }
}

/// What this process and the threads in it have used so far (getrusage); the wall time is left to
/// the caller, who knows since when.
pub(crate) fn own_cost() -> temblor_event::Cost {
    // SAFETY: getrusage writes a plain struct of integers that lives for the call.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &raw mut usage);
        usage
    };
    let ns = |t: libc::timeval| {
        let (s, us) = (u64::try_from(t.tv_sec), u64::try_from(t.tv_usec));
        s.unwrap_or(0) * 1_000_000_000 + us.unwrap_or(0) * 1000
    };
    temblor_event::Cost {
        user_ns: ns(usage.ru_utime),
        system_ns: ns(usage.ru_stime),
        // The kernel counts it in KiB.
        memory_bytes_max: u64::try_from(usage.ru_maxrss).unwrap_or(0) * 1024,
        wall_ns: 0,
    }
}
