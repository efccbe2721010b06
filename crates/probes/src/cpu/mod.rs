//! The CPU sampler: the stacks of whoever is on a processor, so many times a second.
//!
//! At each beat of a clock that runs while a processor does, the kernel half walks the stack of the
//! thread that is on it: the kernel's part, and the program's part with tables made of its files'
//! own unwind information, as most programs keep no frame pointers. It hands over addresses; whose
//! names they are is not known here. The tables are handed in by whoever knows the processes.
//!
//! Unlike a probe it has no events of a run: what it gives are stacks.

mod clock;
mod decode;
mod kernel_table;
mod tables;

use std::io;
use std::os::fd::{AsRawFd as _, IntoRawFd as _, OwnedFd};
use std::time::Duration;

use libbpf_rs::Link;
use temblor_event::ProbeCost;
use temblor_host::Capability;
use temblor_unwind::Table;

pub use self::decode::{End, Stack};
pub use self::tables::{CodeMapping, Frames, TableId};

use self::decode::decode;
use self::tables::Tables;
use crate::Error;
use crate::kernel::{self, KernelTypes};
use crate::object::{Loaded, Loading};
use crate::plain::plain;
use crate::reader::pid_level;
use crate::ring::{self, RECORDS, Ring};
use crate::roster::{MEMBERS, Roster};
use crate::tracepoints;

crate::plain::generated!("cpu");
use generated::types::{bss, rodata, unwind_process, unwind_rule, unwind_stack};

plain!(bss, rodata, unwind_process, unwind_rule, unwind_stack);

const NAME: &str = "cpu";
const PROGRAM: &str = "cpu_sample";
/// For each processor and each hundred looks a second: a second of the deepest stacks.
const RING_BYTES_PER_PROCESSOR: u32 = 512 << 10;
const RING_BYTES_MAX: u32 = 64 << 20;

/// Whether this kernel takes the sampler. Nothing is left attached.
///
/// # Errors
/// What the machine lacks, or what the kernel refused.
pub fn trial() -> Result<(), Error> {
    let mut sampler =
        CpuSampler::load(&Roster::of(&[])?, &Settings { rate_hz: 1, everybody: false })?;
    sampler.start()
}

/// What this kernel offers the sampler: attached once for trial, to nobody.
#[must_use]
pub fn capabilities() -> Vec<Capability> {
    vec![tracepoints::loading("profile cpu", trial())]
}

const NO_SUCH_PROCESSOR: i32 = rustix::io::Errno::NODEV.raw_os_error();

/// How the sampler is set up.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// How often a second each processor is looked at.
    pub rate_hz: u32,
    /// Whoever is on a processor is sampled, whether a target's or not.
    pub everybody: bool,
}

/// The attached sampler. Dropping it takes it off.
#[derive(Debug)]
pub struct CpuSampler {
    loaded: Loaded,
    beats: Vec<Link>,
    ring: Ring<Stack>,
    tables: Tables,
    samples: u64,
    rate_hz: u32,
    /// Held for as long as the kernel is to count what the program costs.
    _run_time: OwnedFd,
}

