//! The `syscall` probe: what the targets ask of the kernel, what it refuses, and what takes long.
//!
//! | what | where in the kernel |
//! | --- | --- |
//! | calls, their errors and their time | `sys_enter`, `sys_exit` |
//! | whether a slow `read` read a file | the descriptor's inode |
//!
//! A call is counted when it returns: one that was under way before the probe came is not, nor one
//! that never does. Restarted after a signal it is another one. What a seccomp filter refuses never
//! begins; its end is counted, without a time, from the thread's second call on. Programs of 32 bits
//! go by another table of numbers: their calls are counted without names.
//!
//! It makes every system call of the machine dearer, also those of nobody's: it is for looking into
//! something, and not among the probes that are always on.

mod names;

use std::collections::BTreeMap;
use std::time::Duration;

use syscalls::Sysno;
use temblor_event::{Distribution, Event, ProbeCost, ProbeStatus, ProbeWindow, Reading};
use temblor_host::{Capability, State};

use crate::budget::Sampling;
use crate::histogram::{self, Latencies};
use crate::kernel::KernelTypes;
use crate::object::{Loaded, Loading};
use crate::plain::plain;
use crate::roster::{MEMBERS, Roster};
use crate::tracepoints::{self, Tracepoint, Tracepoints};
use crate::window::{Closed, Losses, Window};
use crate::{Error, Probe};

crate::plain::generated!("syscall");
use generated::types::{
    bss, latencies, rodata, syscall_counts, syscall_error_key, syscall_key, syscall_slow_key,
};

plain!(bss, rodata, latencies);
plain!(syscall_counts, syscall_error_key, syscall_key, syscall_slow_key);

const NAME: &str = "syscall";
const OF: &str = "probe syscall";
/// No map has more.
const ENTRIES_MAX: usize = 1 << 14;

const TRACEPOINTS: &[Tracepoint] = &[
    Tracepoint {
        name: "sys_enter",
        program: "syscall_enter",
        sees: "beginnings of system calls",
        essential: true,
    },
    Tracepoint { name: "sys_exit", program: "syscall_exit", sees: "system calls", essential: true },
];
const OF_32_BITS: &str = "which calls programs of 32 bits make: their numbers mean others";

/// The attached probe.
#[derive(Debug)]
pub struct SyscallProbe {
    loaded: Loaded,
    status: ProbeStatus,
    window: Window,
    sampling: Sampling,
    told: Told,
    losses: Losses,
    events: u64,
}

/// What was told when the last window closed.
#[derive(Debug, Default)]
struct Told {
    services: Vec<String>,
    calls: BTreeMap<(u32, i32), syscall_counts>,
    errors: BTreeMap<(u32, i32, u32), u64>,
    slow: BTreeMap<(u32, i32, u32), Latencies>,
}

/// Whether this kernel takes the probe. Nothing is left attached.
///
/// # Errors
/// What the machine lacks, or what the kernel refused.
pub fn trial() -> Result<(), Error> {
    SyscallProbe::attach(&Roster::of(&[])?).map(drop)
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
    table.push(Capability { name: "notes on calls under way", of: OF, state: storage });
    table.push(tracepoints::loading(OF, trial()));
    table
}

impl SyscallProbe {
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
        let unused = if has_task_storage { "under_way_by_number" } else { "under_way_by_task" };
        let mut loaded = roster.share(|members| {
            Loaded::load(&Loading::<rodata> {
                probe: NAME,
                object: OBJECT,
                wants: &|_| true,
                constants: &|constants| {
                    constants.has_task_storage = has_task_storage.into();
                    constants.read_call = Sysno::read.id();
                    constants.readv_call = Sysno::readv.id();
                    constants.sigreturn_call = Sysno::rt_sigreturn.id();
                },
                sizes: &[],
                without: &[unused],
                shared: &[(MEMBERS, members)],
            })
        })??;
        let sampling = Sampling::begin(&loaded, "calls of one thread in", 1)?;
        loaded.attach_all(&[])?;
        let services = roster.targets().iter().map(|target| target.service.clone()).collect();
        Ok(Self {
            loaded,
            status: ProbeStatus {
                probe: NAME.into(),
                hooks: tracepoints.hooks(),
                unseen: vec![OF_32_BITS.into()],
            },
            window: Window::first(),
            sampling,
            told: Told { services, ..Told::default() },
            losses: Losses::of(NAME),
            events: 0,
        })
    }

    fn close_window(&mut self, sink: &mut dyn FnMut(Event)) -> Result<(), Error> {
        let closed = self.window.turn(&self.loaded)?;
        for window in self.told.close(&self.loaded, closed)? {
            self.events += 1;
            sink(Event::at(closed.ended_ns, window));
        }
        let counters: bss = self.loaded.globals(".bss")?;
        let skipped: u64 = self.loaded.runs()?.iter().map(|run| run.skipped).sum();
        self.losses.tell(closed.ended_ns, counters.calls_lost + skipped, sink);
        Ok(())
    }
}

