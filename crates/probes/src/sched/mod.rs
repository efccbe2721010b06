//! The `sched` probe: how long the targets' threads wait for a processor, and how long they have
//! one.
//!
//! | what | where in the kernel |
//! | --- | --- |
//! | waits on the run queue, a histogram per target | `sched_wakeup`, `sched_wakeup_new`, `sched_switch` |
//! | switches, voluntary and not; time on a processor | `sched_switch` |
//! | waits that have not ended | an iterator over the threads, once a second |
//! | time held back by the cgroup's quota | `cpu.stat`, read once a second: the kernel has no tracepoint for it |
//!
//! A wait begins when a thread is woken, or when it is taken off a processor while it could have
//! gone on, and ends when it is put on one. Waiting for the end of the quota's period is waiting,
//! too: what of it is throttling tells `cpu.stat`, and the rest is starving.

mod throttling;

use std::time::Duration;

use libbpf_rs::Link;
use temblor_event::{Event, Hook, ProbeCost, ProbeStatus, SchedWindow};
use temblor_host::{Capability, State};

use self::throttling::Throttling;
use crate::budget::Sampling;
use crate::histogram::{Latencies, Reading};
use crate::kernel::KernelTypes;
use crate::object::{Loaded, Loading, walk};
use crate::plain::plain;
use crate::roster::{MEMBERS, Roster};
use crate::tracepoints::{self, Tracepoint, Tracepoints};
use crate::window::{Losses, Window};
use crate::{Error, Probe};

crate::plain::generated!("sched");
use generated::types::{bss, latencies, rodata, sched_figures, sched_running, sched_waiting};

plain!(bss, rodata, latencies, sched_figures, sched_running, sched_waiting);

const NAME: &str = "sched";
const OF: &str = "probe sched";
/// The one entry of a map that has one a processor.
const ONLY: u32 = 0;
/// Looks at the waits that have not ended.
const READ: &str = "sched_read";
const THREADS: &str = "the threads that wait for a processor";

const TRACEPOINTS: &[Tracepoint] = &[
    Tracepoint {
        name: "sched_wakeup",
        program: "sched_wakeup",
        sees: "threads that are woken",
        essential: true,
    },
    Tracepoint {
        name: "sched_wakeup_new",
        program: "sched_wakeup_new",
        sees: "new threads",
        essential: true,
    },
    Tracepoint {
        name: "sched_switch",
        program: "sched_switch",
        sees: "waits, switches and time on a processor",
        essential: true,
    },
];

/// The attached probe.
#[derive(Debug)]
pub struct SchedProbe {
    loaded: Loaded,
    reader: Link,
    status: ProbeStatus,
    window: Window,
    sampling: Sampling,
    of_targets: Vec<OfTarget>,
    losses: Losses,
    events: u64,
}

/// What was told of a target when the last window closed.
#[derive(Debug)]
struct OfTarget {
    service: String,
    waits: Latencies,
    /// All waits that have ended together, and those that had not.
    waited_ns: u64,
    on_cpu_ns: u64,
    voluntary: u64,
    involuntary: u64,
    throttling: Throttling,
}

/// Whether this kernel takes the probe. Nothing is left attached.
///
/// # Errors
/// What the machine lacks, or what the kernel refused.
pub fn trial() -> Result<(), Error> {
    SchedProbe::attach(&Roster::of(&[])?).map(drop)
}

/// What this kernel offers the probe: looked up, and the programs loaded once for trial.
#[must_use]
pub fn capabilities() -> Vec<Capability> {
    let types = match KernelTypes::read() {
        Ok(types) => types,
        Err(error) => return tracepoints::unknown(OF, &error),
    };
    let mut table = Tracepoints::look(&types, TRACEPOINTS).capabilities(OF);
    let storage = if types.has_task_storage() {
        State::Available { via: "storage with the thread".into() }
    } else {
        State::Fallback {
            via: "a table by thread number".into(),
            lacks: "speed: this kernel keeps no notes of tracepoints with a thread".into(),
        }
    };
    table.push(Capability { name: "notes on waiting threads", of: OF, state: storage });
    table.push(Capability {
        name: "throttling",
        of: OF,
        state: State::Available { via: "cpu.stat of the target's cgroup, once a second".into() },
    });
    table.push(tracepoints::loading(OF, trial()));
    table
}

