//! The `memory` probe: what memory the targets have, what it costs them to get it, and what happens
//! when there is none.
//!
//! | what | where in the kernel |
//! | --- | --- |
//! | page faults | each thread's own count, read once a second (`iter/task`) and at its end (`sched_process_exit`, `sched_process_free`): faults are too many to be told one by one |
//! | resident memory and its growth | `mm_struct.rss_stat` of each process, read once a second |
//! | time spent looking for memory, and pages found | `mm_vmscan_direct_reclaim_*` (the machine has too little), `mm_vmscan_memcg_reclaim_*` (a cgroup is at its limit) |
//! | kills for want of memory, and why | `mark_victim`, right after the kernel's SIGKILL (`signal_generate`) |
//! | what the target's cgroup says of itself | its control files, read once a second |
//!
//! Whoever needs memory kills when looking for it was in vain; where it looked last tells whether
//! it was a cgroup's limit or the machine that had no more.
//!
//! Faults count from when the probe was there, or from the birth of a thread that is younger.

mod cgroup;

use std::time::Duration;

use libbpf_rs::Link;
use temblor_event::{Distribution, Event, Hook, ProbeCost, ProbeStatus, ProbeWindow, clock};
use temblor_host::{Capability, State};

use self::cgroup::GroupMemory;
use crate::histogram::{Latencies, Reading};
use crate::kernel::KernelTypes;
use crate::object::{Loaded, Loading, walk};
use crate::plain::plain;
use crate::roster::{MEMBERS, Roster};
use crate::tracepoints::{self, Tracepoint, Tracepoints};
use crate::window::{Losses, Window};
use crate::{Error, Probe};

crate::plain::generated!("memory");
use generated::types::{
    bss, latencies, memory_counted, memory_faults, memory_living, memory_pages, memory_reclaim,
    memory_reclaimed, rodata,
};

plain!(bss, rodata, latencies, memory_counted, memory_faults, memory_living, memory_reclaimed);

const NAME: &str = "memory";
const OF: &str = "probe memory";
const READ: &str = "memory_read";
const VICTIM: &str = "memory_victim";
const VICTIM_BY_NUMBER: &str = "memory_victim_by_number";

const TRACEPOINTS: &[Tracepoint] = &[
    Tracepoint {
        name: "sched_process_exit",
        program: "memory_exit",
        sees: "page faults of threads that end",
        essential: true,
    },
    Tracepoint {
        name: "sched_process_free",
        program: "memory_free",
        sees: "page faults on a thread's way out",
        essential: true,
    },
    Tracepoint {
        name: "mm_vmscan_direct_reclaim_begin",
        program: "memory_direct_begin",
        sees: "the beginning of direct reclaim",
        essential: false,
    },
    Tracepoint {
        name: "mm_vmscan_direct_reclaim_end",
        program: "memory_direct_end",
        sees: "direct reclaim",
        essential: false,
    },
    Tracepoint {
        name: "mm_vmscan_memcg_reclaim_begin",
        program: "memory_cgroup_begin",
        sees: "the beginning of reclaim in a cgroup",
        essential: false,
    },
    Tracepoint {
        name: "mm_vmscan_memcg_reclaim_end",
        program: "memory_cgroup_end",
        sees: "reclaim in a cgroup",
        essential: false,
    },
    Tracepoint {
        name: "signal_generate",
        program: "memory_signal",
        sees: "the kernel's kills",
        essential: false,
    },
    Tracepoint {
        name: "mark_victim",
        program: VICTIM,
        sees: "kills for want of memory",
        essential: false,
    },
];

const FAULTS: &str = "page faults";
const FAULTS_HOOK: &str = "iter/task, tp_btf/sched_process_exit, tp_btf/sched_process_free";
const RESIDENT: &str = "resident memory";
const RESIDENT_HOOK: &str = "mm_struct.rss_stat (iter/task)";
const GROUP: &str = "memory of the target's cgroup";
const RECLAIM: &str = "reclaim";
const NO_COUNTS: &str = "this kernel counts resident memory in a way of its own";

