//! The last finished orders.

use crate::{Order, OrderId};
use std::collections::{BTreeMap, VecDeque};

/// A bounded memory of finished orders: when it is full, the one that finished first is forgotten.
#[derive(Debug)]
pub(crate) struct History {
    orders_max: usize,
    by_finish: VecDeque<OrderId>,
    by_id: BTreeMap<OrderId, Order>,
}

impl History {
    pub(crate) fn new(orders_max: usize) -> Self {
        Self { orders_max, by_finish: VecDeque::new(), by_id: BTreeMap::new() }
    }

    pub(crate) fn push(&mut self, order: Order) {
        if self.orders_max == 0 {
            return;
        }
        if self.by_finish.len() == self.orders_max
            && let Some(forgotten) = self.by_finish.pop_front()
        {
            self.by_id.remove(&forgotten);
        }
        self.by_finish.push_back(order.order_id);
        self.by_id.insert(order.order_id, order);
    }

    pub(crate) fn get(&self, order_id: OrderId) -> Option<&Order> {
        self.by_id.get(&order_id)
    }

    /// Greatest id first.
    pub(crate) fn newest_first(&self) -> impl Iterator<Item = &Order> {
        self.by_id.values().rev()
    }

    /// In the order they finished.
    pub(crate) fn in_order_finished(&self) -> impl Iterator<Item = &Order> {
        self.by_finish.iter().filter_map(|order_id| self.by_id.get(order_id))
    }
}
