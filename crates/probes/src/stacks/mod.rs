//! The samplers: the stacks of threads that are on a processor, that wait, or that are there.
//!
//! The kernel half walks the stack of a thread: the kernel's part, and the program's part with tables
//! made of its files' own unwind information, as most programs keep no frame pointers. It hands over
//! addresses; whose names they are is not known here. The tables are handed in by whoever knows the
//! processes.
//!
//! Unlike a probe they have no events of a run: what they give are stacks.

mod beats;
mod decode;
mod events;
mod heap;
mod kernel_table;
mod tables;

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use libbpf_rs::Link;
use temblor_event::{ProbeCost, clock};
use temblor_host::Capability;
use temblor_unwind::Table;

pub use self::decode::{Allocation, End, Kind, Record, Stack, Waited};
pub use self::heap::{Allocates, Allocator};
pub use self::tables::{CodeMapping, Frames, TableId};

use self::decode::decode;
use self::tables::Tables;
use crate::Error;
use crate::kernel::{self, KernelTypes};
use crate::object::{Loaded, Loading, walk};
use crate::plain::plain;
use crate::reader::pid_level;
use crate::ring::{self, RECORDS, Ring};
use crate::roster::{MEMBERS, Roster};
use crate::tracepoints;

crate::plain::generated!("stacks");
use generated::types::{
    bss, rodata, stacks_freed, stacks_waited, stacks_waits, unwind_process, unwind_rule,
    unwind_stack,
};

plain!(
    bss,
    rodata,
    stacks_freed,
    stacks_waited,
    stacks_waits,
    unwind_process,
    unwind_rule,
    unwind_stack
);

const NAME: &str = "stacks";
const ON_CPU: &str = "on_cpu_sample";
const OFF_CPU: [&str; 2] = ["off_cpu_switch", "off_cpu_waking"];
const OFF_CPU_END: &str = "off_cpu_end";
const THREADS: &str = "threads_read";
/// For each processor and each hundred looks a second: a second of the deepest stacks.
const RING_BYTES_PER_PROCESSOR: u32 = 512 << 10;
const RING_BYTES_MAX: u32 = 64 << 20;
/// Waits and threads come at once, in thousands.
const RING_BYTES_OF_MANY: u32 = 8 << 20;

/// Whether this kernel takes a sampler. Nothing is left attached.
///
/// # Errors
/// What the machine lacks, or what the kernel refused.
pub fn trial(what: What) -> Result<(), Error> {
    let mut sampler = Sampler::load(&Roster::of(&[])?, &Settings { what, everybody: false })?;
    sampler.start()?;
    sampler.stop()?;
    Ok(())
}

/// What this kernel offers the samplers: attached once for trial, to nobody.
#[must_use]
pub fn capabilities() -> Vec<Capability> {
    let waits = What::OffCpu { only_locks: false, with_wakers: true };
    vec![
        tracepoints::loading("profile cpu", trial(What::OnCpu { rate_hz: 1 })),
        tracepoints::loading("profile off-cpu, lock", trial(waits)),
        tracepoints::loading("profile threads", trial(What::Threads)),
        tracepoints::loading("profile heap", trial(What::Allocations { every_bytes: 1 << 20 })),
    ]
}

/// Which stacks are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// Of threads that are on a processor.
    OnCpu {
        /// How often a second each processor is looked at.
        rate_hz: u32,
    },
    /// Of threads that wait, from when they leave their processor until they have one again.
    OffCpu {
        /// For locks (futexes) alone.
        only_locks: bool,
        /// Also of those who wake them.
        with_wakers: bool,
    },
    /// Of all threads, once.
    Threads,
    /// Of threads as they allocate memory, where they are watched ([`Sampler::watch`]).
    Allocations {
        /// One byte of so many is sampled.
        every_bytes: u64,
    },
}

impl What {
    fn programs(self) -> Vec<&'static str> {
        match self {
            Self::OnCpu { .. } => vec![ON_CPU],
            Self::OffCpu { .. } => [&OFF_CPU[..], &[OFF_CPU_END, THREADS]].concat(),
            Self::Threads => vec![THREADS],
            Self::Allocations { .. } => vec![heap::ALLOCATES, heap::FREES],
        }
    }

    /// Sizes of maps that differ from those in the object.
    fn sizes(self, processors: u32) -> Vec<(&'static str, u32)> {
        let mut sizes = vec![(RECORDS, ring::size(self.ring_bytes(processors)))];
        if !matches!(self, Self::Allocations { .. }) {
            sizes.extend(heap::SIZED.map(|map| (map, 1)));
        }
        sizes
    }

    fn ring_bytes(self, processors: u32) -> u32 {
        let wanted = match self {
            Self::OnCpu { rate_hz } => RING_BYTES_PER_PROCESSOR
                .saturating_mul(processors)
                .saturating_mul(rate_hz.div_ceil(100)),
            Self::OffCpu { .. } | Self::Threads | Self::Allocations { .. } => RING_BYTES_OF_MANY,
        };
        wanted.min(RING_BYTES_MAX)
    }
}

