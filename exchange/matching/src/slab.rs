//! Resting orders in one growing array, chained into queues by index.

use crate::Order;

/// A place in a [`Slab`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot(usize);

#[derive(Debug)]
struct Node {
    order: Order,
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

/// Holds the orders of one book. Freed places are used again, so it grows only with the number of orders
/// that rest at the same time.
#[derive(Debug, Default)]
pub(crate) struct Slab {
    nodes: Vec<Option<Node>>,
    free: Vec<Slot>,
}

impl Slab {
    fn node(&mut self, slot: Slot) -> Option<&mut Node> {
        self.nodes.get_mut(slot.0).and_then(Option::as_mut)
    }

    pub(crate) fn get(&self, slot: Slot) -> Option<&Order> {
        self.nodes.get(slot.0).and_then(Option::as_ref).map(|node| &node.order)
    }

    pub(crate) fn get_mut(&mut self, slot: Slot) -> Option<&mut Order> {
        self.node(slot).map(|node| &mut node.order)
    }

    /// Puts the order at the end of the queue.
    pub(crate) fn push(&mut self, queue: &mut Queue, order: Order) -> Slot {
        let node = Node { order, older: queue.newest, newer: None };
        let slot = match self.free.pop() {
            Some(slot) => {
                self.nodes[slot.0] = Some(node);
                slot
            }
            None => {
                self.nodes.push(Some(node));
                Slot(self.nodes.len() - 1)
            }
        };
        match queue.newest.and_then(|newest| self.node(newest)) {
            Some(newest) => newest.newer = Some(slot),
            None => queue.oldest = Some(slot),
        }
        queue.newest = Some(slot);
        slot
    }

    /// Takes the order out of the queue, wherever in it it stands.
    pub(crate) fn remove(&mut self, queue: &mut Queue, slot: Slot) -> Option<Order> {
        let node = self.nodes.get_mut(slot.0)?.take()?;
        match node.older.and_then(|older| self.node(older)) {
            Some(older) => older.newer = node.newer,
            None => queue.oldest = node.newer,
        }
        match node.newer.and_then(|newer| self.node(newer)) {
            Some(newer) => newer.older = node.older,
            None => queue.newest = node.older,
        }
        self.free.push(slot);
        Some(node.order)
    }

    /// The queue's orders, oldest first.
    pub(crate) fn iter(&self, queue: &Queue) -> impl Iterator<Item = &Order> {
        let mut next = queue.oldest;
        std::iter::from_fn(move || {
            let node = self.nodes.get(next?.0)?.as_ref()?;
            next = node.newer;
            Some(&node.order)
        })
    }
}