/// Kinds of pages by their names in `/proc/PID/status`, without those that are not resident.
const KINDS: [(&str, memory_pages); 3] = [
    ("anon", memory_pages::MEMORY_PAGES_ANON),
    ("file", memory_pages::MEMORY_PAGES_FILE),
    ("shmem", memory_pages::MEMORY_PAGES_SHMEM),
];
const SWAP: memory_pages = memory_pages::MEMORY_PAGES_SWAP;
/// Where memory is looked for, and what a kill that follows is put down to.
const RECLAIMS: [(&str, &str, memory_reclaim); 2] = [
    ("direct", "machine", memory_reclaim::MEMORY_RECLAIM_DIRECT),
    ("cgroup", "cgroup limit", memory_reclaim::MEMORY_RECLAIM_CGROUP),
];

/// The attached probe.
#[derive(Debug)]
pub struct MemoryProbe {
    loaded: Loaded,
    /// Reads what the living have.
    reader: Link,
    status: ProbeStatus,
    window: Window,
    of_targets: Vec<OfTarget>,
    losses: Losses,
    events: u64,
    /// Its programs were taken off because they cost too much.
    off: bool,
    /// And what they had counted by then has been told.
    done: bool,
}

/// What was told of a target when the last window closed.
#[derive(Debug)]
struct OfTarget {
    service: String,
    minor: u64,
    major: u64,
    pages: [u64; memory_pages::MEMORY_PAGES_KINDS.0 as usize],
    stalls: [Latencies; RECLAIMS.len()],
    reclaimed: [u64; RECLAIMS.len()],
    killed: [u64; RECLAIMS.len()],
    group: GroupMemory,
}

/// Whether this kernel takes the probe. Nothing is left attached.
///
/// # Errors
/// What the machine lacks, or what the kernel refused.
pub fn trial() -> Result<(), Error> {
    MemoryProbe::attach(&Roster::of(&[])?).map(drop)
}

/// What this kernel offers the probe: looked up, and the programs loaded once for trial.
#[must_use]
pub fn capabilities() -> Vec<Capability> {
    let types = match KernelTypes::read() {
        Ok(types) => types,
        Err(error) => return tracepoints::unknown(OF, &error),
    };
    let row = |name, state| Capability { name, of: OF, state };
    let mut table = vec![row(FAULTS, State::Available { via: FAULTS_HOOK.into() })];
    let resident = if counts_pages(&types) {
        State::Available { via: RESIDENT_HOOK.into() }
    } else {
        State::Fallback { via: "the other figures".into(), lacks: NO_COUNTS.into() }
    };
    table.push(row(RESIDENT, resident));
    table.extend(Tracepoints::look(&types, TRACEPOINTS).capabilities(OF));
    let files = "memory.current and memory.events, or memory.usage_in_bytes, memory.failcnt and \
                 memory.oom_control, once a second";
    table.push(row(GROUP, State::Available { via: files.into() }));
    table.push(tracepoints::loading(OF, trial()));
    table
}

/// Whether resident memory is counted in one of the ways that the kernel half knows.
fn counts_pages(types: &KernelTypes) -> bool {
    types.has_field("mm_struct", "rss_stat")
        && (types.has_struct("mm_rss_stat") || types.has_struct("percpu_counter"))
}

impl MemoryProbe {
    /// Loads the programs and attaches them.
    ///
    /// # Errors
    /// [`Error::Missing`] where the machine lacks something that can be named; otherwise what
    /// the kernel refused.
    pub fn attach(roster: &Roster) -> Result<Self, Error> {
        let types = KernelTypes::read()?;
        let tracepoints = Tracepoints::look(&types, TRACEPOINTS);
        tracepoints.require_essential()?;
        let unfit = if types.hands_over_victims() { VICTIM_BY_NUMBER } else { VICTIM };
        let wants = |program: &str| {
            let needs = if program == VICTIM_BY_NUMBER { VICTIM } else { program };
            tracepoints.wants(needs) && program != unfit
        };
        let targets = u32::try_from(roster.targets().len().max(1)).unwrap_or(u32::MAX);
        let processors = libbpf_rs::num_possible_cpus()
            .map_err(|source| Error::kernel("say how many processors there can be", source))?;
        let mut loaded = roster.share(|members| {
            Loaded::load(&Loading::<rodata> {
                probe: NAME,
                object: OBJECT,
                wants: &wants,
                constants: &|constants| {
                    constants.began_ns = clock::now_ns();
                    constants.processors = u32::try_from(processors).unwrap_or(u32::MAX);
                },
                sizes: &[("living", targets), ("counted", targets), ("reclaimed", targets)],
                without: &[],
                shared: &[(MEMBERS, members)],
            })
        })??;
        loaded.attach_all(&[READ])?;
        let reader = loaded.attach(READ)?;
        let mut probe = Self {
            loaded,
            reader,
            status: ProbeStatus { probe: NAME.into(), hooks: hooks(&tracepoints), unseen: vec![] },
            window: Window::first(),
            of_targets: roster.targets().iter().map(OfTarget::new).collect(),
            losses: Losses::of(NAME),
            events: 0,
            off: false,
            done: false,
        };
        probe.status.unseen = tracepoints.unseen();
        if !counts_pages(&types) {
            probe.status.unseen.push(format!("{RESIDENT}: {NO_COUNTS}"));
        }
        probe.tell_of_groups();
        // What those who are there already have is where growth begins.
        for (living, of) in probe.read_living()?.iter().zip(&mut probe.of_targets) {
            of.pages = living.pages;
        }
        Ok(probe)
    }

