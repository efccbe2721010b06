//! The `sched` probe: how long the targets' threads wait for a processor, and how long they have
//! one.
//!
//! | what | where in the kernel |
//! | --- | --- |
//! | waits on the run queue, a histogram per target | `sched_wakeup`, `sched_wakeup_new`, `sched_switch` |
//! | switches, voluntary and not; time on a processor | `sched_switch` |
//! | time held back by the cgroup's quota | `cpu.stat`, read once a second: the kernel has no tracepoint for it |
//!
//! A wait begins when a thread is woken, or when it is taken off a processor while it could have
//! gone on, and ends when it is put on one. Waiting for the end of the quota's period is waiting,
//! too: what of it is throttling tells `cpu.stat`, and the rest is starving.

mod throttling;

use std::time::Duration;

use temblor_event::{Event, Hook, ProbeCost, ProbeLost, ProbeStatus, SchedWindow, clock};
use temblor_host::{Capability, State};

use self::throttling::Throttling;
use crate::error::missing;
use crate::histogram::{Latencies, Reading};
use crate::kernel::KernelTypes;
use crate::object::{Loaded, Loading};
use crate::plain::plain;
use crate::roster::{MEMBERS, Roster};
use crate::{Error, Probe};

crate::plain::generated!("sched");
use generated::types::{bss, latencies, rodata, sched_figures, sched_running};

plain!(bss, rodata, latencies, sched_figures, sched_running);

const NAME: &str = "sched";
const WINDOW_NS: u64 = 1_000_000_000;
/// The one entry of a map that has one a processor.
const ONLY: u32 = 0;

const HOOKS: [(&str, &str); 3] = [
    ("sched_wakeup", "threads that are woken"),
    ("sched_wakeup_new", "new threads"),
    ("sched_switch", "waits, switches and time on a processor"),
];

/// The attached probe.
#[derive(Debug)]
pub struct SchedProbe {
    loaded: Loaded,
    status: ProbeStatus,
    window: u32,
    window_began_ns: u64,
    of_targets: Vec<OfTarget>,
    lost_told: u64,
    events: u64,
}

/// What was told of a target when the last window closed.
#[derive(Debug)]
struct OfTarget {
    service: String,
    waits: Latencies,
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
        Err(error) => return vec![entry("tracepoints", missing(&error))],
    };
    let mut table: Vec<_> = HOOKS
        .iter()
        .map(|(name, sees)| {
            let state = if types.tracepoint_arguments(name).is_some() {
                State::Available { via: format!("tp_btf/{name}") }
            } else {
                missing(&no_tracepoint(name))
            };
            entry(sees, state)
        })
        .collect();
    let storage = if has_task_storage(&types) {
        State::Available { via: "storage with the thread".into() }
    } else {
        State::Fallback {
            via: "a table by thread number".into(),
            lacks: "speed: this kernel keeps no notes of tracepoints with a thread".into(),
        }
    };
    table.push(entry("notes on waiting threads", storage));
    table.push(entry(
        "throttling",
        State::Available { via: "cpu.stat of the target's cgroup, once a second".into() },
    ));
    let loading = match trial() {
        Ok(()) => State::Available { via: "the verifier took the programs".into() },
        Err(error) => missing(&error),
    };
    table.push(entry("loading", loading));
    table
}

fn entry(name: &'static str, state: State) -> Capability {
    Capability { name, of: "probe sched", state }
}

fn no_tracepoint(name: &str) -> Error {
    Error::Missing {
        what: format!("this kernel has no tracepoint {name}"),
        how: "boot Linux 5.10 or later with CONFIG_TRACEPOINTS=y".into(),
    }
}

/// The helper came for security modules alone; with this field it came for tracepoints as well.
fn has_task_storage(types: &KernelTypes) -> bool {
    types.has_field("task_struct", "bpf_storage")
}

