//! The `process` probe: what the targets' processes run, how they end and why, and who sends them
//! what.
//!
//! | what | where in the kernel |
//! | --- | --- |
//! | programs that are run | `sched_process_exec` |
//! | ends of processes: exit code or signal, and how long they lived | `sched_process_exit` |
//! | signals that end, stop or continue, or ask to end, and their senders | `signal_generate` |
//! | restarts, and the time between | both of these (see [`restarts`]) |
//! | kills for want of memory | the process' own note of it (`oom_mm`) at its end; where the end may come before the note, `mark_victim` |
//!
//! An end has one cause. Which signal it was the kernel keeps with the process; who sent it is what
//! `signal_generate` told of the last deadly signal before. Whether a cgroup's limit was the reason
//! for want of memory shows at the moment of the signal: the kernel locks the cgroup meanwhile. It
//! does not where the limit has just been lowered, nor is there such a lock where the kernel was
//! built without version 1 of memory cgroups; then nothing is said of a limit.

mod decode;
mod late;
mod restarts;

use std::time::Duration;

use temblor_event::{Event, Hook, ProbeCost, ProbeStatus, clock};
use temblor_host::{Capability, State};

use self::decode::{Told, decode};
use self::late::Late;
use self::restarts::Restarts;
use crate::kernel::KernelTypes;
use crate::object::{Loaded, Loading};
use crate::plain::plain;
use crate::reader::pid_level;
use crate::ring::{self, RECORDS, Ring};
use crate::roster::{MEMBERS, Roster};
use crate::tracepoints::{self, Tracepoint, Tracepoints};
use crate::window::{Losses, Window};
use crate::{Error, Probe};

crate::plain::generated!("process");
use generated::types::{bss, process_exec, process_record, rodata};

plain!(bss, rodata, process_exec, process_record);

const NAME: &str = "process";
const OF: &str = "probe process";
const VICTIM: &str = "process_victim";

const TRACEPOINTS: &[Tracepoint] = &[
    Tracepoint {
        name: "sched_process_exec",
        program: "process_execs",
        sees: "programs that are run",
        essential: true,
    },
    Tracepoint {
        name: "sched_process_exit",
        program: "process_exits",
        sees: "ends of processes",
        essential: true,
    },
    Tracepoint {
        name: "signal_generate",
        program: "process_signals",
        sees: "signals and their senders",
        essential: true,
    },
];
const MEMORY: &str = "kills for want of memory";
const MEMORY_LIMIT: &str = "whether a cgroup's limit was the reason for want of memory";

/// How the probe is set up.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The buffer between the kernel and us; rounded up to a power of two of at least a page.
    pub ring_bytes: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self { ring_bytes: 1 << 20 }
    }
}

/// The attached probe.
#[derive(Debug)]
pub struct ProcessProbe {
    loaded: Loaded,
    ring: Ring<Told>,
    status: ProbeStatus,
    late: Late,
    restarts: Restarts,
    /// Losses are told at its end.
    window: Window,
    losses: Losses,
    events: u64,
}

/// What of all this the running kernel has.
struct Support {
    tracepoints: Tracepoints,
    /// The end of a process' last thread is told from that of another (since Linux 6.16).
    exit_says_last: bool,
    /// The victim itself is handed over, not its number (since Linux 6.8).
    has_victim: bool,
    /// A memory cgroup shows that its limit is being enforced.
    has_group_lock: bool,
}

impl Support {
    fn look() -> Result<Self, Error> {
        let types = KernelTypes::read()?;
        let tracepoints = Tracepoints::look(&types, TRACEPOINTS);
        tracepoints.require_essential()?;
        let exit_arguments = types.tracepoint_arguments("sched_process_exit");
        Ok(Self {
            tracepoints,
            exit_says_last: exit_arguments.is_some_and(|arguments| arguments > 1),
            has_victim: types.hands_over_victims(),
            has_group_lock: types.has_field("mem_cgroup", "oom_lock"),
        })
    }

    fn memory_hook(&self) -> &'static str {
        if self.has_victim {
            "signal_struct.oom_mm, tp_btf/mark_victim"
        } else {
            "signal_struct.oom_mm"
        }
    }

    fn unseen(&self) -> Vec<String> {
        if self.has_group_lock {
            return Vec::new();
        }
        vec![format!("{MEMORY_LIMIT}: {NO_GROUP_LOCK}")]
    }
}

const NO_GROUP_LOCK: &str = "this kernel was built without version 1 of memory cgroups \
    (CONFIG_MEMCG_V1), whose lock would show it";