    fn tell_of_groups(&mut self) {
        let mut found = None;
        for of in &self.of_targets {
            match of.group.source() {
                Ok(file) => found = found.or_else(|| file.file_name()),
                Err(why) => self.status.unseen.push(format!("{GROUP}, {}: {why}", of.service)),
            }
        }
        if let Some(file) = found {
            let hook = file.to_string_lossy().into_owned();
            self.status.hooks.push(Hook { sees: GROUP.into(), hook });
        }
    }

    /// What the living threads of each target have.
    fn read_living(&self) -> Result<Vec<memory_living>, Error> {
        let of_targets = 0..u32::try_from(self.of_targets.len()).unwrap_or(u32::MAX);
        for number in of_targets.clone() {
            self.loaded.put("living", &number, &memory_living::default())?;
        }
        walk(&self.reader, "the memory of the processes")?;
        of_targets.map(|number| self.loaded.entry("living", &number)).collect()
    }

    fn close_window(&mut self, sink: &mut dyn FnMut(Event)) -> Result<(), Error> {
        let closed = self.window.turn(&self.loaded)?;
        let of_targets = 0..u32::try_from(self.of_targets.len()).unwrap_or(u32::MAX);
        // Before the living: a thread that ends between the two readings is missing in both, and
        // made up for in the next window; the other way round it would be counted twice.
        let counted = of_targets.clone().map(|number| self.loaded.entry("counted", &number));
        let counted: Vec<memory_counted> = counted.collect::<Result<_, _>>()?;
        let reclaimed = of_targets.map(|number| self.loaded.per_processor("reclaimed", &number));
        let reclaimed: Vec<Vec<memory_reclaimed>> = reclaimed.collect::<Result<_, _>>()?;
        let living = self.read_living()?;
        let page = rustix::param::page_size() as u64;
        for (at, of) in self.of_targets.iter_mut().enumerate() {
            let mut window = ProbeWindow::new(NAME, &of.service, closed.length_ns);
            of.put_faults(&mut window, &counted[at].ended, &living[at].faults);
            of.put_pages(&mut window, &living[at].pages, page);
            of.put_reclaims(&mut window, &reclaimed[at], page, closed.number);
            of.put_kills(&mut window, &counted[at].killed);
            of.group.put(&mut window);
            self.events += 1;
            sink(Event::at(closed.ended_ns, window));
        }
        self.tell_losses(closed.ended_ns, sink)
    }

    fn tell_losses(&mut self, now: u64, sink: &mut dyn FnMut(Event)) -> Result<(), Error> {
        let counters: bss = self.loaded.globals(".bss")?;
        let skipped: u64 = self.loaded.runs()?.iter().map(|run| run.skipped).sum();
        self.losses.tell(now, counters.threads_lost + counters.stalls_lost + skipped, sink);
        Ok(())
    }
}

