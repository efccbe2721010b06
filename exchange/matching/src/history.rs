//! The last finished orders.

use crate::slab::Slot;
use crate::{Order, OrderId};

/// A place in a [`History`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Past(u32);

impl Past {
    pub(crate) const fn of_number(number: u32) -> Self {
        Self(number)
    }

    pub(crate) const fn number(self) -> u32 {
        self.0
    }
}

/// A bounded memory of finished orders: when it is full, the one that finished first is forgotten.
#[derive(Debug)]
pub(crate) struct History {
    orders_max: usize,
    /// A ring once it is full; `next` is where it began then.
    orders: Vec<Order>,
    next: usize,
}

impl History {
    pub(crate) fn new(orders_max: usize) -> Self {
        Self { orders_max: orders_max.min(Slot::MAX as usize), orders: Vec::new(), next: 0 }
    }

    /// Where the order is remembered, if at all, and the order that is forgotten for it.
    pub(crate) fn push(&mut self, order: Order) -> (Option<Past>, Option<OrderId>) {
        if self.orders_max == 0 {
            return (None, None);
        }
        let at = self.next;
        let mut forgotten = None;
        match self.orders.get_mut(at) {
            Some(place) => forgotten = Some(std::mem::replace(place, order).order_id),
            None => self.orders.push(order),
        }
        self.next = if at + 1 == self.orders_max { 0 } else { at + 1 };
        (u32::try_from(at).ok().map(Past), forgotten)
    }

    pub(crate) fn get(&self, past: Past) -> Option<&Order> {
        self.orders.get(past.0 as usize)
    }

    /// In the order they finished.
    pub(crate) fn in_order_finished(&self) -> impl Iterator<Item = &Order> {
        let (later, earlier) = self.orders.split_at(self.next.min(self.orders.len()));
        earlier.iter().chain(later)
    }
}
