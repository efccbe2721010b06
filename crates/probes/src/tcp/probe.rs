//! The driver: loads, attaches, reads, takes off. The only part that knows libbpf.

use std::io::Read;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use libbpf_rs::{Iter, MapCore, RingBuffer, RingBufferBuilder};
use temblor_event::{Event, ProbeCost, ProbeLost, ProbeStatus, clock};

use super::NAME;
use super::attribution::Attribution;
use super::decode::decode;
use super::hooks::{SEED, Support};
use super::rtt::Windows;
use super::skeleton::{OBJECT, bss, rodata, rtt_histogram, rtt_key};
use crate::kernel;
use crate::object::{Loaded, Loading};
use crate::plain::from_bytes;
use crate::reader::pid_level;
use crate::{Error, Probe};

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
    loaded: Loaded,
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
        let support = Support::look()?;
        support.require_essential()?;
        let mut loaded = load(&support, settings)?;
        for inode in attribution.netns_inodes() {
            loaded.put("watched", &inode, &1_u8)?;
        }
        let attribution = Arc::new(attribution.clone());
        let inbox = Arc::<Mutex<Inbox>>::default();
        let ring = ring(&loaded, &inbox, &attribution)?;

        let mut unseen = support.unseen();
        loaded.attach_all(&[SEED])?;
        // After the hooks are in place, so that nothing falls between: an entry that a hook has
        // made meanwhile is left as it is.
        if support.has_iterator
            && let Err(error) = seed(&loaded, &attribution)
        {
            tracing::warn!(%error, "the connections that are there already could not be looked at");
            unseen.push(format!("what connections had sent again before: {error}"));
        }
        let status = ProbeStatus { probe: NAME.into(), hooks: support.hooks(), unseen };
        Ok(Self {
            loaded,
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
        })
    }

    fn empty_inbox(&mut self, sink: &mut dyn FnMut(Event)) {
        let events = std::mem::take(&mut lock(&self.inbox).events);
        self.events += events.len() as u64;
        events.into_iter().for_each(sink);
    }

    fn close_window(&mut self, sink: &mut dyn FnMut(Event)) -> Result<(), Error> {
        let closed = self.window;
        self.window = closed.wrapping_add(1);
        self.loaded.set_global(".data.window", self.window)?;
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
        let pairs = self.loaded.map("rtt")?;
        let keys = pairs.keys().take(PAIRS_MAX).filter_map(|bytes| from_bytes::<rtt_key>(&bytes));
        keys.map(|key| Ok((key, self.loaded.per_processor("rtt", &key)?))).collect()
    }

    fn tell_losses(&mut self, now: u64, sink: &mut dyn FnMut(Event)) -> Result<(), Error> {
        let counters: bss = self.loaded.globals(".bss")?;
        let skipped: u64 = self
            .loaded
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

impl Probe for TcpProbe {
    fn status(&self) -> ProbeStatus {
        self.status.clone()
    }

    fn poll(&mut self, timeout: Duration, sink: &mut dyn FnMut(Event)) -> Result<(), Error> {
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

    fn finish(mut self: Box<Self>, sink: &mut dyn FnMut(Event)) -> Result<ProbeCost, Error> {
        self.loaded.detach();
        self.poll(Duration::ZERO, sink)?;
        self.close_window(sink)?;
        self.loaded.cost(self.events)
    }
}

/// Loads what this kernel has hooks for. Nothing is attached yet.
pub(super) fn load(support: &Support, settings: &Settings) -> Result<Loaded, Error> {
    let (tick_ns, level) = (kernel::tick_ns(), pid_level());
    Loaded::load(&Loading::<rodata> {
        probe: NAME,
        object: OBJECT,
        wants: &|program| support.wants(program),
        constants: &|constants| {
            constants.retransmit_has_error = support.retransmit_has_error.into();
            constants.has_cookie_helper = support.has_cookie_helper.into();
            constants.tick_ns = tick_ns;
            constants.pid_level = level;
            constants.rtt_sample_mask = settings.rtt_sample_every.max(1).next_power_of_two() - 1;
        },
        sizes: &[("records", settings.ring_bytes.max(page_bytes()).next_power_of_two())],
        without: &[],
        shared: &[],
    })
}

fn page_bytes() -> u32 {
    u32::try_from(rustix::param::page_size()).unwrap_or(65536)
}

fn ring(
    loaded: &Loaded,
    inbox: &Arc<Mutex<Inbox>>,
    attribution: &Arc<Attribution>,
) -> Result<RingBuffer<'static>, Error> {
    let opening = |source| Error::kernel("open the buffer of the tcp probe", source);
    let (inbox, attribution) = (Arc::clone(inbox), Arc::clone(attribution));
    let records = loaded.map("records")?;
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
fn seed(loaded: &Loaded, attribution: &Attribution) -> Result<(), Error> {
    let link = loaded.attach(SEED)?;
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

fn lock(inbox: &Mutex<Inbox>) -> std::sync::MutexGuard<'_, Inbox> {
    // A panic elsewhere leaves a batch of whole events at worst.
    inbox.lock().unwrap_or_else(PoisonError::into_inner)
}
