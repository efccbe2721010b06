//! One planned request, from the plan to its single outcome.

use std::sync::Arc;

use temblor_event::{Event, OrderOutcome, Outcome, clock};
use tokio::sync::OwnedSemaphorePermit;

use crate::http::Progress;
use crate::ledger::Settled;
use crate::running::Shared;
use crate::verdict::{self, Verdict};

/// A planned request. It is settled exactly once: when it ends, or, if the load is torn down
/// first or its task panics, when it is dropped.
pub(crate) struct Attempt {
    shared: Arc<Shared>,
    number: u64,
    key: String,
    planned_ns: u64,
    taken_ns: Option<u64>,
    progress: Progress,
    settled: bool,
    /// Its place among the requests under way.
    _room: Option<OwnedSemaphorePermit>,
}

impl Attempt {
    /// Enters the request into the account; from here on it cannot get lost.
    pub(crate) fn plan(
        shared: &Arc<Shared>,
        number: u64,
        planned_ns: u64,
        room: Option<OwnedSemaphorePermit>,
    ) -> Self {
        shared.state().ledger.plan(shared.second_of(planned_ns));
        Self {
            shared: Arc::clone(shared),
            number,
            key: format!("{}-{number}", shared.key_prefix),
            planned_ns,
            taken_ns: None,
            progress: Progress::default(),
            settled: false,
            _room: room,
        }
    }

    /// Sends it, waits for the answer and settles.
    pub(crate) async fn carry_out(mut self) {
        let shared = Arc::clone(&self.shared);
        let now_ns = clock::now_ns();
        self.taken_ns = Some(now_ns);
        let left_ns = (self.planned_ns + shared.timeout_ns).saturating_sub(now_ns);
        if left_ns == 0 {
            return self.leave_unsent("the generator came to it after its time-out");
        }
        let body = shared.profile.body(shared.seed, self.number, &self.key);
        let ended = shared.client.exchange(&self.key, body, left_ns, &mut self.progress).await;
        let done_ns = clock::now_ns();
        let verdict = verdict::judge(ended, &self.key, shared.profile);
        self.settle(verdict, done_ns);
    }

    /// Settles a request that will not be sent.
    pub(crate) fn leave_unsent(mut self, why: &str) {
        self.settle(Verdict::without_answer(Outcome::Unsent, why), clock::now_ns());
    }

    fn settle(&mut self, verdict: Verdict, done_ns: u64) {
        self.settled = true;
        let settled = Settled {
            outcome: verdict.outcome,
            timed_out: verdict.timed_out,
            latency_ns: done_ns.saturating_sub(self.planned_ns),
            lag_ns: self.taken_ns.unwrap_or(done_ns).saturating_sub(self.planned_ns),
        };
        let order = OrderOutcome {
            key: std::mem::take(&mut self.key),
            planned_ns: self.planned_ns,
            sent_ns: self.progress.sent_ns,
            outcome: verdict.outcome,
            status: verdict.status,
            order_id: verdict.order_id,
            error: verdict.error,
        };
        // The order is written before its second can be complete, so a reader that has a
        // second has all of its orders.
        self.shared.emit(Event::at(done_ns, order));
        let second = self.shared.second_of(self.planned_ns);
        if self.shared.state().ledger.settle(second, settled) {
            self.shared.changed.notify_all();
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if self.settled {
            return;
        }
        let verdict = if self.progress.sent_ns.is_some() {
            Verdict {
                status: self.progress.status,
                ..Verdict::without_answer(Outcome::Unsure, "the load ended before the answer came")
            }
        } else {
            Verdict::without_answer(Outcome::Unsent, "the load ended before it was sent")
        };
        self.settle(verdict, clock::now_ns());
    }
}
