//! From healing on: the first connection, the backlogs, steadiness.
//!
//! Healing is the moment at which the last fault was undone. While one of them is in place there
//! is no healing and no recovery.
//! Faults that are over as soon as they are done (a process is killed, connections are reset) heal
//! in the moment of their injection: the trouble is still to come.
//! - first: the first connection attempt between the separated sides that ends well after
//!   healing; where nobody attempted one, the first passing of a check that had failed since the
//!   injection. If all faults were over at once, only after the first sign of trouble that the
//!   kernel gave: an attempt that was under way before shows nothing.
//! - drained: the first reading, after healing, at which every backlog's last reading since
//!   healing is at most its greatest value in the baseline. If all faults were over at once, the
//!   readings since the first one above that value count, as soon as there is one.
//! - full: since when the system is steady ([`crate::steady`]).
//! - services: all services are well again ([`crate::services`]).

use std::collections::{BTreeMap, BTreeSet};

use temblor_event::{CheckResult, TcpState, TcpStateChange};

use crate::detection::{Sign, answered_ns};
use crate::log::{At, Log, seconds_between};
use crate::result::RecoveryResult;
use crate::services::Services;
use crate::sides::Sides;
use crate::steady::SteadyWatch;

/// What showed that it works again.
#[derive(Debug, Clone, Copy)]
pub(crate) enum First<'a> {
    Connection(At<'a, TcpStateChange>),
    Check(At<'a, CheckResult>),
}

impl First<'_> {
    pub(crate) fn t_ns(&self) -> u64 {
        match self {
            Self::Connection(state) => state.t_ns,
            Self::Check(check) => check.t_ns,
        }
    }
}

/// The stations of recovery, in time.
#[derive(Debug, Default)]
pub(crate) struct Recovery<'a> {
    pub(crate) healed_ns: Option<u64>,
    pub(crate) first: Option<First<'a>>,
    pub(crate) drained_ns: Option<u64>,
    pub(crate) full_ns: Option<u64>,
    pub(crate) services_ns: Option<u64>,
}

impl<'a> Recovery<'a> {
    pub(crate) fn new(
        log: &Log<'a>,
        sides: &Sides,
        steady: &SteadyWatch,
        kernel: Option<&Sign>,
        services: &Services<'_>,
    ) -> Self {
        let Some(healed_ns) = log.healed_ns() else { return Self::default() };
        let at_once = log.all_over_at_once();
        let troubled_ns = kernel.filter(|_| at_once).map_or(0, |sign| sign.t_ns);
        Self {
            healed_ns: Some(healed_ns),
            first: first_connection(log, sides, healed_ns.max(troubled_ns))
                .map(First::Connection)
                .or_else(|| first_check(log, healed_ns).map(First::Check)),
            drained_ns: drained_ns(&log.started.backlogs, steady, healed_ns, at_once),
            full_ns: steady.steady_since(healed_ns),
            services_ns: services.well_ns(log),
        }
    }

    /// The same from healing on, in seconds.
    pub(crate) fn result(&self) -> RecoveryResult {
        let since = |t_ns: Option<u64>| Some(seconds_between(self.healed_ns?, t_ns?));
        RecoveryResult {
            first: since(self.first.map(|first| first.t_ns())),
            backlog_drained: since(self.drained_ns),
            full: since(self.full_ns),
            services: since(self.services_ns.map(|t_ns| t_ns.max(self.healed_ns.unwrap_or(0)))),
        }
    }
}

fn first_connection<'a>(
    log: &Log<'a>,
    sides: &Sides,
    healed_ns: u64,
) -> Option<At<'a, TcpStateChange>> {
    log.states
        .iter()
        .find(|state| {
            state.t_ns >= healed_ns
                && state.from == TcpState::SynSent
                && state.to == TcpState::Established
                && sides.concern(&state.conn)
        })
        .copied()
}

fn first_check<'a>(log: &Log<'a>, healed_ns: u64) -> Option<At<'a, CheckResult>> {
    let mut failed: BTreeSet<&str> = BTreeSet::new();
    for check in log.checks.iter().filter(|check| answered_ns(check.get(), check.t_ns) >= log.t0_ns)
    {
        if !check.ok {
            failed.insert(&check.get().check);
        } else if check.t_ns >= healed_ns && failed.contains(check.check.as_str()) {
            return Some(*check);
        }
    }
    None
}

fn drained_ns(
    backlogs: &[String],
    steady: &SteadyWatch,
    healed_ns: u64,
    at_once: bool,
) -> Option<u64> {
    let mut readings: Vec<(u64, &str, bool)> = Vec::new();
    for backlog in backlogs {
        let bound = steady.backlog_bound(backlog)?;
        let after = || steady.backlog(backlog).filter(|(t_ns, _)| *t_ns >= healed_ns);
        let rose_ns = after().find(|(_, value)| *value > bound).map(|(t_ns, _)| t_ns);
        let from_ns = rose_ns.filter(|_| at_once).unwrap_or(healed_ns);
        let after = after().filter(|(t_ns, _)| *t_ns >= from_ns);
        readings.extend(after.map(|(t_ns, value)| (t_ns, backlog.as_str(), value <= bound)));
    }
    readings.sort_by_key(|(t_ns, ..)| *t_ns);
    let names: BTreeSet<&String> = backlogs.iter().collect();
    let mut last: BTreeMap<&str, bool> = BTreeMap::new();
    for (t_ns, backlog, drained) in readings {
        last.insert(backlog, drained);
        if last.len() == names.len() && last.values().all(|drained| *drained) {
            return Some(t_ns);
        }
    }
    None
}
