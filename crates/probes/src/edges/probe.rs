//! The driver: loads, attaches, reads, takes off.

use std::net::IpAddr;
use std::os::fd::AsFd as _;
use std::time::Duration;

use libbpf_rs::Link;
use temblor_event::{Event, ProbeCost, ProbeStatus};

use super::NAME;
use super::figures::{Edges, Names};
use super::hooks::{PACKETS, Support};
use super::requests::Requests;
use super::skeleton::{
    OBJECT, bss, edge_figures, edge_key, edge_peer, edge_role, edges_exchange, rodata,
};
use crate::budget::Sampling;
use crate::object::{Loaded, Loading, walk};
use crate::plain::from_bytes;
use crate::ring::{self, RECORDS, Ring};
use crate::roster::{MEMBERS, Roster};
use crate::window::{Losses, Window};
use crate::{Error, Probe};

const SEED: &str = "edges_seed";
const CONNECTIONS: &str = "the connections that are there";
const SWEEP: &str = "edges_sweep";
const REQUESTS_LOST: &str = "edges (requests)";
const REQUESTS_SKIPPED: &str = "edges (requests beyond what is read in a second)";
/// How often the buffer is emptied: nobody is woken for a request.
const EMPTY_EVERY: Duration = Duration::from_millis(25);

/// How the probe is set up.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The edges that are told apart; what is beyond goes under each target's others.
    pub edges_max: u32,
    /// Requests that are read in a second; those beyond are counted, and said to be skipped.
    pub requests_max: u32,
    /// The buffer between the kernel and us; rounded up to a power of two of at least a page.
    pub ring_bytes: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self { edges_max: 1024, requests_max: 20_000, ring_bytes: 4 << 20 }
    }
}

/// The attached probe. Dropping it takes everything off.
#[derive(Debug)]
pub struct EdgesProbe {
    loaded: Loaded,
    /// Looks at every connection, each time that it is read.
    sweep: Option<Link>,
    status: ProbeStatus,
    names: Names,
    edges: Edges,
    requests: Requests,
    ring: Ring<edges_exchange>,
    entries_max: usize,
    window: Window,
    losses: Losses,
    requests_lost: Losses,
    requests_skipped: Losses,
    events: u64,
    sampling: Sampling,
    /// Its programs are gone, and what they had counted has been told or will be.
    off: Option<Told>,
}

#[derive(Debug, PartialEq)]
enum Told {
    NotYet,
    All,
}

impl EdgesProbe {
    /// Loads the programs and attaches them. `known` names addresses that are no target's.
    ///
    /// # Errors
    /// [`Error::Missing`] where the machine lacks something that can be named; otherwise what
    /// the kernel refused.
    pub fn attach(roster: &Roster, known: &[(IpAddr, String)]) -> Result<Self, Error> {
        Self::attach_with(roster, known, &Settings::default())
    }

    /// As [`EdgesProbe::attach`], with other settings.
    ///
    /// # Errors
    /// As [`EdgesProbe::attach`].
    pub fn attach_with(
        roster: &Roster,
        known: &[(IpAddr, String)],
        settings: &Settings,
    ) -> Result<Self, Error> {
        let support = Support::look()?;
        let targets = roster.targets();
        let others: Vec<edge_key> = (0_u32..).zip(targets).flat_map(|(of, _)| others(of)).collect();
        let reserved = u32::try_from(others.len()).unwrap_or(u32::MAX);
        let entries_max = settings.edges_max.max(1).saturating_add(reserved);
        let mut loaded = roster.share(|members| {
            Loaded::load(&Loading::<rodata> {
                probe: NAME,
                object: OBJECT,
                wants: &|program| support.wants(program),
                constants: &|constants| constants.exchanges_max = settings.requests_max,
                sizes: &[("edges", entries_max), (RECORDS, ring::size(settings.ring_bytes))],
                without: &[],
                shared: &[(MEMBERS, members)],
            })
        })??;
        for key in &others {
            loaded.put("edges", key, &edge_figures::default())?;
        }
        let sampling = Sampling::begin(&loaded, "turns and bytes of one connection in", 1)?;
        let mut unseen = support.unseen();
        loaded.attach_all(&[SEED, SWEEP, PACKETS[0], PACKETS[1]])?;
        if let Ok(first) = &support.group {
            for program in PACKETS {
                loaded.attach_to_group(program, first.dir.as_fd())?;
            }
        }
        // After the hooks are in place, so that nothing falls between.
        let mut sweep = None;
        if support.has_iterator {
            if let Err(error) = loaded.attach(SEED).and_then(|link| walk(&link, CONNECTIONS)) {
                tracing::warn!(%error, "the connections that are there could not be looked at");
                unseen.push(format!("connections that were there before: {error}"));
            }
            sweep = Some(loaded.attach_over(SWEEP, "connections")?);
        }
        let mut names = Names {
            targets: targets.iter().map(|target| target.service.clone()).collect(),
            ..Names::default()
        };
        let own = targets.iter().flat_map(|target| {
            target.addresses.iter().map(|address| (*address, target.service.clone()))
        });
        for (address, name) in own.chain(known.iter().cloned()) {
            names.addresses.entry(address.to_canonical()).or_insert(name);
        }
        let ring = Ring::of(&loaded, |bytes| {
            from_bytes(bytes).ok_or_else(|| format!("a record of {} bytes", bytes.len()))
        })?;
        Ok(Self {
            loaded,
            ring,
            requests: Requests::default(),
            sweep,
            status: ProbeStatus { probe: NAME.into(), hooks: support.hooks(), unseen },
            names,
            edges: Edges::default(),
            entries_max: usize::try_from(entries_max).unwrap_or(usize::MAX),
            window: Window::first(),
            losses: Losses::of(NAME),
            requests_lost: Losses::of(REQUESTS_LOST),
            requests_skipped: Losses::of(REQUESTS_SKIPPED),
            events: 0,
            sampling,
            off: None,
        })
    }

