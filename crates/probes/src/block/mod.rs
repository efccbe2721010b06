//! The `block` probe: what the targets ask of disks, how long the disks take, and how long the
//! targets wait for their files to be safe.
//!
//! | what | where in the kernel |
//! | --- | --- |
//! | who asks | `block_io_start`, `block_rq_insert`, else at the next |
//! | from when the driver has a request to when it is done | `block_rq_issue`, `block_rq_complete` |
//! | requests that the driver gives back | `block_rq_requeue` |
//! | flushes, which have no request of their own | `block_getrq`, `block_rq_complete` |
//! | file syncs | [`syncs`] |
//!
//! A request is whoever's that was running when it was made. Kernel threads make requests for
//! others; there the cgroup counts that the kernel itself charges. What is still nobody's is told
//! as the kernel's, and beside the targets there is everything that a device did.

mod devices;
mod figures;
mod syncs;

use std::time::Duration;

use temblor_event::{Event, Hook, ProbeCost, ProbeStatus, clock};
use temblor_host::{Capability, State};

use self::figures::Figures;
use self::syncs::Syncs;
use crate::kernel::KernelTypes;
use crate::object::{Loaded, Loading};
use crate::plain::plain;
use crate::roster::{GROUPS, MEMBERS, Roster};
use crate::tracepoints::{self, Tracepoint, Tracepoints};
use crate::window::{Losses, Window};
use crate::{Error, Probe};

crate::plain::generated!("block");
use generated::types::{
    bss, depth, depth_key, io_figures, io_key, latencies, rodata, sync_figures, sync_key,
};

plain!(bss, rodata, latencies);
plain!(io_key, io_figures, depth_key, depth, sync_key, sync_figures);

const NAME: &str = "block";
const OF: &str = "probe block";
/// In the place of a target's number, as `block.h` has it: everything that a device did.
const EVERYBODY: u32 = 0xffff_fffe;
/// What the kernel's own threads asked for on nobody's account.
const KERNEL: u32 = 0xffff_fffd;
const OF_EVERYBODY: &str = "the machine";
const OF_KERNEL: &str = "the kernel";

/// Where a request is made that keeps statistics, whether or not there is a scheduler to queue it.
const IO_START: &str = "block_io_start";

const TRACEPOINTS: &[Tracepoint] = &[
    Tracepoint {
        name: "block_rq_insert",
        program: "block_rq_insert",
        sees: "whose a request is",
        essential: false,
    },
    Tracepoint {
        name: "block_rq_issue",
        program: "block_rq_issue",
        sees: "requests that a driver gets",
        essential: true,
    },
    Tracepoint {
        name: "block_rq_requeue",
        program: "block_rq_requeue",
        sees: "requests that a driver gives back",
        essential: false,
    },
    Tracepoint {
        name: "block_getrq",
        program: "block_getrq",
        sees: "whose a flush is",
        essential: false,
    },
    Tracepoint {
        name: "block_rq_complete",
        program: "block_rq_complete",
        sees: "I/O",
        essential: true,
    },
];

/// The attached probe.
#[derive(Debug)]
pub struct BlockProbe {
    loaded: Loaded,
    status: ProbeStatus,
    window: Window,
    figures: Figures,
    losses: Losses,
    losses_of_syncs: Losses,
    events: u64,
}

/// Whether this kernel takes the probe. Nothing is left attached.
///
/// # Errors
/// What the machine lacks, or what the kernel refused.
pub fn trial() -> Result<(), Error> {
    BlockProbe::attach(&Roster::of(&[])?).map(drop)
}

/// What this kernel offers the probe: looked up, and the programs loaded once for trial.
#[must_use]
pub fn capabilities() -> Vec<Capability> {
    let types = match KernelTypes::read() {
        Ok(types) => types,
        Err(error) => return tracepoints::unknown(OF, &error),
    };
    let mut table = Tracepoints::look(&types, TRACEPOINTS).capabilities(OF);
    let groups = if types.has_field("bio", "bi_blkg") {
        State::Available { via: "the cgroup that is charged for it".into() }
    } else {
        State::Fallback { via: "the thread that asks".into(), lacks: NO_GROUPS.into() }
    };
    table.push(Capability { name: "whose the I/O of kernel threads is", of: OF, state: groups });
    table.push(Syncs::look(&types).capability(OF));
    table.push(tracepoints::loading(OF, trial()));
    table
}

