//! The driver: loads, attaches, reads, takes off. The only part that knows libbpf.

use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use libbpf_rs::{
    Iter, Link, Map, MapCore, MapFlags, Object, ObjectBuilder, Program, ProgramMut, RingBuffer,
    RingBufferBuilder,
};
use temblor_event::{Event, ProbeCost, ProbeLost, ProbeStatus, clock};

use super::NAME;
use super::attribution::Attribution;
use super::decode::decode;
use super::hooks::{SEED, Support};
use super::rtt::Windows;
use super::skeleton::{
    OBJECT, as_bytes, bss, from_bytes, from_section, rodata, rtt_histogram, rtt_key,
};
use crate::Error;
use crate::kernel::{self, log_libbpf};

/// How often round-trip times and losses are told.
const WINDOW_NS: u64 = 1_000_000_000;
/// Events taken over from the ring at a time.
const BATCH_MAX: usize = 8192;
/// Batches taken in one call of [`TcpProbe::poll`], so that a flood cannot hold it for ever.
const BATCHES_MAX: usize = 64;
/// As many as the kernel half has room for.
const PAIRS_MAX: usize = 1024;
/// What the callback returns when a batch is full; libbpf hands it on.
const FULL: i32 = -(rustix::io::Errno::AGAIN.raw_os_error());
const INTERRUPTED: i32 = -(rustix::io::Errno::INTR.raw_os_error());
/// Arrays of one value, such as the sections of global variables are.
const FIRST: [u8; 4] = [0; 4];

/// How the probe is set up.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The buffer between the kernel and us; rounded up to a power of two of at least a page.
    pub ring_bytes: u32,
    /// One in this many received packets is looked at for round-trip times; rounded up to a
    /// power of two.
    pub rtt_sample_every: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self { ring_bytes: 4 << 20, rtt_sample_every: 1 }
    }
}

/// The attached probe. Dropping it takes everything off.
#[derive(Debug)]
pub struct TcpProbe {
    links: Vec<Link>,
    object: Object,
    ring: RingBuffer<'static>,
    inbox: Arc<Mutex<Inbox>>,
    attribution: Arc<Attribution>,
    status: ProbeStatus,
    windows: Windows,
    window: u32,
    window_began_ns: u64,
    lost_told: u64,
    samples_lost_told: u64,
    events: u64,
    /// The kernel counts run time for as long as this is open.
    _run_time: OwnedFd,
}

/// Where the ring's callback puts events; bounded by [`BATCH_MAX`].
#[derive(Debug, Default)]
struct Inbox {
    events: Vec<Event>,
    malformed: u64,
}

impl TcpProbe {
    /// Loads the programs and attaches them to the watched namespaces.
    ///
    /// # Errors
    /// [`Error::Missing`] where the machine lacks something that can be named; otherwise what
    /// the kernel refused.
    pub fn attach(attribution: &Attribution) -> Result<Self, Error> {
        Self::attach_with(attribution, &Settings::default())
    }

    /// As [`TcpProbe::attach`], with other settings.
    ///
    /// # Errors
    /// As [`TcpProbe::attach`].
    pub fn attach_with(attribution: &Attribution, settings: &Settings) -> Result<Self, Error> {
        log_libbpf();
        let support = Support::look()?;
        support.require_essential()?;
        let run_time = kernel::count_run_time()?;
        let object = load(&support, settings)?;
        for inode in attribution.netns_inodes() {
            map(&object, "watched")?
                .update(&inode.to_ne_bytes(), &[1], MapFlags::ANY)
                .map_err(|source| Error::kernel("note a namespace to watch", source))?;
        }
        let attribution = Arc::new(attribution.clone());
        let inbox = Arc::<Mutex<Inbox>>::default();
        let ring = ring(&object, &inbox, &attribution)?;

        let mut unseen = support.unseen();
        let mut links = Vec::new();
        for program in
            object.progs_mut().filter(|program| program.autoload() && program.name() != SEED)
        {
            links.push(attach(&program)?);
        }
        // After the hooks are in place, so that nothing falls between: an entry that a hook has
        // made meanwhile is left as it is.
        if support.has_iterator
            && let Err(error) = seed(&object, &attribution)
        {
            tracing::warn!(%error, "the connections that are there already could not be looked at");
            unseen.push(format!("what connections had sent again before: {error}"));
        }
        let status = ProbeStatus { probe: NAME.into(), hooks: support.hooks(), unseen };
        Ok(Self {
            links,
            object,
            ring,
            inbox,
            attribution,
            status,
            windows: Windows::default(),
            window: 1,
            window_began_ns: clock::now_ns(),
            lost_told: 0,
            samples_lost_told: 0,
            events: 0,
            _run_time: run_time,
        })
    }

    /// The hooks in use, and what this kernel does not let the probe see.
    #[must_use]
    pub fn status(&self) -> ProbeStatus {
        self.status.clone()
    }

