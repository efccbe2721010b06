//! How the relay is doing, for whoever asks.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::common::monotonic;

/// A batch or a connection under way for longer than this is a stalled database.
const STALLED_AFTER: Duration = Duration::from_secs(1);

/// Shared between the relay, the sequencer and `/ready`.
#[derive(Debug)]
pub struct RelayState {
    placed_orders: AtomicU64,
    relayed_orders: AtomicU64,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    connected: bool,
    under_way_since: Option<Instant>,
    error: Option<String>,
    halted: Option<String>,
}

impl RelayState {
    /// Not connected yet; `relayed_orders` are known to be in the database from before. A replacement of an
    /// order counts as one here and below, for it is as much work.
    #[must_use]
    pub fn new(placed_orders: u64, relayed_orders: u64) -> Self {
        Self {
            placed_orders: AtomicU64::new(placed_orders),
            relayed_orders: AtomicU64::new(relayed_orders.min(placed_orders)),
            inner: Mutex::new(Inner {
                connected: false,
                under_way_since: None,
                error: Some("not connected yet".to_owned()),
                halted: None,
            }),
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// So many orders are journalled.
    pub fn placed_orders(&self, count: u64) {
        self.placed_orders.store(count, Ordering::Release);
    }

    pub(super) fn set_relayed_orders(&self, count: u64) {
        self.relayed_orders.store(count, Ordering::Release);
    }

    pub(super) fn relayed_orders(&self) -> u64 {
        self.relayed_orders.load(Ordering::Acquire)
    }

    /// Of `placed` orders, how many are not known to be in the database.
    #[must_use]
    pub fn backlog_orders(&self, placed: u64) -> u64 {
        placed.saturating_sub(self.relayed_orders.load(Ordering::Acquire))
    }

    /// Of all journalled orders, how many are not known to be in the database.
    #[must_use]
    pub fn backlog_orders_now(&self) -> u64 {
        self.backlog_orders(self.placed_orders.load(Ordering::Acquire))
    }

    pub(super) fn begin(&self) {
        self.inner().under_way_since = Some(monotonic());
    }

    pub(super) fn succeeded(&self) {
        let mut inner = self.inner();
        *inner = Inner { connected: true, under_way_since: None, error: None, halted: None };
    }

    pub(super) fn failed(&self, error: String, halted: bool) {
        let mut inner = self.inner();
        inner.connected = false;
        inner.under_way_since = None;
        inner.halted = halted.then(|| error.clone());
        inner.error = Some(error);
    }

    /// Whether there is a connection that worked when it was last used.
    #[must_use]
    pub fn connected(&self) -> bool {
        self.inner().connected
    }

    /// Why orders must be refused: the database and the journal do not belong together.
    #[must_use]
    pub fn halted(&self) -> Option<String> {
        self.inner().halted.clone()
    }

    /// What is wrong with the database, if anything.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        let inner = self.inner();
        if let Some(error) = &inner.error {
            return Some(error.clone());
        }
        let under_way = inner.under_way_since?.elapsed();
        (under_way > STALLED_AFTER)
            .then(|| format!("stalled: no answer for {:.1} s", under_way.as_secs_f64()))
    }
}
