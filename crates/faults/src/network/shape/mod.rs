//! `network.latency`, `.loss`, `.duplicate`, `.reorder`, `.corrupt`, `.bandwidth`: the wire
//! between a target and its peers is a worse one.
//!
//! **Who.** Packets between the target and the given peers; no peers: everybody. The ports are
//! the peers', TCP and UDP; no ports: every protocol. As with a partition, loopback traffic and
//! neighbour discovery are spared, and so is what a peer opens to a port of the target's where
//! ports are given.
//!
//! **Which way.** A dose applies to each packet that passes in the given direction.
//! [`Direction::Out`], which [`Shape::DIRECTION`] names as the usual one, makes a round trip
//! longer by the delay once, and takes the share from what the target sends;
//! [`Direction::Both`] applies the dose twice to a round trip. That is what netem does on an
//! interface, and what its users expect.

mod check;
mod dose;
mod witness;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use temblor_host::target::Target;

use super::{Direction, Peer, netem, queue};
use crate::undo::Guard;
use crate::{Fault, Injected, Kind, PlannedChange, Result};

pub use check::DELAY_MAX;
pub use dose::Dose;
pub(in crate::network) use witness::{EchoIds, Echoes, Flow};

/// A worse wire between a target and its peers.
#[derive(Debug, Clone)]
pub struct Shape {
    /// Whose wire; the change is made in its network namespace.
    pub from: Target,
    /// Towards whom. None: everybody but itself.
    pub to: Vec<Peer>,
    /// On which of the peers' TCP and UDP ports. None: on all of them, and for every protocol.
    pub ports: Vec<u16>,
    /// Which way.
    pub direction: Direction,
    /// How much worse.
    pub dose: Dose,
    /// What decides which packets are hit. None: drawn when the fault is put in place, and told
    /// in its dose, so that the same ones can be asked for again.
    pub seed: Option<u64>,
}

impl Fault for Shape {
    fn name(&self) -> &'static str {
        self.dose.name()
    }

    fn check(&self) -> Result<()> {
        self.check_asked()
    }

    fn plan(&self) -> Vec<PlannedChange> {
        let by_netem = self.fits_netem().then(|| netem::plan(self).ok()).flatten();
        by_netem.unwrap_or_else(|| queue::plan(self))
    }

    fn inject(&self, guard: &Guard) -> Result<Box<dyn Injected>> {
        self.check()?;
        if self.fits_netem() { netem::apply(self, guard) } else { queue::apply(self) }
    }
}

impl Shape {
    /// Whether the kernel's own emulator is to do it: it has one, and the interfaces have no queue
    /// of somebody else's. Everywhere else the user-space queue gives the same dose.
    fn fits_netem(&self) -> bool {
        /// A kernel that has none is asked once.
        static HAS_NONE: AtomicBool = AtomicBool::new(false);
        if HAS_NONE.load(Ordering::Relaxed) {
            return false;
        }
        match netem::fits(self) {
            Ok(()) => true,
            Err(error) => {
                if error.kind() == Kind::Missing {
                    HAS_NONE.store(true, Ordering::Relaxed);
                }
                false
            }
        }
    }

    /// The direction that is meant where none is given.
    pub const DIRECTION: Direction = Direction::Out;

    /// Whether it can be asked for: the dose's bounds, the peers, the namespace. Changes nothing.
    ///
    /// # Errors
    /// Why not, as [`crate::Error::Refused`].
    pub fn check_asked(&self) -> Result<()> {
        Ok(check::check(self)?)
    }

    /// What is asked, in words.
    #[must_use]
    pub fn words(&self) -> BTreeMap<String, String> {
        let mut words = self.dose.words();
        let to: Vec<String> = self.to.iter().map(super::partition::who).collect();
        let ports = super::partition::ports(&self.ports);
        words.extend([
            ("from".into(), self.from.service.clone()),
            ("to".into(), if to.is_empty() { "everybody".into() } else { to.join(", ") }),
            ("ports".into(), ports.unwrap_or_else(|| "all".into())),
            ("direction".into(), self.direction.word().into()),
        ]);
        words.extend(self.seed.map(|seed| ("seed".into(), seed.to_string())));
        words
    }
}