    /// Waits for events up to `timeout` and hands on what there is; once a second also the
    /// round-trip times and the number of events lost.
    ///
    /// # Errors
    /// The kernel's buffers can no longer be read.
    pub fn poll(&mut self, timeout: Duration, sink: &mut dyn FnMut(Event)) -> Result<(), Error> {
        let mut status = self.ring.poll_raw(timeout);
        for _ in 0..BATCHES_MAX {
            self.empty_inbox(sink);
            if status != FULL {
                break;
            }
            status = self.ring.consume_raw();
        }
        if status < 0 && status != FULL && status != INTERRUPTED {
            let source = libbpf_rs::Error::from_raw_os_error(-status);
            return Err(Error::kernel("hand over events", source));
        }
        if clock::now_ns().saturating_sub(self.window_began_ns) >= WINDOW_NS {
            self.close_window(sink)?;
        }
        Ok(())
    }

    /// Takes the probe off, hands on everything that is still in the kernel, and says what it
    /// cost.
    ///
    /// # Errors
    /// The kernel's buffers or counts can no longer be read.
    pub fn finish(mut self, sink: &mut dyn FnMut(Event)) -> Result<ProbeCost, Error> {
        self.links.clear();
        self.poll(Duration::ZERO, sink)?;
        self.close_window(sink)?;
        self.cost()
    }

    /// What the programs have cost so far.
    ///
    /// # Errors
    /// The kernel's counts cannot be read.
    pub fn cost(&self) -> Result<ProbeCost, Error> {
        let programs = self.runs()?.into_iter().map(|run| run.cost).collect();
        Ok(ProbeCost { probe: NAME.into(), programs, events: self.events })
    }

    fn runs(&self) -> Result<Vec<kernel::Run>, Error> {
        self.object
            .progs()
            .filter(Program::autoload)
            .map(|program| {
                let name = program.name().to_string_lossy();
                kernel::program_run(&name, program.as_fd()).map_err(|source| Error::System {
                    doing: format!("read what the program {name} cost"),
                    source,
                })
            })
            .collect()
    }

    fn empty_inbox(&mut self, sink: &mut dyn FnMut(Event)) {
        let events = std::mem::take(&mut lock(&self.inbox).events);
        self.events += events.len() as u64;
        events.into_iter().for_each(sink);
    }

    fn close_window(&mut self, sink: &mut dyn FnMut(Event)) -> Result<(), Error> {
        let closed = self.window;
        self.window = closed.wrapping_add(1);
        map_ending(&self.object, ".data.window")?
            .update(&FIRST, &self.window.to_ne_bytes(), MapFlags::ANY)
            .map_err(|source| Error::kernel("begin a window", source))?;
        let now = clock::now_ns();
        let length = now.saturating_sub(self.window_began_ns);
        self.window_began_ns = now;
        let readings = self.rtt_readings()?;
        for rtt in self.windows.close(closed, length, &readings, &self.attribution) {
            sink(Event::at(now, rtt));
        }
        self.tell_losses(now, sink)
    }

    fn rtt_readings(&self) -> Result<Vec<(rtt_key, Vec<rtt_histogram>)>, Error> {
        let pairs = map(&self.object, "rtt")?;
        let mut readings = Vec::new();
        for bytes in pairs.keys().take(PAIRS_MAX) {
            let values = pairs
                .lookup_percpu(&bytes, MapFlags::ANY)
                .map_err(|source| Error::kernel("hand over round-trip times", source))?;
            let (Some(key), Some(values)) = (from_bytes(&bytes), values) else { continue };
            readings.push((key, values.iter().filter_map(|value| from_bytes(value)).collect()));
        }
        Ok(readings)
    }

    fn tell_losses(&mut self, now: u64, sink: &mut dyn FnMut(Event)) -> Result<(), Error> {
        let counters: bss = global(&self.object, ".bss")?;
        let skipped: u64 = self
            .runs()?
            .iter()
            .filter(|run| run.cost.program != "tcp_rtt")
            .map(|run| run.skipped)
            .sum();
        let lost = counters.records_lost + skipped + lock(&self.inbox).malformed;
        let grown = lost - self.lost_told;
        if grown > 0 {
            sink(Event::at(now, ProbeLost { probe: NAME.into(), events: grown }));
        }
        self.lost_told = lost;
        let grown = counters.samples_lost - self.samples_lost_told;
        if grown > 0 {
            let probe = format!("{NAME} (round-trip times)");
            sink(Event::at(now, ProbeLost { probe, events: grown }));
        }
        self.samples_lost_told = counters.samples_lost;
        Ok(())
    }
}

