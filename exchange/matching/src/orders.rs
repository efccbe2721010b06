//! Every order that is known, resting or finished, and where it is.

use crate::history::History;
use crate::index::{Index, Whereabouts};
use crate::levels::Level;
use crate::slab::{Resting, Slab, Slot};
use crate::users::{UserNumber, Users};
use crate::{Inconsistency, Order, OrderId, UserId};

/// Every order that is known, resting or finished.
#[derive(Debug)]
pub(crate) struct Orders {
    pub(crate) slab: Slab,
    pub(crate) users: Users,
    pub(crate) history: History,
    index: Index,
}

impl Orders {
    pub(crate) fn new(finished_orders_max: usize) -> Self {
        Self {
            slab: Slab::default(),
            users: Users::default(),
            history: History::new(finished_orders_max),
            index: Index::default(),
        }
    }

    /// Where the order rests, if it does.
    pub(crate) fn resting(&self, order_id: OrderId) -> Option<Slot> {
        match self.index.get(order_id)? {
            Whereabouts::Resting(slot) => {
                self.slab.get(slot).filter(|found| found.order.order_id == order_id).map(|_| slot)
            }
            Whereabouts::Finished(_) => None,
        }
    }

    pub(crate) fn get(&self, order_id: OrderId) -> Option<&Order> {
        let found = match self.index.get(order_id)? {
            Whereabouts::Resting(slot) => self.slab.get(slot).map(|resting| &resting.order),
            Whereabouts::Finished(past) => self.history.get(past),
        };
        found.filter(|order| order.order_id == order_id)
    }

    /// Puts the order at the end of its level's queue.
    pub(crate) fn rest(&mut self, level: &mut Level, resting: Resting) {
        let order = &resting.order;
        level.orders += 1;
        level.leaves_qty.0 += order.leaves_qty().0;
        let order_id = order.order_id;
        if let Some(slot) = self.slab.push(&mut level.queue, resting) {
            self.index.set(order_id, Whereabouts::Resting(slot));
        }
    }

    /// Counts an order that arrives, and gives its user's number.
    pub(crate) fn enter(&mut self, order_id: OrderId, user: &UserId) -> UserNumber {
        self.index.enter(order_id);
        self.users.enter(user)
    }

    /// Notes a finished order that rests no more, or never did.
    pub(crate) fn finished(&mut self, order: Order, user: UserNumber) {
        debug_assert!(!order.status.is_live(), "it is finished");
        self.users.leave(user);
        let (past, forgotten) = self.history.push(order);
        match past {
            Some(past) => self.index.set(order.order_id, Whereabouts::Finished(past)),
            None => self.index.forget(order.order_id),
        }
        if let Some(forgotten) = forgotten {
            self.index.forget(forgotten);
        }
    }

    /// All known orders, newest (greatest id) first.
    pub(crate) fn newest_first(&self) -> Vec<&Order> {
        let resting = self.slab.all().map(|resting| &resting.order);
        let mut orders: Vec<_> = resting.chain(self.history.in_order_finished()).collect();
        orders.sort_unstable_by_key(|order| std::cmp::Reverse(order.order_id));
        orders
    }

    /// Checks that every order is found where it is, and that users count their orders rightly.
    pub(crate) fn verify(&self) -> Result<(), Inconsistency> {
        let orders = self.newest_first();
        let found = orders.iter().all(|order| {
            let rests = self.resting(order.order_id).is_some();
            self.get(order.order_id) == Some(order) && rests == order.status.is_live()
        });
        if found
            && self.index.known() == Some(orders.len())
            && self.users.orders() == Some(self.slab.len())
        {
            Ok(())
        } else {
            Err(Inconsistency::Index)
        }
    }
}
