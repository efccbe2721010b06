//! Hands each request over at its planned time.

use std::sync::Arc;

use rustix::thread::{ClockId, Timespec, clock_nanosleep_absolute};
use temblor_event::clock;
use tokio::runtime::Handle;

use crate::attempt::Attempt;
use crate::ledger::SECOND_NS;
use crate::running::Shared;
use crate::schedule::{Schedule, Step};

/// The longest sleep: how late a stop may be noticed.
const SLICE_NS: u64 = 20_000_000;

/// Works the schedule off until its end or a stop; returns when the load ended, in nanoseconds
/// since its start.
pub(crate) fn pace(shared: &Arc<Shared>, http: &Handle, mut schedule: Schedule) -> u64 {
    let mut number = 0;
    let mut next = schedule.next();
    loop {
        let now_ns = clock::now_ns();
        if shared.stopping() {
            return now_ns.saturating_sub(shared.start_ns);
        }
        let (Step::Arrival(at) | Step::End(at)) = next;
        let due_ns = shared.start_ns.saturating_add(at);
        if now_ns < due_ns {
            // All that was due by now has been planned, so the seconds before this one are full.
            shared.close_before(now_ns.saturating_sub(shared.start_ns) / SECOND_NS);
            sleep_until(due_ns.min(now_ns + SLICE_NS));
            continue;
        }
        if matches!(next, Step::End(_)) {
            return at;
        }
        hand_over(shared, http, number, due_ns);
        number += 1;
        next = schedule.next();
    }
}

/// The semaphore bounds the runtime's queue: at most so many requests are queued or under way,
/// and one that finds no room is left unsent rather than sent late.
fn hand_over(shared: &Arc<Shared>, http: &Handle, number: u64, planned_ns: u64) {
    let room = Arc::clone(&shared.room).try_acquire_owned().ok();
    let full = room.is_none();
    let attempt = Attempt::plan(shared, number, planned_ns, room);
    if full {
        attempt.leave_unsent("as many requests were under way as may be");
    } else {
        http.spawn(attempt.carry_out());
    }
}

fn sleep_until(deadline_ns: u64) {
    let deadline = Timespec {
        tv_sec: i64::try_from(deadline_ns / SECOND_NS).unwrap_or(i64::MAX),
        // Below 10^9, so it fits whatever the type is here.
        tv_nsec: (deadline_ns % SECOND_NS) as _,
    };
    // A signal may end the sleep early; the caller looks at the clock again in any case.
    let _ = clock_nanosleep_absolute(ClockId::Monotonic, &deadline);
}