fn hooks(tracepoints: &Tracepoints) -> Vec<Hook> {
    let hook = |sees: &str, hook: &str| Hook { sees: sees.into(), hook: hook.into() };
    let mut hooks = vec![hook(FAULTS, FAULTS_HOOK), hook(RESIDENT, RESIDENT_HOOK)];
    let reclaims = tracepoints.hooks();
    let reclaims = reclaims.iter().map(|one| one.hook.as_str());
    let reclaims: Vec<_> = reclaims.filter(|hook| hook.contains("mm_vmscan")).collect();
    if !reclaims.is_empty() {
        hooks.push(hook(RECLAIM, &reclaims.join(", ")));
    }
    hooks.extend(tracepoints.hooks().into_iter().filter(|one| one.sees.contains("want")));
    hooks
}

impl OfTarget {
    fn new(target: &temblor_host::target::Target) -> Self {
        Self {
            service: target.service.clone(),
            minor: 0,
            major: 0,
            pages: Default::default(),
            stalls: Default::default(),
            reclaimed: Default::default(),
            killed: Default::default(),
            group: GroupMemory::of(target),
        }
    }

    fn put_faults(
        &mut self,
        window: &mut ProbeWindow,
        ended: &memory_faults,
        living: &memory_faults,
    ) {
        for (kind, now, before) in [
            ("minor", ended.minor + living.minor, &mut self.minor),
            ("major", ended.major + living.major, &mut self.major),
        ] {
            let grown = now.saturating_sub(*before);
            window.put("page_faults", &[("kind", kind)], count(grown));
            *before = now.max(*before);
        }
    }

    fn put_pages(&mut self, window: &mut ProbeWindow, now: &[u64], page: u64) {
        // Parts are read one after the other while they change: a sum may be below nothing.
        let pages = |of: memory_pages, from: &[u64]| from[of.0 as usize].cast_signed().max(0);
        let bytes = |pages: i64| pages.max(0).cast_unsigned() * page;
        for (kind, of) in KINDS {
            let (now, before) = (pages(of, now), pages(of, &self.pages));
            window.put("resident", &[("kind", kind)], level(bytes(now)));
            window.put("resident_growth", &[("kind", kind)], count(bytes(now - before)));
        }
        window.put("swapped", &[], level(bytes(pages(SWAP, now))));
        self.pages.copy_from_slice(now);
    }

    fn put_reclaims(
        &mut self,
        window: &mut ProbeWindow,
        readings: &[memory_reclaimed],
        page: u64,
        number: u32,
    ) {
        for (at, (kind, _, of)) in RECLAIMS.into_iter().enumerate() {
            let of = of.0 as usize;
            let stalls = readings.iter().map(|one| reading(&one.stalls[of]));
            let stalls = Distribution::from(self.stalls[at].close(number, stalls));
            let labels = [("kind", kind)];
            window.put("reclaim_stall", &labels, temblor_event::Reading::Distribution(stalls));
            let pages: u64 = readings.iter().map(|one| one.pages[of]).sum();
            window.put("reclaimed", &labels, count((pages - self.reclaimed[at]) * page));
            self.reclaimed[at] = pages;
        }
    }

    fn put_kills(&mut self, window: &mut ProbeWindow, now: &[u64]) {
        for (at, (_, cause, of)) in RECLAIMS.into_iter().enumerate() {
            let killed = now[of.0 as usize];
            window.put("oom_kills", &[("cause", cause)], count(killed - self.killed[at]));
            self.killed[at] = killed;
        }
    }
}

fn count(sum: u64) -> temblor_event::Reading {
    temblor_event::Reading::Count(sum)
}

fn level(level: u64) -> temblor_event::Reading {
    temblor_event::Reading::Level(level)
}

fn reading(of: &latencies) -> Reading<'_> {
    Reading { buckets: &of.buckets, sum_ns: of.sum_ns, max_ns: of.max_ns, window: of.window }
}

impl Probe for MemoryProbe {
    fn status(&self) -> ProbeStatus {
        self.status.clone()
    }

    fn poll(&mut self, timeout: Duration, sink: &mut dyn FnMut(Event)) -> Result<(), Error> {
        if self.done {
            std::thread::park_timeout(timeout);
        } else if self.window.wait(timeout) {
            self.close_window(sink)?;
            // Without the programs the counts of the living alone would say too little.
            self.done = self.off;
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
        self.off = true;
    }

    fn finish(mut self: Box<Self>, sink: &mut dyn FnMut(Event)) -> Result<ProbeCost, Error> {
        self.loaded.detach();
        if !self.done {
            self.close_window(sink)?;
        }
        self.cost()
    }
}