const NO_GROUPS: &str = "whose the I/O of kernel threads is: this kernel has no I/O controller";

impl BlockProbe {
    /// Loads the programs and attaches them.
    ///
    /// # Errors
    /// [`Error::Missing`] where the machine lacks something that can be named; otherwise what
    /// the kernel refused.
    pub fn attach(roster: &Roster) -> Result<Self, Error> {
        let types = KernelTypes::read()?;
        let tracepoints = Tracepoints::look(&types, TRACEPOINTS);
        tracepoints.require_essential()?;
        let syncs = Syncs::look(&types);
        let has_io_start = types.tracepoint_arguments(IO_START).is_some();
        let queue_before_request = types.tracepoint_arguments("block_rq_issue") == Some(2);
        // The queue, the bio, and whether it is a write.
        let queue_before_bio = types.tracepoint_arguments("block_getrq") == Some(3);
        let services: Vec<String> =
            roster.targets().iter().map(|target| target.service.clone()).collect();
        let sizes = figures::sizes(services.len());
        let mut loaded = roster.share_groups(|members, groups| {
            Loaded::load(&Loading::<rodata> {
                probe: NAME,
                object: OBJECT,
                wants: &|program| {
                    tracepoints.wants(program)
                        && syncs.wants(program)
                        && (program != IO_START || has_io_start)
                },
                constants: &|constants| {
                    constants.queue_before_request = queue_before_request.into();
                    constants.queue_before_bio = queue_before_bio.into();
                },
                sizes: &sizes,
                without: &[],
                shared: &[(MEMBERS, members), (GROUPS, groups)],
            })
        })??;
        loaded.attach_all(&[])?;
        // From now on each request that is made is seen.
        loaded.put("attached", &0_u32, &clock::now_ns())?;
        let mut hooks = tracepoints.hooks();
        if has_io_start {
            let hook = format!("tp_btf/{IO_START}");
            hooks.push(Hook { sees: "whose a request is".into(), hook });
        }
        hooks.extend(syncs.hooks());
        let mut unseen = tracepoints.unseen();
        if !types.has_field("bio", "bi_blkg") {
            unseen.push(NO_GROUPS.into());
        }
        unseen.push(format!(
            "whose the I/O of kernel threads is that no target's cgroup is charged for (write-back, \
             a file system's journal): it is told as that of {OF_KERNEL}"
        ));
        unseen.extend(syncs.unseen());
        Ok(Self {
            loaded,
            status: ProbeStatus { probe: NAME.into(), hooks, unseen },
            window: Window::first(),
            figures: Figures::of(services),
            losses: Losses::of(NAME),
            losses_of_syncs: Losses::of("block (file syncs)"),
            events: 0,
        })
    }

    fn close_window(&mut self, sink: &mut dyn FnMut(Event)) -> Result<(), Error> {
        let closed = self.window.turn(&self.loaded)?;
        for told in self.figures.close(&self.loaded, &closed)? {
            self.events += 1;
            sink(Event::at(closed.ended_ns, told));
        }
        let counters: bss = self.loaded.globals(".bss")?;
        let skipped: u64 = self.loaded.runs()?.iter().map(|run| run.skipped).sum();
        self.losses.tell(closed.ended_ns, counters.requests_lost + skipped, sink);
        self.losses_of_syncs.tell(closed.ended_ns, counters.syncs_lost, sink);
        Ok(())
    }
}

impl Probe for BlockProbe {
    fn status(&self) -> ProbeStatus {
        self.status.clone()
    }

    fn poll(&mut self, timeout: Duration, sink: &mut dyn FnMut(Event)) -> Result<(), Error> {
        if self.window.wait(timeout) { self.close_window(sink) } else { Ok(()) }
    }

    fn spent_ns(&self) -> Result<u64, Error> {
        self.loaded.spent_ns()
    }

    fn cost(&self) -> Result<ProbeCost, Error> {
        self.loaded.cost(self.events)
    }

    fn take_off(&mut self) {
        self.loaded.detach();
    }

    fn finish(mut self: Box<Self>, sink: &mut dyn FnMut(Event)) -> Result<ProbeCost, Error> {
        self.loaded.detach();
        self.close_window(sink)?;
        self.cost()
    }
}
