//! What the tracing thread has seen and done, for whoever asks.

use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::tracer::SYNCS;
use super::who;

/// How many of the last delays are kept for their median.
const KEPT: usize = 4096;

/// Counters that one thread writes and others read.
#[derive(Debug, Default)]
pub(super) struct Seen {
    end: AtomicBool,
    tracer: AtomicI32,
    calls: [AtomicU64; SYNCS.len()],
    /// Calls that were chosen to be acted on; some of them may still be held.
    drawn: AtomicU64,
    acted: [AtomicU64; SYNCS.len()],
    /// How long calls were held, the last [`KEPT`] of them, in nanoseconds.
    held_ns: Mutex<Vec<u64>>,
    /// Whom the thread traced when it ended.
    last: Mutex<Vec<i32>>,
}

impl Seen {
    pub(super) fn end(&self) {
        self.end.store(true, Ordering::Release);
    }

    pub(super) fn is_to_end(&self) -> bool {
        self.end.load(Ordering::Acquire)
    }

    pub(super) fn tracer_is_this_thread(&self) {
        // SAFETY: it takes nothing and cannot fail.
        self.tracer.store(unsafe { libc::gettid() }, Ordering::Release);
    }

    /// The tracing thread; 0 before it runs.
    pub(super) fn tracer(&self) -> i32 {
        self.tracer.load(Ordering::Acquire)
    }

    pub(super) fn traced_until_now(&self, threads: Vec<i32>) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = threads;
    }

    /// Whether the kernel still has any of those under the tracing thread, which has ended.
    pub(super) fn is_still_tracing(&self) -> bool {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.iter().any(|tid| who::tracer_of(*tid) == Some(self.tracer()))
    }

    pub(super) fn is_sync(&self, number: i64) -> bool {
        SYNCS.iter().any(|(sync, _)| *sync == number)
    }

    pub(super) fn saw(&self, number: i64) {
        count(&self.calls, number);
    }

    pub(super) fn drew(&self) {
        self.drawn.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn acted(&self, number: i64, held_ns: u64) {
        let before = self.all_acted();
        count(&self.acted, number);
        let mut kept = self.held_ns.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < KEPT {
            kept.push(held_ns);
        } else if let Some(oldest) = kept.get_mut(usize::try_from(before).unwrap_or(0) % KEPT) {
            *oldest = held_ns;
        }
    }

    pub(super) fn all_calls(&self) -> u64 {
        self.calls.iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }

    pub(super) fn all_acted(&self) -> u64 {
        self.acted.iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }

    pub(super) fn all_drawn(&self) -> u64 {
        self.drawn.load(Ordering::Relaxed)
    }

    /// What was acted on, by call.
    pub(super) fn parts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        SYNCS
            .iter()
            .zip(&self.acted)
            .map(|((_, name), count)| (*name, count.load(Ordering::Relaxed)))
    }

    /// The median of the last delays in nanoseconds, and from how many.
    pub(super) fn median_held_ns(&self) -> Option<(u64, usize)> {
        let mut kept = self.held_ns.lock().unwrap_or_else(PoisonError::into_inner).clone();
        kept.sort_unstable();
        kept.get(kept.len() / 2).map(|median| (*median, kept.len()))
    }
}

fn count(counters: &[AtomicU64; SYNCS.len()], number: i64) {
    let of = SYNCS.iter().zip(counters).find(|((sync, _), _)| *sync == number);
    if let Some((_, counter)) = of {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_counted_by_name_and_the_last_delays_make_the_median() {
        let seen = Seen::default();
        assert_eq!(seen.median_held_ns(), None);
        for held_ns in 0..KEPT as u64 {
            seen.saw(libc::SYS_fsync);
            seen.acted(libc::SYS_fsync, held_ns);
        }
        assert_eq!(seen.median_held_ns(), Some((KEPT as u64 / 2, KEPT)));
        for _ in 0..KEPT {
            seen.acted(libc::SYS_fdatasync, 7);
        }
        assert_eq!(seen.median_held_ns(), Some((7, KEPT)));
        seen.saw(libc::SYS_read);
        assert_eq!((seen.all_calls(), seen.all_acted()), (KEPT as u64, 2 * KEPT as u64));
        let parts: Vec<_> = seen.parts().collect();
        assert_eq!(parts[..2], [("fsync", KEPT as u64), ("fdatasync", KEPT as u64)]);
    }
}
