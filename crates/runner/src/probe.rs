//! The probes by their names: attached for a run, and for `temblor trace`.

use std::net::IpAddr;

use temblor_host::target::Target;
use temblor_probes::block::BlockProbe;
use temblor_probes::edges::EdgesProbe;
use temblor_probes::memory::MemoryProbe;
use temblor_probes::process::ProcessProbe;
use temblor_probes::roster::Roster;
use temblor_probes::sched::SchedProbe;
use temblor_probes::syscall::SyscallProbe;
use temblor_probes::tcp::{Attribution, TcpProbe};
use temblor_probes::{Error as ProbeError, Probe};

use crate::error::RunnerError;

/// The attached probes, and whom they watch.
#[derive(Default)]
pub(crate) struct Probes {
    pub(crate) attached: Vec<Box<dyn Probe>>,
    /// Kept for as long as they run: it tells them whose processes are whose.
    pub(crate) roster: Option<Roster>,
}

/// Attaches the probes of these names to the targets. `known` names addresses that are no target's,
/// so that whoever talks to them is seen to.
pub(crate) fn attach(
    names: &[String],
    targets: &[Target],
    known: &[(IpAddr, String)],
) -> Result<Probes, RunnerError> {
    let mut probes = Probes::default();
    for name in names {
        let probe = attach_one(name, targets, known, &mut probes.roster)?;
        probes.attached.push(probe);
    }
    Ok(probes)
}

/// Attaches one probe, and makes the roster if it is the first that wants it.
pub(crate) fn attach_one(
    name: &str,
    targets: &[Target],
    known: &[(IpAddr, String)],
    roster: &mut Option<Roster>,
) -> Result<Box<dyn Probe>, RunnerError> {
    let refused = |error| refused(name, error);
    Ok(match name {
        "tcp" => {
            let mut attribution = Attribution::of(targets);
            for (address, of) in known {
                attribution.name(*address, of);
            }
            let members = if attribution.shares() {
                Some(members(roster, targets).map_err(refused)?)
            } else {
                None
            };
            Box::new(TcpProbe::attach(&attribution, members).map_err(refused)?)
        }
        "sched" => {
            let members = members(roster, targets).map_err(refused)?;
            Box::new(SchedProbe::attach(members).map_err(refused)?)
        }
        "process" => {
            let members = members(roster, targets).map_err(refused)?;
            Box::new(ProcessProbe::attach(members).map_err(refused)?)
        }
        "edges" => {
            let members = members(roster, targets).map_err(refused)?;
            Box::new(EdgesProbe::attach(members, known).map_err(refused)?)
        }
        "memory" => {
            let members = members(roster, targets).map_err(refused)?;
            Box::new(MemoryProbe::attach(members).map_err(refused)?)
        }
        "block" => {
            let members = members(roster, targets).map_err(refused)?;
            Box::new(BlockProbe::attach(members).map_err(refused)?)
        }
        "syscall" => {
            let members = members(roster, targets).map_err(refused)?;
            Box::new(SyscallProbe::attach(members).map_err(refused)?)
        }
        other => return Err(RunnerError::Input(format!("there is no probe {other}"))),
    })
}

/// The roster that the probes share, made for the first that wants it.
fn members<'a>(
    roster: &'a mut Option<Roster>,
    targets: &[Target],
) -> Result<&'a Roster, ProbeError> {
    match roster {
        Some(roster) => Ok(roster),
        none => Ok(none.insert(Roster::of(targets)?)),
    }
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
#[must_use]
pub fn own_cost() -> temblor_event::Cost {
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