/// How the sampler is set up.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Which stacks.
    pub what: What,
    /// Whosever they are, and not only the targets'.
    pub everybody: bool,
}

/// All waits of the targets, whether their stacks were walked or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Waits {
    /// How many.
    pub count: u64,
    /// How long together.
    pub sum_ns: u64,
    /// Of that the waits that were not long, and stand for each other.
    pub short_ns: u64,
}

/// The attached sampler. Dropping it takes it off.
#[derive(Debug)]
pub struct Sampler {
    loaded: Loaded,
    what: What,
    links: Vec<Link>,
    /// Those of single processes.
    watched: HashMap<u32, Vec<Link>>,
    ring: Ring<Record>,
    tables: Tables,
    stacks: u64,
    /// Held for as long as the kernel is to count what the programs cost.
    _run_time: OwnedFd,
}

impl Sampler {
    /// Loads the programs. Nothing is sampled yet.
    ///
    /// # Errors
    /// [`Error::Missing`] where the machine lacks something that can be named; otherwise what
    /// the kernel refused.
    pub fn load(roster: &Roster, settings: &Settings) -> Result<Self, Error> {
        let what = settings.what;
        can_walk(what)?;
        let processors = beats::processors()?.len() as u32;
        let level = pid_level();
        let programs = what.programs();
        let everybody = settings.everybody.into();
        let loaded = roster.share(|members| {
            Loaded::load(&Loading::<rodata> {
                probe: NAME,
                object: OBJECT,
                wants: &|name| programs.contains(&name),
                constants: &|constants| {
                    constants.everybody = everybody;
                    constants.pid_level = level;
                    if let What::OffCpu { only_locks, with_wakers } = what {
                        constants.only_locks = only_locks.into();
                        constants.with_wakers = with_wakers.into();
                        constants.notes_waits = 1;
                    }
                },
                sizes: &what.sizes(processors),
                without: &[],
                shared: &[(MEMBERS, members)],
            })
        })??;
        let ring = Ring::of(&loaded, decode)?;
        let run_time = kernel::count_run_time()?;
        Ok(Self {
            loaded,
            what,
            links: Vec::new(),
            watched: HashMap::new(),
            ring,
            tables: Tables::new(),
            stacks: 0,
            _run_time: run_time,
        })
    }

    /// Hands a file's table to the kernel half. None: there is nothing in it, or no room for it.
    ///
    /// # Errors
    /// What the kernel refused.
    pub fn add_table(&mut self, table: &Table) -> Result<Option<TableId>, Error> {
        self.tables.add(&self.loaded, table)
    }

    /// Tells where the code of a process lies, by its number in the first pid namespace, for as long
    /// as its stack begins there: the program that it may run next has another place for it. It takes
    /// the place of what was told before.
    ///
    /// # Errors
    /// What the kernel refused.
    pub fn tell_process(
        &mut self,
        process: u32,
        start_stack: u64,
        mappings: &[CodeMapping],
    ) -> Result<(), Error> {
        self.loaded.put("processes", &process, &*self.tables.process(start_stack, mappings))
    }

    /// Forgets a process that has ended.
    ///
    /// # Errors
    /// What the kernel refused.
    pub fn forget_process(&mut self, process: u32) -> Result<(), Error> {
        self.loaded.remove("processes", &process)
    }

    /// Whether the numbers by which we know processes are those of the first pid namespace.
    #[must_use]
    pub fn numbers_are_the_kernels(&self) -> bool {
        pid_level() == 0
    }

    /// Begins to sample, and says when that was, on CLOCK_MONOTONIC. Of threads that are there it
    /// takes the stacks now.
    ///
    /// # Errors
    /// What the kernel refused.
    pub fn start(&mut self) -> Result<u64, Error> {
        let mut began_ns = clock::now_ns();
        match self.what {
            What::OnCpu { rate_hz } => {
                self.links = beats::start(&self.loaded, ON_CPU, rate_hz)?;
                began_ns = clock::now_ns();
            }
            What::OffCpu { .. } => {
                for program in OFF_CPU {
                    self.links.push(self.loaded.attach(program)?);
                }
                began_ns = clock::now_ns();
                self.look_at_threads()?;
            }
            What::Threads => self.look_at_threads()?,
            What::Allocations { every_bytes } => {
                heap::draw_intervals(&self.loaded, every_bytes)?;
            }
        }
        Ok(began_ns)
    }

