//! One side of a book, by price.

use crate::slab::Queue;
use crate::{Lots, Side, Ticks};
use std::collections::BTreeMap;

/// A place among the [`Levels`] of one side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LevelSlot(u32);

/// The orders at one price.
#[derive(Debug)]
pub(crate) struct Level {
    pub(crate) price: Ticks,
    pub(crate) queue: Queue,
    pub(crate) orders: usize,
    /// The sum of LeavesQty, kept so that a depth snapshot need not visit each order. It cannot overflow:
    /// an order is at most 10^9 lots, so that would take 10^10 orders.
    pub(crate) leaves_qty: Lots,
}

/// One side of a book. An order knows its level's place, so that only a price that comes, goes or is asked
/// for is looked up in the map.
#[derive(Debug)]
pub(crate) struct Levels {
    side: Side,
    by_rank: BTreeMap<Rank, LevelSlot>,
    levels: Vec<Level>,
    free: Vec<LevelSlot>,
}

/// A price as its side sees it: the greater, the better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank(u64);

impl Rank {
    const fn of(side: Side, price: Ticks) -> Self {
        match side {
            Side::Buy => Self(price.0),
            Side::Sell => Self(u64::MAX - price.0),
        }
    }

    const fn price(self, side: Side) -> Ticks {
        match side {
            Side::Buy => Ticks(self.0),
            Side::Sell => Ticks(u64::MAX - self.0),
        }
    }
}

impl Levels {
    pub(crate) fn new(side: Side) -> Self {
        Self { side, by_rank: BTreeMap::new(), levels: Vec::new(), free: Vec::new() }
    }

    pub(crate) fn best(&self) -> Option<Ticks> {
        self.by_rank.last_key_value().map(|(rank, _)| rank.price(self.side))
    }

    pub(crate) fn best_mut(&mut self) -> Option<(LevelSlot, &mut Level)> {
        let (_, slot) = self.by_rank.last_key_value()?;
        Some((*slot, &mut self.levels[slot.0 as usize]))
    }

    pub(crate) fn level_mut(&mut self, slot: LevelSlot) -> &mut Level {
        &mut self.levels[slot.0 as usize]
    }

    /// The level at a price, made if nothing rests there yet.
    pub(crate) fn at(&mut self, price: Ticks) -> (LevelSlot, &mut Level) {
        let Self { by_rank, levels, free, side } = self;
        let slot = *by_rank.entry(Rank::of(*side, price)).or_insert_with(|| {
            let level = Level { price, queue: Queue::default(), orders: 0, leaves_qty: Lots(0) };
            match free.pop() {
                Some(slot) => {
                    levels[slot.0 as usize] = level;
                    slot
                }
                None => {
                    levels.push(level);
                    // There are no more levels than orders, which slots can name.
                    LevelSlot(u32::try_from(levels.len() - 1).unwrap_or(u32::MAX))
                }
            }
        });
        (slot, &mut levels[slot.0 as usize])
    }

    /// Forgets a level at which nothing rests any more.
    pub(crate) fn remove(&mut self, slot: LevelSlot) {
        let price = self.levels[slot.0 as usize].price;
        if self.by_rank.remove(&Rank::of(self.side, price)).is_some() {
            self.free.push(slot);
        }
    }

    /// Best price first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Level> {
        self.by_rank.values().rev().map(|slot| &self.levels[slot.0 as usize])
    }
}