/// Whether this kernel takes the probe. Nothing is left attached.
///
/// # Errors
/// What the machine lacks, or what the kernel refused.
pub fn trial() -> Result<(), Error> {
    ProcessProbe::attach(&Roster::of(&[])?).map(drop)
}

/// What this kernel offers the probe: looked up, and the programs loaded once for trial.
#[must_use]
pub fn capabilities() -> Vec<Capability> {
    let support = match Support::look() {
        Ok(support) => support,
        Err(error) => return tracepoints::unknown(OF, &error),
    };
    let mut table = support.tracepoints.capabilities(OF);
    let memory = State::Available { via: support.memory_hook().into() };
    table.push(Capability { name: MEMORY, of: OF, state: memory });
    let limit = if support.has_group_lock {
        State::Available { via: "mem_cgroup.oom_lock".into() }
    } else {
        State::Fallback { via: "nothing".into(), lacks: NO_GROUP_LOCK.into() }
    };
    table.push(Capability { name: MEMORY_LIMIT, of: OF, state: limit });
    table.push(tracepoints::loading(OF, trial()));
    table
}

impl ProcessProbe {
    /// Loads the programs and attaches them.
    ///
    /// # Errors
    /// [`Error::Missing`] where the machine lacks something that can be named; otherwise what
    /// the kernel refused.
    pub fn attach(roster: &Roster) -> Result<Self, Error> {
        Self::attach_with(roster, &Settings::default())
    }

    /// As [`ProcessProbe::attach`], with other settings.
    ///
    /// # Errors
    /// As [`ProcessProbe::attach`].
    pub fn attach_with(roster: &Roster, settings: &Settings) -> Result<Self, Error> {
        let support = Support::look()?;
        let level = pid_level();
        let mut loaded = roster.share(|members| {
            Loaded::load(&Loading::<rodata> {
                probe: NAME,
                object: OBJECT,
                wants: &|program| program != VICTIM || support.has_victim,
                constants: &|constants| {
                    constants.exit_says_last = support.exit_says_last.into();
                    constants.pid_level = level;
                },
                sizes: &[(RECORDS, ring::size(settings.ring_bytes))],
                without: &[],
                shared: &[(MEMBERS, members)],
            })
        })??;
        let services: Vec<_> =
            roster.targets().iter().map(|target| target.service.clone()).collect();
        let ring = Ring::of(&loaded, move |bytes| decode(bytes, &services))?;
        loaded.attach_all(&[])?;
        // Afterwards: what is run meanwhile is told once more, as what it is.
        let restarts = Restarts::of(roster.targets());
        let mut hooks = support.tracepoints.hooks();
        hooks.push(Hook { sees: MEMORY.into(), hook: support.memory_hook().into() });
        Ok(Self {
            loaded,
            ring,
            status: ProbeStatus { probe: NAME.into(), hooks, unseen: support.unseen() },
            late: Late::default(),
            restarts,
            window: Window::first(),
            losses: Losses::of(NAME),
            events: 0,
        })
    }

    fn tell_losses(&mut self, now: u64, sink: &mut dyn FnMut(Event)) -> Result<(), Error> {
        let counters: bss = self.loaded.globals(".bss")?;
        let skipped: u64 = self.loaded.runs()?.iter().map(|run| run.skipped).sum();
        let lost = counters.records_lost + counters.senders_lost + skipped + self.ring.malformed();
        self.losses.tell(now, lost, sink);
        Ok(())
    }
}

impl Probe for ProcessProbe {
    fn status(&self) -> ProbeStatus {
        self.status.clone()
    }

    fn poll(&mut self, timeout: Duration, sink: &mut dyn FnMut(Event)) -> Result<(), Error> {
        let (late, restarts, events) = (&mut self.late, &mut self.restarts, &mut self.events);
        let mut tell = |event: Option<Event>| {
            if let Some(event) = event {
                *events += 1;
                sink(event);
            }
        };
        self.ring.poll(timeout, |told| {
            // An end that is told late has its restart nevertheless.
            let restart = restarts.take(&told);
            tell(late.take(told).and_then(Into::into));
            tell(restart);
        })?;
        late.end_round().for_each(|told| tell(told.into()));
        if self.window.left().is_zero() {
            let closed = self.window.turn_unnumbered();
            self.tell_losses(closed.ended_ns, sink)?;
        }
        Ok(())
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
        // Twice, for what waits for a second round.
        self.poll(Duration::ZERO, sink)?;
        self.poll(Duration::ZERO, sink)?;
        self.tell_losses(clock::now_ns(), sink)?;
        self.cost()
    }
}