impl SchedProbe {
    /// Loads the programs and attaches them.
    ///
    /// # Errors
    /// [`Error::Missing`] where the machine lacks something that can be named; otherwise what
    /// the kernel refused.
    pub fn attach(roster: &Roster) -> Result<Self, Error> {
        let types = KernelTypes::read()?;
        let tracepoints = Tracepoints::look(&types, TRACEPOINTS);
        tracepoints.require_essential()?;
        let has_task_storage = types.has_task_storage();
        let targets = u32::try_from(roster.targets().len().max(1)).unwrap_or(u32::MAX);
        let unused = if has_task_storage { "waiting_by_number" } else { "waiting_by_task" };
        let mut loaded = roster.share(|members| {
            Loaded::load(&Loading::<rodata> {
                probe: NAME,
                object: OBJECT,
                wants: &|_| true,
                constants: &|constants| constants.has_task_storage = has_task_storage.into(),
                sizes: &[("figures", targets), ("waiting", targets)],
                without: &[unused],
                shared: &[(MEMBERS, members)],
            })
        })??;
        let sampling = Sampling::begin(&loaded, "waits of one thread in", 1)?;
        loaded.attach_all(&[READ])?;
        let reader = loaded.attach(READ)?;
        // Who waits already: nobody may tell of that for a long time.
        walk(&reader, THREADS)?;
        let of_targets = roster.targets().iter().map(|target| OfTarget {
            service: target.service.clone(),
            waits: Latencies::default(),
            waited_ns: 0,
            on_cpu_ns: 0,
            voluntary: 0,
            involuntary: 0,
            throttling: Throttling::of(target),
        });
        let mut hooks = tracepoints.hooks();
        let of_targets: Vec<_> = of_targets.collect();
        let mut unseen = Vec::new();
        for of in &of_targets {
            match of.throttling.source() {
                Ok(file) => hooks.push(Hook {
                    sees: format!("throttling of {}", of.service),
                    hook: file.display().to_string(),
                }),
                Err(why) => unseen.push(format!("throttling of {}: {why}", of.service)),
            }
        }
        Ok(Self {
            loaded,
            reader,
            status: ProbeStatus { probe: NAME.into(), hooks, unseen },
            window: Window::first(),
            sampling,
            of_targets,
            losses: Losses::of(NAME),
            events: 0,
        })
    }

    fn close_window(&mut self, sink: &mut dyn FnMut(Event)) -> Result<(), Error> {
        let closed = self.window.turn(&self.loaded)?;
        let now = closed.ended_ns;
        let of_targets = u32::try_from(self.of_targets.len()).unwrap_or(u32::MAX);
        let figures = (0..of_targets)
            .map(|number| self.loaded.per_processor("figures", &number))
            .collect::<Result<Vec<Vec<sched_figures>>, _>>()?;
        // Who is on a processor now has been there since, and no switch has told yet; and so with
        // who waits. Read last: a thread that leaves its processor, or gets one, between the two
        // readings is missing in both, and made up for in the next window; the other way round it
        // would be counted twice.
        let running: Vec<sched_running> = self.loaded.per_processor("running", &ONLY)?;
        let waiting = self.read_waiting(of_targets)?;
        let read = (0_u32..).zip(&mut self.of_targets).zip(figures).zip(waiting);
        for (((number, of), readings), waiting) in read {
            let until_now = running
                .iter()
                .filter(|here| here.target == number && here.since_ns > 0)
                .map(|here| now.saturating_sub(here.since_ns));
            let sum = |of: fn(&sched_figures) -> u64| readings.iter().map(of).sum::<u64>();
            let on_cpu_ns = sum(|one| one.on_cpu_ns) + until_now.sum::<u64>();
            let (voluntary, involuntary) = (sum(|one| one.voluntary), sum(|one| one.involuntary));
            let waited_ns = sum(|one| one.waits.sum_ns) + waiting.sum_ns;
            let wait =
                of.waits.close(closed.number, readings.iter().map(|one| reading(&one.waits)));
            let told = SchedWindow {
                service: of.service.clone(),
                window_ns: closed.length_ns,
                on_cpu_ns: on_cpu_ns.saturating_sub(of.on_cpu_ns),
                voluntary: voluntary - of.voluntary,
                involuntary: involuntary - of.involuntary,
                wait,
                waited_ns: Some(waited_ns.saturating_sub(of.waited_ns)),
                waiting_max_ns: waiting.max_ns,
                throttled: of.throttling.grown(),
            };
            of.on_cpu_ns = of.on_cpu_ns.max(on_cpu_ns);
            of.waited_ns = of.waited_ns.max(waited_ns);
            (of.voluntary, of.involuntary) = (voluntary, involuntary);
            self.events += 1;
            sink(Event::at(now, told));
        }
        self.tell_losses(now, sink)
    }

    /// The waits that have not ended, by target.
    fn read_waiting(&self, of_targets: u32) -> Result<Vec<sched_waiting>, Error> {
        for number in 0..of_targets {
            self.loaded.put("waiting", &number, &sched_waiting::default())?;
        }
        walk(&self.reader, THREADS)?;
        (0..of_targets).map(|number| self.loaded.entry("waiting", &number)).collect()
    }

    fn tell_losses(&mut self, now: u64, sink: &mut dyn FnMut(Event)) -> Result<(), Error> {
        let counters: bss = self.loaded.globals(".bss")?;
        let skipped: u64 = self.loaded.runs()?.iter().map(|run| run.skipped).sum();
        self.losses.tell(now, counters.waits_lost + skipped, sink);
        Ok(())
    }
}

fn reading(of: &latencies) -> Reading<'_> {
    Reading { buckets: &of.buckets, sum_ns: of.sum_ns, max_ns: of.max_ns, window: of.window }
}

impl Probe for SchedProbe {
    fn status(&self) -> ProbeStatus {
        self.status.clone()
    }

    fn poll(&mut self, timeout: Duration, sink: &mut dyn FnMut(Event)) -> Result<(), Error> {
        if self.window.wait(timeout) { self.close_window(sink) } else { Ok(()) }
    }

    fn spent_ns(&self) -> Result<u64, Error> {
        self.loaded.spent_ns()
    }

    fn shed(&mut self) -> Result<Option<String>, Error> {
        self.sampling.coarser(&self.loaded)
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
