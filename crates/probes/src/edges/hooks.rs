//! Which of its hooks this kernel has.

use temblor_event::Hook;
use temblor_host::{Capability, State};

use super::probe::EdgesProbe;
use crate::Error;
use crate::error::missing;
use crate::kernel::KernelTypes;
use crate::roster::Roster;
use crate::tracepoints::{self, Tracepoint, Tracepoints};

use super::group::First;

const OF: &str = "probe edges";
/// The programs on packets.
pub(super) const PACKETS: [&str; 2] = ["edges_sent", "edges_received"];
/// What they see, as the meanings of their figures have it.
const TURNS: &str = "turns and bytes";
const REQUESTS: &str = "requests";
const BEFORE: &str = "connections that were there before";

const TRACEPOINTS: &[Tracepoint] = &[
    Tracepoint {
        name: "inet_sock_set_state",
        program: "edges_state",
        sees: "connections",
        essential: true,
    },
    Tracepoint {
        name: "tcp_rcv_space_adjust",
        program: "edges_read",
        sees: "who accepts them",
        essential: true,
    },
];

/// What of all this the running kernel has.
pub(super) struct Support {
    tracepoints: Tracepoints,
    /// The files of processes can be looked at.
    pub(super) has_iterator: bool,
    pub(super) group: Result<First, Error>,
}

impl Support {
    pub(super) fn look() -> Result<Self, Error> {
        let types = KernelTypes::read()?;
        let tracepoints = Tracepoints::look(&types, TRACEPOINTS);
        tracepoints.require_essential()?;
        let has_iterator =
            types.has_struct("bpf_iter__task_file") && types.has_struct("bpf_iter__bpf_map_elem");
        Ok(Self { tracepoints, has_iterator, group: First::open() })
    }

    pub(super) fn wants(&self, program: &str) -> bool {
        match program {
            "edges_seed" | "edges_sweep" => self.has_iterator,
            program if PACKETS.contains(&program) => self.group.is_ok(),
            program => self.tracepoints.wants(program),
        }
    }

    pub(super) fn hooks(&self) -> Vec<Hook> {
        let hook = |sees: &str, hook: &str| Hook { sees: sees.into(), hook: hook.into() };
        let mut hooks = self.tracepoints.hooks();
        hooks.extend(self.has_iterator.then(|| hook(BEFORE, "iter/task_file")));
        if self.group.is_ok() {
            hooks.extend([TURNS, REQUESTS].map(|sees| hook(sees, "cgroup_skb of the first group")));
        }
        hooks
    }

    /// What stays unseen, with the reason.
    pub(super) fn unseen(&self) -> Vec<String> {
        let mut unseen = self.tracepoints.unseen();
        unseen.extend((!self.has_iterator).then(|| NO_SEED.to_owned()));
        match &self.group {
            Ok(first) => unseen.extend(first.outside.clone()),
            Err(error) => unseen.push(format!("{TURNS}, {REQUESTS}: {error}")),
        }
        unseen
    }
}

const NO_SEED: &str = "connections that were there before and those over which nothing goes: this \
    kernel has no iterators over files and maps (Linux 5.9)";

/// Whether this kernel takes the probe. Nothing is left attached.
///
/// # Errors
/// What the machine lacks, or what the kernel refused.
pub fn trial() -> Result<(), Error> {
    EdgesProbe::attach(&Roster::of(&[])?, &[]).map(drop)
}

/// What this kernel offers the probe: looked up, and the programs loaded once for trial.
#[must_use]
pub fn capabilities() -> Vec<Capability> {
    let support = match Support::look() {
        Ok(support) => support,
        Err(error) => return tracepoints::unknown(OF, &error),
    };
    let mut table = support.tracepoints.capabilities(OF);
    let before = if support.has_iterator {
        State::Available { via: "iter/task_file".into() }
    } else {
        State::Fallback { via: "each connection's next packet".into(), lacks: NO_SEED.into() }
    };
    table.push(Capability { name: BEFORE, of: OF, state: before });
    let packets = match &support.group {
        Ok(_) => State::Available { via: "cgroup_skb of the first control group".into() },
        Err(error) => missing(error),
    };
    table.push(Capability { name: TURNS, of: OF, state: packets });
    table.push(tracepoints::loading(OF, trial()));
    table
}
