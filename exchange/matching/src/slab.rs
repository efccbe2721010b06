//! Resting orders in one growing array, chained into queues by index.

use crate::Order;
use crate::levels::LevelSlot;
use crate::users::UserNumber;
use std::num::NonZeroU32;

/// A place in a [`Slab`], counted from one: so an optional one is no larger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot(NonZeroU32);

impl Slot {
    /// The greatest number of one. Half of what fits: the index by id needs the other half.
    pub(crate) const MAX: u32 = u32::MAX >> 1;

    pub(crate) fn of_number(number: u32) -> Option<Self> {
        NonZeroU32::new(number).filter(|number| number.get() <= Self::MAX).map(Self)
    }

    pub(crate) const fn number(self) -> u32 {
        self.0.get()
    }

    const fn index(self) -> usize {
        self.0.get() as usize - 1
    }
}

/// An order that rests, whose it is, and at which level. Orders are met in no order of memory, so each has a
/// cache line to itself.
#[derive(Debug)]
#[repr(align(64))]
pub(crate) struct Resting {
    pub(crate) order: Order,
    pub(crate) user: UserNumber,
    pub(crate) level: LevelSlot,
}

const _: () = assert!(size_of::<Option<Resting>>() == 64, "one cache line");

#[derive(Clone, Copy, Debug, Default)]
struct Links {
    older: Option<Slot>,
    newer: Option<Slot>,
}

/// A queue of orders at one price, oldest first. The links are in the slab, so that an order in the
/// middle leaves without a search.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    pub(crate) oldest: Option<Slot>,
    newest: Option<Slot>,
}

/// Holds the resting orders of all books. Freed places are used again, so it grows only with the number of
/// orders that rest at the same time.
#[derive(Debug, Default)]
pub(crate) struct Slab {
    places: Vec<Option<Resting>>,
    /// Beside the orders, not in them: an order that leaves changes its neighbours' links, and this array is
    /// small enough to be at hand.
    links: Vec<Links>,
    free: Vec<Slot>,
}

impl Slab {
    pub(crate) fn get(&self, slot: Slot) -> Option<&Resting> {
        self.places.get(slot.index()).and_then(Option::as_ref)
    }

    pub(crate) fn get_mut(&mut self, slot: Slot) -> Option<&mut Resting> {
        self.places.get_mut(slot.index()).and_then(Option::as_mut)
    }

    pub(crate) fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// Puts the order at the end of the queue; nothing where the slab is full.
    pub(crate) fn push(&mut self, queue: &mut Queue, resting: Resting) -> Option<Slot> {
        let links = Links { older: queue.newest, newer: None };
        let slot = match self.free.pop() {
            Some(slot) => {
                self.places[slot.index()] = Some(resting);
                self.links[slot.index()] = links;
                slot
            }
            None => {
                let number = u32::try_from(self.places.len() + 1).ok();
                let slot = number.and_then(Slot::of_number)?;
                self.places.push(Some(resting));
                self.links.push(links);
                slot
            }
        };
        match queue.newest {
            Some(newest) => self.links[newest.index()].newer = Some(slot),
            None => queue.oldest = Some(slot),
        }
        queue.newest = Some(slot);
        Some(slot)
    }

    /// Takes the order out of the queue, wherever in it it stands.
    pub(crate) fn remove(&mut self, queue: &mut Queue, slot: Slot) -> Option<Resting> {
        let resting = self.places.get_mut(slot.index())?.take()?;
        let Links { older, newer } = self.links[slot.index()];
        match older {
            Some(older) => self.links[older.index()].newer = newer,
            None => queue.oldest = newer,
        }
        match newer {
            Some(newer) => self.links[newer.index()].older = older,
            None => queue.newest = older,
        }
        self.free.push(slot);
        Some(resting)
    }

    /// The queue's orders, oldest first.
    pub(crate) fn queued(&self, queue: &Queue) -> impl Iterator<Item = &Resting> {
        let mut next = queue.oldest;
        std::iter::from_fn(move || {
            let slot = next?;
            next = self.links[slot.index()].newer;
            self.get(slot)
        })
    }

    /// All resting orders, in no order that means anything.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Resting> {
        self.places.iter().flatten()
    }
}