    fn look_at_threads(&self) -> Result<(), Error> {
        walk(&self.loaded.attach(THREADS)?, "the threads")
    }

    /// Follows what a process allocates with an allocator that lies in a file.
    ///
    /// # Errors
    /// What the kernel refused.
    pub fn watch(&mut self, pid: u32, file: &Path, allocator: &Allocator) -> Result<(), Error> {
        let links = heap::watch(&self.loaded, pid, file, allocator)?;
        self.watched.entry(pid).or_default().extend(links);
        Ok(())
    }

    /// Follows a process no longer.
    pub fn unwatch(&mut self, pid: u32) {
        self.watched.remove(&pid);
    }

    /// Ends the sampling, and says when that was, on CLOCK_MONOTONIC. What is still in the kernel can
    /// be taken.
    ///
    /// # Errors
    /// Which threads still wait could not be read.
    pub fn stop(&mut self) -> Result<u64, Error> {
        let is_off_cpu = matches!(self.what, What::OffCpu { .. }) && !self.links.is_empty();
        let end = is_off_cpu.then(|| self.loaded.attach(OFF_CPU_END)).transpose();
        let ended_ns = clock::now_ns();
        let ended = end.and_then(|end| end.map_or(Ok(()), |link| walk(&link, "the waits")));
        // That takes its time, in which nothing is missed: what was allocated is followed until nothing
        // more is.
        let watched = self.watched.drain().flat_map(|(_, links)| links.into_iter().rev());
        watched.chain(self.links.drain(..)).for_each(drop);
        ended.map(|()| ended_ns)
    }

    /// Waits up to `timeout`, but no longer than until a process is seen of which nothing is known,
    /// and hands on the records that there are.
    ///
    /// # Errors
    /// The kernel's buffer can no longer be read.
    pub fn take(&mut self, timeout: Duration, mut sink: impl FnMut(Record)) -> Result<(), Error> {
        let stacks = &mut self.stacks;
        let mut counted = |record| {
            *stacks += u64::from(matches!(record, Record::Stack(_)));
            sink(record);
        };
        self.ring.poll(timeout, &mut counted)?;
        self.ring.take(counted)
    }

    /// How many records there was no room for, or which made no sense.
    ///
    /// # Errors
    /// The kernel's count cannot be read.
    pub fn lost(&self) -> Result<u64, Error> {
        let counters: bss = self.loaded.globals(".bss")?;
        Ok(counters.records_lost + self.ring.malformed())
    }

    /// All waits that have ended, or were under way when it was stopped.
    ///
    /// # Errors
    /// The kernel's counts cannot be read.
    pub fn waits(&self) -> Result<Waits, Error> {
        let mut sum = Waits::default();
        for of in self.loaded.per_processor::<u32, stacks_waits>("waits", &0)? {
            sum.count += of.count;
            sum.sum_ns += of.sum_ns;
            sum.short_ns += of.short_ns;
        }
        Ok(sum)
    }

    /// What it has cost so far.
    ///
    /// # Errors
    /// The kernel's counts cannot be read.
    pub fn cost(&self) -> Result<ProbeCost, Error> {
        let mut cost = self.loaded.cost(self.stacks)?;
        cost.map_bytes += self.tables.bytes;
        Ok(cost)
    }
}

/// Whether stacks can be walked here as is wanted.
fn can_walk(what: What) -> Result<(), Error> {
    if !cfg!(target_arch = "x86_64") {
        return Err(Error::Missing {
            what: "stacks are walked on x86-64 only".into(),
            how: "run on such a machine".into(),
        });
    }
    let types = KernelTypes::read()?;
    let (is_there, lacks, since) = match what {
        What::OnCpu { .. } => {
            (types.has_function("bpf_loop"), "walk deep stacks (bpf_loop)", "5.17")
        }
        What::OffCpu { .. } | What::Threads => (
            types.has_function("bpf_copy_from_user_task"),
            "walk the stacks of other threads (bpf_copy_from_user_task)",
            "5.18",
        ),
        // The struct came with it.
        What::Allocations { .. } => (
            types.has_struct("return_consumer"),
            "follow single calls of a function to their return (uprobe sessions)",
            "6.13",
        ),
    };
    if is_there {
        return Ok(());
    }
    Err(Error::Missing {
        what: format!("this kernel's BPF programs cannot {lacks}"),
        how: format!("boot Linux {since} or later"),
    })
}
