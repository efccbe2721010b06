//! Where each known order is, by its id.

use crate::OrderId;
use crate::history::Past;
use crate::slab::Slot;
use rustc_hash::FxHashMap;

/// How many ids share a page. Ids come nearly without gaps, so a page is mostly full, and the map of pages
/// small enough to be at hand. At worst an order that outlives its neighbours keeps a page to itself.
const PAGE_IDS: u64 = 64;

/// Where an order is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whereabouts {
    Resting(Slot),
    Finished(Past),
}

/// [`Whereabouts`] or nothing, in half the space: zero, a slot's number, or a past place above all of those.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Packed(u32);

impl Packed {
    const NOTHING: Self = Self(0);

    const fn of(whereabouts: Whereabouts) -> Self {
        match whereabouts {
            Whereabouts::Resting(slot) => Self(slot.number()),
            Whereabouts::Finished(past) => Self(past.number() | !Slot::MAX),
        }
    }

    fn unpacked(self) -> Option<Whereabouts> {
        if self.0 > Slot::MAX {
            Some(Whereabouts::Finished(Past::of_number(self.0 & Slot::MAX)))
        } else {
            Slot::of_number(self.0).map(Whereabouts::Resting)
        }
    }
}

/// 256 bytes in whole cache lines.
#[derive(Debug)]
#[repr(align(64))]
struct Page([Packed; PAGE_IDS as usize]);

#[derive(Clone, Copy, Debug)]
struct Count {
    page: u64,
    known: u32,
}

/// Where each known order is.
///
/// To forget an order is to count it no longer: what its page says of it stays until the page goes, because
/// nothing is so far away as the page of an order that finished long ago. So an answer is true only if the
/// order is found there.
#[derive(Debug, Default)]
pub(crate) struct Index {
    /// Where among the pages a page is. Only ever asked for one number, so its order is nobody's. Ids are the
    /// sequencer's and not the clients', so a hash that is no defence will do.
    numbers: FxHashMap<u64, u32>,
    pages: Vec<Page>,
    /// How many known orders each of them has.
    counts: Vec<Count>,
    free: Vec<u32>,
}

const fn within(order_id: OrderId) -> usize {
    (order_id.0 % PAGE_IDS) as usize
}

impl Index {
    /// Where the order is, if it is known.
    pub(crate) fn get(&self, order_id: OrderId) -> Option<Whereabouts> {
        let at = *self.numbers.get(&(order_id.0 / PAGE_IDS))?;
        self.pages[at as usize].0[within(order_id)].unpacked()
    }

    /// Counts an order that was not known; where it is, [`Index::set`] tells.
    pub(crate) fn enter(&mut self, order_id: OrderId) {
        let page = order_id.0 / PAGE_IDS;
        let at = match self.numbers.get(&page) {
            Some(at) => *at as usize,
            None => self.add_page(page),
        };
        self.counts[at].known += 1;
    }

    /// Notes where an order is that is counted.
    pub(crate) fn set(&mut self, order_id: OrderId, whereabouts: Whereabouts) {
        if let Some(at) = self.numbers.get(&(order_id.0 / PAGE_IDS)) {
            self.pages[*at as usize].0[within(order_id)] = Packed::of(whereabouts);
        }
    }

    /// Forgets a known order.
    pub(crate) fn forget(&mut self, order_id: OrderId) {
        let page = order_id.0 / PAGE_IDS;
        let Some(at) = self.numbers.get(&page).copied() else { return };
        let count = &mut self.counts[at as usize];
        count.known -= 1;
        if count.known == 0 {
            self.numbers.remove(&page);
            self.free.push(at);
        }
    }

    fn add_page(&mut self, page: u64) -> usize {
        let fresh = Page([Packed::NOTHING; PAGE_IDS as usize]);
        let count = Count { page, known: 0 };
        let at = match self.free.pop() {
            Some(at) => {
                (self.pages[at as usize], self.counts[at as usize]) = (fresh, count);
                at
            }
            None => {
                self.pages.push(fresh);
                self.counts.push(count);
                // There are no more pages than orders that slots and pasts can name.
                u32::try_from(self.pages.len() - 1).unwrap_or(u32::MAX)
            }
        };
        self.numbers.insert(page, at);
        at as usize
    }

    /// How many orders are known, by the pages' counts; nothing where a page is another's or has none.
    pub(crate) fn known(&self) -> Option<usize> {
        let used = || self.numbers.iter().map(|(page, at)| (*page, self.counts[*at as usize]));
        let right = used().all(|(page, count)| count.page == page && count.known > 0);
        right.then(|| used().map(|(_, count)| count.known as usize).sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_come_and_go_with_their_orders() {
        let mut index = Index::default();
        let slot = |number| Whereabouts::Resting(Slot::of_number(number).unwrap());
        let enter = |index: &mut Index, order_id, whereabouts| {
            index.enter(order_id);
            index.set(order_id, whereabouts);
        };
        // The last place of all, either way.
        let past = Whereabouts::Finished(Past::of_number(Slot::MAX));
        let far = OrderId(u64::MAX);
        enter(&mut index, OrderId(1), slot(Slot::MAX));
        enter(&mut index, OrderId(63), past);
        enter(&mut index, OrderId(64), slot(1));
        enter(&mut index, far, slot(2));
        let found = [1, 2, 63, 64, u64::MAX].map(|id| index.get(OrderId(id)));
        assert_eq!(found, [Some(slot(Slot::MAX)), None, Some(past), Some(slot(1)), Some(slot(2))]);
        assert_eq!((index.known(), index.pages.len()), (Some(4), 3));
        index.set(OrderId(63), slot(7));
        assert_eq!((index.get(OrderId(63)), index.known()), (Some(slot(7)), Some(4)));
        for id in [1, 63] {
            index.forget(OrderId(id));
        }
        assert_eq!((index.get(OrderId(1)), index.known(), index.numbers.len()), (None, Some(2), 2));
        enter(&mut index, OrderId(1_000), slot(3));
        assert_eq!(
            (index.get(OrderId(1_000)), index.pages.len()),
            (Some(slot(3)), 3),
            "used again"
        );
        assert_eq!(index.get(OrderId(1_001)), None);
    }
}
