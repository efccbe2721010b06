//! The driver: loads, attaches, reads, takes off. The only part that knows libbpf.

use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Duration;

use libbpf_rs::MapCore;
use temblor_event::{Event, ProbeCost, ProbeStatus};

use super::NAME;
use super::attribution::Attribution;
use super::decode::decode;
use super::hooks::{SEED, SEED_OWNERS, Support};
use super::rtt::Windows;
use super::skeleton::{OBJECT, bss, rodata, rtt_histogram, rtt_key};
use crate::budget::Sampling;
use crate::kernel;
use crate::object::{Loaded, Loading, walk};
use crate::plain::from_bytes;
use crate::reader::pid_level;
use crate::ring::{self, RECORDS, Ring};
use crate::roster::{MEMBERS, Roster};
use crate::window::{Losses, Window};
use crate::{Error, Probe};

/// As many as the kernel half has room for.
const PAIRS_MAX: usize = 1024;
const ROUND_TRIPS: &str = "tcp (round-trip times)";

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
    ring: Ring<Event>,
    attribution: Arc<Attribution>,
    status: ProbeStatus,
    windows: Windows,
    sampling: Sampling,
    window: Window,
    losses: Losses,
    losses_of_round_trips: Losses,
    events: u64,
}

impl TcpProbe {
    /// Loads the programs and attaches them to the watched namespaces. The roster says whose sockets
    /// are whose where targets share one ([`Attribution::shares`]); without it those have none.
    ///
    /// # Errors
    /// [`Error::Missing`] where the machine lacks something that can be named; otherwise what
    /// the kernel refused.
    pub fn attach(attribution: &Attribution, roster: Option<&Roster>) -> Result<Self, Error> {
        Self::attach_with(attribution, roster, &Settings::default())
    }

    /// As [`TcpProbe::attach`], with other settings.
    ///
    /// # Errors
    /// As [`TcpProbe::attach`].
    pub fn attach_with(
        attribution: &Attribution,
        roster: Option<&Roster>,
        settings: &Settings,
    ) -> Result<Self, Error> {
        let support = Support::look()?;
        let mut loaded = match roster {
            Some(roster) => roster.share(|members| load(&support, settings, Some(members)))??,
            None => load(&support, settings, None)?,
        };
        for (inode, how) in attribution.watched() {
            let how = u8::try_from(how.0).unwrap_or(u8::MAX);
            loaded.put("watched", &inode, &how)?;
        }
        let sampling =
            Sampling::begin(&loaded, "round trips of one packet in", settings.rtt_sample_every)?;
        let attribution = Arc::new(attribution.clone());
        let known = Arc::clone(&attribution);
        let ring = Ring::of(&loaded, move |bytes| decode(bytes, &known))?;

        let mut unseen = support.unseen();
        unseen.extend_from_slice(attribution.unseen());
        loaded.attach_all(&[SEED, SEED_OWNERS])?;
        // After the hooks are in place, so that nothing falls between: an entry that a hook has
        // made meanwhile is left as it is.
        if support.has_iterator
            && let Err(error) = seed(&loaded, &attribution)
        {
            tracing::warn!(%error, "the connections that are there already could not be looked at");
            unseen.push(format!("what connections had sent again before: {error}"));
        }
        if attribution.shares()
            && let Err(error) = seed_owners(&loaded, &support)
        {
            tracing::warn!(%error, "whose the connections are that are there already is not known");
            unseen.push(format!("connections and listeners that were there before: {error}"));
        }
        let status = ProbeStatus { probe: NAME.into(), hooks: support.hooks(), unseen };
        Ok(Self {
            loaded,
            ring,
            attribution,
            status,
            windows: Windows::default(),
            sampling,
            window: Window::first(),
            losses: Losses::of(NAME),
            losses_of_round_trips: Losses::of(ROUND_TRIPS),
            events: 0,
        })
    }

    fn close_window(&mut self, sink: &mut dyn FnMut(Event)) -> Result<(), Error> {
        let closed = self.window.turn(&self.loaded)?;
        let (now, length) = (closed.ended_ns, closed.length_ns);
        let readings = self.rtt_readings()?;
        for rtt in self.windows.close(closed.number, length, &readings, &self.attribution) {
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
        let lost = counters.records_lost + skipped + self.ring.malformed();
        self.losses.tell(now, lost, sink);
        self.losses_of_round_trips.tell(now, counters.samples_lost, sink);
        Ok(())
    }
}

impl Probe for TcpProbe {
    fn status(&self) -> ProbeStatus {
        self.status.clone()
    }

    fn poll(&mut self, timeout: Duration, sink: &mut dyn FnMut(Event)) -> Result<(), Error> {
        let events = &mut self.events;
        self.ring.poll(timeout, |event| {
            *events += 1;
            sink(event);
        })?;
        if self.window.left().is_zero() {
            self.close_window(sink)?;
        }
        Ok(())
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
        self.poll(Duration::ZERO, sink)?;
        self.close_window(sink)?;
        self.cost()
    }
}

/// Loads what this kernel has hooks for. Nothing is attached yet.
pub(super) fn load(
    support: &Support,
    settings: &Settings,
    members: Option<BorrowedFd<'_>>,
) -> Result<Loaded, Error> {
    let shared: Vec<_> = members.map(|members| (MEMBERS, members)).into_iter().collect();
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
        },
        sizes: &[(RECORDS, ring::size(settings.ring_bytes))],
        without: &[],
        shared: &shared,
    })
}

/// Looks at what the targets' processes have open.
fn seed_owners(loaded: &Loaded, support: &Support) -> Result<(), Error> {
    if !support.has_file_iterator {
        return Err(Error::Missing {
            what: "an iterator over the files that processes have open".into(),
            how: "Linux 5.8 and later have it".into(),
        });
    }
    let link = loaded.attach(SEED_OWNERS)?;
    walk(&link, "the processes' connections")
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
            .run(|| walk(&link, "the connections of a watched namespace"))
            .map_err(system)??;
    }
    Ok(())
}