impl CpuSampler {
    /// Loads the program. Nothing is sampled yet.
    ///
    /// # Errors
    /// [`Error::Missing`] where the machine lacks something that can be named; otherwise what
    /// the kernel refused.
    pub fn load(roster: &Roster, settings: &Settings) -> Result<Self, Error> {
        if !cfg!(target_arch = "x86_64") {
            return Err(Error::Missing {
                what: "stacks are walked on x86-64 only".into(),
                how: "run on such a machine".into(),
            });
        }
        if !KernelTypes::read()?.has_function("bpf_loop") {
            return Err(Error::Missing {
                what: "this kernel's BPF programs cannot walk deep stacks (bpf_loop)".into(),
                how: "boot Linux 5.17 or later".into(),
            });
        }
        let processors = processors()?.len() as u32;
        let level = pid_level();
        let bytes = RING_BYTES_PER_PROCESSOR
            .saturating_mul(processors)
            .saturating_mul(settings.rate_hz.div_ceil(100))
            .min(RING_BYTES_MAX);
        let everybody = settings.everybody.into();
        let loaded = roster.share(|members| {
            Loaded::load(&Loading::<rodata> {
                probe: NAME,
                object: OBJECT,
                wants: &|_| true,
                constants: &|constants| {
                    constants.everybody = everybody;
                    constants.pid_level = level;
                },
                sizes: &[(RECORDS, ring::size(bytes))],
                without: &[],
                shared: &[(MEMBERS, members)],
            })
        })??;
        let ring = Ring::of(&loaded, decode)?;
        let run_time = kernel::count_run_time()?;
        Ok(Self {
            loaded,
            beats: Vec::new(),
            ring,
            tables: Tables::new(),
            samples: 0,
            rate_hz: settings.rate_hz,
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

    /// Begins to sample.
    ///
    /// # Errors
    /// What the kernel refused.
    pub fn start(&mut self) -> Result<(), Error> {
        let rate_hz = self.rate_hz;
        for processor in processors()? {
            let beat = match clock::beat(processor, rate_hz) {
                Ok(beat) => beat,
                // It was taken away since they were counted.
                Err(gone) if gone.raw_os_error() == Some(NO_SUCH_PROCESSOR) => continue,
                Err(source) => return Err(not_looked_at(processor, rate_hz, source)),
            };
            let program = self.loaded.program(PROGRAM)?;
            let link = program.attach_perf_event(beat.as_raw_fd()).map_err(|source| {
                Error::kernel(format!("attach {PROGRAM} to processor {processor}"), source)
            })?;
            // It is the link's from now on.
            let _ = beat.into_raw_fd();
            self.beats.push(link);
        }
        Ok(())
    }

    /// Ends the sampling. What is still in the kernel can be taken.
    pub fn stop(&mut self) {
        self.beats.clear();
    }

    /// Waits up to `timeout`, but no longer than until a process is seen of which nothing is known,
    /// and hands on the stacks that there are.
    ///
    /// # Errors
    /// The kernel's buffer can no longer be read.
    pub fn take(&mut self, timeout: Duration, mut sink: impl FnMut(Stack)) -> Result<(), Error> {
        let samples = &mut self.samples;
        let mut counted = |stack| {
            *samples += 1;
            sink(stack);
        };
        self.ring.poll(timeout, &mut counted)?;
        self.ring.take(counted)
    }

    /// How many stacks there was no room for, or which made no sense.
    ///
    /// # Errors
    /// The kernel's count cannot be read.
    pub fn lost(&self) -> Result<u64, Error> {
        let counters: bss = self.loaded.globals(".bss")?;
        Ok(counters.samples_lost + self.ring.malformed())
    }

    /// What it has cost so far.
    ///
    /// # Errors
    /// The kernel's counts cannot be read.
    pub fn cost(&self) -> Result<ProbeCost, Error> {
        let mut cost = self.loaded.cost(self.samples)?;
        cost.map_bytes += self.tables.bytes;
        Ok(cost)
    }
}

fn not_looked_at(processor: u32, rate_hz: u32, source: io::Error) -> Error {
    let (what, how) = match source.kind() {
        io::ErrorKind::InvalidInput => (
            format!("the kernel does not look {rate_hz} times a second"),
            "ask for less, or raise kernel.perf_event_max_sample_rate",
        ),
        io::ErrorKind::PermissionDenied => (
            "the kernel refuses to have processors looked at (perf_event_open)".to_owned(),
            "run with the capability CAP_PERFMON, and in a container with a seccomp profile that \
             allows the call",
        ),
        _ => {
            let doing = format!("have processor {processor} looked at");
            return Error::System { doing, source };
        }
    };
    Error::Missing { what, how: how.into() }
}

fn processors() -> Result<Vec<u32>, Error> {
    clock::processors().map_err(|source| Error::System {
        doing: "find out which processors there are".into(),
        source,
    })
}