impl Told {
    fn close(&mut self, loaded: &Loaded, closed: Closed) -> Result<Vec<ProbeWindow>, Error> {
        let empty = |service: &String| ProbeWindow::new(NAME, service, closed.length_ns);
        let mut windows: Vec<ProbeWindow> = self.services.iter().map(empty).collect();
        let calls: Vec<(syscall_key, Vec<syscall_counts>)> =
            loaded.entries_per_processor("calls", ENTRIES_MAX)?;
        for (key, readings) in calls {
            let Some(window) = of_target(&mut windows, key.target) else { continue };
            let before = self.calls.entry((key.target, key.call)).or_default();
            let sum = |of: fn(&syscall_counts) -> u64| readings.iter().map(of).sum::<u64>();
            let calls = sum(|one| one.calls);
            let (time_ns, waited_ns) = (sum(|one| one.time_ns), sum(|one| one.waited_ns));
            let name = names::call(key.call);
            let labels = [("call", name.as_str())];
            let (time, waited) = (time_ns - before.time_ns, waited_ns - before.waited_ns);
            let (time, waited) =
                if names::waits(&name) { (0, time) } else { (time.saturating_sub(waited), waited) };
            window.put("calls", &labels, Reading::Count(calls - before.calls));
            window.put("call_time", &labels, Reading::Count(time));
            window.put("wait_time", &labels, Reading::Count(waited));
            *before = syscall_counts { calls, time_ns, waited_ns };
        }
        // Several of the kernel's own numbers have one name.
        let mut errors: BTreeMap<(u32, bool, String, String), u64> = BTreeMap::new();
        for (key, sum) in loaded.entries::<syscall_error_key, u64>("errors", ENTRIES_MAX)? {
            let before = self.errors.entry((key.of.target, key.of.call, key.error)).or_default();
            let name = names::call(key.of.call);
            let is_expected = names::is_expected(key.error, &name);
            let named = (key.of.target, is_expected, name, names::error(key.error));
            *errors.entry(named).or_default() += sum - *before;
            *before = sum;
        }
        for ((target, is_expected, name, error), sum) in errors {
            let Some(window) = of_target(&mut windows, target) else { continue };
            let figure = if is_expected { "expected_errors" } else { "errors" };
            let labels = [("call", name.as_str()), ("errno", error.as_str())];
            window.put(figure, &labels, Reading::Count(sum));
        }
        for (key, reading) in loaded.entries::<syscall_slow_key, latencies>("slow", ENTRIES_MAX)? {
            let Some(window) = of_target(&mut windows, key.of.target) else { continue };
            let before = self.slow.entry((key.of.target, key.of.call, key.waits)).or_default();
            let grown = before.close(closed.number, std::iter::once(read(&reading)));
            let name = names::call(key.of.call);
            let is_wait = key.waits != 0 || names::waits(&name);
            let figure = if is_wait { "long_waits" } else { "slow_calls" };
            let labels = [("call", name.as_str())];
            window.put(figure, &labels, Reading::Distribution(Distribution::from(grown)));
        }
        Ok(windows)
    }
}

fn of_target(windows: &mut [ProbeWindow], target: u32) -> Option<&mut ProbeWindow> {
    windows.get_mut(usize::try_from(target).ok()?)
}

fn read(of: &latencies) -> histogram::Reading<'_> {
    histogram::Reading {
        buckets: &of.buckets,
        sum_ns: of.sum_ns,
        max_ns: of.max_ns,
        window: of.window,
    }
}

impl Probe for SyscallProbe {
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

    fn take_off(&mut self) {
        self.loaded.detach();
    }

    fn cost(&self) -> Result<ProbeCost, Error> {
        self.loaded.cost(self.events)
    }

    fn finish(mut self: Box<Self>, sink: &mut dyn FnMut(Event)) -> Result<ProbeCost, Error> {
        self.loaded.detach();
        self.close_window(sink)?;
        self.loaded.cost(self.events)
    }
}