    fn read_requests(&mut self) -> Result<(), Error> {
        let (requests, events) = (&mut self.requests, &mut self.events);
        self.ring.take(|exchange| {
            *events += 1;
            requests.add(&exchange);
        })
    }

    fn close_window(&mut self, sink: &mut dyn FnMut(Event)) -> Result<(), Error> {
        self.read_requests()?;
        // Before the page is turned: what it tells the edges belongs to the window that ends.
        if let Some(sweep) = &self.sweep {
            walk(sweep, CONNECTIONS)?;
        }
        let closed = self.window.turn(&self.loaded)?;
        let readings: Vec<(edge_key, edge_figures)> =
            self.loaded.entries("edges", self.entries_max)?;
        let window = (closed.number, closed.length_ns);
        let (told, idle) = self.edges.close(window, &readings, &mut self.requests, &self.names);
        for key in &idle {
            self.loaded.remove("edges", key)?;
        }
        for window in told {
            self.events += 1;
            sink(Event::at(closed.ended_ns, window));
        }
        self.tell_losses(closed.ended_ns, sink)
    }

    fn tell_losses(&mut self, now: u64, sink: &mut dyn FnMut(Event)) -> Result<(), Error> {
        let counters: bss = self.loaded.globals(".bss")?;
        let skipped: u64 = self.loaded.runs()?.iter().map(|run| run.skipped).sum();
        let lost = counters.connections_lost + counters.turns_lost + counters.packets_lost;
        self.losses.tell(now, lost + skipped, sink);
        let lost = counters.exchanges_lost + self.ring.malformed();
        self.requests_lost.tell(now, lost, sink);
        self.requests_skipped.tell(now, counters.exchanges_skipped, sink);
        Ok(())
    }
}

/// The edges of a target that take what there is no room for.
fn others(target: u32) -> [edge_key; 2] {
    [edge_role::EDGE_CALLS, edge_role::EDGE_SERVES].map(|role| edge_key {
        target,
        role,
        peer: edge_peer::EDGE_PEER_OTHERS,
        ..edge_key::default()
    })
}

impl Probe for EdgesProbe {
    fn status(&self) -> ProbeStatus {
        self.status.clone()
    }

    fn poll(&mut self, timeout: Duration, sink: &mut dyn FnMut(Event)) -> Result<(), Error> {
        let is_due = self.window.wait(timeout.min(EMPTY_EVERY));
        self.read_requests()?;
        if !is_due || self.off == Some(Told::All) {
            return Ok(());
        }
        if self.off.is_some() {
            self.off = Some(Told::All);
        }
        self.close_window(sink)
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
        self.off = Some(Told::NotYet);
    }

    fn finish(mut self: Box<Self>, sink: &mut dyn FnMut(Event)) -> Result<ProbeCost, Error> {
        self.loaded.detach();
        // Connections that nobody follows are not known to be open.
        if self.off != Some(Told::All) {
            self.close_window(sink)?;
        }
        self.cost()
    }
}
