//! A worse wire by the kernel's own network emulator, `sch_netem`, where the kernel has it.
//!
//! On each interface of the target's namespace at which others reach it, the kernel's default
//! root queue gives way to a `prio` with two classes: what a filter (flower) finds to be meant
//! goes into a `netem`, and all else into a plain queue. What comes in is caught by the same
//! filters at the ingress, given to an interface of the kind `ifb`, and queued in a `netem` there.
//!
//! **Foreign queues.** Only where the root queue is the kernel's own ([`crate::Refusal::ForeignQdisc`]
//! says so otherwise), and, for what comes in, only where nobody filters at the ingress: neither
//! could be restored exactly. The packet queue of this process serves there instead.
//!
//! **Undo.** The kernel keeps queues, filters and interfaces, so each is on record before it is
//! made. They are known as ours by a handle and a name that are drawn by lot. Taking the root
//! queue away brings back the kernel's default. What netem holds at that moment is lost with it,
//! as on a wire that is cut.
//!
//! **Beside the packet queue.** The same doses, with some differences: a flipped bit may hit a
//! packet's headers too; packets that the namespace only forwards are meant as well; a rate counts
//! big segments as the wire will carry them; and though netem keeps the order of packets, it lets
//! each go on the processor that is at hand, so that where processors have backlogs of their own
//! (at the end of a veth) one may now and then overtake another. A seed is kept only by kernels
//! from 6.6. Delay, duplicates and flipped bits are not counted by netem, so their dose is not
//! observed.

mod apply;
mod check;
mod matches;
mod measure;
mod options;

use temblor_event::clock::now_ns;
use temblor_event::{Effect, EffectPart};

pub use check::fits;

use self::apply::Place;
use self::measure::Measured;
use super::{Dose, Shape};
use crate::undo::{Entry, Guard, Undo, Undoing as _};
use crate::{Described, Error, Injected, PlannedChange, Result, Reverted, tc};

const UNDONE_BY: &str = "the guardian, from the record of queues, filters and interfaces";

/// What [`apply`] would change.
///
/// # Errors
/// The namespace cannot be looked at, or is one that netem does not fit.
pub fn plan(shape: &Shape) -> Result<Vec<PlannedChange>> {
    let mut changes = Vec::new();
    for link in check::chosen(shape)? {
        let place = format!("{} in the network namespace of {}", link.name, shape.from.service);
        if shape.direction.cuts_out() {
            changes.push(PlannedChange {
                what: format!("replace the default root qdisc of {place} by prio with netem"),
                undo: "take it off; the kernel's default comes back".into(),
            });
        }
        if shape.direction.cuts_in() {
            changes.push(PlannedChange {
                what: format!("redirect what comes in at {place} through an ifb with netem"),
                undo: "take the filters off and remove the ifb".into(),
            });
        }
    }
    Ok(changes)
}

/// Puts a shape in place by netem.
///
/// # Errors
/// As [`fits`], or the kernel said no. Then nothing is in place.
pub fn apply(shape: &Shape, guard: &Guard) -> Result<Box<dyn Injected>> {
    shape.check_asked()?;
    let links = check::chosen(shape)?;
    let began_ns = now_ns();
    let mut undo = UndoAll(Vec::new());
    let places = apply::apply(shape, &links, guard, &mut undo)?;
    let ended_ns = now_ns();
    let names: Vec<&str> = links.iter().map(|link| link.name.as_str()).collect();
    let described = Described {
        name: shape.dose.name().into(),
        dose: shape.words(),
        mechanism: format!(
            "netem on {}, in the network namespace of {}",
            names.join(", "),
            shape.from.service
        ),
        undone_by: UNDONE_BY.into(),
        began_ns,
        ended_ns,
    };
    let effect = Effect {
        measure: measure::measure(&shape.dose).into(),
        count: 0,
        source: format!(
            "counters of the netem qdiscs in the network namespace of {}",
            shape.from.service
        ),
        parts: places
            .iter()
            .map(|place| EffectPart { name: place.name.clone(), count: 0, bytes: 0 })
            .collect(),
        doses: Vec::new(),
    };
    let measured = Measured::new(places.len());
    let shape = shape.clone();
    Ok(Box::new(InPlace { shape, level: 1.0, places, undo, measured, described, effect }))
}

/// What is on record. Dropping it undoes it, the last first.
struct UndoAll(Vec<Entry>);

impl UndoAll {
    /// Undoes everything, the last first; the first failure is told, and stops nothing.
    fn undo(mut self) -> Result<()> {
        let mut failed = Ok(());
        while let Some(entry) = self.0.pop() {
            failed = failed.and(entry.undo().map(|_| ()));
        }
        failed
    }
}

impl Drop for UndoAll {
    fn drop(&mut self) {
        while let Some(entry) = self.0.pop() {
            drop(entry);
        }
    }
}

/// A worse wire that is in place.
struct InPlace {
    shape: Shape,
    level: f64,
    places: Vec<Place>,
    undo: UndoAll,
    measured: Measured,
    described: Described,
    /// The last reading.
    effect: Effect,
}

impl InPlace {
    fn read(&self) -> Result<Vec<tc::Stats>> {
        let doing = || format!("read the netem qdiscs of {}", self.shape.from.service);
        let all = check::inside(&self.shape.from, &doing(), tc::qdiscs)?;
        self.places
            .iter()
            .map(|place| {
                all.iter()
                    .find(|qdisc| {
                        qdisc.link == place.netem.link && qdisc.handle == place.netem.handle
                    })
                    .map(|qdisc| qdisc.stats)
                    .ok_or_else(|| {
                        let gone = format!("the one {} is gone", place.name);
                        Error::system(doing(), std::io::Error::other(gone))
                    })
            })
            .collect()
    }
}

impl Injected for InPlace {
    fn describe(&self) -> &Described {
        &self.described
    }

    fn effect(&mut self) -> Result<Effect> {
        let stats = self.read()?;
        self.measured.add(now_ns(), &stats);
        for (part, stats) in self.effect.parts.iter_mut().zip(&stats) {
            part.count = measure::hit(&self.shape.dose, stats);
            part.bytes = if part.count == stats.packets { stats.bytes } else { 0 };
        }
        self.effect.count = self.effect.parts.iter().map(|part| part.count).sum();
        let dose = self.shape.dose.at(self.level);
        self.effect.doses = dose.and_then(|dose| self.measured.dose(&dose)).into_iter().collect();
        Ok(self.effect.clone())
    }

    fn set_level(&mut self, level: f64) -> Result<()> {
        let options = options::options(self.shape.dose.at(level).as_ref(), self.shape.seed);
        let doing = format!("change the netem qdiscs of {}", self.shape.from.service);
        let places = &self.places;
        check::inside(&self.shape.from, &doing, |kernel| {
            places.iter().try_for_each(|place| tc::change_qdisc(kernel, &place.netem, &options))
        })?;
        self.level = level;
        // What was counted before was another dose's.
        self.measured.begin_again();
        Ok(())
    }

    fn revert(mut self: Box<Self>) -> Result<Reverted> {
        let effect_unread = self.effect().err().map(|e| e.to_string());
        let Self { undo, effect, .. } = *self;
        let recorded: Vec<Undo> = undo.0.iter().filter_map(Entry::recorded).cloned().collect();
        let began_ns = now_ns();
        undo.undo()?;
        let ended_ns = now_ns();
        let mut verified = true;
        for undo in recorded {
            verified &= !undo.is_open()?;
        }
        Ok(Reverted { began_ns, ended_ns, effect, effect_unread, verified })
    }
}