/// Loads what this kernel has hooks for. Nothing is attached yet.
pub(super) fn load(support: &Support, settings: &Settings) -> Result<Object, Error> {
    let opening = |source| Error::kernel("open the tcp probe's programs", source);
    let mut builder = ObjectBuilder::default();
    let mut open = builder.name("tcp").map_err(opening)?.open_memory(OBJECT).map_err(opening)?;
    for mut program in open.progs_mut() {
        let wanted = program.name().to_str().is_some_and(|name| support.wants(name));
        program.set_autoload(wanted);
    }
    for mut map in open.maps_mut() {
        let name = map.name().to_string_lossy().into_owned();
        if name == "records" {
            let bytes = settings.ring_bytes.max(page_bytes()).next_power_of_two();
            map.set_max_entries(bytes).map_err(opening)?;
        } else if name.ends_with(".rodata") {
            let incomplete = Error::Incomplete { probe: NAME, part: ".rodata" };
            let Some(section) = map.initial_value_mut() else { return Err(incomplete) };
            let Some(mut constants) = from_section::<rodata>(section) else {
                return Err(incomplete);
            };
            constants.retransmit_has_error = support.retransmit_has_error.into();
            constants.has_cookie_helper = support.has_cookie_helper.into();
            constants.tick_ns = kernel::tick_ns();
            constants.rtt_sample_mask = settings.rtt_sample_every.max(1).next_power_of_two() - 1;
            let shared = section.len().min(size_of::<rodata>());
            section[..shared].copy_from_slice(&as_bytes(&constants)[..shared]);
        }
    }
    open.load().map_err(|source| Error::kernel("load the tcp probe's programs", source))
}

fn page_bytes() -> u32 {
    u32::try_from(rustix::param::page_size()).unwrap_or(65536)
}

fn attach(program: &ProgramMut<'_>) -> Result<Link, Error> {
    program.attach().map_err(|source| {
        Error::kernel(format!("attach {}", program.section().to_string_lossy()), source)
    })
}

fn ring(
    object: &Object,
    inbox: &Arc<Mutex<Inbox>>,
    attribution: &Arc<Attribution>,
) -> Result<RingBuffer<'static>, Error> {
    let opening = |source| Error::kernel("open the buffer of the tcp probe", source);
    let (inbox, attribution) = (Arc::clone(inbox), Arc::clone(attribution));
    let records = map(object, "records")?;
    let mut builder = RingBufferBuilder::new();
    builder
        .add(&records, move |bytes| {
            let mut inbox = lock(&inbox);
            match decode(bytes, &attribution) {
                Ok(event) => inbox.events.push(event),
                Err(error) => {
                    tracing::error!(%error, "the kernel half sent something else");
                    inbox.malformed += 1;
                }
            }
            if inbox.events.len() < BATCH_MAX { 0 } else { FULL }
        })
        .map_err(opening)?;
    builder.build().map_err(opening)
}

/// Runs the iterator in each watched namespace: it shows the sockets of the namespace it is read
/// in and no others.
fn seed(object: &Object, attribution: &Attribution) -> Result<(), Error> {
    let program = object
        .progs_mut()
        .find(|program| program.name() == SEED)
        .ok_or(Error::Incomplete { probe: NAME, part: SEED })?;
    let link = attach(&program)?;
    let system = |source| Error::System {
        doing: "look at the connections of a watched namespace".into(),
        source,
    };
    for namespace in attribution.namespaces() {
        namespace
            .run(|| -> Result<(), Error> {
                let mut iterator = Iter::new(&link)
                    .map_err(|source| Error::kernel("look at the connections", source))?;
                iterator.read_to_end(&mut Vec::new()).map_err(system)?;
                Ok(())
            })
            .map_err(system)??;
    }
    Ok(())
}

/// The value of a section of global variables.
fn global<T: super::skeleton::Plain>(object: &Object, section: &'static str) -> Result<T, Error> {
    let bytes = map_ending(object, section)?
        .lookup(&FIRST, MapFlags::ANY)
        .map_err(|source| Error::kernel(format!("hand over {section}"), source))?;
    bytes
        .and_then(|bytes| from_section(&bytes))
        .ok_or(Error::Incomplete { probe: NAME, part: section })
}

fn map<'a>(object: &'a Object, name: &'static str) -> Result<Map<'a>, Error> {
    let found = object.maps().find(|map| map.name() == name);
    found.ok_or(Error::Incomplete { probe: NAME, part: name })
}

/// libbpf puts the object's name before the names of some sections.
fn map_ending<'a>(object: &'a Object, name: &'static str) -> Result<Map<'a>, Error> {
    let found = object.maps().find(|map| map.name().to_string_lossy().ends_with(name));
    found.ok_or(Error::Incomplete { probe: NAME, part: name })
}

fn lock(inbox: &Mutex<Inbox>) -> std::sync::MutexGuard<'_, Inbox> {
    // A panic elsewhere leaves a batch of whole events at worst.
    inbox.lock().unwrap_or_else(PoisonError::into_inner)
}
