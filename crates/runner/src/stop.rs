//! One flag that ends a run early, from wherever it is raised.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use temblor_event::clock;

/// Raised by a signal, an abort condition or a failure; waited on by the run.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<(Mutex<State>, Condvar)>);

#[derive(Debug, Default)]
struct State {
    why: Option<String>,
    /// How often it was raised.
    requests: u32,
}

impl Stop {
    /// Asks the run to heal, report and end. The first reason stays; a further request ends what
    /// is only waited for.
    pub fn request(&self, why: impl Into<String>) {
        let mut state = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.requests = state.requests.saturating_add(1);
        if state.why.is_none() {
            state.why = Some(why.into());
        }
        self.0.1.notify_all();
    }

    /// Why the run is to end, if it is.
    #[must_use]
    pub fn requested(&self) -> Option<String> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner).why.clone()
    }

    /// How often it was asked to end.
    pub(crate) fn requests(&self) -> u32 {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner).requests
    }

    /// Waits until `deadline_ns` (CLOCK_MONOTONIC) or until the run is to end.
    pub(crate) fn wait_until(&self, deadline_ns: u64) -> Option<String> {
        self.wait(deadline_ns, |state| state.why.is_some())
    }

    /// Waits until `deadline_ns` or until the run was asked to end more often than that.
    pub(crate) fn wait_for_more_than(&self, requests: u32, deadline_ns: u64) {
        self.wait(deadline_ns, |state| state.requests > requests);
    }

    fn wait(&self, deadline_ns: u64, over: impl Fn(&State) -> bool) -> Option<String> {
        let mut state = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        while !over(&state) {
            let left_ns = deadline_ns.saturating_sub(clock::now_ns());
            if left_ns == 0 {
                break;
            }
            let left = Duration::from_nanos(left_ns);
            state = self.0.1.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.why.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_wakes_who_waits_and_the_first_reason_stays() {
        let stop = Stop::default();
        assert_eq!(stop.wait_until(clock::now_ns() + 1_000_000), None);
        let waiter = std::thread::spawn({
            let stop = stop.clone();
            move || stop.wait_until(clock::now_ns() + 60_000_000_000)
        });
        stop.request("first");
        assert_eq!(stop.requests(), 1);
        let impatient = std::thread::spawn({
            let stop = stop.clone();
            move || stop.wait_for_more_than(1, clock::now_ns() + 60_000_000_000)
        });
        stop.request("second");
        impatient.join().unwrap();
        assert_eq!(waiter.join().unwrap().as_deref(), Some("first"));
        assert_eq!(stop.requests(), 2);
    }
}