impl SchedProbe {
    /// Loads the programs and attaches them.
    ///
    /// # Errors
    /// [`Error::Missing`] where the machine lacks something that can be named; otherwise what
    /// the kernel refused.
    pub fn attach(roster: &Roster) -> Result<Self, Error> {
        let types = KernelTypes::read()?;
        for (name, _) in HOOKS {
            if types.tracepoint_arguments(name).is_none() {
                return Err(no_tracepoint(name));
            }
        }
        let has_task_storage = has_task_storage(&types);
        let targets = u32::try_from(roster.targets().len().max(1)).unwrap_or(u32::MAX);
        let unused = if has_task_storage { "waiting_by_number" } else { "waiting_by_task" };
        let mut loaded = roster.share(|members| {
            Loaded::load(&Loading::<rodata> {
                probe: NAME,
                object: OBJECT,
                wants: &|_| true,
                constants: &|constants| constants.has_task_storage = has_task_storage.into(),
                sizes: &[("figures", targets)],
                without: &[unused],
                shared: &[(MEMBERS, members)],
            })
        })??;
        loaded.attach_all(&[])?;
        let of_targets = roster.targets().iter().map(|target| OfTarget {
            service: target.service.clone(),
            waits: Latencies::default(),
            on_cpu_ns: 0,
            voluntary: 0,
            involuntary: 0,
            throttling: Throttling::of(target),
        });
        let hook = |(name, sees): &(&str, &str)| Hook {
            sees: (*sees).into(),
            hook: format!("tp_btf/{name}"),
        };
        let mut hooks: Vec<_> = HOOKS.iter().map(hook).collect();
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
            status: ProbeStatus { probe: NAME.into(), hooks, unseen },
            window: 1,
            window_began_ns: clock::now_ns(),
            of_targets,
            lost_told: 0,
            events: 0,
        })
    }

    fn close_window(&mut self, sink: &mut dyn FnMut(Event)) -> Result<(), Error> {
        let closed = self.window;
        self.window = closed.wrapping_add(1);
        self.loaded.set_global(".data.window", self.window)?;
        let now = clock::now_ns();
        let window_ns = now.saturating_sub(self.window_began_ns);
        self.window_began_ns = now;
        let of_targets = u32::try_from(self.of_targets.len()).unwrap_or(u32::MAX);
        let figures = (0..of_targets)
            .map(|number| self.loaded.per_processor("figures", &number))
            .collect::<Result<Vec<Vec<sched_figures>>, _>>()?;
        // Who is on a processor now has been there since, and no switch has told yet. Read last: a
        // thread that leaves its processor between the two readings is missing in both, and made
        // up for in the next window; the other way round it would be counted twice.
        let running: Vec<sched_running> = self.loaded.per_processor("running", &ONLY)?;
        for ((number, of), readings) in (0_u32..).zip(&mut self.of_targets).zip(figures) {
            let until_now = running
                .iter()
                .filter(|here| here.target == number && here.since_ns > 0)
                .map(|here| now.saturating_sub(here.since_ns));
            let sum = |of: fn(&sched_figures) -> u64| readings.iter().map(of).sum::<u64>();
            let on_cpu_ns = sum(|one| one.on_cpu_ns) + until_now.sum::<u64>();
            let (voluntary, involuntary) = (sum(|one| one.voluntary), sum(|one| one.involuntary));
            let wait = of.waits.close(closed, readings.iter().map(|one| reading(&one.waits)));
            let told = SchedWindow {
                service: of.service.clone(),
                window_ns,
                on_cpu_ns: on_cpu_ns.saturating_sub(of.on_cpu_ns),
                voluntary: voluntary - of.voluntary,
                involuntary: involuntary - of.involuntary,
                wait,
                throttled: of.throttling.grown(),
            };
            of.on_cpu_ns = of.on_cpu_ns.max(on_cpu_ns);
            (of.voluntary, of.involuntary) = (voluntary, involuntary);
            self.events += 1;
            sink(Event::at(now, told));
        }
        self.tell_losses(now, sink)
    }

    fn tell_losses(&mut self, now: u64, sink: &mut dyn FnMut(Event)) -> Result<(), Error> {
        let counters: bss = self.loaded.globals(".bss")?;
        let skipped: u64 = self.loaded.runs()?.iter().map(|run| run.skipped).sum();
        let lost = counters.waits_lost + skipped;
        if lost > self.lost_told {
            let events = lost - self.lost_told;
            sink(Event::at(now, ProbeLost { probe: NAME.into(), events }));
        }
        self.lost_told = lost;
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
        let due_ns = self.window_began_ns + WINDOW_NS;
        let left = Duration::from_nanos(due_ns.saturating_sub(clock::now_ns()));
        std::thread::park_timeout(left.min(timeout));
        if clock::now_ns() >= due_ns { self.close_window(sink) } else { Ok(()) }
    }

    fn finish(mut self: Box<Self>, sink: &mut dyn FnMut(Event)) -> Result<ProbeCost, Error> {
        self.loaded.detach();
        self.close_window(sink)?;
        self.loaded.cost(self.events)
    }
}
